//! The correlation id: the client's where it sends a safe one, else 128 random bits. It goes into the record's header,
//! the log and every problem.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::HeaderName;

use crate::ports::RandomSource;

/// Where the answer carries it.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("correlation-id");

/// The longest id that is taken over.
const BYTES_MAX: usize = 128;

/// The id of this request: `correlation-id`, else `x-correlation-id`, else the trace id of `traceparent` (W3C Trace
/// Context), else a new one. An unsafe id is as good as none.
pub(crate) fn of(headers: &HeaderMap, random: &RandomSource) -> Arc<str> {
    let named = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given = named("correlation-id")
        .or_else(|| named("x-correlation-id"))
        .or_else(|| named("traceparent").and_then(trace_id));
    match given {
        Some(id) if is_safe(id) => id.into(),
        _ => fresh(random),
    }
}

fn is_safe(id: &str) -> bool {
    (1..=BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte))
}

/// The second field of `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_id(traceparent: &str) -> Option<&str> {
    let mut fields = traceparent.split('-');
    let _version = fields.next()?;
    let id = fields.next()?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && id.bytes().any(|byte| byte != b'0'))
        .then_some(id)
}

fn fresh(random: &RandomSource) -> Arc<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bytes = [0; 16];
    random(&mut bytes);
    let mut text = String::with_capacity(32);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn check(fields: &[(&'static str, &str)], expected: &str) {
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
            })
            .collect();
        let random: RandomSource = Arc::new(|bytes| bytes.fill(0xab));
        assert_eq!(&*of(&headers, &random), expected);
    }

    #[test]
    fn a_safe_id_is_taken_over() {
        let fresh = "ab".repeat(16);
        check(&[], &fresh);
        check(&[("correlation-id", "order-7:a.b_c/d+e=@f")], "order-7:a.b_c/d+e=@f");
        check(&[("x-correlation-id", "x"), ("correlation-id", "y")], "y");
        check(&[("x-correlation-id", "x")], "x");
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        check(&[("traceparent", parent)], "4bf92f3577b34da6a3ce929d0e0e4736");
        check(&[("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01")], &fresh);
        for unsafe_id in ["a b", "a\"b", "<script>", &"x".repeat(129), ""] {
            check(&[("correlation-id", unsafe_id)], &fresh);
        }
    }
}
