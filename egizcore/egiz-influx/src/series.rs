//! A series as one name: the measurement with its tags, but for those that name the device.
//!
//! ```text
//!  disk,path=/var,device=sda1  ◄──►  disk,device=sda1,path=%2Fvar
//! ```
//!
//! A Thing's feature is a series of that Thing, so the name goes both ways without loss: what was written under a measurement
//! and tags is read back under them. Tags stand in the order of their names. What a feature's name may not hold, and what
//! would be taken for a separator, stands as `%` and two hexadecimal digits; a name that needs none of this stays as it is.

use std::fmt::Write as _;

/// A measurement and tags, in the order of the tags' names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Series {
    /// The measurement.
    pub measurement: String,
    /// Names and values of tags.
    pub tags: Vec<(String, String)>,
}

impl Series {
    /// Reads the name of a feature. Every text is one: what has no tags in the right form is a measurement as a whole.
    #[must_use]
    pub fn of_feature(name: &str) -> Self {
        let mut parts = name.split(',');
        let measurement = parts.next().unwrap_or_default();
        let tags: Option<Vec<(String, String)>> =
            parts.map(|part| part.split_once('=').map(|(key, value)| (plain(key), plain(value)))).collect();
        match tags {
            Some(tags) if !measurement.is_empty() => Self { measurement: plain(measurement), tags },
            _ => Self { measurement: plain(name), tags: Vec::new() },
        }
    }

    /// The value of a tag.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// Writes the name of a feature that stands for a measurement and tags. The tags are given in the order of their names.
pub fn write_feature<'t>(
    out: &mut String,
    measurement: &str,
    tags: impl IntoIterator<Item = (&'t str, &'t str)>,
) {
    escape(out, measurement);
    for (key, value) in tags {
        out.push(',');
        escape(out, key);
        out.push('=');
        escape(out, value);
    }
}

fn escape(out: &mut String, text: &str) {
    for (place, character) in text.char_indices() {
        let is_ambiguous = match character {
            ',' | '=' | '/' => true,
            '_' => out.is_empty(),
            '%' => hexadecimal(&text[place + 1..]).is_some(),
            other => other.is_control(),
        };
        if is_ambiguous {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                // Writing to a text cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(character);
        }
    }
}

fn plain(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        match hexadecimal(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[2..];
            }
            None => bytes.push(b'%'),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// The byte that two hexadecimal digits at the beginning stand for.
fn hexadecimal(text: &str) -> Option<u8> {
    let digits = text.as_bytes().get(..2)?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(digits[0])? << 4 | digit(digits[1])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(measurement: &str, tags: &[(&str, &str)], feature: &str) {
        let mut name = String::new();
        write_feature(&mut name, measurement, tags.iter().copied());
        assert_eq!(name, feature);
        let series = Series::of_feature(&name);
        assert_eq!(series.measurement, measurement);
        let read: Vec<(&str, &str)> =
            series.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(read, tags);
    }

    #[test]
    fn a_series_is_one_name() {
        check("thermal", &[], "thermal");
        check("cpu", &[("cpu", "cpu0")], "cpu,cpu=cpu0");
        check("disk", &[("device", "sda1"), ("path", "/var")], "disk,device=sda1,path=%2Fvar");
        check("a b", &[("k=", "v,"), ("z", "50%")], "a b,k%3D=v%2C,z=50%");
        check("100%25", &[], "100%2525");
        check("_internal", &[("_a", "_b")], "%5Finternal,_a=_b");
        check("line\nfeed", &[], "line%0Afeed");
    }

    #[test]
    fn every_name_of_a_feature_is_a_series() {
        for name in ["a,b", ",a=b", "", "a,b=c,d", "50%", "%ff", "%"] {
            let series = Series::of_feature(name);
            assert!(series.tags.is_empty(), "{name}: {series:?}");
            assert_eq!(series.measurement, name);
        }
    }

    proptest! {
        #[test]
        fn a_series_comes_back_whole(
            measurement in "\\PC{1,12}|[a-z_%=,/0-9 ]{1,12}",
            tags in prop::collection::btree_map("[a-z_%=,/0-9é]{1,6}", "[a-z_%=,/0-9 \\n]{1,6}", 0..4),
        ) {
            let mut name = String::new();
            write_feature(&mut name, &measurement, tags.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            let expected = Series { measurement, tags: tags.into_iter().collect() };
            prop_assert_eq!(Series::of_feature(&name), expected);
            prop_assert!(!name.starts_with('_'));
            prop_assert!(!name.chars().any(|c| c == '/' || c.is_control()));
        }

        #[test]
        fn no_text_is_refused(name in any::<String>()) {
            let _ = Series::of_feature(&name);
        }
    }
}
