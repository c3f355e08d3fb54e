//! Reads what is to be played: everything that many Things said in a stretch of time, in one pass and in bounded memory.
//!
//! ```text
//!  Thing ─► parts, by rank ─┐
//!           rows in memory ─┴─► tidy ─► of each property the last of every grid step ─► Window
//!                                             too many cells: the later half of the stretch is given up ─┘
//! ```
//!
//! A key frame is [`Historian::states_at`] or [`Historian::states_of`]; a key frame at T and what windows have of `(T, U]` is
//! how everything stood at U. Parts are read Thing after Thing, so a window costs about the same however short it is: who
//! plays asks for as much as the bound on cells lets through, and for the next one while this one is played.

use std::collections::HashMap;
use std::sync::Arc;

use egiz_model::Timestamp;

use super::window::{Builder, Window};
use super::{Historian, HistoryError, Published};
use crate::cell::Texts;
use crate::column::ColumnKey;
use crate::corrections::lay_over;
use crate::head::Head;
use crate::part::Reader;
use crate::table::Table;

/// Things whose rows in memory are looked up under one hold of the lock.
const BATCH: usize = 64;

/// Of which Things which properties are played.
pub struct Cast<'a> {
    /// The Things by id, without repetition; all that ever said something where it is none.
    pub things: Option<&'a [Arc<str>]>,
    /// Which properties, by feature and name.
    pub properties: &'a dyn Fn(&str, &str) -> bool,
}

/// A stretch of time to be read, and how much of it.
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    /// What was measured at this time does not belong to it any more.
    pub after: Timestamp,
    /// What was measured at this time still belongs to it.
    pub until: Timestamp,
    /// Of each property only the last value of every so many microseconds, counted from `after`, where this is more than 0.
    /// Such a window is exact at the ends of these steps only.
    pub every_micros: i64,
    /// The most cells that are held: values, of lists one for each item; long texts count as several, one for each sixteen
    /// bytes. Where there are more, the window ends earlier. One step, or one instant, is never cut, so that each property may have one value in any case.
    pub cells_max: usize,
}

impl Historian {
    /// Everything that was measured in a stretch of time, corrected. The window may end before the stretch does; see
    /// [`Window::end`]. Nothing where `go_on`, which is asked from time to time, says no.
    ///
    /// # Errors
    /// Where a part cannot be read.
    pub fn window(
        &self,
        passage: Passage,
        cast: &Cast<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Window>, HistoryError> {
        let mut builder = Builder::new(passage);
        let wanted = |key: &ColumnKey| (cast.properties)(&key.feature, &key.property);
        let (from, to) = builder.range();
        let (mut published, ids) = self.who_spoke(cast, from, to);
        let mut readers = published.readers(from, to);
        for ids in ids.chunks(BATCH) {
            if !go_on() {
                return Ok(None);
            }
            let mut newest: HashMap<&str, Table> = HashMap::new();
            {
                let state = self.state.lock();
                for head in state.heads().filter(|head| head.overlaps(from, to)) {
                    let mut reader = head.reader();
                    for id in ids.iter().filter(|id| head.knows(id)) {
                        let rows = reader.table_of(id, builder.texts());
                        newest.entry(id).or_default().append(rows);
                    }
                }
                // What was in memory before may be in a part by now.
                if !Arc::ptr_eq(&published, &state.published) {
                    published = Arc::clone(&state.published);
                    drop(state);
                    readers = published.readers(from, to);
                }
            }
            for id in ids {
                // The window may have become shorter meanwhile.
                let (from, to) = builder.range();
                let table = rows_of(&mut readers, id, (from, to), &wanted, builder.texts())?;
                let mut table = with_newest(table, newest.remove(&**id), (from, to), &wanted);
                lay_over(&self.corrections.of(id), &mut table, builder.texts());
                builder.add(id, table);
            }
        }
        Ok(Some(builder.finish()))
    }

    /// The parts in force, and the Things of the cast that may have said something between two times.
    fn who_spoke(&self, cast: &Cast<'_>, from: i64, to: i64) -> (Arc<Published>, Vec<Arc<str>>) {
        let (published, mut ids) = {
            let state = self.state.lock();
            let ids: Vec<Arc<str>> = match cast.things {
                Some(things) => things.to_vec(),
                None => {
                    let heads = state.heads().filter(|head| head.overlaps(from, to));
                    heads.flat_map(Head::ids).map(Arc::clone).collect()
                }
            };
            (Arc::clone(&state.published), ids)
        };
        if cast.things.is_none() {
            for reader in published.readers(from, to) {
                ids.extend(reader.part().things().map(Arc::from));
            }
            ids.sort_unstable();
            ids.dedup();
        }
        (published, ids)
    }
}

impl Published {
    /// Readers of the parts that may have rows between two times, by rank.
    fn readers(&self, from: i64, to: i64) -> Vec<Reader> {
        let overlapping = self
            .open_parts()
            .filter(|(entry, _)| entry.level.has_samples() && entry.first < to && entry.last >= from);
        let mut parts: Vec<_> = overlapping.collect();
        parts.sort_by_key(|(entry, _)| entry.rank);
        parts.into_iter().map(|(_, part)| part.reader()).collect()
    }
}

/// What parts have of a Thing between two times.
fn rows_of(
    readers: &mut [Reader],
    thing: &str,
    (from, to): (i64, i64),
    wanted: &dyn Fn(&ColumnKey) -> bool,
    texts: &mut Texts,
) -> Result<Table, HistoryError> {
    let mut table = Table::default();
    for reader in readers {
        table.append(reader.between(thing, from, to, wanted, texts)?);
    }
    Ok(table)
}

/// The same with the rows in memory, which came later, in order.
fn with_newest(
    mut table: Table,
    newest: Option<Table>,
    (from, to): (i64, i64),
    wanted: &dyn Fn(&ColumnKey) -> bool,
) -> Table {
    if let Some(mut newest) = newest {
        newest.tidy();
        let mut newest = newest.rows(newest.between(from, to));
        newest.columns.retain(|column| wanted(&column.key));
        table.append(newest);
    }
    table.tidy();
    table
}
