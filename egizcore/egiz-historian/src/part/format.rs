//! What a part says of itself beside Parquet's own footer: JSON under the key `openegiz.part`, version 1.
//!
//! It maps Parquet's columns to properties, and Things to rows. Names of columns are for people; readers of ours go by
//! this.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::decode::ValueKind;
use crate::column::{ColumnKey, Place};
use crate::scale::Divisor;

/// The key in Parquet's key-value metadata.
pub(crate) const KEY: &str = "openegiz.part";
/// What this program writes.
pub(crate) const VERSION: u32 = 1;

/// Columns before those of properties, in this order.
pub(crate) const THING: &str = "thing";
pub(crate) const TIME: &str = "time";
pub(crate) const DELAY: &str = "received_after_s";
pub(crate) const FIXED_COLUMNS: usize = 3;

/// The JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) version: u32,
    /// The definition that its Things follow, empty for those without one.
    pub(crate) family: String,
    /// Rows of a page, the last page of a row group excepted.
    #[serde(default = "first_page_rows")]
    pub(crate) page_rows: u32,
    /// What follows the fixed columns, in the order of the file.
    pub(crate) columns: Vec<DescribedColumn>,
    /// Whose rows are where, in the order of the file, which is that of ids.
    pub(crate) things: Vec<DescribedThing>,
    /// CRC-32C of each column chunk, by row group, then column, the fixed ones included. Pages have the checksum of the
    /// Parquet format besides, for other readers; it does not cover their headers.
    pub(crate) chunks_crc32c: Vec<u32>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DescribedColumn {
    pub(crate) feature: String,
    pub(crate) property: String,
    #[serde(default, skip_serializing_if = "PartPlace::is_whole")]
    pub(crate) place: PartPlace,
    pub(crate) form: Form,
}

/// [`Place`] as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PartPlace {
    #[default]
    Whole,
    Length,
    Item(u8),
}

impl PartPlace {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_whole(&self) -> bool {
        *self == Self::Whole
    }
}

/// How a column's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// Whole multiples of one over this divisor.
    Steps(u32),
    /// Whole numbers too large for a double.
    Wide,
    Double,
    Bool,
    Text,
    Json,
    /// Words on the quality, `/` between level and reason.
    Quality,
}

/// One Thing's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DescribedThing {
    pub(crate) id: String,
    /// Number of the row group.
    pub(crate) group: u32,
    /// Its first row within the group.
    pub(crate) row: u32,
    pub(crate) rows: u32,
    /// Times of its rows 0, `page_rows`, …, and of the last one, in microseconds, each as what it is after the one before.
    pub(crate) times: Vec<i64>,
    /// The numbers of the columns, those after the fixed ones, in which it has anything; empty where it has in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) has: Vec<u32>,
}

/// What the first files had, which did not say it.
fn first_page_rows() -> u32 {
    1440
}

impl DescribedThing {
    /// The rows that may lie in `[from, to)`: whole stretches of `page_rows` between two known times.
    pub(crate) fn rows_around(&self, from: i64, to: i64, page_rows: u32) -> Range<u32> {
        let (mut time, mut times) = (0_i64, Vec::with_capacity(self.times.len()));
        for after in &self.times {
            time = time.wrapping_add(*after);
            times.push(time);
        }
        let (Some((last, begins)), true) = (times.split_last(), from < to) else { return 0..0 };
        if *last < from {
            return 0..0;
        }
        let first_page = begins.partition_point(|begin| *begin <= from).saturating_sub(1);
        let end_page = begins.partition_point(|begin| *begin < to);
        let page = |number: usize| {
            u32::try_from(number).unwrap_or(u32::MAX).saturating_mul(page_rows).min(self.rows)
        };
        page(first_page)..page(end_page).max(page(first_page))
    }
}

impl DescribedColumn {
    pub(crate) fn new(key: &ColumnKey, form: Form) -> Self {
        let place = match key.place {
            Place::Whole => PartPlace::Whole,
            Place::Length => PartPlace::Length,
            Place::Item(index) => PartPlace::Item(index),
        };
        Self { feature: key.feature.to_string(), property: key.property.to_string(), place, form }
    }

    pub(crate) fn key(&self) -> ColumnKey {
        let place = match self.place {
            PartPlace::Whole => Place::Whole,
            PartPlace::Length => Place::Length,
            PartPlace::Item(index) => Place::Item(index),
        };
        ColumnKey { feature: self.feature.as_str().into(), property: self.property.as_str().into(), place }
    }

    pub(crate) fn same_key(&self, other: &Self) -> bool {
        (&self.property, &self.feature, self.place) == (&other.property, &other.feature, other.place)
    }

    /// The column's name in the file.
    pub(crate) fn name(&self) -> String {
        let key = self.key();
        match self.form {
            Form::Steps(1) | Form::Wide => key.to_string(),
            Form::Steps(divisor) => format!("{key}/{divisor}"),
            Form::Double => format!("{key}:double"),
            Form::Bool => format!("{key}:bool"),
            Form::Text => format!("{key}:text"),
            Form::Json => format!("{key}:json"),
            Form::Quality => format!("{key}:quality"),
        }
    }
}

impl Form {
    /// What its values are in the file.
    pub(super) fn kind(self) -> ValueKind {
        match self {
            Self::Steps(_) | Self::Wide => ValueKind::Long,
            Self::Double => ValueKind::Double,
            Self::Bool => ValueKind::Bool,
            Self::Text | Self::Json | Self::Quality => ValueKind::Text,
        }
    }

    /// Whether it holds numbers that are no multiples of a step.
    pub(crate) fn is_of_other_numbers(self) -> bool {
        matches!(self, Self::Double | Self::Wide)
    }

    /// The divisor of steps; nothing where a damaged file names one that there is not.
    pub(crate) fn divisor(self) -> Option<Divisor> {
        match self {
            Self::Steps(divisor) => Divisor::from_number(divisor),
            _ => None,
        }
    }
}
