//! Makes rollups of days that are over, and of months that are.
//!
//! ```text
//!  a day's part ──roll──► quarter hours of the day ──┐
//!                         quarter hours of the month ┴─roll month─► quarter hours and hours of the month
//! ```
//!
//! A day that changes afterwards, because something came late, is rolled anew; the month takes it in then. Of two rollups of
//! a day, that of the day itself holds.
//!
//! It refuses to decide when (`plan.rs`), and to read (`rolled.rs`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::seal::{Place, Tables};
use super::{Historian, HistoryError, Published, day_of};
use crate::cell::{Kind, Texts};
use crate::column::{self, ColumnKey};
use crate::manifest::{Entry, Level};
use crate::part::format::DescribedColumn;
use crate::part::{Layout, Part, PartError, Walk};
use crate::rolled::{ByColumn, column_of_values, rollups_of, table_of};
use crate::series::{Piece, RollupLength, roll};
use crate::table::Table;

impl Historian {
    /// Rolls a day's part.
    pub(super) fn roll_day(&self, published: &Published, day: &Entry) -> Result<(), HistoryError> {
        let part = published.part(day)?;
        let divisors = divisors_of_samples(&part.layout());
        let walk = || Days { walk: part.walk(), divisors: &divisors, texts: Texts::default() };
        let place = Place { day: day.day, family: &day.family, level: Level::Quarters };
        let entry = self.write_measured(&place, walk)?;
        let is_before = |other: &Entry| {
            other.level == Level::Quarters && other.day == day.day && other.family == day.family
        };
        let before: Vec<Entry> =
            published.manifest.parts.iter().filter(|other| is_before(other)).cloned().collect();
        self.put_in_force(
            |manifest| {
                manifest.forget(&before);
                manifest.parts.extend(entry.map(|entry| Entry { rank: day.rank, ..entry }));
                for other in &mut manifest.parts {
                    other.is_rolled |= other.name == day.name;
                }
            },
            |_| (),
        )?;
        self.remove(&before)
    }

    /// Puts a month's rollups together.
    pub(super) fn roll_month(
        &self,
        published: &Published,
        month: i64,
        old: &[Entry],
    ) -> Result<(), HistoryError> {
        let [first, ..] = old else { return Ok(()) };
        let sources: Vec<Source<'_>> =
            old.iter().map(|entry| Source::of(published, entry)).collect::<Result<_, _>>()?;
        let of_days: Vec<i64> = sources
            .iter()
            .filter(|source| source.entry.level == Level::Quarters)
            .map(|source| source.entry.day)
            .collect();
        let divisors = divisors_of_rollups(sources.iter().map(|source| source.part.layout()));
        let mut entries = Vec::new();
        for (level, length) in
            [(Level::QuartersOfMonth, RollupLength::Quarter), (Level::HoursOfMonth, RollupLength::Hour)]
        {
            // Hours are made of quarter hours where they are not there yet.
            let is_there = old.iter().any(|entry| entry.level == level);
            let of_month = if is_there { level } else { Level::QuartersOfMonth };
            let is_used = |source: &&Source<'_>| [Level::Quarters, of_month].contains(&source.entry.level);
            let used: Vec<&Source<'_>> = sources.iter().filter(is_used).collect();
            let walks = || Months {
                walks: used.iter().map(|source| source.walk(&of_days)).collect(),
                length,
                divisors: &divisors,
                texts: Texts::default(),
            };
            let place = Place { day: month, family: &first.family, level };
            let mut days: Vec<i64> =
                used.iter().flat_map(|source| source.entry.rolled_days()).copied().collect();
            days.sort_unstable();
            days.dedup();
            let rank = used.iter().map(|source| source.entry.rank).max().unwrap_or_default();
            match self.write_measured(&place, walks) {
                Ok(entry) => entries.extend(entry.map(|entry| Entry { rank, days, ..entry })),
                Err(error) => {
                    self.discard(&entries);
                    return Err(error);
                }
            }
        }
        self.replace(old, entries)
    }
}

impl Published {
    /// The open part of an entry.
    fn part(&self, wanted: &Entry) -> Result<&Arc<Part>, PartError> {
        let found = self.open_parts().find(|(entry, _)| entry.name == wanted.name);
        found.map(|(_, part)| part).ok_or_else(|| PartError::damaged(&wanted.name, "it is not open"))
    }
}

/// One over the step of each column that has nothing but multiples of it.
type Divisors = HashMap<ColumnKey, f64>;

fn divisors_of_samples(layout: &Layout) -> Divisors {
    let of_key = layout.columns.chunk_by(|a, b| a.same_key(b));
    of_key.filter_map(|columns| Some((columns[0].key(), divisor_of(columns)?))).collect()
}

/// Those that the values in rollups show, the coarsest that holds all of them.
fn divisors_of_rollups(layouts: impl Iterator<Item = Layout>) -> Divisors {
    let mut divisors: HashMap<ColumnKey, Option<f64>> = HashMap::new();
    for layout in layouts {
        for columns in layout.columns.chunk_by(|a, b| a.same_key(b)) {
            let Some(key) = column_of_values(&columns[0].key()) else { continue };
            let divisor = divisor_of(columns);
            let known = divisors.entry(key).or_insert(divisor);
            *known = known.zip(divisor).map(|(known, divisor)| known.max(divisor));
        }
    }
    divisors.into_iter().filter_map(|(key, divisor)| Some((key, divisor?))).collect()
}

/// One over the step of all numbers in the columns of one key; nothing where some have no step.
fn divisor_of(columns: &[DescribedColumn]) -> Option<f64> {
    let has_others = columns.iter().any(|column| column.form.is_of_other_numbers());
    let divisor = columns.iter().find_map(|column| column.form.divisor())?;
    (!has_others).then(|| divisor.number())
}

/// A day's samples, rolled Thing by Thing.
struct Days<'a> {
    walk: Walk,
    divisors: &'a Divisors,
    texts: Texts,
}

impl Tables for Days<'_> {
    fn next(&mut self) -> Result<Option<(String, Table)>, PartError> {
        let Some(id) = self.walk.peek().map(str::to_owned) else { return Ok(None) };
        let table = self.walk.take(&mut self.texts)?;
        // Of texts nothing is left.
        self.texts = Texts::default();
        Ok(Some((id, table_of(&rolled(&table), |key| self.divisors.get(key).copied()))))
    }

    fn texts(&self) -> &Texts {
        &self.texts
    }
}

/// The quarter hours of all that has numbers.
fn rolled(table: &Table) -> ByColumn {
    let mut rollups = ByColumn::new();
    for column in &table.columns {
        let item = match column.key.place {
            column::Place::Whole => None,
            column::Place::Item(item) => Some(item),
            column::Place::Length => continue,
        };
        let mut kinds = column.cells.iter().map(|cell| cell.kind);
        let is_number = |kind: Kind| matches!(kind, Kind::Int | Kind::Float);
        // What was bad all day is a number as long as nothing else was said.
        let is_other = |kind: Kind| matches!(kind, Kind::Bool | Kind::Text | Kind::Json);
        if kinds.clone().any(is_number) || !kinds.any(is_other) {
            let key = &column.key;
            let samples = table.samples(&key.feature, &key.property, item);
            let of_column = roll(samples.into_iter().map(Piece::from), RollupLength::Quarter.micros());
            if !of_column.is_empty() {
                rollups.insert(key.clone(), of_column);
            }
        }
    }
    rollups
}

/// One part of a month's rollups.
struct Source<'a> {
    entry: &'a Entry,
    part: &'a Arc<Part>,
    length: RollupLength,
}

impl<'a> Source<'a> {
    fn of(published: &'a Published, entry: &'a Entry) -> Result<Self, PartError> {
        let part = published.part(entry)?;
        let length = entry.level.rollup_length();
        let length = length.ok_or_else(|| PartError::damaged(&entry.name, "it has no rollups"))?;
        Ok(Self { entry, part, length })
    }

    /// Its rollups, without those of days that are in a part of their own.
    fn walk(&self, of_days: &[i64]) -> WalkOfMonth {
        let others = if self.entry.level == Level::Quarters { Vec::new() } else { of_days.to_vec() };
        WalkOfMonth { walk: self.part.walk(), length: self.length, others }
    }
}

/// The rollups of one part, Thing by Thing.
struct WalkOfMonth {
    walk: Walk,
    length: RollupLength,
    /// Days that are passed over.
    others: Vec<i64>,
}

impl WalkOfMonth {
    fn take(&mut self, texts: &mut Texts) -> Result<ByColumn, PartError> {
        let mut rollups = rollups_of(&self.walk.take(texts)?, self.length.micros());
        for of_column in rollups.values_mut() {
            of_column.retain(|rollup| !self.others.contains(&day_of(rollup.span.start.as_micros())));
        }
        Ok(rollups)
    }
}

/// A month's rollups from the parts that have them, Thing by Thing.
struct Months<'a> {
    walks: Vec<WalkOfMonth>,
    /// How long they are to be.
    length: RollupLength,
    divisors: &'a Divisors,
    texts: Texts,
}

impl Tables for Months<'_> {
    fn next(&mut self) -> Result<Option<(String, Table)>, PartError> {
        let ids = self.walks.iter().filter_map(|of_part| of_part.walk.peek());
        let Some(id) = ids.min().map(str::to_owned) else { return Ok(None) };
        let mut pieces: BTreeMap<ColumnKey, Vec<Piece>> = BTreeMap::new();
        for of_part in &mut self.walks {
            if of_part.walk.peek() == Some(&id) {
                for (key, rollups) in of_part.take(&mut self.texts)? {
                    pieces.entry(key).or_default().extend(rollups.into_iter().map(Piece::from));
                }
            }
        }
        let rollups = pieces.into_iter().map(|(key, mut pieces)| {
            pieces.sort_by_key(Piece::time);
            (key, roll(pieces, self.length.micros()))
        });
        let rollups: ByColumn = rollups.filter(|(_, rollups)| !rollups.is_empty()).collect();
        Ok(Some((id, table_of(&rollups, |key| self.divisors.get(key).copied()))))
    }

    fn texts(&self) -> &Texts {
        &self.texts
    }
}
