//! Rollups, given back: which stretches of a range they can stand for, and what they say.
//!
//! It refuses to mix them with samples: who asks reads each stretch from where it is, in order of time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use egiz_model::Timestamp;

use super::{DAY_MICROS, Historian, HistoryError, Published, day_of};
use crate::cell::Texts;
use crate::column::{ColumnKey, Place};
use crate::manifest::{Entry, Level};
use crate::part::Part;
use crate::rolled::{ByColumn, property_of, rollups_of};
use crate::series::{Piece, Rollup, RollupLength, Span, roll};

/// A piece of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// From when to when.
    pub span: Span,
    /// Whether rollups stand for the samples.
    pub is_rolled: bool,
}

/// Rollups of a Thing.
#[derive(Debug, Clone, Default)]
pub struct Rolled(ByColumn);

impl Rolled {
    /// Each property's and each list item's rollups, in the order of time.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, Option<u8>, &[Rollup])> {
        self.0.iter().map(|(key, rollups)| {
            let item = match key.place {
                Place::Item(item) => Some(item),
                Place::Whole | Place::Length => None,
            };
            (&key.feature, &key.property, item, &rollups[..])
        })
    }
}

impl Historian {
    /// Cuts `[from, to)` into stretches: some for which a Thing's rollups stand for its samples exactly, or are all that is
    /// left of them, and the rest. Where a correction is about a day, its samples are asked as long as they are there: rollups
    /// are of what was said. With `prefers_samples`, only the latter.
    pub fn stretches(
        &self,
        thing: &str,
        from: Timestamp,
        to: Timestamp,
        prefers_samples: bool,
    ) -> Vec<Stretch> {
        let mut texts = Texts::default();
        let (published, newest) = self.view(thing, &mut texts);
        let in_memory: BTreeSet<i64> = newest.times.iter().map(|time| day_of(*time)).collect();
        let days = Days::of(&published, thing);
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut begin = from;
        for day in days.rolled {
            let of_day = Span::new(start_of(day), start_of(day.saturating_add(1)));
            let asked = of_day.intersection(Span::new(begin, to));
            let is_rolled = match days.samples.get(&day) {
                None => true,
                Some(is_rolled) => {
                    *is_rolled
                        && asked == of_day
                        && !prefers_samples
                        && !in_memory.contains(&day)
                        && !self.corrections.touch_thing(thing, of_day.start, of_day.end)
                }
            };
            if !is_rolled || asked.start >= asked.end {
                continue;
            }
            if begin < asked.start {
                stretches.push(Stretch { span: Span::new(begin, asked.start), is_rolled: false });
            }
            match stretches.last_mut() {
                Some(last) if last.is_rolled => last.span.end = asked.end,
                _ => stretches.push(Stretch { span: asked, is_rolled: true }),
            }
            begin = asked.end;
        }
        if begin < to {
            stretches.push(Stretch { span: Span::new(begin, to), is_rolled: false });
        }
        stretches
    }

    /// A Thing's rollups that lie wholly in `[from, to)`, of the properties that `wanted` says: of hours with such a length, as
    /// far as there are any, and of quarter hours else.
    ///
    /// # Errors
    /// Where a part cannot be read.
    pub fn rolled(
        &self,
        thing: &str,
        from: Timestamp,
        to: Timestamp,
        length: RollupLength,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Result<Rolled, HistoryError> {
        let published = Arc::clone(&self.state.lock().published);
        let wanted =
            |key: &ColumnKey| property_of(key).is_some_and(|key| wanted(&key.feature, &key.property));
        let is_of_thing = |(entry, part): &(&Entry, &Arc<Part>)| entry.level.is_rolled() && part.knows(thing);
        let mut families: BTreeMap<&str, Vec<(&Entry, &Arc<Part>)>> = BTreeMap::new();
        for (entry, part) in published.open_parts().filter(is_of_thing) {
            families.entry(&entry.family).or_default().push((entry, part));
        }
        let days = day_of(from.as_micros())..=day_of(to.as_micros().saturating_sub(1));
        let mut all = ByColumn::new();
        for parts in families.values() {
            let mut pieces: BTreeMap<ColumnKey, Vec<Piece>> = BTreeMap::new();
            for (entry, part) in parts {
                let Some(own_length) = entry.level.rollup_length() else { continue };
                let holds =
                    |day: &i64| parts.iter().all(|(other, _)| !goes_before(other, entry, *day, length));
                let held: BTreeSet<i64> = entry
                    .rolled_days()
                    .iter()
                    .copied()
                    .filter(|day| days.contains(day) && holds(day))
                    .collect();
                if held.is_empty() {
                    continue;
                }
                let mut texts = Texts::default();
                let table = part.read(thing, from.as_micros(), to.as_micros(), &wanted, &mut texts)?;
                for (key, rollups) in rollups_of(&table, own_length.micros()) {
                    let inside = rollups.into_iter().filter(|rollup| {
                        held.contains(&day_of(rollup.span.start.as_micros()))
                            && from <= rollup.span.start
                            && rollup.span.end <= to
                    });
                    pieces.entry(key).or_default().extend(inside.map(Piece::from));
                }
            }
            for (key, mut pieces) in pieces {
                pieces.sort_by_key(Piece::time);
                let known = all.entry(key).or_default();
                *known = beside(std::mem::take(known), roll(pieces, length.micros()));
            }
        }
        all.retain(|_, rollups| !rollups.is_empty());
        Ok(Rolled(all))
    }
}

/// Whether of two parts of a family's rollups the other one holds for a day that both have, or the own one never does.
fn goes_before(other: &Entry, own: &Entry, day: i64, length: RollupLength) -> bool {
    let worth = |entry: &Entry| match entry.level {
        _ if !entry.rolled_days().contains(&day) => 0,
        Level::Quarters => 3,
        // Hours cannot be taken apart.
        Level::HoursOfMonth if length == RollupLength::Quarter => 0,
        Level::HoursOfMonth => 2,
        _ => 1,
    };
    worth(own) == 0 || worth(other) > worth(own)
}

/// Rollups of one column from two families, each in the order of time.
fn beside(some: Vec<Rollup>, more: Vec<Rollup>) -> Vec<Rollup> {
    if some.is_empty() {
        return more;
    }
    let mut all: Vec<Rollup> = some.into_iter().chain(more).collect();
    all.sort_by_key(|rollup| rollup.span.start);
    let mut together: Vec<Rollup> = Vec::with_capacity(all.len());
    for rollup in all {
        match together.last_mut() {
            Some(last) if last.span == rollup.span => *last = last.beside(&rollup),
            _ => together.push(rollup),
        }
    }
    together
}

/// On which days a Thing has what.
struct Days {
    /// Days with samples, and whether all of them are in rollups.
    samples: BTreeMap<i64, bool>,
    rolled: BTreeSet<i64>,
}

impl Days {
    fn of(published: &Published, thing: &str) -> Self {
        let mut days = Self { samples: BTreeMap::new(), rolled: BTreeSet::new() };
        for (entry, _) in published.open_parts().filter(|(_, part)| part.knows(thing)) {
            if entry.level.has_samples() {
                let is_rolled = days.samples.entry(entry.day).or_insert(true);
                *is_rolled &= entry.is_rolled;
            } else {
                days.rolled.extend(entry.rolled_days());
            }
        }
        days
    }
}

fn start_of(day: i64) -> Timestamp {
    Timestamp::from_micros(day.saturating_mul(DAY_MICROS))
}
