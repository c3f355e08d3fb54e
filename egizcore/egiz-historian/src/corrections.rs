//! What people found out to be wrong about the past, laid over it when it is read.
//!
//! ```text
//!  parts, memory ──► table in the order of time ──► corrections of this Thing, the older first ──► who asked
//! ```
//!
//! Nothing that was kept is changed: who asks for the original reads past the corrections, and one that is taken back is gone
//! with the next read. A correction is about the samples of one property, or of one item of its lists, with times within a
//! span, those included that come late; it makes no sample where there is none. Of two about one sample the later one
//! holds. Samples that were touched say so by their reason, [`QualityReason::Corrected`].
//!
//! It does not keep them: whoever does gives them when the history is opened, and each time one is made or taken back.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use egiz_model::record::format::{DEPTH_MAX, ItemReader};
use egiz_model::{Quality, QualityReason, Timestamp, Value, ValueRef};
use parking_lot::RwLock;

use crate::cell::{Cell, Kind, Texts};
use crate::column::{ColumnKey, Place, spread};
use crate::table::{Column, Table};

/// What is so instead of what was said.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    /// Its number. Of two about the same sample, the higher one holds.
    pub id: u64,
    /// The Thing.
    pub thing: Arc<str>,
    /// The feature.
    pub feature: Arc<str>,
    /// The property.
    pub property: Arc<str>,
    /// Which item of its lists, from 0 to 63; all of the property where it is missing.
    pub item: Option<u8>,
    /// The first moment that it is about.
    pub from: Timestamp,
    /// The first moment after.
    pub to: Timestamp,
    /// The right value; the one that was said where it is missing.
    pub value: Option<Value>,
    /// How far to trust it. An item has no quality of its own: a bad one has no value, and an uncertain one is as its list.
    pub quality: Quality,
}

/// The corrections in force.
#[derive(Debug, Default)]
pub struct Corrections(RwLock<HashMap<Arc<str>, OfThing>>);

/// Those of one Thing, by number.
type OfThing = Arc<Vec<Arc<Correction>>>;

impl Corrections {
    /// Puts these in force, in place of all others.
    pub fn set(&self, all: impl IntoIterator<Item = Correction>) {
        let mut of_things: HashMap<Arc<str>, Vec<Arc<Correction>>> = HashMap::new();
        for correction in all {
            of_things.entry(Arc::clone(&correction.thing)).or_default().push(Arc::new(correction));
        }
        let sorted = of_things.into_iter().map(|(thing, mut own)| {
            own.sort_by_key(|correction| correction.id);
            (thing, Arc::new(own))
        });
        *self.0.write() = sorted.collect();
    }

    /// Puts one in force; one of the same number is replaced.
    pub fn add(&self, correction: Correction) {
        let mut things = self.0.write();
        let own = Arc::make_mut(things.entry(Arc::clone(&correction.thing)).or_default());
        let place = own.partition_point(|known| known.id < correction.id);
        if own.get(place).is_some_and(|known| known.id == correction.id) {
            own[place] = Arc::new(correction);
        } else {
            own.insert(place, Arc::new(correction));
        }
    }

    /// Takes one back.
    pub fn remove(&self, thing: &str, id: u64) {
        let mut things = self.0.write();
        let Some(own) = things.get_mut(thing) else { return };
        Arc::make_mut(own).retain(|known| known.id != id);
        if own.is_empty() {
            things.remove(thing);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.read().values().map(|own| own.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }

    /// Whether any is about a property, or items of it, within `[from, to)`: then what was reckoned from the original samples
    /// of that time is not what is answered. Costs a look-up for Things without any.
    #[must_use]
    pub fn touch(&self, thing: &str, feature: &str, property: &str, from: Timestamp, to: Timestamp) -> bool {
        let things = self.0.read();
        let mut own = things.get(thing).into_iter().flat_map(|own| own.iter());
        own.any(|known| {
            known.from < to && from < known.to && *known.property == *property && *known.feature == *feature
        })
    }

    /// Whether any is about anything of a Thing within `[from, to)`.
    #[must_use]
    pub fn touch_thing(&self, thing: &str, from: Timestamp, to: Timestamp) -> bool {
        let things = self.0.read();
        let mut own = things.get(thing).into_iter().flat_map(|own| own.iter());
        own.any(|known| known.from < to && from < known.to)
    }

    pub(crate) fn of(&self, thing: &str) -> OfThing {
        self.0.read().get(thing).cloned().unwrap_or_default()
    }
}

/// Lays corrections over the rows of their Thing, which are in order.
pub(crate) fn lay_over(own: &[Arc<Correction>], table: &mut Table, texts: &mut Texts) {
    for correction in own {
        let rows = table.between(correction.from.as_micros(), correction.to.as_micros());
        let is_of = |column: &Column| column.key.is_of(&correction.feature, &correction.property);
        if rows.is_empty() || !table.columns.iter().any(is_of) {
            continue;
        }
        match correction.item {
            Some(item) => correct_item(correction, item, rows, table, texts),
            None => correct_whole(correction, rows, table, texts),
        }
    }
}

fn correct_whole(correction: &Correction, rows: Range<usize>, table: &mut Table, texts: &mut Texts) {
    let trust = (correction.quality, QualityReason::Corrected);
    let mut cells: Vec<(Place, Cell)> = Vec::new();
    if let Some(value) = &correction.value {
        with_ref(value, |value| spread(value, trust, texts, |place, cell| cells.push((place, cell))));
    }
    for row in rows {
        let Some(head) = head_of(table, correction, row) else { continue };
        if correction.value.is_none() {
            let cell = &mut table.columns[head].cells[row];
            // What was never a value does not become one by being trusted more.
            if cell.kind != Kind::Null || correction.quality == Quality::Bad {
                *cell = cell.judged(trust.0, trust.1);
            }
            continue;
        }
        for column in &mut table.columns {
            if column.key.is_of(&correction.feature, &correction.property)
                && let Some(cell) = column.cells.get_mut(row)
            {
                *cell = Cell::ABSENT;
            }
        }
        for (place, cell) in &cells {
            put(table, correction, *place, row, *cell);
        }
    }
}

fn correct_item(correction: &Correction, item: u8, rows: Range<usize>, table: &mut Table, texts: &mut Texts) {
    let mut right = Cell::NULL;
    let is_bad = correction.quality == Quality::Bad;
    if let Some(value) = correction.value.as_ref().filter(|_| !is_bad) {
        with_ref(value, |value| {
            spread(value, (Quality::Good, QualityReason::None), texts, |place, cell| {
                if place == Place::Whole {
                    right = cell;
                }
            });
        });
    }
    for row in rows {
        let Some(head) = head_of(table, correction, row) else { continue };
        let length = table.columns[head].cells[row];
        let is_reached = table.columns[head].key.place == Place::Length && length.as_int() > i64::from(item);
        if !is_reached {
            continue;
        }
        if correction.value.is_some() || is_bad {
            put(table, correction, Place::Item(item), row, right);
        }
        table.columns[head].cells[row] = length.judged(length.quality, QualityReason::Corrected);
    }
}

/// The column whose cell says that the property is there in a row, and how far it can be trusted; nothing where it is not there or
/// was taken away.
fn head_of(table: &Table, correction: &Correction, row: usize) -> Option<usize> {
    table.columns.iter().position(|column| {
        column.key.is_of(&correction.feature, &correction.property)
            && !matches!(column.key.place, Place::Item(_))
            && !matches!(column.cell(row).kind, Kind::Absent | Kind::Removed)
    })
}

fn put(table: &mut Table, correction: &Correction, place: Place, row: usize, cell: Cell) {
    let (feature, property) = (&correction.feature, &correction.property);
    let known = table.columns.iter().position(|column| column.key.is_at(feature, property, place));
    let known = known.unwrap_or_else(|| {
        let key = ColumnKey { feature: Arc::clone(feature), property: Arc::clone(property), place };
        table.columns.push(Column { key, cells: Vec::new() });
        table.columns.len() - 1
    });
    let cells = &mut table.columns[known].cells;
    if cells.len() <= row {
        cells.resize(row + 1, Cell::ABSENT);
    }
    cells[row] = cell;
}

fn with_ref(value: &Value, read: impl FnOnce(&ValueRef<'_>)) {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    // A value too deep to be in a record is corrected to nothing; nobody who checks what comes in gives one.
    if let Ok(value) = ItemReader::new(&bytes).value(DEPTH_MAX) {
        read(&value);
    }
}
