//! What was kept, given back: rows of a Thing between two times.

use std::collections::BTreeSet;
use std::sync::Arc;

use egiz_model::Timestamp;

use super::{Historian, HistoryError, Published, State};
use crate::cell::Texts;
use crate::column::ColumnKey;
use crate::corrections::lay_over;
use crate::head::{Head, HeadReader};
use crate::series::{Sample, Within};
use crate::table::{Reading, Table};

/// Rows of a Thing, in the order of time.
#[derive(Debug, Default)]
pub struct Rows {
    table: Table,
    texts: Texts,
}

/// Whether what is read is corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// By the corrections in force.
    #[default]
    Corrected,
    /// As it was said.
    Original,
}

impl Rows {
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn into_parts(self) -> (Table, Texts) {
        (self.table, self.texts)
    }

    /// Only those that lie within.
    #[must_use]
    pub fn within(self, within: &Within) -> Self {
        let is_inside = |row: &usize| within.contains(self.time(*row));
        let kept: Vec<usize> = (0..self.len()).filter(is_inside).collect();
        Self { table: self.table.with_rows(&kept).without_empty_columns(), texts: self.texts }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// When a row was measured.
    pub fn time(&self, row: usize) -> Timestamp {
        Timestamp::from_micros(self.table.times[row])
    }

    /// How many whole seconds after that it was received.
    pub fn delay_s(&self, row: usize) -> u32 {
        self.table.delays[row]
    }

    /// The properties that any row has, by feature and name.
    pub fn properties(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let names: BTreeSet<_> = self
            .table
            .columns
            .iter()
            .map(|column| (Arc::clone(&column.key.feature), Arc::clone(&column.key.property)))
            .collect();
        names.into_iter().collect()
    }

    /// A property's value in a row; nothing where the row does not have it.
    pub fn reading(&self, row: usize, feature: &str, property: &str) -> Option<Reading> {
        self.table.value(row, feature, property, &self.texts)
    }

    /// The numbers of a property, or of one item of its lists. Where there is no number in a row that has the property,
    /// there is a sample of bad quality.
    pub fn samples(&self, feature: &str, property: &str, item: Option<u8>) -> Vec<Sample> {
        self.table.samples(feature, property, item)
    }
}

impl Historian {
    /// A Thing's rows with times in `[from, to)`, of the properties that `wanted` says, corrected.
    ///
    /// # Errors
    /// Where a part cannot be read.
    pub fn read(
        &self,
        thing: &str,
        from: Timestamp,
        to: Timestamp,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Result<Rows, HistoryError> {
        self.read_as(View::Corrected, thing, (from, to), wanted)
    }

    /// As [`Self::read`], corrected or not.
    ///
    /// # Errors
    /// Where a part cannot be read.
    pub fn read_as(
        &self,
        view: View,
        thing: &str,
        (from, to): (Timestamp, Timestamp),
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Result<Rows, HistoryError> {
        let (from, to) = (from.as_micros(), to.as_micros());
        let mut texts = Texts::default();
        let wanted = |key: &ColumnKey| wanted(&key.feature, &key.property);
        let (published, mut newest) = self.view(thing, &mut texts);
        let mut parts: Vec<_> = published
            .open_parts()
            .filter(|(entry, _)| entry.level.has_samples() && entry.first < to && entry.last >= from)
            .collect();
        parts.sort_by_key(|(entry, _)| entry.rank);
        let mut table = Table::default();
        for (_, part) in parts {
            table.append(part.read(thing, from, to, &wanted, &mut texts)?);
        }
        newest.tidy();
        let inside = newest.between(from, to);
        let mut newest = newest.rows(inside);
        newest.columns.retain(|column| wanted(&column.key));
        table.append(newest);
        table.tidy();
        if view == View::Corrected {
            lay_over(&self.corrections.of(thing), &mut table, &mut texts);
        }
        Ok(Rows { table, texts })
    }

    /// Whether the Thing has ever said something that is kept.
    pub fn knows(&self, thing: &str) -> bool {
        let state = self.state.lock();
        state.heads().any(|head| head.knows(thing))
            || state.published.open_parts().any(|(_, part)| part.knows(thing))
    }

    /// The Things that have ever said something that is kept, by id.
    pub fn things(&self) -> BTreeSet<String> {
        let state = self.state.lock();
        let mut ids: BTreeSet<String> = state.heads().flat_map(Head::ids).map(ToString::to_string).collect();
        for (_, part) in state.published.open_parts() {
            ids.extend(part.things().map(str::to_owned));
        }
        ids
    }

    /// The parts in force, and a Thing's rows that are in none yet, of one moment.
    pub(super) fn view(&self, thing: &str, texts: &mut Texts) -> (Arc<Published>, Table) {
        let state = self.state.lock();
        (Arc::clone(&state.published), state.newest().of(thing, texts))
    }
}

impl State {
    /// What is in no part yet, the older first.
    pub(super) fn heads(&self) -> impl Iterator<Item = &Head> {
        self.sealing.as_deref().into_iter().chain([&self.head])
    }

    /// Reads what is in no part yet.
    pub(super) fn newest(&self) -> Newest<'_> {
        Newest(self.heads().map(Head::reader).collect())
    }
}

/// Reads rows that are in no part yet, the older head first.
pub(super) struct Newest<'a>(Vec<HeadReader<'a>>);

impl Newest<'_> {
    /// A Thing's rows in the order in which they came.
    pub(super) fn of(&mut self, thing: &str, texts: &mut Texts) -> Table {
        let mut table = Table::default();
        for head in &mut self.0 {
            table.append(head.table_of(thing, texts));
        }
        table
    }
}
