//! Which Thing and which part of it a URL means.
//!
//! Below `/things/<id>` each segment of the path is a token of a JSON pointer (RFC 6901), percent-decoded once: `~1`
//! (or `%2F`) stands for `/` and `~0` for `~`. The one trailing slash that people leave is cut off.

use egiz_api::{Code, Problem};
use egiz_model::ThingId;
use percent_encoding::percent_decode_str;

use crate::error::ApiError;

/// Where the Things are.
pub(crate) const THINGS: &str = "/api/v1/things/";

/// A Thing's id and a JSON pointer into it; the pointer is empty for the whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) thing: String,
    pub(crate) pointer: String,
}

impl Target {
    /// Reads the raw path of a URL below [`THINGS`].
    ///
    /// # Errors
    /// `invalid-thing-id`, `invalid-utf8`, or `invalid-parameter` for a malformed token.
    pub(crate) fn of(raw_path: &str, sites: &[String]) -> Result<Self, ApiError> {
        let rest = raw_path.strip_prefix(THINGS).unwrap_or_default();
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut segments = rest.split('/');
        let thing = thing_id(&decoded(segments.next().unwrap_or_default())?, sites)?;
        let mut pointer = String::new();
        for segment in segments {
            let token = decoded(segment)?;
            check_token(&token)?;
            pointer.push('/');
            pointer.push_str(&token.replace('/', "~1"));
        }
        Ok(Self { thing, pointer })
    }
}

/// The name that one token of a JSON pointer stands for (RFC 6901: `~1` is a slash, `~0` a tilde).
pub(crate) fn name_of(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// The names on the way that a JSON pointer goes, from the root.
pub(crate) fn names_of(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(name_of).collect()
}

/// Reads one segment of a path after `prefix` as a text.
pub(crate) fn segment_after(raw_path: &str, prefix: &str) -> Result<String, ApiError> {
    let rest = raw_path.strip_prefix(prefix).unwrap_or_default();
    decoded(rest.split('/').next().unwrap_or_default())
}

/// Completes a bare name to an id where one site is configured, and checks the id.
///
/// # Errors
/// `invalid-thing-id`.
pub(crate) fn thing_id(text: &str, sites: &[String]) -> Result<String, ApiError> {
    let id = match sites {
        [site] if !text.contains(':') && !text.is_empty() => format!("{site}:{text}"),
        _ => text.to_owned(),
    };
    match ThingId::new(&id) {
        Ok(_) => Ok(id),
        Err(error) => Err(Problem::new(Code::InvalidThingId, error.to_string()).into()),
    }
}

fn decoded(segment: &str) -> Result<String, ApiError> {
    percent_decode_str(segment).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| {
        ApiError::new(Code::InvalidUtf8, "a segment of the path is not UTF-8 after percent-decoding")
    })
}

fn check_token(token: &str) -> Result<(), ApiError> {
    let mut characters = token.chars();
    while let Some(character) = characters.next() {
        if character == '~' && !matches!(characters.next(), Some('0' | '1')) {
            return Err(ApiError::new(
                Code::InvalidParameter,
                "`~` in the path must be followed by 0 (for `~`) or 1 (for `/`), as in a JSON pointer",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_path_is_taken_or_refused(path in "[a-c:/%~0-9 .°]{0,30}") {
            if let Ok(target) = Target::of(&format!("{THINGS}{path}"), &["factory".to_owned()]) {
                prop_assert!(ThingId::check(&target.thing).is_ok());
                prop_assert!(target.pointer.is_empty() || target.pointer.starts_with('/'));
            }
        }
    }

    fn check(path: &str, expected: Result<(&str, &str), &str>) {
        let got = Target::of(&format!("{THINGS}{path}"), &["factory".to_owned()]);
        match (got, expected) {
            (Ok(target), Ok(wanted)) => assert_eq!((target.thing.as_str(), target.pointer.as_str()), wanted),
            (Err(error), Err(code)) => assert_eq!(error.0.code, code),
            (got, wanted) => panic!("{path}: {got:?}, wanted {wanted:?}"),
        }
    }

    #[test]
    fn a_path_is_an_id_and_a_pointer() {
        check("factory:oven-001", Ok(("factory:oven-001", "")));
        check("factory%3Aoven-001/", Ok(("factory:oven-001", "")));
        check("oven-001/features/thermal", Ok(("factory:oven-001", "/features/thermal")));
        check("a:b/attributes/x~1y/z%2Fw/%7E0", Ok(("a:b", "/attributes/x~1y/z~1w/~0")));
        check("a:b/attributes/a%20b/%C2%B0", Ok(("a:b", "/attributes/a b/°")));
        check("a:b/attributes/100%2525", Ok(("a:b", "/attributes/100%25")));
    }

    #[test]
    fn a_broken_path_is_refused() {
        check("a%2Fb", Err("invalid-thing-id"));
        check("a:b%20c", Err("invalid-thing-id"));
        check("a:b/attributes/~2", Err("invalid-parameter"));
        check("a:b/attributes/~", Err("invalid-parameter"));
        check("a:b/attributes/%ff", Err("invalid-utf8"));
    }

    #[test]
    fn a_bare_name_needs_exactly_one_site() {
        let two = ["a".to_owned(), "b".to_owned()];
        assert!(thing_id("oven", &two).is_err());
        assert_eq!(thing_id("b:oven", &two).expect("a whole id"), "b:oven");
    }
}
