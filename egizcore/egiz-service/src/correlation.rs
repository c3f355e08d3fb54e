//! Correlation ids: one text that follows a request from the HTTP header or MQTT property through the journal to the
//! event and into the logs. Ids from outside are checked, because they end up in headers, logs and records.
//!
//! Source: W3C Trace Context, section 3.2 (`traceparent`).

use std::fmt;
use std::sync::Arc;

use crate::RandomSource;

/// The HTTP header that carries the id; `correlation-id` is read as well.
pub const HTTP_HEADER: &str = "x-correlation-id";
/// The shorter name: an HTTP header, and the name of the MQTT 5 user property.
pub const SHORT_NAME: &str = "correlation-id";
/// The W3C header, and MQTT 5 user property, whose trace id is taken when no correlation id is given.
pub const TRACEPARENT: &str = "traceparent";

const MAX_CHARS: usize = 128;

/// A checked id: 1 to 128 of `A-Z a-z 0-9 - _ . : /`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CorrelationId(Arc<str>);

impl CorrelationId {
    /// Takes an id from outside, if it is allowed.
    pub fn parse(text: &str) -> Option<CorrelationId> {
        let allowed = |b: u8| {
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=' | b'@')
        };
        ((1..=MAX_CHARS).contains(&text.len()) && text.bytes().all(allowed))
            .then(|| CorrelationId(text.into()))
    }

    /// Takes the trace id from a `traceparent` header, if the header is valid.
    pub fn from_traceparent(text: &str) -> Option<CorrelationId> {
        trace_id(text).map(|trace| CorrelationId(trace.into()))
    }

    /// Makes an id of 32 hexadecimal digits, which is a valid trace id, too.
    pub fn generate(random: &RandomSource) -> CorrelationId {
        let mut bytes = [0_u8; 16];
        random(&mut bytes);
        CorrelationId(format!("{:032x}", u128::from_be_bytes(bytes)).into())
    }

    /// Chooses from what a request carries: the correlation id, else the trace id, else a new one. What is not
    /// allowed counts as absent.
    pub fn choose(given: Option<&str>, traceparent: Option<&str>, random: &RandomSource) -> CorrelationId {
        given
            .and_then(CorrelationId::parse)
            .or_else(|| traceparent.and_then(CorrelationId::from_traceparent))
            .unwrap_or_else(|| CorrelationId::generate(random))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The trace id in a `traceparent`, if that is valid.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    let lower_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut parts = traceparent.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // A later version may append parts; version 00 may not, and ff is forbidden.
    let well_formed = lower_hex(version, 2)
        && version != "ff"
        && (version != "00" || parts.next().is_none())
        && lower_hex(trace, 32)
        && lower_hex(parent, 16)
        && lower_hex(flags, 2)
        && trace.bytes().any(|b| b != b'0')
        && parent.bytes().any(|b| b != b'0');
    well_formed.then_some(trace)
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_and_harmless_ids_are_taken_from_outside() {
        for text in ["a", "batch-7/line_1:step.2", &"x".repeat(128)] {
            assert_eq!(CorrelationId::parse(text).unwrap().as_str(), text);
        }
        for text in ["", &"x".repeat(129), "a b", "a\r\nSet-Cookie: x", "a\"b", "é", "<b>", "\0"] {
            assert_eq!(CorrelationId::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_trace_id_is_taken_from_a_valid_traceparent_only() {
        let taken = |text: &str| CorrelationId::from_traceparent(text).map(|id| id.to_string());
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(taken(&format!("00-{trace}-00f067aa0ba902b7-01")).as_deref(), Some(trace));
        assert_eq!(taken(&format!("01-{trace}-00f067aa0ba902b7-01-what-comes")).as_deref(), Some(trace));
        for text in [
            "",
            "00",
            &format!("00-{trace}-00f067aa0ba902b7-01-more"),
            &format!("ff-{trace}-00f067aa0ba902b7-01"),
            &format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{trace}-0000000000000000-01"),
            &format!("00-{trace}-00f067aa0ba902b7-1"),
        ] {
            assert_eq!(taken(text), None, "{text}");
        }
    }

    #[test]
    fn an_id_is_chosen_from_what_a_request_carries() {
        let random: RandomSource = Arc::new(|buffer: &mut [u8]| buffer.fill(0xab));
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let chosen = |given, trace| CorrelationId::choose(given, trace, &random).to_string();
        assert_eq!(chosen(Some("mine"), Some(trace)), "mine");
        assert_eq!(chosen(Some("not allowed"), Some(trace)), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(chosen(None, None), "ab".repeat(16));
    }
}
