//! One Thing's rows: the common form of what is in memory, on disk, and on the way between.
//!
//! ```text
//!  time ─┬─ delay ─┬─ thermal.zone ─┬─ thermal.zones.length ─┬─ thermal.zones[0] ─ …
//!  t0    │ 0 s     │ 195.5          │ absent                 │ absent
//!  t1    │ 0 s     │ 195.6          │ 2                      │ 190.1
//! ```
//!
//! A row is a message. Rows may come in any order and a time may come again; [`Table::tidy`] puts them in order, one for
//! each time, where of each property the value that came last holds. Columns grow when a property first comes; before that
//! they are absent without taking room.

use std::ops::Range;

use egiz_model::{Quality, QualityReason, Timestamp, Value};

use crate::cell::{Cell, Texts};
use crate::column::{ColumnKey, Place};
use crate::series::Sample;

/// One column of a table. Cells missing at the end are absent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) key: ColumnKey,
    pub(crate) cells: Vec<Cell>,
}

/// Rows of one Thing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    /// Source times in microseconds since 1970.
    pub(crate) times: Vec<i64>,
    /// How many whole seconds later each row was received.
    pub(crate) delays: Vec<u32>,
    pub(crate) columns: Vec<Column>,
}

impl Column {
    pub(crate) fn cell(&self, row: usize) -> Cell {
        self.cells.get(row).copied().unwrap_or_default()
    }
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    fn column_at(&self, hint: usize, feature: &str, property: &str, place: Place) -> Option<usize> {
        let is_it = |column: &Column| column.key.is_at(feature, property, place);
        if self.columns.get(hint).is_some_and(is_it) {
            return Some(hint);
        }
        self.columns.iter().position(is_it)
    }

    /// Puts the rows in order, one for each time. Of each property, what came last holds.
    pub(crate) fn tidy(&mut self) {
        let is_tidy = self.times.windows(2).all(|pair| pair[0] < pair[1]);
        if is_tidy {
            return;
        }
        let rows = self.len();
        let mut order: Vec<u32> = (0..u32::try_from(rows).expect("a table holds far fewer rows")).collect();
        order.sort_by_key(|row| self.times[*row as usize]);
        // Rows of one time, later ones last, become one.
        let groups: Vec<Range<usize>> = {
            let mut groups = Vec::with_capacity(rows);
            let mut begin = 0;
            for index in 1..=rows {
                let ends =
                    index == rows || self.times[order[index] as usize] != self.times[order[begin] as usize];
                if ends {
                    groups.push(begin..index);
                    begin = index;
                }
            }
            groups
        };
        let last_of = |group: &Range<usize>| order[group.end - 1] as usize;
        let winners: Vec<Option<Vec<u32>>> = groups
            .iter()
            .map(|group| (group.len() > 1).then(|| self.winners(&order[group.clone()])))
            .collect();
        for (index, column) in self.columns.iter_mut().enumerate() {
            let cells = groups.iter().zip(&winners).map(|(group, winners)| match winners {
                None => column.cell(order[group.start] as usize),
                Some(winners) => column.cell(winners[index] as usize),
            });
            column.cells = cells.collect();
        }
        self.delays = groups.iter().map(|group| self.delays[last_of(group)]).collect();
        self.times = groups.iter().map(|group| self.times[last_of(group)]).collect();
    }

    /// For each column, the row among `rows` (in the order in which they came) whose cell holds: the last in which the
    /// column's property was there in any form.
    fn winners(&self, rows: &[u32]) -> Vec<u32> {
        let last = rows[rows.len() - 1];
        let has = |row: u32, key: &ColumnKey| {
            self.columns
                .iter()
                .any(|column| column.key.same_property(key) && !column.cell(row as usize).is_absent())
        };
        self.columns
            .iter()
            .map(|column| rows.iter().rev().copied().find(|row| has(*row, &column.key)).unwrap_or(last))
            .collect()
    }

    /// Adds the rows of `newer` behind these; [`Self::tidy`] sorts them in.
    pub(crate) fn append(&mut self, newer: Self) {
        if self.is_empty() {
            *self = newer;
            return;
        }
        let rows = self.len();
        self.times.extend_from_slice(&newer.times);
        self.delays.extend_from_slice(&newer.delays);
        for (hint, Column { key, cells }) in newer.columns.into_iter().enumerate() {
            let index = self.column_at(hint, &key.feature, &key.property, key.place).unwrap_or_else(|| {
                self.columns.push(Column { key, cells: Vec::new() });
                self.columns.len() - 1
            });
            let older = &mut self.columns[index].cells;
            older.resize(rows, Cell::ABSENT);
            older.extend_from_slice(&cells);
        }
    }

    /// The rows in a range of row numbers.
    pub(crate) fn rows(&self, range: Range<usize>) -> Self {
        let columns = self.columns.iter().map(|column| {
            let end = range.end.min(column.cells.len());
            let cells = column.cells.get(range.start..end).unwrap_or_default().to_vec();
            Column { key: column.key.clone(), cells }
        });
        Self {
            times: self.times[range.clone()].to_vec(),
            delays: self.delays[range.clone()].to_vec(),
            columns: columns.collect(),
        }
    }

    /// These rows without the columns that have no cell in them.
    pub(crate) fn without_empty_columns(mut self) -> Self {
        self.columns.retain(|column| column.cells.iter().any(|cell| !cell.is_absent()));
        self
    }

    /// These rows without those that have no cell, `most` of them at most.
    pub(crate) fn without_empty_rows(self, most: usize) -> Self {
        let has_any = |row: &usize| self.columns.iter().any(|column| !column.cell(*row).is_absent());
        let kept: Vec<usize> = (0..self.len()).filter(has_any).take(most).collect();
        self.with_rows(&kept)
    }

    /// These rows, but only those with these numbers, which ascend.
    pub(crate) fn with_rows(self, kept: &[usize]) -> Self {
        if kept.len() == self.len() {
            return self;
        }
        let columns = self.columns.iter().map(|column| Column {
            key: column.key.clone(),
            cells: kept.iter().map(|row| column.cell(*row)).collect(),
        });
        Self {
            times: kept.iter().map(|row| self.times[*row]).collect(),
            delays: kept.iter().map(|row| self.delays[*row]).collect(),
            columns: columns.collect(),
        }
    }

    /// The numbers of the rows of a tidy table with times in `[from, to)`.
    pub(crate) fn between(&self, from: i64, to: i64) -> Range<usize> {
        let begin = self.times.partition_point(|time| *time < from);
        let end = self.times.partition_point(|time| *time < to);
        begin..end.max(begin)
    }

    /// The numbers of a property, or of one item of its lists. Where there is no number in a row that has the property,
    /// there is a sample of bad quality.
    pub(crate) fn samples(&self, feature: &str, property: &str, item: Option<u8>) -> Vec<Sample> {
        let at = |place| self.columns.iter().find(|column| column.key.is_at(feature, property, place));
        let Some(own) = at(item.map_or(Place::Whole, Place::Item)) else { return Vec::new() };
        // A list that is shorter, gone or no list any more has the property and not the item, and a number that became a list is
        // none. How far the items of a list can be trusted stands with its length.
        let others = [at(Place::Length), item.and_then(|_| at(Place::Whole))];
        let mut samples = Vec::with_capacity(own.cells.len());
        for (row, time) in self.times.iter().enumerate() {
            let cell = own.cell(row);
            let mut other =
                others.iter().flatten().map(|column| column.cell(row)).filter(|cell| !cell.is_absent());
            let other = other.next();
            if cell.is_absent() && other.is_none() {
                continue;
            }
            let (value, quality) = match cell.as_number() {
                Some(value) => (value, other.unwrap_or(cell).quality),
                None => (0.0, Quality::Bad),
            };
            samples.push(Sample { time: Timestamp::from_micros(*time), value, quality });
        }
        samples
    }

    /// A property's value in a row, with how far it can be trusted; nothing where the row does not have it. A property
    /// that was taken away is there without a value.
    pub(crate) fn value(&self, row: usize, feature: &str, property: &str, texts: &Texts) -> Option<Reading> {
        let mut columns = self.columns.iter().filter(|column| column.key.is_of(feature, property));
        let head = columns
            .find(|column| !matches!(column.key.place, Place::Item(_)) && !column.cell(row).is_absent())?;
        let cell = head.cell(row);
        let value = match head.key.place {
            Place::Length => {
                let item = |index: i64| {
                    let place = Place::Item(u8::try_from(index).unwrap_or(u8::MAX));
                    let column =
                        self.columns.iter().find(|column| column.key.is_at(feature, property, place));
                    column.and_then(|column| column.cell(row).to_value(texts)).unwrap_or_default()
                };
                Some(Value::List((0..cell.as_int()).map(item).collect()))
            }
            Place::Whole | Place::Item(_) => cell.to_value(texts),
        };
        Some(Reading { value, quality: cell.quality, reason: cell.reason })
    }
}

/// A property's value at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The value; nothing where the property was taken away.
    pub value: Option<Value>,
    /// How far it can be trusted.
    pub quality: Quality,
    /// Why not further.
    pub reason: QualityReason,
}

#[cfg(test)]
pub(crate) mod tests;
