//! Fewer and larger parts, keyframes, and the end of what is old.
//!
//! A part that turns out to be damaged is not tried again: what else there is to do must not wait for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use egiz_model::Timestamp;

use super::past::LastReader;
use super::plan::{Cause, Known, Task, next_task};
use super::seal::{Place, Tables};
use super::{DAY_MICROS, Historian, HistoryError, Published};
use crate::cell::{Cell, Texts};
use crate::manifest::{Entry, Level, Manifest};
use crate::part::{Layout, Part, PartError, Walk};
use crate::table::{Column, Table};

impl Historian {
    /// Does one thing that keeps the history small and quick, if there is one to do; returns whether there was.
    ///
    /// # Errors
    /// Where the disk does not take it or a part cannot be read; nothing changes then.
    pub fn maintain(&self, now: Timestamp) -> Result<bool, HistoryError> {
        let mut maintaining = self.maintaining.lock();
        let published = Arc::clone(&self.state.lock().published);
        // A part that is lost stays named, in case somebody brings it back, and is left alone.
        let usable: Vec<Entry> = published.open_parts().map(|(entry, _)| entry.clone()).collect();
        let known = Known { damaged: Some(&maintaining.damaged), is_pressed: maintaining.is_pressed };
        let Some(task) = next_task(&usable, known, &self.settings, now.as_micros()) else {
            return Ok(false);
        };
        let done = self.do_task(&published, &usable, task);
        maintaining.is_pressed = matches!(&done, Err(error) if error.is_of_disk());
        if let Err(HistoryError::Part(PartError::Damaged { file, .. })) = &done {
            maintaining.damaged.insert(file.clone());
        }
        done
    }

    fn do_task(&self, published: &Published, usable: &[Entry], task: Task) -> Result<bool, HistoryError> {
        let entries =
            |parts: &[usize]| -> Vec<Entry> { parts.iter().map(|index| usable[*index].clone()).collect() };
        match task {
            Task::Merge { parts, level } => self.merge(published, &entries(&parts), level)?,
            Task::Drop { parts, cause } => self.drop_parts(&entries(&parts), cause)?,
            Task::Roll { part } => self.roll_day(published, &usable[part])?,
            Task::RollMonth { month, parts } => self.roll_month(published, month, &entries(&parts))?,
            Task::Keyframe { day } => return self.write_keyframe(published, day),
        }
        Ok(true)
    }

    fn drop_parts(&self, parts: &[Entry], cause: Cause) -> Result<(), HistoryError> {
        let is_of_rows = |entry: &&Entry| !entry.level.is_rolled();
        let rows: u64 = parts.iter().filter(is_of_rows).map(|entry| entry.rows).sum();
        self.put_in_force(
            |manifest| manifest.forget(parts),
            |state| match cause {
                Cause::Age => state.counts.rows_dropped += rows,
                Cause::Space => state.counts.rows_dropped_for_space += rows,
            },
        )?;
        self.remove(parts)
    }

    fn merge(&self, published: &Published, old: &[Entry], level: Level) -> Result<(), HistoryError> {
        let [first, ..] = old else { return Ok(()) };
        let mut parts: Vec<(&Entry, &Arc<Part>)> =
            published.open_parts().filter(|(entry, _)| old.contains(entry)).collect();
        parts.sort_by_key(|(entry, _)| entry.rank);
        let place = Place { day: first.day, family: &first.family, level };
        let walks = || Together {
            walks: parts.iter().map(|(_, part)| part.walk()).collect(),
            texts: Texts::default(),
        };
        let layouts: Vec<Layout> = parts.iter().map(|(_, part)| part.layout()).collect();
        let entry = match Layout::of_all(&layouts) {
            Some(layout) => self.write_part(&place, layout, walks())?,
            None => self.write_measured(&place, walks)?,
        };
        let rank = old.iter().map(|entry| entry.rank).max().unwrap_or_default();
        self.replace(old, entry.map(|entry| Entry { rank, ..entry }))
    }

    /// Puts parts in force in place of others, and removes those.
    pub(super) fn replace(
        &self,
        old: &[Entry],
        new: impl IntoIterator<Item = Entry>,
    ) -> Result<(), HistoryError> {
        self.put_in_force(
            |manifest| {
                manifest.forget(old);
                manifest.parts.extend(new);
            },
            |_| (),
        )?;
        self.remove(old)
    }

    /// Writes down the last value of everything before a day began, family by family; returns whether there was any.
    fn write_keyframe(&self, published: &Published, day: i64) -> Result<bool, HistoryError> {
        let begin = day.saturating_mul(DAY_MICROS);
        let manifest = &published.manifest;
        let families: BTreeSet<&str> = manifest
            .parts
            .iter()
            .filter(|entry| entry.day < day)
            .map(|entry| entry.family.as_str())
            .collect();
        let rank = manifest.parts.iter().map(|entry| entry.rank).max().unwrap_or_default();
        let mut added = Vec::new();
        for family in families {
            let ids: BTreeSet<&str> = published
                .open_parts()
                .filter(|(entry, _)| entry.family == family && entry.day < day)
                .flat_map(|(_, part)| part.things())
                .collect();
            let place = Place { day, family, level: Level::Keyframe };
            let states = || States {
                last: published.last_before(Some(family), begin),
                ids: ids.iter().copied().collect::<Vec<_>>().into_iter(),
                texts: Texts::default(),
            };
            match self.write_measured(&place, states) {
                Ok(entry) => added.extend(entry.map(|entry| Entry { rank, ..entry })),
                Err(error) => {
                    self.discard(&added);
                    return Err(error);
                }
            }
        }
        let is_any = !added.is_empty();
        if is_any {
            self.put_in_force(|manifest| manifest.parts.extend(added), |_| ())?;
        }
        Ok(is_any)
    }

    /// Removes files that are no longer in force; who reads them has them open.
    pub(super) fn remove(&self, parts: &[Entry]) -> Result<(), HistoryError> {
        for entry in parts {
            self.disk.remove(&entry.name).map_err(|error| PartError::io(&entry.name, error))?;
        }
        Ok(())
    }
}

/// Parts of one day and family, walked through side by side.
struct Together {
    /// By rank: of what two say of the same time, the later one holds.
    walks: Vec<Walk>,
    texts: Texts,
}

impl Tables for Together {
    fn next(&mut self) -> Result<Option<(String, Table)>, PartError> {
        let Some(id) = self.walks.iter().filter_map(Walk::peek).min().map(str::to_owned) else {
            return Ok(None);
        };
        let mut table = Table::default();
        for walk in &mut self.walks {
            if walk.peek() == Some(&id) {
                table.append(walk.take(&mut self.texts)?);
            }
        }
        table.tidy();
        Ok(Some((id, table)))
    }

    fn texts(&self) -> &Texts {
        &self.texts
    }
}

/// How Things stood when a day began.
struct States<'a> {
    last: LastReader,
    ids: std::vec::IntoIter<&'a str>,
    texts: Texts,
}

impl Tables for States<'_> {
    fn next(&mut self) -> Result<Option<(String, Table)>, PartError> {
        let Some(id) = self.ids.next() else { return Ok(None) };
        let last = self.last.of(id, &mut self.texts)?;
        Ok(Some((id.to_owned(), last_rows(last.into_cells()))))
    }

    fn texts(&self) -> &Texts {
        &self.texts
    }
}

impl Manifest {
    pub(super) fn forget(&mut self, gone: &[Entry]) {
        self.parts.retain(|entry| !gone.contains(entry));
    }
}

/// The rows that hold the last cell of each column, with nothing else in them.
fn last_rows(last: Vec<(crate::column::ColumnKey, i64, u32, Cell)>) -> Table {
    let mut times: Vec<(i64, u32)> = last.iter().map(|(_, time, delay, _)| (*time, *delay)).collect();
    times.sort_unstable();
    times.dedup_by_key(|(time, _)| *time);
    let mut table = Table {
        times: times.iter().map(|(time, _)| *time).collect(),
        delays: times.iter().map(|(_, delay)| *delay).collect(),
        columns: Vec::new(),
    };
    for (key, time, _, cell) in last {
        let row = table.times.binary_search(&time).expect("its time was just put there");
        let mut cells = vec![Cell::ABSENT; row];
        cells.push(cell);
        table.columns.push(Column { key, cells });
    }
    table
}
