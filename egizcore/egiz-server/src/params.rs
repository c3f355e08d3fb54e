//! Query parameters: only those that a route knows, each at most once.
//!
//! A misspelt parameter is refused: a filter that is silently ignored would answer with everything.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use egiz_api::{Code, Problem};
use percent_encoding::percent_decode_str;

use crate::error::ApiError;
use crate::live::acks::BUILT_IN;

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query of a URL; `known` are the names that the route takes.
    ///
    /// # Errors
    /// `invalid-parameter`, `invalid-utf8`.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let mut found: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if !known.contains(&name.as_str()) {
                let shown: String = name.chars().take(60).collect();
                let reason = match known {
                    [] => "it is not known here; the route takes no parameters".to_owned(),
                    known => format!("it is not known here; known are: {}", known.join(", ")),
                };
                return Err(refused(&shown, &reason));
            }
            if found.iter().any(|(other, _)| *other == name) {
                return Err(refused(&name, "it is there twice"));
            }
            found.push((name, value));
        }
        Ok(Self(found))
    }

    /// The value of a parameter, where it is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// What a header field, or the parameter of the same name, says; `None` where neither is there.
    ///
    /// # Errors
    /// `invalid-parameter` where it is said twice, or nothing is said: a condition that is passed over in silence would let
    /// through what it was to hold up.
    pub(crate) fn or_field<'p>(
        &'p self,
        headers: &'p HeaderMap,
        name: &str,
    ) -> Result<Option<&'p str>, ApiError> {
        let fields = headers.get_all(name).iter().map(axum::http::HeaderValue::as_bytes);
        let parameters = self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_bytes());
        let mut said = fields.chain(parameters);
        let Some(text) = said.next() else { return Ok(None) };
        if said.next().is_some() {
            return Err(refused(name, "it is there twice"));
        }
        let text = std::str::from_utf8(text).map_err(|_| refused(name, "it is not UTF-8"))?.trim();
        if text.is_empty() {
            return Err(refused(name, "it is empty; leave it out instead"));
        }
        Ok(Some(text))
    }

    /// Whether the parameter is there, be it empty.
    pub(crate) fn is_there(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    /// A truth value: `true` or `false`; `false` where it is missing, `true` where only its name is there.
    ///
    /// # Errors
    /// `invalid-parameter`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str()) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1" | "") => Ok(true),
            Some(_) => Err(refused(name, "it must be true or false")),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// `invalid-parameter`.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| refused(name, "it must be a whole number of 0 or more"))
    }
}

/// For routes that take no parameters: `dryRun` where it is not known must not carry the change out.
pub(crate) struct NoParams;

impl<S: Sync> FromRequestParts<S> for NoParams {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Params::parse(parts.uri.query(), &[]).map(|_| Self)
    }
}

/// The `invalid-parameter` problem for one parameter.
pub(crate) fn refused(name: &str, reason: &str) -> ApiError {
    Problem::new(Code::InvalidParameter, format!("parameter `{name}`: {reason}"))
        .in_parameter(name, reason)
        .into()
}

/// Header fields of Eclipse Ditto's that change what a request means and that are not served everywhere. Who sends one would take the
/// answer for something else.
const NOT_SERVED: [(&str, &str); 3] = [
    ("at-historical-revision", "past states are not served; the answer would be the present one"),
    (
        "at-historical-timestamp",
        "the answer would be the present one; say the time in the parameter `at` for values of then",
    ),
    (
        "merge-thing-patch-conditions",
        "only a merge patch takes conditions for its parts; they would be passed over",
    ),
];

/// Refuses what would be answered as if it had not been asked for.
///
/// # Errors
/// `invalid-parameter`.
pub(crate) fn refuse_not_served(headers: &HeaderMap) -> Result<(), ApiError> {
    refuse_past(headers, None)?;
    let labels = headers.get_all("requested-acks").iter().map(|value| value.to_str().unwrap_or("?"));
    let mut labels =
        labels.flat_map(|list| list.split([',', '[', ']', '"', ' '])).filter(|label| !label.is_empty());
    match labels.find(|label| !BUILT_IN.contains(label)) {
        Some(label) => {
            let label: String = label.chars().take(60).collect();
            Err(refused("requested-acks", &format!("`{label}` is of writes; nothing is written here")))
        }
        None => Ok(()),
    }
}

/// Refuses the fields of [`NOT_SERVED`], but one that is served here.
///
/// # Errors
/// `invalid-parameter`.
pub(crate) fn refuse_past(headers: &HeaderMap, served: Option<&str>) -> Result<(), ApiError> {
    let is_asked_for = |name: &str| Some(name) != served && headers.contains_key(name);
    match NOT_SERVED.iter().find(|(name, _)| is_asked_for(name)) {
        Some((name, reason)) => Err(refused(name, reason)),
        None => Ok(()),
    }
}

fn decoded(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| ApiError::new(Code::InvalidUtf8, "the query is not UTF-8 after percent-decoding"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_once() {
        let params = Params::parse(
            Some("filter=eq(a,%22x%2520y+z%22)&dry&limit=7&empty="),
            &["filter", "dry", "limit", "empty"],
        )
        .expect("known");
        assert_eq!(params.get("filter"), Some("eq(a,\"x%20y z\")"));
        assert_eq!(params.number("limit").expect("a number"), Some(7));
        assert!(params.flag("dry").expect("a flag"));
        assert_eq!(params.get("empty"), None);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for query in ["fliter=x", "limit=1&limit=2", "limit=%ff"] {
            assert!(Params::parse(Some(query), &["filter", "limit"]).is_err(), "{query}");
        }
        let params = Params::parse(Some("limit=-1&dry=maybe"), &["limit", "dry"]).expect("known");
        assert!(params.number("limit").is_err());
        assert!(params.flag("dry").is_err());
    }
}
