//! From memory to parts: one part for each day and family, all of them in force at once.

use std::collections::BTreeMap;
use std::io::BufWriter;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use egiz_model::Timestamp;

use super::{DAY_MICROS, Historian, HistoryError, day_of};
use crate::cell::Texts;
use crate::head::{Head, HeadReader, HeadThing};
use crate::manifest::{Entry, Level, Manifest};
use crate::part::{Layout, Part, PartError, PartWriter, Shapes};
use crate::table::Table;

/// Rows on their way into a part: a Thing's after another's, in the order of ids.
pub(super) trait Tables {
    /// The next Thing's id and rows, by time.
    fn next(&mut self) -> Result<Option<(String, Table)>, PartError>;

    /// The texts of all rows given so far.
    fn texts(&self) -> &Texts;
}

/// A head's rows of one day.
struct Sealing<'a> {
    head: &'a Head,
    reader: HeadReader<'a>,
    things: std::vec::IntoIter<(&'a Arc<str>, &'a HeadThing)>,
    day: i64,
}

impl Tables for Sealing<'_> {
    fn next(&mut self) -> Result<Option<(String, Table)>, PartError> {
        let Some((id, thing)) = self.things.next() else { return Ok(None) };
        let mut table = self.reader.table(thing);
        table.tidy();
        let of_day = rows_of_day(&table, self.day);
        let table = if of_day.len() == table.len() { table } else { table.rows(of_day) };
        Ok(Some((id.to_string(), table)))
    }

    fn texts(&self) -> &Texts {
        &self.head.texts
    }
}

/// Who has rows for a part, by id, and what they are.
#[derive(Default)]
struct Group<'a> {
    things: Vec<(&'a Arc<str>, &'a HeadThing)>,
    shapes: Shapes,
}

impl Historian {
    /// Seals what is in memory. When it returns, all rows taken in before are in parts, and the records that brought them
    /// are no longer needed.
    ///
    /// # Errors
    /// Where the disk does not take it; nothing is lost then, and the next call tries again.
    pub fn seal(&self, now: Timestamp) -> Result<(), HistoryError> {
        let _sealing = self.sealing.lock();
        loop {
            let (head, is_the_newest) = {
                let mut state = self.state.lock();
                match &state.sealing {
                    // An earlier try failed; it comes first.
                    Some(head) => (Arc::clone(head), false),
                    None if state.head.is_empty()
                        && state.head.next == state.published.manifest.next_offset =>
                    {
                        return Ok(());
                    }
                    None => {
                        let next = state.head.next;
                        let head = Arc::new(std::mem::replace(&mut state.head, Head::from(next)));
                        state.sealing = Some(Arc::clone(&head));
                        (head, true)
                    }
                }
            };
            self.write_head(&head, now)?;
            if is_the_newest {
                return Ok(());
            }
        }
    }

    fn write_head(&self, head: &Head, now: Timestamp) -> Result<(), HistoryError> {
        let published = Arc::clone(&self.state.lock().published);
        let is_kept = |day: i64, family: &str| {
            day >= self.settings.oldest_day(Level::Sealed, family, now.as_micros())
                && !published.manifest.is_closed(day, family)
        };
        let (groups, expired) = group(head, is_kept);
        let mut entries = Vec::new();
        for ((day, family), Group { things, shapes }) in groups {
            let place = Place { day, family, level: Level::Sealed };
            let tables = Sealing { head, reader: head.reader(), things: things.into_iter(), day };
            match self.write_part(&place, shapes.layout(), tables) {
                Ok(entry) => entries.extend(entry),
                Err(error) => {
                    self.discard(&entries);
                    return Err(error);
                }
            }
        }
        let sealed: u64 = entries.iter().map(|entry| entry.rows).sum();
        self.put_in_force(
            |manifest| {
                manifest.parts.extend(entries);
                manifest.next_offset = head.next;
            },
            |state| {
                state.sealing = None;
                state.counts.rows_sealed += sealed;
                state.counts.rows_expired += expired;
            },
        )
    }

    /// Changes the manifest that is in force, and lets `also` change what must change at the same moment.
    pub(super) fn put_in_force(
        &self,
        change: impl FnOnce(&mut Manifest),
        also: impl FnOnce(&mut super::State),
    ) -> Result<(), HistoryError> {
        let _changing = self.changing.lock();
        let before = Arc::clone(&self.state.lock().published);
        let mut manifest = before.manifest.clone();
        change(&mut manifest);
        manifest.next_number = self.next_number.load(Ordering::Relaxed);
        let published = before.with(manifest, &*self.disk)?;
        // The names of the parts are durable before the manifest that has them.
        self.disk.sync_folder().map_err(HistoryError::Folder)?;
        published.manifest.publish(&*self.disk)?;
        let mut state = self.state.lock();
        state.published = Arc::new(published);
        also(&mut state);
        Ok(())
    }

    /// Removes parts that were written and are not to be in force: a disk that is full must not fill up further with every
    /// try.
    pub(super) fn discard(&self, entries: &[Entry]) {
        for entry in entries {
            // What cannot be removed now is when the history is opened the next time.
            let _ = self.disk.remove(&entry.name);
        }
    }

    /// Writes a part. It is whole and synced under its name, and not in force yet; its rank is its number. Nothing where
    /// there were no rows.
    pub(super) fn write_part(
        &self,
        place: &Place<'_>,
        layout: Layout,
        tables: impl Tables,
    ) -> Result<Option<Entry>, HistoryError> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let under_way = format!("part-{number}.under-way");
        let written = self.write_file(place, number, &under_way, layout, tables);
        if written.is_err() {
            // It may not be there; if it is, it is of no use.
            let _ = self.disk.remove(&under_way);
        }
        written
    }

    fn write_file(
        &self,
        place: &Place<'_>,
        number: u64,
        under_way: &str,
        layout: Layout,
        mut tables: impl Tables,
    ) -> Result<Option<Entry>, HistoryError> {
        let name = place.file_name(number);
        let io = |error| PartError::io(&name, error);
        let parquet = |error| PartError::parquet(&name, error);
        let file = BufWriter::with_capacity(1 << 18, self.disk.create(under_way).map_err(io)?);
        let mut writer = PartWriter::begin(file, place.family, layout).map_err(parquet)?;
        while let Some((id, table)) = tables.next()? {
            writer.add(&id, table, tables.texts()).map_err(parquet)?;
        }
        let (written, file) = writer.finish(tables.texts()).map_err(parquet)?;
        let mut file = file.into_inner().map_err(|error| io(error.into_error()))?;
        file.sync().map_err(io)?;
        drop(file);
        if written.rows == 0 {
            self.disk.remove(under_way).map_err(io)?;
            return Ok(None);
        }
        self.disk.rename(under_way, &name).map_err(io)?;
        let part = Part::open(&*self.disk, &name, None)?;
        Ok(Some(Entry {
            level: place.level,
            day: place.day,
            family: place.family.to_owned(),
            rank: number,
            rows: written.rows,
            samples: written.samples,
            things: written.things,
            first: written.first,
            last: written.last,
            bytes: part.bytes(),
            footer_crc32c: part.footer_crc32c(),
            is_rolled: false,
            days: Vec::new(),
            name,
        }))
    }
}

/// Which rows a part holds.
pub(super) struct Place<'a> {
    pub(super) day: i64,
    pub(super) family: &'a str,
    pub(super) level: Level,
}

impl Place<'_> {
    /// `2026-03-01_openegiz-oven-1.0.0_000017.parquet`; of a month's rollups `2026-03_1h_…`.
    fn file_name(&self, number: u64) -> String {
        let date = Timestamp::from_micros(self.day.saturating_mul(DAY_MICROS)).to_string();
        let is_of_month = matches!(self.level, Level::QuartersOfMonth | Level::HoursOfMonth);
        let date = date.get(..if is_of_month { 7 } else { 10 }).unwrap_or("day");
        let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
        let family: String = self.family.chars().take(64).map(plain).collect();
        let family = if family.is_empty() { "other" } else { &family };
        let kind = match self.level {
            Level::Keyframe => "_begin",
            Level::Quarters | Level::QuartersOfMonth => "_15m",
            Level::HoursOfMonth => "_1h",
            Level::Sealed | Level::Merged | Level::Day => "",
        };
        format!("{date}{kind}_{family}_{number:06}.parquet")
    }
}

/// Who of the head has rows of which day and family; and how many rows are too old to keep.
fn group<'a>(
    head: &'a Head,
    is_kept: impl Fn(i64, &str) -> bool,
) -> (BTreeMap<(i64, &'a Arc<str>), Group<'a>>, u64) {
    let mut groups: BTreeMap<(i64, &Arc<str>), Group<'_>> = BTreeMap::new();
    let mut expired = 0;
    let mut reader = head.reader();
    for (id, thing) in head.sorted() {
        let mut table = reader.table(thing);
        table.tidy();
        let mut row = 0;
        while row < table.len() {
            let day = day_of(table.times[row]);
            let of_day = rows_of_day(&table, day);
            row = of_day.end;
            if !is_kept(day, head.family(thing)) {
                expired += of_day.len() as u64;
                continue;
            }
            let group = groups.entry((day, head.family(thing))).or_default();
            group.things.push((id, thing));
            if of_day.len() == table.len() {
                group.shapes.see(&table);
            } else {
                group.shapes.see(&table.rows(of_day));
            }
        }
    }
    (groups, expired)
}

fn rows_of_day(table: &Table, day: i64) -> Range<usize> {
    let begin = table.times.partition_point(|time| day_of(*time) < day);
    let end = table.times.partition_point(|time| day_of(*time) <= day);
    begin..end
}
