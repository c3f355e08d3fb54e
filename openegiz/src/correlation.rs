//! The correlation id that an MQTT message brings along, in the same names as over HTTP.

use egiz_service::correlation::{CorrelationId, trace_id};

/// The id of the user property `correlation-id` if it has the right form, else the trace id in that of `traceparent`, else
/// empty.
pub(crate) fn of<'m>(id: &'m str, traceparent: &'m str) -> &'m str {
    match CorrelationId::parse(id) {
        Some(_) => id,
        None => trace_id(traceparent).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_correlation_id_comes_before_the_trace() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
        for (id, parent, expected) in [
            ("batch-7", "", "batch-7"),
            ("batch-7", &traceparent, "batch-7"),
            ("", &traceparent, trace),
            ("not allowed", &traceparent, trace),
            ("not allowed", "00-nothing", ""),
            ("", "", ""),
        ] {
            assert_eq!(of(id, parent), expected, "{id:?}, {parent:?}");
        }
    }
}
