//! Whether a Thing satisfies a filter, without allocating.

use std::cmp::Ordering;
use std::fmt::Write as _;

use egiz_model::{Timestamp, Value};

use super::{Node, Operator};
use crate::document::step;
use crate::order::{Number, RANK_OF_NUMBERS, RANK_OF_TEXTS, compare_values, rank};
use crate::path::Path;
use crate::view::{FeatureRef, PropertyRef, ThingRef};

/// Where a filter finds what lies at its paths.
pub(super) trait Places<'a>: Copy {
    /// Calls `wanted` with what lies at the path until it says yes.
    fn at(self, path: &Path, wanted: impl FnMut(Found<'a>) -> bool) -> bool;
}

impl<'a> Places<'a> for ThingRef<'a> {
    fn at(self, path: &Path, wanted: impl FnMut(Found<'a>) -> bool) -> bool {
        at(path, self, wanted)
    }
}

pub(super) fn matches<'a>(node: &Node, thing: impl Places<'a>) -> bool {
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
        Node::Like { path, pattern, ignore_case } => any(path, thing, |found| {
            found.with_text(|text| like(text, pattern, *ignore_case)).unwrap_or(false)
        }),
        Node::Exists(path) => exists(path, thing),
        Node::Empty(path) => !exists(path, thing) || thing.at(path, |found| found.is_empty()),
    }
}

fn any_equal<'a>(path: &Path, thing: impl Places<'a>, value: &Value) -> bool {
    any(path, thing, |found| found.equals(value))
}

/// A value at a path.
#[derive(Clone, Copy)]
pub(crate) enum Found<'a> {
    Value(&'a Value),
    Text(&'a str),
    Number(i64),
    Moment(Timestamp),
    /// A whole feature, or all of something where there is any of it; it has no value to compare.
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

impl<'a> Found<'a> {
    fn text(&self) -> Option<&'a str> {
        match self {
            Self::Value(value) => value.as_str(),
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn with_text<T>(&self, read: impl FnOnce(&str) -> T) -> Option<T> {
        let Self::Moment(moment) = self else { return self.text().map(read) };
        let mut text = MomentText { bytes: [0; 32], length: 0 };
        // A moment has at most 27 characters.
        write!(text, "{moment}").ok()?;
        std::str::from_utf8(&text.bytes[..text.length]).ok().map(read)
    }

    fn number(&self) -> Option<Number> {
        match self {
            Self::Value(value) => Number::of(value),
            Self::Number(number) => Some(Number::Int(*number)),
            _ => None,
        }
    }

    fn equals(&self, value: &Value) -> bool {
        match self {
            Self::Value(found) => *found == value,
            _ => self.compare(value) == Some(Ordering::Equal),
        }
    }

    /// `None` where the kinds differ, or have no order.
    fn compare(&self, value: &Value) -> Option<Ordering> {
        match (self, value) {
            (Self::Moment(moment), Value::Text(text)) => Some(moment.cmp(&Timestamp::parse(text).ok()?)),
            _ => match (self.number(), Number::of(value)) {
                (Some(a), Some(b)) => Some(a.compare(b)),
                _ => Some(self.text()?.cmp(value.as_str()?)),
            },
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

    /// The order of sorting; moments are microseconds there.
    pub(crate) fn compare_for_sorting(&self, other: &Found<'_>) -> Ordering {
        if let (Self::Value(a), Found::Value(b)) = (self, other) {
            return compare_values(a, b);
        }
        if let (Some(a), Some(b)) = (self.sort_number(), other.sort_number()) {
            return a.compare(b);
        }
        if let (Some(a), Some(b)) = (self.text(), other.text()) {
            return a.cmp(b);
        }
        self.rank().cmp(&other.rank())
    }

    fn sort_number(&self) -> Option<Number> {
        match self {
            Self::Moment(moment) => Some(Number::Int(moment.as_micros())),
            _ => self.number(),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Value(value) => rank(value),
            Self::Number(_) | Self::Moment(_) => RANK_OF_NUMBERS,
            Self::Text(_) => RANK_OF_TEXTS,
            Self::Whole { .. } => u8::MAX,
        }
    }

    /// As a value that sorts like it.
    pub(crate) fn sort_value(&self) -> Value {
        match self {
            Self::Moment(moment) => Value::Int(moment.as_micros()),
            _ => self.to_value().unwrap_or_default(),
        }
    }

    fn to_value(self) -> Option<Value> {
        Some(match self {
            Self::Value(value) => value.clone(),
            Self::Text(text) => Value::text(text),
            Self::Number(number) => Value::Int(number),
            Self::Moment(moment) => Value::text(&moment.to_string()),
            Self::Whole { .. } => return None,
        })
    }
}

/// Whether any value at the path, or any element of an array there, is what is looked for.
fn any<'a>(path: &Path, thing: impl Places<'a>, mut wanted: impl FnMut(Found<'_>) -> bool) -> bool {
    thing.at(path, |found| match found {
        Found::Value(Value::List(items)) => {
            wanted(found) || items.iter().any(|item| wanted(Found::Value(item)))
        }
        _ => wanted(found),
    })
}

fn exists<'a>(path: &Path, thing: impl Places<'a>) -> bool {
    thing.at(path, |_| true)
}

/// Calls `wanted` with what lies at the path until it says yes.
fn at<'a>(path: &Path, thing: ThingRef<'a>, mut wanted: impl FnMut(Found<'a>) -> bool) -> bool {
    match path {
        Path::ThingId => wanted(Found::Text(thing.id().as_str())),
        Path::Definition => thing.definition().is_some_and(|definition| wanted(Found::Text(definition))),
        Path::Revision => wanted(Found::Number(i64::try_from(thing.revision()).unwrap_or(i64::MAX))),
        Path::Created => wanted(Found::Moment(thing.created())),
        Path::Modified => wanted(Found::Moment(thing.modified())),
        Path::Connection => wanted(Found::Text(thing.connection().as_str())),
        Path::Attribute(inner) => match inner.split_first() {
            None => thing.attributes().next().is_some() && wanted(Found::Whole { is_empty: false }),
            Some((name, inner)) => thing
                .attributes()
                .find(|attribute| **attribute.name() == **name)
                .and_then(|attribute| inside(attribute.value(), inner))
                .is_some_and(|value| wanted(Found::Value(value))),
        },
        Path::Feature(None) => thing.features().next().is_some() && wanted(Found::Whole { is_empty: false }),
        Path::Feature(Some(name)) => thing.feature(name).is_some_and(|feature| {
            let is_empty = feature.properties().next().is_none() && feature.desired().next().is_none();
            wanted(Found::Whole { is_empty })
        }),
        Path::Property { feature, inner, desired } => in_features(feature.as_deref(), thing, |feature| {
            in_feature(feature, inner, *desired, &mut wanted)
        }),
        Path::Quality { feature, property } => {
            in_quality(feature, property, thing, |property| wanted(Found::Text(property.quality().as_str())))
        }
        Path::Reason { feature, property } => in_quality(feature, property, thing, |property| {
            property.reason().as_str().is_some_and(|reason| wanted(Found::Text(reason)))
        }),
    }
}

fn in_features<'a>(
    name: Option<&str>,
    thing: ThingRef<'a>,
    wanted: impl FnMut(FeatureRef<'a>) -> bool,
) -> bool {
    match name {
        Some(name) => thing.feature(name).is_some_and(wanted),
        None => thing.features().any(wanted),
    }
}

fn in_feature<'a>(
    feature: FeatureRef<'a>,
    inner: &[String],
    desired: bool,
    wanted: &mut impl FnMut(Found<'a>) -> bool,
) -> bool {
    let Some((name, inner)) = inner.split_first() else {
        let any =
            if desired { feature.desired().next().is_some() } else { feature.properties().next().is_some() };
        return any && wanted(Found::Whole { is_empty: false });
    };
    let value = if desired {
        feature.desired().find(|member| **member.name() == **name).map(|member| member.value())
    } else {
        feature.property(name).map(|property| property.value())
    };
    value.and_then(|value| inside(value, inner)).is_some_and(|value| wanted(Found::Value(value)))
}

fn in_quality<'a>(
    feature: &Option<String>,
    property: &Option<String>,
    thing: ThingRef<'a>,
    mut wanted: impl FnMut(PropertyRef<'a>) -> bool,
) -> bool {
    in_features(feature.as_deref(), thing, |feature| match property {
        Some(name) => feature.property(name).is_some_and(&mut wanted),
        None => feature.properties().any(&mut wanted),
    })
}

pub(super) fn inside<'a>(value: &'a Value, inner: &[String]) -> Option<&'a Value> {
    inner.iter().try_fold(value, |value, segment| step(value, segment))
}

/// The first value at a path, for sorting.
pub(crate) fn first_found<'a>(path: &Path, thing: ThingRef<'a>) -> Option<Found<'a>> {
    let mut first = None;
    at(path, thing, |found| {
        if !matches!(found, Found::Whole { .. }) {
            first = Some(found);
        }
        first.is_some()
    });
    first
}

/// The first value at a path, for grouping.
pub(crate) fn first_value(path: &Path, thing: ThingRef<'_>) -> Option<Value> {
    first_found(path, thing)?.to_value()
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
