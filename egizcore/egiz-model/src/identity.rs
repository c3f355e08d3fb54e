//! Names: of Things, and of the features and properties inside them.
//!
//! The rules are those that Eclipse Ditto's users know (`namespace:name`, at most 256 characters, no slash in the
//! name), narrowed to what is also a valid MQTT topic level, so that topic, URL and id are the same word everywhere.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest Thing id, in bytes.
const THING_ID_BYTES_MAX: usize = 256;
/// The longest feature or property name, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// The globally unique id of a Thing, `<site>:<name>`, for example `factory:oven-001`.
///
/// The site consists of letters, digits, `_`, `-` and `.`; the name may hold any character but white space, control
/// characters, `/`, `+`, `#` and `"`. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThingId(Arc<str>);

/// Why a text is no Thing id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a Thing id: {reason}; allowed is <site>:<name>, for example factory:oven-001")]
pub struct InvalidThingId {
    text: String,
    reason: &'static str,
}

impl ThingId {
    /// Checks `text` and takes it as an id.
    ///
    /// # Errors
    /// [`InvalidThingId`] says which rule is broken.
    pub fn new(text: &str) -> Result<Self, InvalidThingId> {
        Self::check(text).map_err(|reason| InvalidThingId { text: shortened(text), reason })?;
        Ok(Self(text.into()))
    }

    /// Puts an id together from a site and a name.
    ///
    /// # Errors
    /// [`InvalidThingId`] says which rule is broken.
    pub fn from_parts(site: &str, name: &str) -> Result<Self, InvalidThingId> {
        Self::new(&format!("{site}:{name}"))
    }

    /// Says which rule `text` breaks, without making an id of it.
    ///
    /// # Errors
    /// The broken rule in words.
    pub fn check(text: &str) -> Result<(), &'static str> {
        if text.len() > THING_ID_BYTES_MAX {
            return Err("it is longer than 256 bytes");
        }
        let Some((site, name)) = text.split_once(':') else {
            return Err("it has no `:` between site and name");
        };
        if site.is_empty() {
            return Err("its site is empty");
        }
        if !site.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')) {
            return Err("its site holds something other than letters, digits, `_`, `-` and `.`");
        }
        if name.is_empty() {
            return Err("its name is empty");
        }
        if name.chars().any(is_forbidden) {
            return Err("its name holds white space, a control character or one of `/ + # \"`");
        }
        Ok(())
    }

    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first colon.
    #[must_use]
    pub fn site(&self) -> &str {
        self.0.split_once(':').map_or("", |(site, _)| site)
    }

    /// The part after the first colon.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, name)| name)
    }
}

impl Borrow<str> for ThingId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ThingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ThingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &*self.0)
    }
}

impl Serialize for ThingId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ThingId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// The rules for the name of a feature or of a property; a namespace for the check, never a value.
///
/// A name has 1 to 128 bytes, holds no control character and no `/`, and does not begin with `_` (such names are the
/// platform's own, as in `_revision`).
#[derive(Debug, Clone, Copy)]
pub enum Name {}

/// Why a text is no feature or property name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a name: {reason}")]
pub struct InvalidName {
    text: String,
    reason: &'static str,
}

impl Name {
    /// Checks `text` against the rules.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule is broken.
    pub fn check(text: &str) -> Result<(), InvalidName> {
        let reason = if text.is_empty() {
            "it is empty"
        } else if text.len() > NAME_BYTES_MAX {
            "it is longer than 128 bytes"
        } else if text.starts_with('_') {
            "it begins with `_`, which is kept for the platform"
        } else if text.chars().any(|character| character == '/' || character.is_control()) {
            "it holds `/` or a control character"
        } else {
            return Ok(());
        };
        Err(InvalidName { text: shortened(text), reason })
    }
}

fn is_forbidden(character: char) -> bool {
    character.is_whitespace() || character.is_control() || matches!(character, '/' | '+' | '#' | '"')
}

/// Keeps error texts short whatever the outside sends.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 64;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, &str), &str>) {
        match (ThingId::new(text), expected) {
            (Ok(id), Ok((site, name))) => assert_eq!((id.site(), id.name()), (site, name)),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, wanted) => panic!("{text}: {got:?}, wanted {wanted:?}"),
        }
    }

    #[test]
    fn a_thing_id_is_a_site_and_a_name() {
        check("factory:oven-001", Ok(("factory", "oven-001")));
        check("a.b_c-1:line:oven", Ok(("a.b_c-1", "line:oven")));
        check("factory:печь-1", Ok(("factory", "печь-1")));
    }

    #[test]
    fn a_broken_id_says_which_rule() {
        check("oven-001", Err("no `:`"));
        check(":x", Err("site is empty"));
        check("factory:", Err("name is empty"));
        check("fac tory:x", Err("site holds"));
        for name in ["a/b", "a b", "a+", "#", "a\u{7}", "a\"b"] {
            check(&format!("factory:{name}"), Err("name holds"));
        }
        check(&format!("factory:{}", "x".repeat(250)), Err("longer than 256"));
    }

    #[test]
    fn names_leave_the_underscore_to_the_platform() {
        assert!(Name::check("temperature_zones").is_ok());
        assert!(Name::check("Zone 1").is_ok());
        for name in ["", "_revision", "a/b", "a\n", &"x".repeat(129)] {
            assert!(Name::check(name).is_err(), "{name}");
        }
    }
}
