//! Which signal a column of cells belongs to, and how a property's value becomes cells.
//!
//! A property of plain values has one column. A list has one for its length and one for each of its first
//! [`ITEMS_MAX`] items, so that `temperature_zones` costs no more than as many properties would and each zone can be asked
//! for alone; longer lists, and lists that hold lists or objects, are kept as JSON text in the property's own column.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use egiz_model::{Quality, QualityReason, ValueRef};
use indexmap::{Equivalent, IndexSet};

use crate::cell::{Cell, Texts};

/// The longest list that is spread over columns.
pub const ITEMS_MAX: u8 = 64;

/// Which part of a property's value a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A value that is no list.
    Whole,
    /// How long the list is; the list's quality is this cell's.
    Length,
    /// One item of a list, from 0.
    Item(u8),
}

/// The key of a column within a Thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ColumnKey {
    pub(crate) feature: Arc<str>,
    pub(crate) property: Arc<str>,
    pub(crate) place: Place,
}

impl ColumnKey {
    pub(crate) fn is_of(&self, feature: &str, property: &str) -> bool {
        *self.property == *property && *self.feature == *feature
    }

    pub(crate) fn is_at(&self, feature: &str, property: &str, place: Place) -> bool {
        self.place == place && self.is_of(feature, property)
    }

    pub(crate) fn same_property(&self, other: &Self) -> bool {
        self.is_of(&other.feature, &other.property)
    }
}

/// A key that is looked for: hashes as [`ColumnKey`] does, whose fields are these in the same order.
struct Wanted<'a> {
    feature: &'a str,
    property: &'a str,
    place: Place,
}

impl Hash for Wanted<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.feature.hash(state);
        self.property.hash(state);
        self.place.hash(state);
    }
}

impl Equivalent<ColumnKey> for Wanted<'_> {
    fn equivalent(&self, key: &ColumnKey) -> bool {
        key.is_at(self.feature, self.property, self.place)
    }
}

/// The columns of many Things, numbered as they come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    keys: IndexSet<ColumnKey>,
    /// Which column came after each the last time, since devices keep to their order; the first entry is for what comes
    /// first.
    after: Vec<usize>,
}

/// Memory of a column's key, about.
const KEY_BYTES: usize = 192;

impl Columns {
    /// The number of a column, new if need be. `before` is the number of the one that was asked for before it in the same
    /// row.
    pub(crate) fn number(
        &mut self,
        feature: &str,
        property: &str,
        place: Place,
        before: Option<usize>,
    ) -> usize {
        let slot = before.map_or(0, |before| before + 1);
        let guess = self.after.get(slot).copied().unwrap_or_default();
        if self.keys.get_index(guess).is_some_and(|key| key.is_at(feature, property, place)) {
            return guess;
        }
        let number = self.keys.get_index_of(&Wanted { feature, property, place }).unwrap_or_else(|| {
            let key = ColumnKey { feature: feature.into(), property: property.into(), place };
            self.keys.insert_full(key).0
        });
        self.after.resize(self.keys.len() + 1, 0);
        self.after[slot] = number;
        number
    }

    /// The key with a number that [`Self::number`] gave.
    pub(crate) fn key(&self, number: usize) -> &ColumnKey {
        &self.keys[number]
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// About how much memory they take.
    pub(crate) fn bytes(&self) -> usize {
        self.keys.len() * KEY_BYTES
    }
}

/// The cells of a property's value, each with its place; of a list the length comes first.
pub(crate) fn spread(
    value: &ValueRef<'_>,
    trust: (Quality, QualityReason),
    texts: &mut Texts,
    mut put: impl FnMut(Place, Cell),
) {
    if let ValueRef::List(items) = value {
        let is_plain = items.iter().all(|item| !matches!(item, ValueRef::List(_) | ValueRef::Map(_)));
        let length = items.iter().count();
        if is_plain && length <= usize::from(ITEMS_MAX) {
            let whole = i64::try_from(length).unwrap_or_default();
            put(Place::Length, Cell::int(whole).judged(trust.0, trust.1));
            for (index, item) in (0_u8..).zip(items.iter()) {
                put(Place::Item(index), plain(&item, texts));
            }
            return;
        }
    }
    put(Place::Whole, plain(value, texts).judged(trust.0, trust.1));
}

fn plain(value: &ValueRef<'_>, texts: &mut Texts) -> Cell {
    match value {
        ValueRef::Null => Cell::NULL,
        ValueRef::Bool(truth) => Cell::bool(*truth),
        ValueRef::Int(number) => Cell::int(*number),
        ValueRef::Float(number) => Cell::number(*number),
        ValueRef::Text(text) => Cell::text(texts.intern(text)),
        ValueRef::Map(_) | ValueRef::List(_) => {
            Cell::json(texts.intern(&value.to_owned().to_json().to_string()))
        }
    }
}

/// As it begins the name of a column in a file: `thermal.zones[0]`.
impl fmt::Display for ColumnKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.feature, self.property)?;
        match self.place {
            Place::Whole => Ok(()),
            Place::Length => write!(formatter, ".length"),
            Place::Item(index) => write!(formatter, "[{index}]"),
        }
    }
}
