//! What a property holds: a JSON value, kept small.
//!
//! [`Value`] is owned and lives in the twin; [`ValueRef`] is the same borrowed from a journal record, so that a
//! message whose values did not change is compared without allocating. Whole numbers stay whole (`195` is written back
//! as `195`), yet equal their floating twin (`195 == 195.0`). There is no NaN and no infinity: JSON has none.

use std::collections::BTreeMap;
use std::fmt;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::record::format::{ItemReader, ItemWriter};

/// An owned value. A map keeps the order in which its members came and has no member twice.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// No value: the sensor could not be read, or null was written.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other finite number.
    Float(f64),
    /// A text.
    Text(Box<str>),
    /// An array.
    List(Box<[Value]>),
    /// An object.
    Map(Box<[(Box<str>, Value)]>),
}

/// A value inside an encoded record.
#[derive(Debug, Clone, Copy)]
pub enum ValueRef<'a> {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other finite number.
    Float(f64),
    /// A text.
    Text(&'a str),
    /// An array, still encoded.
    List(EncodedList<'a>),
    /// An object, still encoded.
    Map(EncodedMap<'a>),
}

/// The items of an encoded array; checked when the record was decoded.
#[derive(Debug, Clone, Copy)]
pub struct EncodedList<'a>(pub(crate) &'a [u8]);

/// The members of an encoded object; checked when the record was decoded.
#[derive(Debug, Clone, Copy)]
pub struct EncodedMap<'a>(pub(crate) &'a [u8]);

impl Value {
    /// A text value.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// The number, whole or not.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "beyond 2^53 the nearest double is what JSON readers see"
            )]
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of an array.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The member of an object with this name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Map(members) => members.iter().find(|(key, _)| &**key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Whether an encoded value says the same; without decoding it into an owned one, unless an object's members come in
    /// another order or twice.
    #[must_use]
    pub fn same_as(&self, other: &ValueRef<'_>) -> bool {
        self.same_in_order(other) || (other.holds_object() && *self == other.to_owned())
    }

    fn same_in_order(&self, other: &ValueRef<'_>) -> bool {
        match (self, other) {
            (Self::Null, ValueRef::Null) => true,
            (Self::Bool(a), ValueRef::Bool(b)) => a == b,
            (Self::Int(a), ValueRef::Int(b)) => a == b,
            (Self::Text(a), ValueRef::Text(b)) => **a == **b,
            (Self::List(a), ValueRef::List(b)) => {
                let mut items = b.iter();
                a.iter().all(|mine| items.next().is_some_and(|theirs| mine.same_in_order(&theirs)))
                    && items.next().is_none()
            }
            (Self::Map(a), ValueRef::Map(b)) => {
                let mut members = b.iter();
                a.iter().all(|(name, mine)| {
                    members
                        .next()
                        .is_some_and(|(other, theirs)| **name == *other && mine.same_in_order(&theirs))
                }) && members.next().is_none()
            }
            (mine, theirs) => match (mine.as_f64(), theirs.as_f64()) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
        }
    }

    /// Bytes that this value holds on the heap, for limits and memory figures.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List(items) => {
                size_of_val::<[Value]>(items) + items.iter().map(Self::heap_bytes).sum::<usize>()
            }
            Self::Map(members) => {
                size_of_val::<[(Box<str>, Value)]>(members)
                    + members.iter().map(|(name, value)| name.len() + value.heap_bytes()).sum::<usize>()
            }
            _ => 0,
        }
    }

    /// Takes a JSON value over. A whole number beyond 64 bits becomes the nearest double, as JSON readers do.
    #[must_use]
    pub fn from_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(truth) => Self::Bool(*truth),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => number.as_f64().map_or(Self::Null, Self::Float),
            },
            serde_json::Value::String(text) => Self::text(text),
            serde_json::Value::Array(items) => Self::List(items.iter().map(Self::from_json).collect()),
            serde_json::Value::Object(members) => Self::Map(
                members.iter().map(|(name, value)| (name.as_str().into(), Self::from_json(value))).collect(),
            ),
        }
    }

    /// The same as a JSON value.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(truth) => (*truth).into(),
            Self::Int(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) => (**text).into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(members) => {
                members.iter().map(|(name, value)| (name.to_string(), value.to_json())).collect()
            }
        }
    }
}

/// Equal as JSON values are: `1` equals `1.0`, and the order of members does not matter.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => same_members(a, b),
            _ => match (self.as_f64(), other.as_f64()) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
        }
    }
}

/// Compares in about as many steps as there are members, so that large objects from outside cannot cost their square.
fn same_members(a: &[(Box<str>, Value)], b: &[(Box<str>, Value)]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if a.iter().zip(b).all(|((one, _), (other, _))| one == other) {
        return a.iter().zip(b).all(|((_, one), (_, other))| one == other);
    }
    let by_name: BTreeMap<&str, &Value> = b.iter().map(|(name, value)| (&**name, value)).collect();
    a.iter().all(|(name, value)| by_name.get(&**name) == Some(&value))
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    sequence.serialize_element(item)?;
                }
                sequence.end()
            }
            Self::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(&**name, value)?;
                }
                map.end()
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl ValueRef<'_> {
    /// The number, whole or not.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "beyond 2^53 the nearest double is what JSON readers see"
            )]
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether there is an object in it.
    fn holds_object(&self) -> bool {
        match self {
            Self::List(items) => items.iter().any(|item| item.holds_object()),
            Self::Map(_) => true,
            _ => false,
        }
    }

    /// Copies it out of the record. Of a member that an object has twice, which devices can send, the last value counts, as
    /// with most readers of JSON.
    #[must_use]
    pub fn to_owned(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Int(number) => Value::Int(*number),
            Self::Float(number) => Value::Float(*number),
            Self::Text(text) => Value::text(text),
            Self::List(list) => Value::List(list.iter().map(|item| item.to_owned()).collect()),
            Self::Map(map) => {
                let mut members: Vec<(Box<str>, Value)> = Vec::new();
                let mut places = BTreeMap::new();
                for (name, value) in map.iter() {
                    let place = *places.entry(name).or_insert(members.len());
                    match members.get_mut(place) {
                        Some((_, earlier)) => *earlier = value.to_owned(),
                        None => members.push((name.into(), value.to_owned())),
                    }
                }
                Value::Map(members.into())
            }
        }
    }
}

impl<'a> EncodedList<'a> {
    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = ValueRef<'a>> + use<'a> {
        let mut reader = ItemReader::new(self.0);
        std::iter::from_fn(move || reader.value_or_end())
    }
}

impl<'a> EncodedMap<'a> {
    /// The members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, ValueRef<'a>)> + use<'a> {
        let mut reader = ItemReader::new(self.0);
        std::iter::from_fn(move || {
            let name = reader.text_or_end()?;
            Some((name, reader.value_or_end()?))
        })
    }
}

impl Value {
    /// Appends this value to a record or snapshot that is being written.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = ItemWriter::new(out);
        match self {
            Self::Null => writer.null(),
            Self::Bool(truth) => writer.bool(*truth),
            Self::Int(number) => writer.int(*number),
            Self::Float(number) => writer.float(*number),
            Self::Text(text) => writer.text(text),
            Self::List(items) => {
                let start = writer.begin_list();
                for item in items {
                    item.encode(out);
                }
                ItemWriter::new(out).end(start);
            }
            Self::Map(members) => {
                let start = writer.begin_map();
                for (name, value) in members {
                    ItemWriter::new(out).name(name);
                    value.encode(out);
                }
                ItemWriter::new(out).end(start);
            }
        }
    }
}

#[cfg(test)]
mod tests;
