//! What an InfluxDB's answer to a write means for the lines that were sent.
//!
//! A client that takes every 4xx for the lines' fault drops data when somebody mistypes a password; one that repeats every
//! 4xx stops for ever at a line that will never be taken. So the two are told apart here, by status and by InfluxDB's own words.
//!
//! # Source
//! <https://docs.influxdata.com/influxdb/v1/tools/api/#write-http-endpoint> and the second version's `POST /api/v2/write`.

/// What follows from an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All lines were taken.
    Taken,
    /// Some of the lines are at fault; those that are not were taken, or will be when they are sent without the others.
    LinesAtFault {
        /// In the server's words.
        reason: String,
        /// Whether the words speak of lines. Where they do not, it may be the server that takes none at all.
        names_lines: bool,
    },
    /// The body is too large; the lines may be taken a few at a time.
    TooLarge,
    /// Nobody is let in, or there is no such place: nothing but a person changes that.
    Refused(String),
    /// The server cannot at the moment.
    Unavailable(String),
}

/// The longest reason that is kept, in bytes.
const REASON_BYTES_MAX: usize = 300;

/// The words with which the versions of InfluxDB, and servers that speak like it, speak of lines.
const OF_LINES: [&str; 10] = [
    "partial write",
    "unable to parse",
    "field type conflict",
    "retention policy",
    "max-values-per-tag",
    "max-series-per-database",
    "invalid field",
    "input field",
    "cannot parse",
    "failed to parse",
];

/// Reads an answer.
#[must_use]
pub fn verdict(status: u16, body: &[u8]) -> Verdict {
    let reason = || reason(status, body);
    match status {
        200..=299 => Verdict::Taken,
        400 | 422 => {
            let reason = reason();
            let names_lines = OF_LINES.iter().any(|words| reason.contains(words));
            Verdict::LinesAtFault { reason, names_lines }
        }
        413 => Verdict::TooLarge,
        408 | 425 | 429 | 500.. => Verdict::Unavailable(reason()),
        _ => Verdict::Refused(reason()),
    }
}

/// The text of an error in either version's JSON, or the body as it is.
fn reason(status: u16, body: &[u8]) -> String {
    let body = String::from_utf8_lossy(&body[..body.len().min(16 * 1024)]);
    let text = text_of("\"error\":", &body).or_else(|| text_of("\"message\":", &body));
    let mut text = text.unwrap_or_else(|| body.into_owned());
    text.retain(|character| !character.is_control());
    if text.len() > REASON_BYTES_MAX {
        text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
        text.push('…');
    }
    let text = text.trim();
    if text.is_empty() { format!("status {status}") } else { format!("status {status}: {text}") }
}

/// The text behind a member's name. Enough of JSON for an error's text, and harmless where it is none.
fn text_of(name: &str, body: &str) -> Option<String> {
    let rest = body[body.find(name)? + name.len()..].trim_start().strip_prefix('"')?;
    let mut text = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            '\\' => match characters.next()? {
                'n' | 'r' | 't' => text.push(' '),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_fault(reason: &str, names_lines: bool) -> Verdict {
        Verdict::LinesAtFault { reason: reason.to_owned(), names_lines }
    }

    #[test]
    fn an_answer_says_whose_fault_it_is() {
        for (status, body, expected) in [
            (204, "", Verdict::Taken),
            (200, "ok", Verdict::Taken),
            (
                400,
                r#"{"error":"partial write: field type conflict: input field \"v\" on measurement \"m\" is type string, already exists as type float dropped=1"}"#,
                at_fault(
                    r#"status 400: partial write: field type conflict: input field "v" on measurement "m" is type string, already exists as type float dropped=1"#,
                    true,
                ),
            ),
            (
                422,
                r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: points beyond retention policy dropped=2"}"#,
                at_fault(
                    "status 422: failure writing points to database: partial write: points beyond retention policy dropped=2",
                    true,
                ),
            ),
            (400, r#"{"error":"database is required"}"#, at_fault("status 400: database is required", false)),
            (413, "", Verdict::TooLarge),
            (
                401,
                r#"{"code":"unauthorized","message":"unauthorized access"}"#,
                Verdict::Refused("status 401: unauthorized access".into()),
            ),
            (
                404,
                r#"{"error":"database not found: \"x\""}"#,
                Verdict::Refused("status 404: database not found: \"x\"".into()),
            ),
            (301, "", Verdict::Refused("status 301".into())),
            (429, "", Verdict::Unavailable("status 429".into())),
            (503, "<html>\nbusy", Verdict::Unavailable("status 503: <html>busy".into())),
            (500, "{\"error\":\"cut", Verdict::Unavailable("status 500: {\"error\":\"cut".into())),
        ] {
            assert_eq!(verdict(status, body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_reason_has_a_bound() {
        let Verdict::Unavailable(reason) = verdict(500, &vec![0xC3; 1 << 20]) else { panic!("unavailable") };
        assert!(reason.len() < REASON_BYTES_MAX + 20, "{}", reason.len());
    }
}
