//! Places inside a Thing: JSON pointers (RFC 6901) as writes use them, and the slashed paths of filters and sorting.
//!
//! Both name the same tree: `attributes/<name>/…`, `features/<feature>/properties/<property>/…`, `definition`, `thingId`,
//! `_metadata/<feature>/<property>/…`, and the platform's own `_revision`, `_created`, `_modified`, `_connection`. In a
//! filter, `*` stands for any feature.

use std::fmt;

/// Splits a JSON pointer into its unescaped segments.
///
/// # Errors
/// Where it does not begin with `/` or has a bad escape.
pub(crate) fn pointer_segments(pointer: &str) -> Result<Vec<String>, &'static str> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let rest = pointer.strip_prefix('/').ok_or("a path begins with `/`")?;
    rest.split('/').map(unescape).collect()
}

fn unescape(segment: &str) -> Result<String, &'static str> {
    let mut text = String::with_capacity(segment.len());
    let mut characters = segment.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '~' => match characters.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return Err("`~` in a path is followed by 0 or 1"),
            },
            other => other,
        });
    }
    Ok(text)
}

/// What a filter, a sort key or an aggregate refers to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Path {
    /// `thingId`
    ThingId,
    /// `definition`
    Definition,
    /// `_revision`
    Revision,
    /// `_created`
    Created,
    /// `_modified`
    Modified,
    /// `_connection`: unknown, live, stale or offline.
    Connection,
    /// `attributes`, `attributes/type`, `attributes/address/city`
    Attribute(Vec<String>),
    /// `features`, `features/thermal`; `None` is any feature.
    Feature(Option<String>),
    /// `features/thermal/properties/temperature_zones/0`
    Property {
        /// The feature; `None` is any.
        feature: Option<String>,
        /// The property and what lies inside it; empty for all properties.
        inner: Vec<String>,
        /// Whether the desired properties are meant.
        desired: bool,
    },
    /// `_metadata/thermal/zone/quality`: good, uncertain or bad; `None` is any.
    Quality {
        /// The feature.
        feature: Option<String>,
        /// The property.
        property: Option<String>,
    },
    /// `_metadata/thermal/zone/reason`: why the quality is not good; `None` is any.
    Reason {
        /// The feature.
        feature: Option<String>,
        /// The property.
        property: Option<String>,
    },
}

impl Path {
    /// Reads a path; a leading slash is allowed.
    ///
    /// # Errors
    /// Says what may stand there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.strip_prefix('/').unwrap_or(text);
        let segments = trimmed.split('/').map(unescape).collect::<Result<Vec<_>, _>>()?;
        let unknown = || {
            format!(
                "`{text}` is no path; allowed are thingId, definition, attributes/…, features/<feature>, \
                 features/<feature>/properties/…, features/<feature>/desiredProperties/…, _metadata/<feature>/<property>/quality or …/reason, _revision, _created, _modified and _connection"
            )
        };
        if segments.iter().any(String::is_empty) {
            return Err(unknown());
        }
        let (head, rest) = segments.split_first().ok_or_else(unknown)?;
        Ok(match (head.as_str(), rest) {
            ("thingId", []) => Self::ThingId,
            ("definition", []) => Self::Definition,
            ("_revision", []) => Self::Revision,
            ("_created", []) => Self::Created,
            ("_modified", []) => Self::Modified,
            ("_connection", []) => Self::Connection,
            ("attributes", inner) => Self::Attribute(inner.to_vec()),
            ("_metadata", [feature, property, member]) if member == "quality" => {
                Self::Quality { feature: named(feature), property: named(property) }
            }
            ("_metadata", [feature, property, member]) if member == "reason" => {
                Self::Reason { feature: named(feature), property: named(property) }
            }
            ("features", []) => Self::Feature(None),
            ("features", [feature]) => Self::Feature(named(feature)),
            ("features", [feature, part, inner @ ..])
                if part == "properties" || part == "desiredProperties" =>
            {
                Self::Property {
                    feature: named(feature),
                    inner: inner.to_vec(),
                    desired: part == "desiredProperties",
                }
            }
            _ => return Err(unknown()),
        })
    }
}

fn named(name: &str) -> Option<String> {
    (name != "*").then(|| name.to_owned())
}

fn any_or(name: Option<&String>) -> String {
    name.cloned().unwrap_or_else(|| "*".to_owned())
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |formatter: &mut fmt::Formatter<'_>, inner: &[String]| {
            inner.iter().try_for_each(|segment| {
                write!(formatter, "/{}", segment.replace('~', "~0").replace('/', "~1"))
            })
        };
        match self {
            Self::ThingId => formatter.write_str("thingId"),
            Self::Definition => formatter.write_str("definition"),
            Self::Revision => formatter.write_str("_revision"),
            Self::Created => formatter.write_str("_created"),
            Self::Modified => formatter.write_str("_modified"),
            Self::Connection => formatter.write_str("_connection"),
            Self::Attribute(inner) => {
                formatter.write_str("attributes")?;
                join(formatter, inner)
            }
            Self::Feature(feature) => {
                formatter.write_str("features")?;
                join(formatter, feature.as_slice())
            }
            Self::Property { feature, inner, desired } => {
                formatter.write_str("features")?;
                join(formatter, &[any_or(feature.as_ref())])?;
                formatter.write_str(if *desired { "/desiredProperties" } else { "/properties" })?;
                join(formatter, inner)
            }
            Self::Quality { feature, property } | Self::Reason { feature, property } => {
                formatter.write_str("_metadata")?;
                join(formatter, &[any_or(feature.as_ref()), any_or(property.as_ref())])?;
                formatter.write_str(if matches!(self, Self::Quality { .. }) { "/quality" } else { "/reason" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_written_back() {
        for text in [
            "thingId",
            "definition",
            "_revision",
            "_connection",
            "attributes",
            "attributes/type",
            "attributes/a~1b/c~0d",
            "features",
            "features/thermal",
            "features/thermal/properties/zones/0",
            "features/*/properties/x",
            "features/a/desiredProperties/b",
            "features/a/properties",
            "_metadata/thermal/zone/quality",
            "_metadata/*/*/reason",
        ] {
            assert_eq!(Path::parse(text).map(|path| path.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(Path::parse("/attributes/type"), Path::parse("attributes/type"));
    }

    #[test]
    fn anything_else_says_what_is_allowed() {
        for text in ["", "/", "type", "features/a/b", "thingId/x", "attributes//x", "features//properties/x"]
        {
            assert!(Path::parse(text).expect_err("no path").contains("allowed are"), "{text}");
        }
        assert!(Path::parse("attributes/a~2").is_err());
    }

    #[test]
    fn pointers_are_unescaped_once() {
        assert_eq!(pointer_segments("/a~1b/~01").expect("a pointer"), ["a/b", "~1"]);
        assert_eq!(pointer_segments("").expect("a pointer"), Vec::<String>::new());
        assert!(pointer_segments("a").is_err());
        assert!(pointer_segments("/a~").is_err());
    }
}
