//! Walks over JSON without building it: is it JSON, how deep, is a member named twice?

use std::collections::HashSet;
use std::fmt;

use egiz_api::{Code, Problem};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::error::ApiError;

/// Checks that `bytes` are one JSON value in UTF-8 of at most `depth_max` levels, without a member twice.
///
/// # Errors
/// `invalid-utf8`, `malformed-json` with line and column, `json-too-deep` and `duplicate-key` with the pointer.
pub(crate) fn check(bytes: &[u8], depth_max: usize) -> Result<(), ApiError> {
    if let Err(error) = std::str::from_utf8(bytes) {
        let position = error.valid_up_to();
        return Err(ApiError::new(Code::InvalidUtf8, format!("byte {position} of the body is not UTF-8")));
    }
    let mut walk = Walk { path: String::new(), depth_max, depth: 0, fault: None };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let result = Step(&mut walk).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    let Err(error) = result else { return Ok(()) };
    Err(match walk.fault {
        Some(Fault::TooDeep) => {
            Problem::new(Code::JsonTooDeep, format!("the JSON is nested deeper than {depth_max} levels"))
                .at(walk.path, format!("more than {depth_max} levels"))
                .limit(depth_max as u64)
                .into()
        }
        Some(Fault::Duplicate) => {
            Problem::new(Code::DuplicateKey, format!("`{}` is there twice", shortened(&walk.path)))
                .at(walk.path, "the object has this member already")
                .into()
        }
        None => ApiError::new(Code::MalformedJson, malformed(&error)),
    })
}

/// What is wrong with the JSON and where, in words.
fn malformed(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    format!("line {}, column {}: {reason}", error.line(), error.column())
}

/// Appends a token to a JSON pointer.
pub(crate) fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    for character in token.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(120).collect()
}

enum Fault {
    TooDeep,
    Duplicate,
}

struct Walk {
    path: String,
    depth: usize,
    depth_max: usize,
    fault: Option<Fault>,
}

impl Walk {
    fn enter(&mut self) -> Result<(), &'static str> {
        self.depth += 1;
        if self.depth > self.depth_max {
            self.fault = Some(Fault::TooDeep);
            return Err("too deep");
        }
        Ok(())
    }
}

struct Step<'w>(&'w mut Walk);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.enter().map_err(A::Error::custom)?;
        let length = self.0.path.len();
        let mut index = 0_usize;
        loop {
            push_token(&mut self.0.path, &index.to_string());
            // On an error the path is left as it is: it names the place.
            if items.next_element_seed(Step(self.0))?.is_none() {
                break;
            }
            self.0.path.truncate(length);
            index += 1;
        }
        self.0.path.truncate(length);
        self.0.depth -= 1;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.0.enter().map_err(A::Error::custom)?;
        let length = self.0.path.len();
        let mut seen = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            push_token(&mut self.0.path, &name);
            if !seen.insert(name) {
                self.0.fault = Some(Fault::Duplicate);
                return Err(A::Error::custom("twice"));
            }
            members.next_value_seed(Step(self.0))?;
            self.0.path.truncate(length);
        }
        self.0.depth -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(text: &[u8]) -> Option<(String, String)> {
        let problem = check(text, 4).err()?.0;
        let place = problem.errors.first().and_then(|error| error.pointer.clone());
        Some((problem.code.into_owned(), place.unwrap_or(problem.detail)))
    }

    fn wants(text: &[u8], code_wanted: &str, place: &str) {
        let (got, at) = code(text).expect("refused");
        assert_eq!((got.as_str(), at.as_str()), (code_wanted, place));
    }

    #[test]
    fn a_fault_is_named_with_its_place() {
        assert_eq!(code(br#"{"a":[1,{"b":2}],"c":null}"#), None);
        wants(br#"{"a":{"b":[{"c":[]}]}}"#, "json-too-deep", "/a/b/0/c");
        wants(br#"{"a":{"b":1,"b":2}}"#, "duplicate-key", "/a/b");
        wants(br#"{"a~/":1,"a~/":2}"#, "duplicate-key", "/a~0~1");
        wants(b"{\"a\":\xff}", "invalid-utf8", "byte 5 of the body is not UTF-8");
        wants(b"{\"a\":\n NaN}", "malformed-json", "line 2, column 2: expected value");
        wants(b"1e999", "malformed-json", "line 1, column 5: number out of range");
        wants(b"1 2", "malformed-json", "line 1, column 3: trailing characters");
        assert!(code(b"").is_some());
        assert!(code(b"123456789012345678901234567890").is_none());
    }

    proptest! {
        #[test]
        fn outside_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = check(&bytes, 32);
        }

        #[test]
        fn what_is_taken_is_json(text in "[\\[\\]{}\":,0-9a-e. ]{0,24}") {
            let taken = check(text.as_bytes(), 32).is_ok();
            let parsed = serde_json::from_str::<serde_json::Value>(&text);
            if taken {
                prop_assert!(parsed.is_ok());
            }
        }
    }
}
