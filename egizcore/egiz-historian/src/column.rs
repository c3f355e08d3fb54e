//! Which signal a column of cells belongs to.
//!
//! A property of plain values has one column. A list has one for its length and one for each of its first
//! [`ITEMS_MAX`] items, so that `temperature_zones` costs no more than as many properties would and each zone can be asked
//! for alone; longer lists, and lists that hold lists or objects, are kept as JSON text in the property's own column.

use std::fmt;
use std::sync::Arc;

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
