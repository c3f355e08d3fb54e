//! How things stood at a time: of each property the last value measured then or before, from all that may know it.
//!
//! ```text
//!  keyframe ─┐
//!  parts ────┼─► from the newest back ──► Last ◄── rows in memory
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use egiz_model::Timestamp;

use super::{DAY_MICROS, Historian, HistoryError, Published, View};
use crate::cell::Texts;
use crate::column::ColumnKey;
use crate::corrections::{Correction, lay_over};
use crate::head::Head;
use crate::manifest::{Entry, Level};
use crate::part::{LastCell, Part, PartError, Reader};
use crate::table::{Reading, Table};

/// How a property stood.
#[derive(Debug, Clone, PartialEq)]
pub struct PropertyState {
    /// The feature.
    pub feature: Arc<str>,
    /// The property.
    pub property: Arc<str>,
    /// When it was measured.
    pub time: Timestamp,
    /// How many whole seconds later it was received.
    pub delay_s: u32,
    /// Its value.
    pub reading: Reading,
}

/// How a Thing stood.
#[derive(Debug, Clone, PartialEq)]
pub struct ThingState {
    /// Its id.
    pub thing: String,
    /// Its properties by feature and name. Those that had been taken away are not among them.
    pub properties: Vec<PropertyState>,
}

impl Historian {
    /// How a Thing stood at a time: of each property the last value measured then or before, corrected.
    ///
    /// # Errors
    /// Where a part cannot be read.
    pub fn thing_at(&self, thing: &str, at: Timestamp) -> Result<Option<ThingState>, HistoryError> {
        self.thing_at_as(View::Corrected, thing, at)
    }

    /// As [`Self::thing_at`], corrected or not.
    ///
    /// # Errors
    /// Where a part cannot be read.
    pub fn thing_at_as(
        &self,
        view: View,
        thing: &str,
        at: Timestamp,
    ) -> Result<Option<ThingState>, HistoryError> {
        let published = Arc::clone(&self.state.lock().published);
        let states = States::new(self, published, vec![thing.into()], at);
        States { view, ..states }.next().transpose()
    }

    /// How every Thing stood at a time, by id; Things that had said nothing yet are not among them. With `after`, those whose
    /// ids come after it.
    pub fn states_at(&self, at: Timestamp, after: Option<&str>) -> States<'_> {
        let before = at.as_micros().saturating_add(1);
        let is_wanted = |id: &str| after.is_none_or(|after| id > after);
        let (published, mut ids) = {
            let state = self.state.lock();
            let ids = state.heads().flat_map(Head::ids).filter(|id| is_wanted(id));
            let ids: Vec<Arc<str>> = ids.map(Arc::clone).collect();
            (Arc::clone(&state.published), ids)
        };
        for (_, part) in published.relevant(before) {
            ids.extend(part.things().filter(|id| is_wanted(id)).map(Arc::from));
        }
        ids.sort_unstable();
        ids.dedup();
        States::new(self, published, ids, at)
    }

    /// How these Things stood at a time, in the order given, which is best that of their ids; Things that had said nothing
    /// yet are left out.
    pub fn states_of(&self, things: Vec<Arc<str>>, at: Timestamp) -> States<'_> {
        let published = Arc::clone(&self.state.lock().published);
        States::new(self, published, things, at)
    }
}

/// Things whose rows in memory are looked up under one hold of the lock.
const BATCH: usize = 64;

/// How Things stood at a time, one after the other.
pub struct States<'a> {
    historian: &'a Historian,
    view: View,
    before: i64,
    ids: std::vec::IntoIter<Arc<str>>,
    /// Things of this batch, with their rows in memory.
    batch: std::vec::IntoIter<(Arc<str>, Table)>,
    texts: Texts,
    published: Arc<Published>,
    parts: LastReader,
}

impl<'a> States<'a> {
    fn new(historian: &'a Historian, published: Arc<Published>, ids: Vec<Arc<str>>, at: Timestamp) -> Self {
        let before = at.as_micros().saturating_add(1);
        Self {
            historian,
            view: View::Corrected,
            before,
            ids: ids.into_iter(),
            batch: Vec::new().into_iter(),
            texts: Texts::default(),
            parts: published.last_before(None, before),
            published,
        }
    }

    /// Goes on to the next Things; returns whether there are any.
    fn go_on(&mut self) -> bool {
        self.texts = Texts::default();
        let mut batch = Vec::with_capacity(BATCH.min(self.ids.len()));
        let state = self.historian.state.lock();
        let mut newest = state.newest();
        for id in self.ids.by_ref().take(BATCH) {
            let rows = newest.of(&id, &mut self.texts);
            batch.push((id, rows));
        }
        // What was in memory before may be in a part by now.
        if !Arc::ptr_eq(&self.published, &state.published) {
            self.published = Arc::clone(&state.published);
            drop(state);
            self.parts = self.published.last_before(None, self.before);
        }
        self.batch = batch.into_iter();
        self.batch.len() > 0
    }
}

impl Iterator for States<'_> {
    type Item = Result<ThingState, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.batch.len() == 0 && !self.go_on() {
                return None;
            }
            let (id, newest) = self.batch.next()?;
            let mut last = match self.parts.of(&id, &mut self.texts) {
                Ok(last) => last,
                Err(error) => return Some(Err(error.into())),
            };
            take_newest(&mut last, &newest, self.before);
            if !last.is_empty() {
                let own = match self.view {
                    View::Corrected => self.historian.corrections.of(&id),
                    View::Original => Arc::default(),
                };
                return Some(Ok(state_of(&id, last.into_cells(), &own, &mut self.texts)));
            }
        }
    }
}

impl Published {
    /// The parts that say how things stood before a time: of each definition the newest keyframe not after it, what follows
    /// that, and what came so late that the keyframe does not know it. Keyframes first, then by rank.
    fn relevant(&self, before: i64) -> Vec<(&Entry, &Arc<Part>)> {
        let mut keyframes: HashMap<&str, &Entry> = HashMap::new();
        for (entry, _) in self.open_parts() {
            if entry.level == Level::Keyframe && entry.day.saturating_mul(DAY_MICROS) < before {
                let known = keyframes.entry(&entry.family).or_insert(entry);
                if known.day < entry.day {
                    *known = entry;
                }
            }
        }
        let is_relevant = |entry: &Entry| match keyframes.get(entry.family.as_str()) {
            _ if entry.first >= before || entry.level.is_rolled() => false,
            Some(keyframe) if entry.level == Level::Keyframe => entry.name == keyframe.name,
            Some(keyframe) => entry.day >= keyframe.day || entry.rank > keyframe.rank,
            None => entry.level.has_samples(),
        };
        let mut parts: Vec<_> = self.open_parts().filter(|(entry, _)| is_relevant(entry)).collect();
        parts.sort_by_key(|(entry, _)| (entry.level != Level::Keyframe, entry.rank));
        parts
    }

    /// Reads the last cells before a time, of the Things of a family or of all.
    pub(super) fn last_before(&self, family: Option<&str>, before: i64) -> LastReader {
        let parts = self.relevant(before).into_iter();
        let parts = parts.filter(|(entry, _)| family.is_none_or(|family| entry.family == family));
        LastReader { readers: parts.map(|(_, part)| part.reader()).collect(), before }
    }
}

/// Reads the last cells before a time.
pub(super) struct LastReader {
    /// A keyframe's first, then by rank: of what two say of one time, the later one holds.
    readers: Vec<Reader>,
    before: i64,
}

impl LastReader {
    /// The last cell of each column of a Thing. Things asked for in the order of ids cost the least.
    ///
    /// The parts are looked into from the newest back, and those that can say nothing new are not: of today's many files
    /// mostly one, and no keyframe where the day has everything.
    pub(super) fn of(&mut self, thing: &str, texts: &mut Texts) -> Result<Last, PartError> {
        let ends = self.readers.iter().enumerate().filter_map(|(place, reader)| {
            let (first, last) = reader.part().span(thing)?;
            (first < self.before).then(|| (last.min(self.before - 1), place))
        });
        let mut ends: Vec<(i64, usize)> = ends.collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let mut last = Last::default();
        for (end, place) in ends {
            let reader = &mut self.readers[place];
            if reader.part().has_any(thing, |key| !last.is_known_after(key, end)) {
                last.take(&reader.last_cells(thing, self.before, texts)?, place);
            }
        }
        Ok(last)
    }
}

/// The last cell of each column of a Thing, put together from several places.
#[derive(Default)]
pub(super) struct Last {
    /// With the place that each comes from: of what two say of one time, the later place holds.
    cells: Vec<(LastCell, usize)>,
}

impl Last {
    fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub(super) fn into_cells(self) -> Vec<LastCell> {
        self.cells.into_iter().map(|(cell, _)| cell).collect()
    }

    /// Whether a property is known of a time after this one.
    fn is_known_after(&self, key: &ColumnKey, time: i64) -> bool {
        self.cells.iter().any(|((other, known, ..), _)| *known > time && other.same_property(key))
    }

    /// Takes cells, those of one property side by side, in place of older ones of the same property.
    fn take(&mut self, cells: &[LastCell], place: usize) {
        for of_property in cells.chunk_by(|a, b| a.0.same_property(&b.0)) {
            let (key, time, ..) = &of_property[0];
            let known = self.cells.iter().find(|((other, ..), _)| other.same_property(key));
            let known = known.map(|((_, time, ..), place)| (*time, *place));
            if known.is_some_and(|known| known > (*time, place)) {
                continue;
            }
            if known.is_some() {
                self.cells.retain(|((other, ..), _)| !other.same_property(key));
            }
            self.cells.extend(of_property.iter().cloned().map(|cell| (cell, place)));
        }
    }
}

/// Puts the last values before a time that rows in memory have in place of older ones.
fn take_newest(last: &mut Last, table: &Table, before: i64) {
    // They are in the order in which they came; of one time, the last holds.
    let mut order: Vec<usize> = (0..table.len()).filter(|row| table.times[*row] < before).collect();
    order.sort_by_key(|row| table.times[*row]);
    let mut columns: Vec<_> = table.columns.iter().collect();
    columns.sort_by(|a, b| a.key.cmp(&b.key));
    for of_property in columns.chunk_by(|a, b| a.key.same_property(&b.key)) {
        let is_there = |row: &usize| of_property.iter().any(|column| !column.cell(*row).is_absent());
        let Some(row) = order.iter().rev().copied().find(is_there) else { continue };
        let cells = of_property.iter().filter(|column| !column.cell(row).is_absent());
        let cells: Vec<LastCell> = cells
            .map(|column| (column.key.clone(), table.times[row], table.delays[row], column.cell(row)))
            .collect();
        // What is in memory came after all parts.
        last.take(&cells, usize::MAX);
    }
}

fn state_of(thing: &str, mut last: Vec<LastCell>, own: &[Arc<Correction>], texts: &mut Texts) -> ThingState {
    last.sort_by(|a, b| a.0.cmp(&b.0));
    let mut properties = Vec::new();
    for of_property in last.chunk_by(|a, b| a.0.same_property(&b.0)) {
        let (key, time, delay_s, _) = &of_property[0];
        let columns = of_property
            .iter()
            .map(|(key, .., cell)| crate::table::Column { key: key.clone(), cells: vec![*cell] });
        let mut table = Table { times: vec![*time], delays: vec![*delay_s], columns: columns.collect() };
        lay_over(own, &mut table, texts);
        let Some(reading) = table.value(0, &key.feature, &key.property, texts) else { continue };
        if reading.value.is_some() {
            properties.push(PropertyState {
                feature: Arc::clone(&key.feature),
                property: Arc::clone(&key.property),
                time: Timestamp::from_micros(*time),
                delay_s: *delay_s,
                reading,
            });
        }
    }
    ThingState { thing: thing.to_owned(), properties }
}
