//! In which form an answer is wanted (RFC 9110 §12.5.1): the first form that `Accept` names and the route has.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use egiz_api::Code;

use crate::error::ApiError;

/// What an error repeats of what was accepted: so many ranges, so much of each.
const SHOWN_RANGES: usize = 3;
const SHOWN_CHARS: usize = 60;

/// Chooses among the forms that a route has, the default first.
///
/// # Errors
/// `not-acceptable`.
pub(crate) fn form<F: Copy>(headers: &HeaderMap, forms: &[(&str, F)]) -> Result<F, ApiError> {
    let default = forms[0].1;
    let mut refused = Vec::new();
    let mut ranges = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter(|range| !range.trim().is_empty())
        .peekable();
    if ranges.peek().is_none() {
        return Ok(default);
    }
    let found = ranges.find_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        if parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000")) {
            return None;
        }
        let is_default = kind == "*/*"
            || kind
                .strip_suffix('*')
                .is_some_and(|family| family.len() > 1 && forms[0].0.starts_with(family));
        if is_default {
            return Some(default);
        }
        let found = forms.iter().find(|(name, _)| *name == kind).map(|(_, form)| *form);
        if found.is_none() {
            refused.push(kind.chars().take(SHOWN_CHARS).collect::<String>());
        }
        found
    });
    found.ok_or_else(|| {
        let names: Vec<&str> = forms.iter().map(|(name, _)| *name).collect();
        refused.truncate(SHOWN_RANGES);
        let mut detail = format!("this comes as {}", names.join(", "));
        if !refused.is_empty() {
            detail.push_str(", and not as ");
            detail.push_str(&refused.join(", "));
        }
        ApiError::new(Code::NotAcceptable, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_first_form_that_is_named_and_there_is_chosen() {
        let check = |accept: &[&'static str], expected: Option<u8>| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, HeaderValue::from_static(value));
            }
            let forms = [("application/json", 1), ("application/x-ndjson", 2), ("text/event-stream", 3)];
            assert_eq!(form(&headers, &forms).ok(), expected, "{accept:?}");
        };
        check(&[], Some(1));
        check(&[""], Some(1));
        check(&["*/*"], Some(1));
        check(&["application/*"], Some(1));
        check(&["text/html,application/xhtml+xml,*/*;q=0.8"], Some(1));
        check(&["application/x-ndjson"], Some(2));
        check(&["Application/X-NDJSON; q=1, */*"], Some(2));
        check(&["application/json, application/x-ndjson"], Some(1));
        check(&["application/json;q=0, application/x-ndjson"], Some(2));
        check(&["text/html", "text/event-stream"], Some(3));
        check(&["text/html"], None);
        check(&["*"], None);
    }
}
