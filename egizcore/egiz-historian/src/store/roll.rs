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
use super::{DAY_MICROS, Historian, HistoryError, Published, day_of};
use crate::cell::{Kind, Texts};
use crate::column::{self, ColumnKey};
use crate::manifest::{Entry, Level};
use crate::part::{Layout, Part, PartError, Shapes, Walk};
use crate::rolled::{ByColumn, column_of_values, rollups_of, table_of};
use crate::series::{Piece, roll};
use crate::table::Table;

impl Historian {
    /// Rolls a day's part.
    pub(super) fn roll_day(&self, published: &Published, day: &Entry) -> Result<(), HistoryError> {
        let part = published.part(day)?;
        let divisors = divisors_of_samples(&part.layout());
        let walk = || Days { walk: part.walk(), divisors: &divisors, texts: Texts::default() };
        let place = Place { day: day.day, family: &day.family, level: Level::Quarters };
        let (layout, kept) = layout_and_tables(walk())?;
        let entry = match kept {
            Some(tables) => self.write_part(&place, layout, tables)?,
            None => self.write_part(&place, layout, walk())?,
        };
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
        let of_days: Vec<i64> =
            old.iter().filter(|entry| entry.level == Level::Quarters).map(|entry| entry.day).collect();
        let is_of = |level: Level| old.iter().any(|entry| entry.level == level);
        let mut divisors = HashMap::new();
        for entry in old {
            divisors_of_rollups(&published.part(entry)?.layout(), &mut divisors);
        }
        let mut entries = Vec::new();
        for level in [Level::QuartersOfMonth, Level::HoursOfMonth] {
            // Hours are made of quarter hours where they are not there yet.
            let wanted = if is_of(level) { level } else { Level::QuartersOfMonth };
            let sources: Vec<(&Entry, &Arc<Part>)> = published
                .open_parts()
                .filter(|(entry, _)| {
                    old.contains(entry) && (entry.level == Level::Quarters || entry.level == wanted)
                })
                .collect();
            let walks = || Months {
                sources: sources.iter().map(|(entry, part)| Source::of(entry, part, &of_days)).collect(),
                micros: level.rollup_micros().unwrap_or(DAY_MICROS),
                divisors: &divisors,
                texts: Texts::default(),
            };
            let place = Place { day: month, family: &first.family, level };
            let written = layout_of(walks())
                .map_err(HistoryError::from)
                .and_then(|layout| self.write_part(&place, layout, walks()));
            let mut days: Vec<i64> = sources.iter().flat_map(|(entry, _)| entry.rolled_days()).collect();
            days.sort_unstable();
            days.dedup();
            let rank = sources.iter().map(|(entry, _)| entry.rank).max().unwrap_or_default();
            match written {
                Ok(entry) => entries.extend(entry.map(|entry| Entry { rank, days, ..entry })),
                Err(error) => {
                    self.discard(&entries);
                    return Err(error);
                }
            }
        }
        self.put_in_force(
            |manifest| {
                manifest.forget(old);
                manifest.parts.extend(entries);
            },
            |_| (),
        )?;
        self.remove(old)
    }
}

impl Published {
    /// The open part of an entry.
    fn part(&self, wanted: &Entry) -> Result<&Arc<Part>, PartError> {
        let found = self.open_parts().find(|(entry, _)| entry.name == wanted.name);
        found.map(|(_, part)| part).ok_or_else(|| PartError::damaged(&wanted.name, "it is not open"))
    }
}

impl Entry {
    fn rolled_days(&self) -> Vec<i64> {
        if self.level == Level::Quarters { vec![self.day] } else { self.days.clone() }
    }
}

/// What all the rows need.
pub(super) fn layout_of(mut tables: impl Tables) -> Result<Layout, PartError> {
    let mut shapes = Shapes::default();
    while let Some((_, table)) = tables.next()? {
        shapes.see(&table);
    }
    Ok(shapes.layout())
}

/// Cells of rollups that are kept in memory (64 MiB) so that a day need not be read twice: those of some hundred Things.
const CELLS_KEPT: usize = 4 << 20;

/// Tables that were made already.
struct Kept(std::vec::IntoIter<(String, Table)>, Texts);

impl Tables for Kept {
    fn next(&mut self) -> Result<Option<(String, Table)>, PartError> {
        Ok(self.0.next())
    }

    fn texts(&self) -> &Texts {
        &self.1
    }
}

/// What all the rows need, and the rows themselves if they are few enough to keep.
fn layout_and_tables(mut tables: Days<'_>) -> Result<(Layout, Option<Kept>), PartError> {
    let mut shapes = Shapes::default();
    let mut kept = Some(Vec::new());
    let mut cells = 0;
    while let Some((id, table)) = tables.next()? {
        shapes.see(&table);
        cells += table.columns.iter().map(|column| column.cells.len()).sum::<usize>();
        kept = kept.filter(|_| cells <= CELLS_KEPT);
        if let Some(kept) = &mut kept {
            kept.push((id, table));
        }
    }
    Ok((shapes.layout(), kept.map(|kept| Kept(kept.into_iter(), Texts::default()))))
}

/// One over the step of each column that has nothing but multiples of it.
type Divisors = HashMap<ColumnKey, f64>;

fn divisors_of_samples(layout: &Layout) -> Divisors {
    let of_key = layout.columns.chunk_by(|a, b| a.same_key(b));
    let divisors = of_key.filter_map(|columns| {
        let divisor = columns.iter().find_map(|column| column.form.divisor())?;
        let is_all = !columns.iter().any(|column| column.form.is_of_other_numbers());
        is_all.then(|| (columns[0].key(), divisor.number()))
    });
    divisors.collect()
}

/// Those that the values in rollups show.
fn divisors_of_rollups(layout: &Layout, divisors: &mut Divisors) {
    for columns in layout.columns.chunk_by(|a, b| a.same_key(b)) {
        let Some(key) = column_of_values(&columns[0].key()) else { continue };
        let has_others = columns.iter().any(|column| column.form.is_of_other_numbers());
        let divisor = columns.iter().find_map(|column| column.form.divisor());
        let divisor = divisor.filter(|_| !has_others).map_or(f64::INFINITY, |divisor| divisor.number());
        let known = divisors.entry(key).or_insert(divisor);
        *known = known.max(divisor);
    }
    divisors.retain(|_, divisor| divisor.is_finite());
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
    let micros = Level::Quarters.rollup_micros().unwrap_or(DAY_MICROS);
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
            let of_column = roll(samples.into_iter().map(Piece::from), micros);
            if !of_column.is_empty() {
                rollups.insert(key.clone(), of_column);
            }
        }
    }
    rollups
}

/// One part of a month's rollups, and which of its days hold.
struct Source {
    walk: Walk,
    micros: i64,
    /// Days that are in a part of their own.
    others: Vec<i64>,
}

impl Source {
    fn of(entry: &Entry, part: &Arc<Part>, of_days: &[i64]) -> Self {
        let others = if entry.level == Level::Quarters { Vec::new() } else { of_days.to_vec() };
        Self { walk: part.walk(), micros: entry.level.rollup_micros().unwrap_or(DAY_MICROS), others }
    }

    fn rollups(&mut self, texts: &mut Texts) -> Result<ByColumn, PartError> {
        let mut rollups = rollups_of(&self.walk.take(texts)?, self.micros);
        for of_column in rollups.values_mut() {
            of_column.retain(|rollup| !self.others.contains(&day_of(rollup.span.start.as_micros())));
        }
        Ok(rollups)
    }
}

/// A month's rollups from the parts that have them, Thing by Thing.
struct Months<'a> {
    sources: Vec<Source>,
    /// How long they are to be.
    micros: i64,
    divisors: &'a Divisors,
    texts: Texts,
}

impl Tables for Months<'_> {
    fn next(&mut self) -> Result<Option<(String, Table)>, PartError> {
        let ids = self.sources.iter().filter_map(|source| source.walk.peek());
        let Some(id) = ids.min().map(str::to_owned) else { return Ok(None) };
        let mut pieces: BTreeMap<ColumnKey, Vec<Piece>> = BTreeMap::new();
        for source in &mut self.sources {
            if source.walk.peek() == Some(&id) {
                for (key, rollups) in source.rollups(&mut self.texts)? {
                    pieces.entry(key).or_default().extend(rollups.into_iter().map(Piece::from));
                }
            }
        }
        let rollups = pieces.into_iter().map(|(key, mut pieces)| {
            pieces.sort_by_key(Piece::time);
            (key, roll(pieces, self.micros))
        });
        let rollups: ByColumn = rollups.filter(|(_, rollups)| !rollups.is_empty()).collect();
        Ok(Some((id, table_of(&rollups, |key| self.divisors.get(key).copied()))))
    }

    fn texts(&self) -> &Texts {
        &self.texts
    }
}
