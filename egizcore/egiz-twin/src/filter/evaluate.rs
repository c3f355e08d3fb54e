//! Whether a Thing satisfies a filter, without allocating.

use std::cmp::Ordering;
use std::fmt::Write as _;

use egiz_model::{Timestamp, Value};

use super::{Node, Operator};
use crate::document::step;
use crate::path::Path;
use crate::view::ThingRef;

pub(super) fn matches(node: &Node, thing: ThingRef<'_>) -> bool {
    match node {
        Node::And(nodes) => nodes.iter().all(|node| matches(node, thing)),
        Node::Or(nodes) => nodes.iter().any(|node| matches(node, thing)),
        Node::Not(node) => !matches(node, thing),
        Node::Compare { path, operator: Operator::Ne, value } => !any_equal(path, thing, value),
        Node::Compare { path, operator: Operator::Eq, value } => any_equal(path, thing, value),
        Node::Compare { path, operator, value } => any(path, thing, |found| {
            found.compare(value).is_some_and(|ordering| match operator {
                Operator::Gt => ordering == Ordering::Greater,
                Operator::Ge => ordering != Ordering::Less,
                Operator::Lt => ordering == Ordering::Less,
                _ => ordering != Ordering::Greater,
            })
        }),
        Node::In { path, values } => values.iter().any(|value| any_equal(path, thing, value)),
        Node::Like { path, pattern, ignore_case } => {
            any(path, thing, |found| found.text().is_some_and(|text| like(text, pattern, *ignore_case)))
        }
        Node::Exists(path) => exists(path, thing),
        Node::Empty(path) => !exists(path, thing) || at(path, thing, |found| found.is_empty()),
    }
}

fn any_equal(path: &Path, thing: ThingRef<'_>, value: &Value) -> bool {
    any(path, thing, |found| found.equals(value))
}

/// A value at a path.
#[derive(Clone, Copy)]
enum Found<'a> {
    Value(&'a Value),
    Text(&'a str),
    Number(u64),
    Moment(Timestamp),
    /// A whole feature or all of something; it has no value to compare.
    Whole {
        is_empty: bool,
    },
}

/// A moment's text, without allocating.
struct MomentText {
    bytes: [u8; 32],
    length: usize,
}

impl std::fmt::Write for MomentText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl Found<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Value(value) => value.as_str(),
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn equals(&self, value: &Value) -> bool {
        match self {
            Self::Value(found) => *found == value,
            _ => self.compare(value) == Some(Ordering::Equal),
        }
    }

    fn compare(&self, value: &Value) -> Option<Ordering> {
        match (self, value) {
            (Self::Moment(moment), Value::Text(text)) => Some(moment.cmp(&Timestamp::parse(text).ok()?)),
            #[expect(clippy::cast_precision_loss, reason = "revisions stay far below 2^53")]
            (Self::Number(number), _) => (*number as f64).partial_cmp(&value.as_f64()?),
            (Self::Value(found), _) if found.as_str().is_none() => {
                found.as_f64()?.partial_cmp(&value.as_f64()?)
            }
            _ => Some(self.text()?.cmp(value.as_str()?)),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Value(Value::Null) => true,
            Self::Value(Value::Text(text)) => text.is_empty(),
            Self::Value(Value::List(items)) => items.is_empty(),
            Self::Value(Value::Map(members)) => members.is_empty(),
            Self::Text(text) => text.is_empty(),
            Self::Whole { is_empty } => *is_empty,
            _ => false,
        }
    }
}

/// Whether any value at the path, or any element of an array there, is what is looked for.
fn any(path: &Path, thing: ThingRef<'_>, mut wanted: impl FnMut(Found<'_>) -> bool) -> bool {
    at(path, thing, |found| match found {
        Found::Value(Value::List(items)) => {
            wanted(found) || items.iter().any(|item| wanted(Found::Value(item)))
        }
        Found::Moment(moment) => {
            let mut text = MomentText { bytes: [0; 32], length: 0 };
            // A moment has at most 27 characters.
            let written = write!(text, "{moment}").is_ok();
            let text = std::str::from_utf8(&text.bytes[..text.length]).unwrap_or_default();
            wanted(found) || (written && wanted(Found::Text(text)))
        }
        _ => wanted(found),
    })
}

fn exists(path: &Path, thing: ThingRef<'_>) -> bool {
    at(path, thing, |_| true)
}

/// Calls `wanted` with what lies at the path until it says yes.
fn at(path: &Path, thing: ThingRef<'_>, mut wanted: impl FnMut(Found<'_>) -> bool) -> bool {
    match path {
        Path::ThingId => wanted(Found::Text(thing.id().as_str())),
        Path::Definition => thing.definition().is_some_and(|definition| wanted(Found::Text(definition))),
        Path::Revision => wanted(Found::Number(thing.revision())),
        Path::Created => wanted(Found::Moment(thing.created())),
        Path::Modified => wanted(Found::Moment(thing.modified())),
        Path::Connection => wanted(Found::Text(thing.connection().as_str())),
        Path::Attribute(inner) => match inner.split_first() {
            None => {
                let is_empty = thing.attributes().next().is_none();
                wanted(Found::Whole { is_empty })
            }
            Some((name, inner)) => thing
                .attributes()
                .find(|attribute| **attribute.name() == **name)
                .and_then(|attribute| inside(attribute.value(), inner))
                .is_some_and(|value| wanted(Found::Value(value))),
        },
        Path::Feature(None) => {
            let is_empty = thing.features().next().is_none();
            wanted(Found::Whole { is_empty })
        }
        Path::Feature(Some(name)) => thing.feature(name).is_some_and(|feature| {
            let is_empty = feature.properties().next().is_none() && feature.desired().next().is_none();
            wanted(Found::Whole { is_empty })
        }),
        Path::Property { feature, inner, desired } => {
            let in_feature = |feature: crate::view::FeatureRef<'_>| match inner.split_first() {
                None => {
                    let is_empty = if *desired {
                        feature.desired().next().is_none()
                    } else {
                        feature.properties().next().is_none()
                    };
                    wanted(Found::Whole { is_empty })
                }
                Some((name, inner)) => {
                    let value = if *desired {
                        let found = feature.desired().find(|member| **member.name() == **name);
                        found.map(|member| member.value())
                    } else {
                        feature.property(name).map(|property| property.value())
                    };
                    value
                        .and_then(|value| inside(value, inner))
                        .is_some_and(|value| wanted(Found::Value(value)))
                }
            };
            match feature {
                Some(name) => thing.feature(name).is_some_and(in_feature),
                None => thing.features().any(in_feature),
            }
        }
    }
}

fn inside<'a>(value: &'a Value, inner: &[String]) -> Option<&'a Value> {
    inner.iter().try_fold(value, |value, segment| step(value, segment))
}

/// The first value at a path, for sorting and grouping.
pub(crate) fn first_value(path: &Path, thing: ThingRef<'_>) -> Option<Value> {
    let mut first = None;
    at(path, thing, |found| {
        first = Some(match found {
            Found::Value(value) => value.clone(),
            Found::Text(text) => Value::text(text),
            Found::Number(number) => Value::Int(i64::try_from(number).unwrap_or(i64::MAX)),
            Found::Moment(moment) => Value::text(&moment.to_string()),
            Found::Whole { .. } => return false,
        });
        true
    });
    first
}

/// Calls `each` with every number at a path; the elements of an array count each.
pub(crate) fn numbers(path: &Path, thing: ThingRef<'_>, mut each: impl FnMut(f64)) {
    at(path, thing, |found| {
        match found {
            Found::Value(Value::List(items)) => items.iter().filter_map(Value::as_f64).for_each(&mut each),
            Found::Value(value) => value.as_f64().into_iter().for_each(&mut each),
            #[expect(clippy::cast_precision_loss, reason = "revisions stay far below 2^53")]
            Found::Number(number) => each(number as f64),
            _ => {}
        }
        false
    });
}

/// Matches a pattern with `*` and `?`, in time at most the product of the lengths.
fn like(text: &str, pattern: &str, ignore_case: bool) -> bool {
    let same = |a: char, b: char| a == b || (ignore_case && a.to_lowercase().eq(b.to_lowercase()));
    let (mut text_rest, mut pattern_rest) = (text.chars(), pattern.chars());
    // Where to go on after the last star took one character more.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut pattern_next = pattern_rest.clone();
        match pattern_next.next() {
            Some('*') => {
                retry = Some((text_rest.clone(), pattern_next.clone()));
                pattern_rest = pattern_next;
                continue;
            }
            Some(wanted) => {
                let mut text_next = text_rest.clone();
                if text_next.next().is_some_and(|found| wanted == '?' || same(found, wanted)) {
                    (text_rest, pattern_rest) = (text_next, pattern_next);
                    continue;
                }
            }
            None if text_rest.as_str().is_empty() => return true,
            None => {}
        }
        let Some((retry_text, retry_pattern)) = &mut retry else { return false };
        if retry_text.next().is_none() {
            return false;
        }
        (text_rest, pattern_rest) = (retry_text.clone(), retry_pattern.clone());
    }
}
