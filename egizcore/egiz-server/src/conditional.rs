//! Conditional reads (RFC 9110 §8.8.3 and §13): entity tags, `If-Match` with strong and `If-None-Match` with weak
//! comparison, in this order. Conditional writes are decided by the engine when it applies them.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use egiz_api::{Code, Problem};
use egiz_twin::is_same_tag;

use crate::error::ApiError;

/// What a conditional read comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadVerdict {
    /// Answer as if no condition were there.
    Proceed,
    /// 304.
    NotModified,
    /// 412: `If-Match` does not hold.
    IfMatchFailed,
}

/// A list of entity tags, or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags<'h> {
    Any,
    List(Vec<(bool, &'h str)>),
}

/// The preconditions of a request as the record takes them: the header's text, or empty.
///
/// # Errors
/// `malformed-entity-tag`.
pub(crate) fn preconditions(headers: &HeaderMap) -> Result<(String, String), ApiError> {
    let text = |name: &HeaderName| -> Result<String, ApiError> {
        let Some(text) = joined(headers, name)? else { return Ok(String::new()) };
        parse(&text).ok_or_else(|| malformed(name, &text))?;
        Ok(text)
    };
    Ok((text(&IF_MATCH)?, text(&IF_NONE_MATCH)?))
}

/// Decides a read of something that exists and has the strong tag `etag` (quotes included).
///
/// # Errors
/// `malformed-entity-tag`.
pub(crate) fn decide_read(headers: &HeaderMap, etag: &str) -> Result<ReadVerdict, ApiError> {
    if let Some(text) = joined(headers, &IF_MATCH)? {
        let tags = parse(&text).ok_or_else(|| malformed(&IF_MATCH, &text))?;
        let holds = match tags {
            Tags::Any => true,
            Tags::List(list) => list.iter().any(|(weak, tag)| !weak && is_same_tag(tag, etag)),
        };
        if !holds {
            return Ok(ReadVerdict::IfMatchFailed);
        }
    }
    if let Some(text) = joined(headers, &IF_NONE_MATCH)? {
        let tags = parse(&text).ok_or_else(|| malformed(&IF_NONE_MATCH, &text))?;
        let same = match tags {
            Tags::Any => true,
            Tags::List(list) => list.iter().any(|(_, tag)| is_same_tag(tag, etag)),
        };
        if same {
            return Ok(ReadVerdict::NotModified);
        }
    }
    Ok(ReadVerdict::Proceed)
}

/// All fields of one name, joined as RFC 9110 §5.3 allows.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, ApiError> {
    let mut whole: Option<String> = None;
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| malformed(name, "not ASCII"))?;
        match &mut whole {
            None => whole = Some(text.to_owned()),
            Some(whole) => {
                whole.push_str(", ");
                whole.push_str(text);
            }
        }
    }
    Ok(whole)
}

fn malformed(name: &HeaderName, text: &str) -> ApiError {
    let text: String = text.chars().take(80).collect();
    Problem::new(
        Code::MalformedEntityTag,
        format!("`{name}: {text}` is not `*` or a list of entity tags such as \"rev:7\", quotes included"),
    )
    .in_parameter(name.as_str(), "`*` or a list of entity tags, quotes included")
    .into()
}

/// `*`, or entity tags with commas between; each tag is returned with its quotes and whether it is weak.
fn parse(text: &str) -> Option<Tags<'_>> {
    let mut rest = text.trim_matches([' ', '\t']);
    if rest == "*" {
        return Some(Tags::Any);
    }
    let mut list = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            break;
        }
        let weak = rest.starts_with("W/");
        let start = if weak { 2 } else { 0 };
        let opaque = rest.get(start..)?.strip_prefix('"')?;
        let end = opaque.find('"')?;
        if !opaque[..end].bytes().all(|byte| byte == 0x21 || (0x23..=0x7e).contains(&byte)) {
            return None;
        }
        list.push((weak, &rest[start..start + end + 2]));
        rest = &rest[start + end + 2..];
        if !rest.trim_start_matches([' ', '\t']).is_empty()
            && !rest.trim_start_matches([' ', '\t']).starts_with(',')
        {
            return None;
        }
    }
    (!list.is_empty()).then_some(Tags::List(list))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn check(fields: &[(&str, &str)], expected: Result<ReadVerdict, ()>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().expect("a field name");
            headers.append(name, HeaderValue::from_str(value).expect("a field value"));
        }
        assert_eq!(decide_read(&headers, "\"rev:7@1234\"").map_err(|_| ()), expected, "{fields:?}");
    }

    #[test]
    fn reads_are_decided_as_rfc_9110_says() {
        use ReadVerdict::{IfMatchFailed, NotModified, Proceed};
        check(&[], Ok(Proceed));
        check(&[("if-match", "*")], Ok(Proceed));
        check(&[("if-match", "\"rev:7@1234\"")], Ok(Proceed));
        check(&[("if-match", "\"rev:7@99\"")], Ok(IfMatchFailed));
        check(&[("if-none-match", "W/\"rev:7@1234\"")], Ok(NotModified));
        check(&[("if-none-match", "\"rev:7@99\"")], Ok(Proceed));
        check(&[("if-match", "\"rev:7\"")], Ok(Proceed));
        check(&[("if-match", "\"x\" , \"rev:7\"")], Ok(Proceed));
        check(&[("if-match", "\"x\""), ("if-match", "\"rev:7\"")], Ok(Proceed));
        check(&[("if-match", "W/\"rev:7\"")], Ok(IfMatchFailed));
        check(&[("if-match", "\"rev:8\"")], Ok(IfMatchFailed));
        check(&[("if-none-match", "*")], Ok(NotModified));
        check(&[("if-none-match", "W/\"rev:7\"")], Ok(NotModified));
        check(&[("if-none-match", "\"rev:6\",\"rev:7\"")], Ok(NotModified));
        check(&[("if-none-match", "\"rev:6\"")], Ok(Proceed));
        check(&[("if-match", "\"rev:8\""), ("if-none-match", "\"rev:7\"")], Ok(IfMatchFailed));
        check(&[("if-match", "\"rev:7\""), ("if-none-match", "\"rev:7\"")], Ok(NotModified));
        for tag in ["rev:7", "\"rev:7", "w/\"rev:7\"", "\"a\" \"b\"", "", "\"a b\"", "*, \"a\""] {
            check(&[("if-none-match", tag)], Err(()));
            check(&[("if-match", tag)], Err(()));
        }
    }
}
