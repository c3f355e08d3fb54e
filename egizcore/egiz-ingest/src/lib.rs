//! Topic and payload to records: the one place that parses what devices send.
