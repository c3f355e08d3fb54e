//! The newest rows, in memory until they are sealed into parts.
//!
//! ```text
//!  Things ──► last row ──► row before ──► …        in one log, in the order in which they came
//!                └── cells: number of a column, value
//! ```
//!
//! The head is small because it is sealed often: its rows are in the journal too, and a restart reads them from there. It
//! holds rows as they come; order and repetition are dealt with when they are read or sealed. What columns there are is
//! known once for all Things: a Thing costs little more than its rows.

use std::collections::HashMap;
use std::sync::Arc;

use egiz_model::{Offset, Quality, QualityReason, Timestamp, ValueRef};
use indexmap::IndexSet;

use crate::cell::{Cell, Kind, Texts};
use crate::column::{Columns, Place, spread};
use crate::table::{Column, Table};

mod log;

use log::{Address, Draft, Log};

/// Rows that are not in a part yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    things: HashMap<Arc<str>, HeadThing>,
    families: IndexSet<Arc<str>>,
    columns: Columns,
    log: Log,
    draft: Draft,
    /// The first row's, in microseconds.
    begin: i64,
    /// The earliest and the latest of its rows; nothing where it has none.
    span: Option<(i64, i64)>,
    pub(crate) texts: Texts,
    pub(crate) rows: usize,
    /// The offset after the last record that is in it.
    pub(crate) next: Offset,
}

/// One Thing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadThing {
    /// The number of the definition that it follows.
    family: u32,
    rows: u32,
    last: Option<Address>,
}

/// Memory of a Thing without its rows and the letters of its id, about.
const THING_BYTES: usize = 96;

/// A row being written. It is in the head when this is dropped.
pub struct RowWriter<'a> {
    thing: &'a mut HeadThing,
    columns: &'a mut Columns,
    texts: &'a mut Texts,
    log: &'a mut Log,
    draft: &'a mut Draft,
    time: i64,
    delay_s: u32,
    /// The column that was set last.
    column: Option<usize>,
}

impl RowWriter<'_> {
    /// Sets a property's value, with how far it can be trusted.
    pub fn set(
        &mut self,
        feature: &str,
        property: &str,
        value: &ValueRef<'_>,
        quality: Quality,
        reason: QualityReason,
    ) {
        let Self { columns, texts, draft, column, .. } = self;
        spread(value, (quality, reason), texts, |place, cell| {
            let number = columns.number(feature, property, place, *column);
            *column = Some(number);
            draft.put(number, cell);
        });
    }

    /// Notes that a property was taken away.
    pub fn remove(&mut self, feature: &str, property: &str) {
        let number = self.columns.number(feature, property, Place::Whole, self.column);
        self.column = Some(number);
        self.draft.put(number, Cell::REMOVED);
    }
}

impl Drop for RowWriter<'_> {
    fn drop(&mut self) {
        let address = self.log.add(self.draft, self.thing.last, self.time, self.delay_s);
        self.thing.last = Some(address);
        self.thing.rows += 1;
    }
}

impl Head {
    /// A head whose first record will be the one at this offset.
    pub(crate) fn from(next: Offset) -> Self {
        Self { next, ..Self::default() }
    }

    /// Begins a row of a Thing.
    pub(crate) fn row(
        &mut self,
        thing: &str,
        family: &str,
        source: Timestamp,
        received: Timestamp,
    ) -> RowWriter<'_> {
        let family = match self.families.get_index_of(family) {
            Some(number) => number,
            None => self.families.insert_full(family.into()).0,
        };
        let family = u32::try_from(family).expect("a head is sealed long before four billion definitions");
        if !self.things.contains_key(thing) {
            self.things.insert(thing.into(), HeadThing { family, rows: 0, last: None });
        }
        let of_thing = self.things.get_mut(thing).expect("it was just put there");
        of_thing.family = family;
        let time = source.as_micros();
        if self.rows == 0 {
            self.begin = time;
        }
        self.span = Some(self.span.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
        self.rows += 1;
        let delay_s = received.micros_since(source).max(0) / 1_000_000;
        RowWriter {
            thing: of_thing,
            columns: &mut self.columns,
            texts: &mut self.texts,
            log: &mut self.log,
            draft: &mut self.draft,
            time: time.wrapping_sub(self.begin),
            delay_s: u32::try_from(delay_s).unwrap_or(u32::MAX),
            column: None,
        }
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.log.bytes() + self.things.len() * THING_BYTES + self.columns.bytes() + self.texts.bytes()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether it may have rows with times in `[from, to)`.
    pub(crate) fn overlaps(&self, from: i64, to: i64) -> bool {
        self.span.is_some_and(|(first, last)| first < to && last >= from)
    }

    pub(crate) fn knows(&self, thing: &str) -> bool {
        self.things.contains_key(thing)
    }

    /// The ids of its Things, in no order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.things.keys()
    }

    /// The Things in the order of their ids.
    pub(crate) fn sorted(&self) -> Vec<(&Arc<str>, &HeadThing)> {
        let mut things: Vec<_> = self.things.iter().collect();
        things.sort_by(|a, b| a.0.cmp(b.0));
        things
    }

    /// The definition that a Thing follows.
    pub(crate) fn family(&self, thing: &HeadThing) -> &Arc<str> {
        &self.families[thing.family as usize]
    }

    /// Reads Things' rows.
    pub(crate) fn reader(&self) -> HeadReader<'_> {
        HeadReader { head: self, at: Vec::new() }
    }
}

/// Reads Things' rows from a head; what it needs for that is made once.
pub(crate) struct HeadReader<'a> {
    head: &'a Head,
    /// Where each of the head's columns is in the table at hand, 0 for nowhere, otherwise one more.
    at: Vec<u32>,
}

impl HeadReader<'_> {
    /// A Thing's rows in the order in which they came, with the texts of the head.
    pub(crate) fn table(&mut self, thing: &HeadThing) -> Table {
        let Self { head, at } = self;
        at.resize(head.columns.len(), 0);
        let mut addresses = Vec::with_capacity(thing.rows as usize);
        let mut next = thing.last;
        while let Some(address) = next {
            addresses.push(address);
            next = head.log.row(address).before;
        }
        let mut table = Table {
            times: Vec::with_capacity(addresses.len()),
            delays: Vec::with_capacity(addresses.len()),
            columns: Vec::new(),
        };
        let mut seen: Vec<usize> = Vec::new();
        for (row, address) in addresses.iter().rev().enumerate() {
            let cells = head.log.row(*address);
            table.times.push(head.begin.wrapping_add(cells.time));
            table.delays.push(cells.delay_s);
            for (column, cell) in cells {
                if at[column] == 0 {
                    let key = head.columns.key(column).clone();
                    table.columns.push(Column { key, cells: Vec::with_capacity(addresses.len()) });
                    at[column] = u32::try_from(table.columns.len()).expect("a row has far fewer columns");
                    seen.push(column);
                }
                let cells = &mut table.columns[at[column] as usize - 1].cells;
                // A property may be there twice in a row: the last holds.
                cells.resize(row, Cell::ABSENT);
                cells.push(cell);
            }
        }
        seen.iter().for_each(|column| at[*column] = 0);
        table
    }

    /// The rows of the Thing with this id, with their texts in another list; none where it is not known.
    pub(crate) fn table_of(&mut self, id: &str, texts: &mut Texts) -> Table {
        let Some(thing) = self.head.things.get(id) else { return Table::default() };
        let mut table = self.table(thing);
        for cell in table.columns.iter_mut().flat_map(|column| &mut column.cells) {
            if matches!(cell.kind, Kind::Text | Kind::Json) {
                let number = texts.intern(self.head.texts.get(cell.text_number()));
                let moved = if cell.kind == Kind::Text { Cell::text(number) } else { Cell::json(number) };
                *cell = moved.judged(cell.quality, cell.reason);
            }
        }
        table
    }
}

#[cfg(test)]
mod tests;
