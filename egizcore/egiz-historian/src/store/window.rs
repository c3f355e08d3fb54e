//! A stretch of time in memory, from its first row to its last: what changed up to a time, of each property the last value.
//!
//! ```text
//!  rows by time ─ told ─┊─ due ──────┊─ later ─►       until(T): the due ones, by Thing, newest value of each property
//!                       position      T
//! ```
//!
//! It holds cells, not values: a row is a few words, and values are made when they are told. It refuses to read anything, and
//! to go back: who wants to go back takes a key frame.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use egiz_model::{Timestamp, Value};

use super::PropertyState;
use super::play::Passage;
use crate::cell::{Cell, Kind, Texts};
use crate::column::{ColumnKey, Columns, Place};
use crate::table::{Reading, Table};

/// What one Thing said at one time.
#[derive(Debug, Clone, Copy)]
struct Row {
    time: i64,
    thing: u32,
    delay_s: u32,
    /// Its first cell, and how many it has.
    begin: u32,
    count: u32,
    /// What it takes: its cells, and one more for each sixteen bytes of a text.
    weight: u32,
    /// Values that were left out because a later one of the same step stands for them.
    conflated: u32,
}

/// What many Things said in a stretch of time, in the order of time.
#[derive(Debug)]
pub struct Window {
    things: Vec<Arc<str>>,
    columns: Columns,
    /// Which property each column is of, as a number.
    property_of: Vec<u32>,
    properties: usize,
    /// By time.
    rows: Vec<Row>,
    numbers: Vec<u32>,
    cells: Vec<Cell>,
    texts: Texts,
    /// The first row that was not told.
    next: usize,
    end: i64,
    /// Who was seen last of each property, as one more than its place among the due.
    seen: Vec<u32>,
}

impl Window {
    /// It has everything up to this time, included.
    pub fn end(&self) -> Timestamp {
        Timestamp::from_micros(self.end)
    }

    /// When what was not told yet begins; nothing where all is told.
    pub fn next_time(&self) -> Option<Timestamp> {
        self.rows.get(self.next).map(|row| Timestamp::from_micros(row.time))
    }

    /// When what was said last in it was said, told or not.
    pub fn last_time(&self) -> Option<Timestamp> {
        self.rows.last().map(|row| Timestamp::from_micros(row.time))
    }

    /// Cells that it holds.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Tells what was measured up to a time and was not told yet: of each Thing, in the order of ids, the last value of each
    /// property, by feature and name. A property that was taken away has no value. Returns how many values were left out
    /// because a later one stands for them.
    pub fn until(&mut self, until: Timestamp, mut tell: impl FnMut(&Arc<str>, &[PropertyState])) -> u64 {
        let until = until.as_micros();
        let due = self.rows[self.next..].partition_point(|row| row.time <= until);
        let mut due: Vec<Row> = self.rows[self.next..self.next + due].to_vec();
        self.next += due.len();
        due.sort_unstable_by_key(|row| (row.thing, std::cmp::Reverse(row.time)));
        self.seen.clear();
        self.seen.resize(self.properties, 0);
        let mut conflated = 0;
        let mut states: Vec<PropertyState> = Vec::new();
        for (place, of_thing) in (1..).zip(due.chunk_by(|a, b| a.thing == b.thing)) {
            states.clear();
            for row in of_thing {
                conflated += u64::from(row.conflated);
                for cells in self.by_property(row) {
                    let property = self.property_of[self.numbers[cells.start] as usize] as usize;
                    if std::mem::replace(&mut self.seen[property], place) == place {
                        conflated += 1;
                        continue;
                    }
                    states.extend(self.state(row, cells));
                }
            }
            states.sort_unstable_by(|a, b| (&a.feature, &a.property).cmp(&(&b.feature, &b.property)));
            if !states.is_empty() {
                tell(&self.things[of_thing[0].thing as usize], &states);
            }
        }
        conflated
    }

    /// The cells of a row, those of one property together.
    fn by_property(&self, row: &Row) -> Vec<Range<usize>> {
        let begin = row.begin as usize;
        let numbers = &self.numbers[begin..begin + row.count as usize];
        let mut at = begin;
        let chunks = numbers
            .chunk_by(|a, b| self.property_of[*a as usize] == self.property_of[*b as usize])
            .map(|chunk| {
                at += chunk.len();
                at - chunk.len()..at
            });
        chunks.collect()
    }

    fn state(&self, row: &Row, cells: Range<usize>) -> Option<PropertyState> {
        let key = self.columns.key(self.numbers[cells.start] as usize);
        Some(PropertyState {
            feature: Arc::clone(&key.feature),
            property: Arc::clone(&key.property),
            time: Timestamp::from_micros(row.time),
            delay_s: row.delay_s,
            reading: self.reading(cells)?,
        })
    }

    /// The value that the cells of one property make.
    fn reading(&self, cells: Range<usize>) -> Option<Reading> {
        let place = |at: usize| self.columns.key(self.numbers[at] as usize).place;
        let head = cells.clone().find(|at| !matches!(place(*at), Place::Item(_)))?;
        let cell = self.cells[head];
        let value = if place(head) == Place::Length {
            let mut items = vec![Value::Null; usize::try_from(cell.as_int()).unwrap_or_default()];
            for at in cells {
                if let Place::Item(index) = place(at)
                    && let Some(item) = items.get_mut(usize::from(index))
                {
                    *item = self.cells[at].to_value(&self.texts).unwrap_or_default();
                }
            }
            Some(Value::List(items.into()))
        } else {
            cell.to_value(&self.texts)
        };
        Some(Reading { value, quality: cell.quality, reason: cell.reason })
    }
}

/// A window being filled, Thing after Thing.
pub(super) struct Builder {
    passage: Passage,
    until: i64,
    window: Window,
    weight: usize,
}

impl Builder {
    pub(super) fn new(passage: Passage) -> Self {
        let until = passage.until.as_micros().max(passage.after.as_micros());
        let window = Window {
            things: Vec::new(),
            columns: Columns::default(),
            property_of: Vec::new(),
            properties: 0,
            rows: Vec::new(),
            numbers: Vec::new(),
            cells: Vec::new(),
            texts: Texts::default(),
            next: 0,
            end: until,
            seen: Vec::new(),
        };
        Self { passage, until, window, weight: 0 }
    }

    /// Rows with times in `[from, to)` are still wanted.
    pub(super) fn range(&self) -> (i64, i64) {
        (self.passage.after.as_micros().saturating_add(1), self.until.saturating_add(1))
    }

    pub(super) fn texts(&mut self) -> &mut Texts {
        &mut self.window.texts
    }

    /// Adds a Thing's rows, which are tidy and within the range.
    pub(super) fn add(&mut self, thing: &Arc<str>, mut table: Table) {
        if table.is_empty() {
            return;
        }
        table.columns.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let window = &mut self.window;
        let number = u32::try_from(window.things.len()).expect("far fewer Things fit into memory");
        let mut columns = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let ColumnKey { feature, property, place } = &column.key;
            columns.push(window.columns.number(feature, property, *place, columns.last().copied()));
        }
        // Where the cells of each property begin among the columns.
        let same = |a: usize, b: usize| table.columns[a].key.same_property(&table.columns[b].key);
        let properties: Vec<Range<usize>> = {
            let mut ranges = Vec::new();
            let mut begin = 0;
            for index in 1..=columns.len() {
                if index == columns.len() || !same(index - 1, index) {
                    ranges.push(begin..index);
                    begin = index;
                }
            }
            ranges
        };
        let first = window.rows.len();
        let mut row = 0;
        while row < table.len() {
            let end = self.passage.step_end(&table.times, row);
            let mut taken = vec![false; properties.len()];
            let mut conflated = 0;
            // From the newest back, so that of each property the last of the step stays.
            for row in (row..end).rev() {
                let begin = window.cells.len();
                let mut weight = 0;
                for (property, taken) in properties.iter().zip(&mut taken) {
                    let mut cells = property
                        .clone()
                        .map(|at| (at, table.columns[at].cell(row)))
                        .filter(|(_, cell)| !cell.is_absent())
                        .peekable();
                    if cells.peek().is_none() {
                        continue;
                    }
                    if std::mem::replace(taken, true) {
                        conflated += 1;
                        continue;
                    }
                    for (at, cell) in cells {
                        window.numbers.push(u32::try_from(columns[at]).expect("far fewer fit into memory"));
                        window.cells.push(cell);
                        weight += weight_of(cell, &window.texts);
                    }
                }
                if window.cells.len() > begin {
                    self.weight += weight;
                    window.rows.push(Row {
                        time: table.times[row],
                        thing: number,
                        delay_s: table.delays[row],
                        begin: index(begin),
                        count: index(window.cells.len() - begin),
                        weight: index(weight),
                        conflated: 0,
                    });
                }
            }
            if conflated > 0
                && let Some(kept) = window.rows.last_mut()
            {
                kept.conflated = conflated;
            }
            row = end;
        }
        if window.rows.len() > first {
            window.things.push(Arc::clone(thing));
        }
        self.shorten();
    }

    /// Gives up the later half of the stretch until what is held is within the bound.
    fn shorten(&mut self) {
        let after = self.passage.after.as_micros();
        let step = self.passage.every_micros.max(1);
        while self.weight > self.passage.cells_max && self.until.saturating_sub(after) > step {
            let half = self.until.saturating_sub(after) / 2;
            self.until = after + (half / step * step).max(step);
            let until = self.until;
            let Window { rows, numbers, cells, .. } = &mut self.window;
            let (mut kept, mut weight) = (0, 0);
            rows.retain_mut(|row| {
                if row.time > until {
                    return false;
                }
                let from = row.begin as usize..(row.begin + row.count) as usize;
                numbers.copy_within(from.clone(), kept);
                cells.copy_within(from.clone(), kept);
                row.begin = index(kept);
                kept += from.len();
                weight += row.weight as usize;
                true
            });
            numbers.truncate(kept);
            cells.truncate(kept);
            self.weight = weight;
        }
    }

    pub(super) fn finish(self) -> Window {
        let Self { until, mut window, .. } = self;
        window.end = until;
        window.rows.sort_unstable_by_key(|row| (row.time, row.thing));
        let mut numbers: HashMap<(Arc<str>, Arc<str>), u32> = HashMap::new();
        window.property_of = (0..window.columns.len())
            .map(|column| {
                let key = window.columns.key(column);
                let next = index(numbers.len());
                *numbers.entry((Arc::clone(&key.feature), Arc::clone(&key.property))).or_insert(next)
            })
            .collect();
        window.properties = numbers.len();
        window
    }
}

impl Passage {
    /// One after the last row that lies in the same step as this one.
    fn step_end(&self, times: &[i64], row: usize) -> usize {
        if self.every_micros <= 0 {
            return row + 1;
        }
        let after = self.after.as_micros();
        // Steps are `(after, after + every]` and so on.
        let step = (times[row].saturating_sub(after) - 1) / self.every_micros;
        let end = (step + 1).saturating_mul(self.every_micros).saturating_add(after);
        row + times[row..].partition_point(|time| *time <= end)
    }
}

/// What a cell takes of the bound.
fn weight_of(cell: Cell, texts: &Texts) -> usize {
    let is_text = matches!(cell.kind, Kind::Text | Kind::Json);
    1 + if is_text { texts.get(cell.text_number()).len() / size_of::<Cell>() } else { 0 }
}

fn index(place: usize) -> u32 {
    u32::try_from(place).expect("four billion cells do not fit into the bound")
}
