//! The twin engine: a pure function from journal records to the live state of every Thing.
