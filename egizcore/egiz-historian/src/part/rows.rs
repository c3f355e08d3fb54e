//! Rows of a part: of a Thing only the columns and pages that are asked for.
//!
//! ```text
//! Reader ──► page index of a row group ──► page (file, checksum, zstd) ──► values up to the row asked for ──► cells
//! ```
//!
//! A [`Reader`] keeps what it decoded last of each column, so that Things that lie in one page are read from it one after the
//! other without decoding it again.

use std::ops::Range;
use std::sync::Arc;

use egiz_model::{Quality, QualityReason};

use super::decode::{self, PADDING, Presence, ValueKind, Values};
use super::format::{DescribedThing, FIXED_COLUMNS, Form};
use super::page::{Desk, Expected, Location, Opened, Written, locations};
use super::{Part, PartError};
use crate::cell::{Cell, Texts};
use crate::column::ColumnKey;
use crate::table::{Column, Table};

const TIME_COLUMN: usize = 1;
const DELAY_COLUMN: usize = 2;

/// The beginning of a page, decoded.
#[derive(Debug)]
pub(super) struct Decoded {
    /// Its number in the column chunk.
    page: usize,
    /// Its first row in the row group.
    row: u32,
    pub(super) presence: Presence,
    pub(super) values: Values,
}

impl Decoded {
    /// Its first row in the row group.
    pub(super) fn row(&self) -> u32 {
        self.row
    }
}

const NO_PRESENCE: &str = "a page does not say which rows have values";
const NO_VALUES: &str = "the values of a page cannot be read";

/// A page that was loaded and checked.
struct LaidOpen<'a> {
    /// Its first row in the row group.
    row: u32,
    rows: u32,
    is_optional: bool,
    written: Written,
    data: &'a [u8],
}

impl<'a> LaidOpen<'a> {
    /// Which of its first rows have values, and the bytes of these.
    fn presence(&self, wanted: usize) -> Option<(Presence, &'a [u8])> {
        if self.is_optional {
            decode::presence(self.data, wanted)
        } else {
            Some((Presence::All(wanted), self.data))
        }
    }
}

/// What is known of one column of the row group at hand.
#[derive(Debug, Default)]
struct ColumnState {
    pages: Vec<Location>,
    dictionary: Option<Values>,
    last: Option<Decoded>,
    /// The checksum of the whole chunk was looked at.
    is_checked: bool,
}

/// Reads a part.
pub(crate) struct Reader {
    part: Arc<Part>,
    group: Option<u32>,
    columns: Vec<ColumnState>,
    bytes: Vec<u8>,
    desk: Desk,
}

impl Part {
    pub(crate) fn reader(self: &Arc<Self>) -> Reader {
        Reader {
            part: Arc::clone(self),
            group: None,
            columns: Vec::new(),
            bytes: Vec::new(),
            desk: Desk::default(),
        }
    }

    /// A Thing's rows with times in `[from, to)`, of the wanted columns.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(crate) fn read(
        self: &Arc<Self>,
        thing: &str,
        from: i64,
        to: i64,
        wanted: &dyn Fn(&ColumnKey) -> bool,
        texts: &mut Texts,
    ) -> Result<Table, PartError> {
        let Some(thing) = self.thing(thing) else {
            return Ok(Table::default());
        };
        let rows = thing.rows_around(from, to, self.page_rows);
        if rows.is_empty() {
            return Ok(Table::default());
        }
        let rows = thing.row + rows.start..thing.row + rows.end;
        let mut table = self.reader().rows(thing, rows, wanted, texts)?;
        let inside = table.between(from, to);
        if inside.len() < table.len() {
            table = table.rows(inside);
        }
        Ok(table)
    }

    /// The numbers of the columns of properties in which a Thing has anything.
    pub(super) fn columns_of<'a>(&self, thing: &'a DescribedThing) -> impl Iterator<Item = usize> + use<'a> {
        let all = if thing.has.is_empty() { 0..self.columns.len() } else { 0..0 };
        all.chain(thing.has.iter().map(|has| *has as usize))
    }
}

impl Reader {
    pub(crate) fn part(&self) -> &Arc<Part> {
        &self.part
    }

    /// Rows of a Thing by their numbers in its row group, of the wanted columns.
    pub(super) fn rows(
        &mut self,
        thing: &DescribedThing,
        rows: Range<u32>,
        wanted: &dyn Fn(&ColumnKey) -> bool,
        texts: &mut Texts,
    ) -> Result<Table, PartError> {
        let part = Arc::clone(&self.part);
        self.enter(thing.group)?;
        let mut table = Table {
            times: self.times(rows.clone())?,
            delays: self.delays(rows.clone())?,
            columns: Vec::new(),
        };
        for index in part.columns_of(thing) {
            if wanted(&part.columns[index].key) {
                self.cells(index, rows.clone(), &mut table, texts)?;
            }
        }
        Ok(table)
    }

    /// Goes to a row group.
    pub(super) fn enter(&mut self, group: u32) -> Result<(), PartError> {
        if self.group == Some(group) {
            return Ok(());
        }
        self.group = None;
        let part = &self.part;
        let columns = part.stored.len();
        let chunks = &part.chunks[group as usize * columns..][..columns];
        let length: usize = chunks.iter().map(|chunk| chunk.index_length as usize).sum();
        self.bytes.clear();
        self.bytes.resize(length, 0);
        part.read_at(part.groups[group as usize].indexes_at, &mut self.bytes)?;
        let mut rest = &self.bytes[..];
        self.columns.clear();
        for (number, chunk) in chunks.iter().enumerate() {
            let (index, after) = rest.split_at(chunk.index_length as usize);
            rest = after;
            let rows = part.groups[group as usize].rows;
            let is_sound = |pages: &Vec<Location>| {
                pages.first().is_some_and(|first| {
                    first.row == 0
                        && Some(first.offset) == chunk.start.checked_add(u64::from(chunk.data_after))
                }) && pages.is_sorted_by(|a, b| a.row < b.row)
                    && pages.last().is_some_and(|last| last.row < rows)
            };
            let pages = locations(index)
                .filter(is_sound)
                .ok_or_else(|| part.flaw(number, "its page index is not as it should be"))?;
            self.columns.push(ColumnState { pages, ..ColumnState::default() });
        }
        self.group = Some(group);
        Ok(())
    }

    /// The page of a column that has a row, decoded up to that row at least.
    pub(super) fn page(&mut self, number: usize, row: u32) -> Result<&Decoded, PartError> {
        let state = &self.columns[number];
        let page = state.pages.partition_point(|page| page.row <= row).saturating_sub(1);
        let begin = state.pages[page].row;
        let wanted = row - begin + 1;
        let wanted = match &state.last {
            Some(last) if last.page == page && last.presence.len() >= wanted as usize => None,
            // Who comes back for more of a page is given all of it.
            Some(last) if last.page == page => Some(u32::MAX),
            _ => Some(wanted),
        };
        if let Some(wanted) = wanted {
            let decoded = self.decode(number, page, wanted)?;
            self.columns[number].last = Some(decoded);
        }
        Ok(self.columns[number].last.as_ref().expect("it was just put there"))
    }

    fn decode(&mut self, number: usize, page: usize, wanted: u32) -> Result<Decoded, PartError> {
        let part = Arc::clone(&self.part);
        let flaw = |flaw: &str| part.flaw(number, flaw);
        let (opened, state) = self.lay_open(number, page)?;
        let kind = part.stored[number].kind;
        let wanted = wanted.min(opened.rows) as usize;
        let (presence, data) = opened.presence(wanted).ok_or_else(|| flaw(NO_PRESENCE))?;
        let count = presence.count_before(wanted);
        let values = match (opened.written, kind, &state.dictionary) {
            // Nothing is written where no row has a value.
            _ if count == 0 => decode::plain(&[], kind, 0),
            (Written::Plainly, kind, _) => decode::plain(data, kind, count),
            (Written::ByDictionary, _, Some(dictionary)) => decode::by_dictionary(data, dictionary, count),
            (Written::Packed, ValueKind::Long, _) => {
                let room = match state.last.take() {
                    Some(Decoded { values: Values::Longs(values), .. }) => values,
                    _ => Vec::new(),
                };
                decode::delta(data, count, room).map(Values::Longs)
            }
            _ => None,
        };
        let values = values.ok_or_else(|| flaw(NO_VALUES))?;
        Ok(Decoded { page, row: opened.row, presence, values })
    }

    /// The last row of a range in which a column has a value, as a page of that row alone. The values before it are passed over;
    /// nothing is kept, as adding up a page costs less than to lay out all of it for those who may come after.
    pub(super) fn last_value(
        &mut self,
        number: usize,
        rows: Range<u32>,
    ) -> Result<Option<Decoded>, PartError> {
        let part = Arc::clone(&self.part);
        let flaw = |flaw: &str| part.flaw(number, flaw);
        let kind = part.stored[number].kind;
        let mut end = rows.end;
        while end > rows.start {
            let page = self.columns[number].pages.partition_point(|page| page.row < end).saturating_sub(1);
            let (opened, state) = self.lay_open(number, page)?;
            let begin = rows.start.max(opened.row);
            let wanted = (end - opened.row).min(opened.rows) as usize;
            let (presence, data) = opened.presence(wanted).ok_or_else(|| flaw(NO_PRESENCE))?;
            let here = (begin - opened.row) as usize..wanted;
            let Some(row) = here.rev().find(|row| presence.is_there(*row)) else {
                end = begin;
                continue;
            };
            let index = presence.count_before(row);
            let value = match (opened.written, kind, &state.dictionary) {
                (Written::Plainly, kind, _) => decode::plain_at(data, kind, index),
                (Written::ByDictionary, _, Some(dictionary)) => {
                    decode::by_dictionary_at(data, dictionary, index)
                }
                (Written::Packed, ValueKind::Long, _) => {
                    decode::delta_at(data, index).map(|value| Values::Longs(vec![value]))
                }
                _ => None,
            };
            let values = value.ok_or_else(|| flaw(NO_VALUES))?;
            let row = opened.row + u32::try_from(row).unwrap_or_default();
            return Ok(Some(Decoded { page, row, presence: Presence::All(1), values }));
        }
        Ok(None)
    }

    /// Loads a page and lays it open, its chunk's checksum and dictionary before it where they are needed.
    fn lay_open(
        &mut self,
        number: usize,
        page: usize,
    ) -> Result<(LaidOpen<'_>, &mut ColumnState), PartError> {
        let Self { part, group, columns, bytes, desk } = self;
        let flaw = |flaw: &str| part.flaw(number, flaw);
        let group = group.expect("a group was entered");
        let chunk = part.chunks[group as usize * part.stored.len() + number];
        let stored = part.stored[number];
        let state = &mut columns[number];
        let location = state.pages[page];
        let end = state.pages.get(page + 1).map_or(part.groups[group as usize].rows, |next| next.row);
        let rows = end - location.row;

        if chunk.written.is_none() && !state.is_checked {
            let last = state.pages[state.pages.len() - 1];
            let length = (last.offset + u64::from(last.length)).checked_sub(chunk.start);
            let length = length.and_then(|length| u32::try_from(length).ok());
            load(part, bytes, chunk.start, length.ok_or_else(|| flaw("its pages lie elsewhere"))?)?;
            if crc32c::crc32c(&bytes[..bytes.len() - PADDING]) != chunk.crc32c {
                return Err(flaw("its checksum does not hold"));
            }
            state.is_checked = true;
        }
        if chunk.data_after > 0 && state.dictionary.is_none() {
            load(part, bytes, chunk.start, chunk.data_after)?;
            let expected = Expected { rows: None, written: Some(Written::Plainly), is_zstd: stored.is_zstd };
            let opened = desk.open(bytes, &expected).map_err(flaw)?;
            let values = decode::plain(opened.data, stored.kind, opened.values);
            state.dictionary = Some(values.ok_or_else(|| flaw("its dictionary cannot be read"))?);
        }
        load(part, bytes, location.offset, location.length)?;
        let expected =
            Expected { rows: Some(rows as usize), written: chunk.written, is_zstd: stored.is_zstd };
        let Opened { data, written, .. } = desk.open(bytes, &expected).map_err(flaw)?;
        let is_optional = stored.is_optional;
        Ok((LaidOpen { row: location.row, rows, is_optional, written, data }, state))
    }

    /// Goes through the pages that have rows of a range: the page, and the rows within it.
    fn pages(
        &mut self,
        number: usize,
        rows: Range<u32>,
        mut each: impl FnMut(&Decoded, Range<usize>) -> Result<(), PartError>,
    ) -> Result<(), PartError> {
        let mut row = rows.start;
        while row < rows.end {
            let pages = &self.columns[number].pages;
            let page = pages.partition_point(|page| page.row <= row);
            let end = pages.get(page).map_or(rows.end, |next| next.row.min(rows.end));
            let decoded = self.page(number, end - 1)?;
            each(decoded, (row - decoded.row) as usize..(end - decoded.row) as usize)?;
            row = end;
        }
        Ok(())
    }

    /// Where among rows of one Thing those end that were measured before a time, and when the last of them was.
    pub(super) fn rows_before(&mut self, rows: Range<u32>, before: i64) -> Result<(u32, i64), PartError> {
        let pages = &self.columns[TIME_COLUMN].pages;
        let page = pages.partition_point(|page| page.row < rows.end).saturating_sub(1);
        let written = self.group.and_then(|group| {
            self.part.chunks[group as usize * self.part.stored.len() + TIME_COLUMN].written
        });
        if pages[page].row != rows.start || written != Some(Written::Packed) {
            // Others lie in the page as well, and it is kept for them; or it is of an older version.
            let times = self.times(rows.clone())?;
            let inside = times.partition_point(|time| *time < before);
            let last = inside.checked_sub(1).map_or(0, |last| times[last]);
            return Ok((rows.start + u32::try_from(inside).unwrap_or_default(), last));
        }
        let part = Arc::clone(&self.part);
        let flaw = |flaw: &str| part.flaw(TIME_COLUMN, flaw);
        let (opened, _) = self.lay_open(TIME_COLUMN, page)?;
        if opened.is_optional {
            return Err(flaw(NO_PRESENCE));
        }
        // time · unit < before, in whole units.
        let unit = i128::from(part.time_unit);
        let bound = -(-i128::from(before)).div_euclid(unit);
        let bound = i64::try_from(bound).unwrap_or(if bound < 0 { i64::MIN } else { i64::MAX });
        let below = decode::delta_below(opened.data, rows.len(), bound);
        let (inside, last) = below.ok_or_else(|| flaw(NO_VALUES))?;
        Ok((rows.start + u32::try_from(inside).unwrap_or_default(), last.saturating_mul(part.time_unit)))
    }

    /// When the last of these rows was measured, and how late it was.
    pub(super) fn time_and_delay(&mut self, rows: Range<u32>) -> Result<(i64, u32), PartError> {
        let time = match self.last_value(TIME_COLUMN, rows.clone())?.map(|value| value.values) {
            Some(Values::Longs(values)) => {
                values.first().map_or(0, |time| time.saturating_mul(self.part.time_unit))
            }
            _ => return Err(self.part.flaw(TIME_COLUMN, "its times have another type")),
        };
        Ok((time, self.delay(rows)?))
    }

    /// How late the last of these rows was.
    pub(super) fn delay(&mut self, rows: Range<u32>) -> Result<u32, PartError> {
        match self.last_value(DELAY_COLUMN, rows)?.map(|value| value.values) {
            Some(Values::Ints(values)) => {
                Ok(values.first().map_or(0, |delay| u32::try_from(*delay).unwrap_or_default()))
            }
            _ => Err(self.part.flaw(DELAY_COLUMN, "its delays have another type")),
        }
    }

    /// The times of rows of the row group at hand.
    pub(super) fn times(&mut self, rows: Range<u32>) -> Result<Vec<i64>, PartError> {
        let part = Arc::clone(&self.part);
        let mut times = Vec::with_capacity(rows.len());
        self.pages(TIME_COLUMN, rows, |page, rows| {
            let Values::Longs(values) = &page.values else {
                return Err(part.flaw(TIME_COLUMN, "its times have another type"));
            };
            times.extend(values[rows].iter().map(|time| time.saturating_mul(part.time_unit)));
            Ok(())
        })?;
        Ok(times)
    }

    /// How late rows of the row group at hand were.
    pub(super) fn delays(&mut self, rows: Range<u32>) -> Result<Vec<u32>, PartError> {
        let part = Arc::clone(&self.part);
        let mut delays = Vec::with_capacity(rows.len());
        self.pages(DELAY_COLUMN, rows, |page, rows| {
            let Values::Ints(values) = &page.values else {
                return Err(part.flaw(DELAY_COLUMN, "its delays have another type"));
            };
            delays.extend(values[rows].iter().map(|delay| u32::try_from(*delay).unwrap_or_default()));
            Ok(())
        })?;
        Ok(delays)
    }

    /// Brings what a column of properties says into the table's column of the same key.
    fn cells(
        &mut self,
        index: usize,
        rows: Range<u32>,
        table: &mut Table,
        texts: &mut Texts,
    ) -> Result<(), PartError> {
        let part = Arc::clone(&self.part);
        let key = &part.columns[index].key;
        if table.columns.last().is_none_or(|column| column.key != *key) {
            table.columns.push(Column { key: key.clone(), cells: vec![Cell::ABSENT; rows.len()] });
        }
        let cells = &mut table.columns.last_mut().expect("it was just put there").cells;
        let mut at = 0;
        self.pages(index + FIXED_COLUMNS, rows, |page, rows| {
            let here = &mut cells[at..at + rows.len()];
            at += rows.len();
            part.put(index, page, rows, here, texts)
        })
    }
}

fn load(part: &Part, bytes: &mut Vec<u8>, position: u64, length: u32) -> Result<(), PartError> {
    let length = length as usize;
    if position.saturating_add(length as u64) > part.file.length() {
        return Err(PartError::damaged(&part.name, "a page lies outside the file"));
    }
    bytes.clear();
    bytes.resize(length + PADDING, 0);
    part.read_at(position, &mut bytes[..length])
}

impl Part {
    pub(super) fn read_at(&self, position: u64, bytes: &mut [u8]) -> Result<(), PartError> {
        self.file.read_at(position, bytes).map_err(|error| PartError::io(&self.name, error))
    }

    /// That a column of the file is damaged.
    pub(super) fn flaw(&self, number: usize, flaw: &str) -> PartError {
        let name = match number {
            0 => "thing".to_owned(),
            TIME_COLUMN => "time".to_owned(),
            DELAY_COLUMN => "received_after_s".to_owned(),
            _ => self.columns[number - FIXED_COLUMNS].key.to_string(),
        };
        PartError::damaged(&self.name, format!("column {name}: {flaw}"))
    }

    /// Puts what rows of a page say into cells, which hold what the columns of the same key before it said.
    pub(super) fn put(
        &self,
        index: usize,
        page: &Decoded,
        rows: Range<usize>,
        cells: &mut [Cell],
        texts: &mut Texts,
    ) -> Result<(), PartError> {
        let column = &self.columns[index];
        let first = page.presence.count_before(rows.start);
        let each = Each { presence: &page.presence, rows };
        match (&page.values, column.form) {
            (Values::Longs(values), Form::Steps(_)) => {
                let values = &values[first..];
                let divisor = column.divisor.expect("checked when it was opened");
                if divisor.number() == 1.0 {
                    each.zip(values, |row, value| cells[row] = Cell::int(*value));
                } else {
                    each.zip(values, |row, steps| cells[row] = Cell::number(divisor.value(*steps)));
                }
            }
            (Values::Longs(values), Form::Wide) => {
                each.zip(&values[first..], |row, value| cells[row] = Cell::int(*value));
            }
            (Values::Doubles(values), Form::Double) => {
                each.zip(&values[first..], |row, value| cells[row] = Cell::number(*value));
            }
            (Values::Bools(values), Form::Bool) => {
                each.zip(&values[first..], |row, value| cells[row] = Cell::bool(*value));
            }
            (Values::Texts { words, numbers }, Form::Text | Form::Json) => {
                let mut last: Option<(u32, u32)> = None;
                let is_text = column.form == Form::Text;
                each.zip(&numbers[first..], |row, word| {
                    let number = match last {
                        Some((known, number)) if known == *word => number,
                        _ => texts.intern(&words[*word as usize]),
                    };
                    last = Some((*word, number));
                    cells[row] = if is_text { Cell::text(number) } else { Cell::json(number) };
                });
            }
            (Values::Texts { words, numbers }, Form::Quality) => {
                let mut is_known = true;
                each.zip(&numbers[first..], |row, word| match judged(cells[row], &words[*word as usize]) {
                    Some(cell) => cells[row] = cell,
                    None => is_known = false,
                });
                if !is_known {
                    return Err(self.flaw(index + FIXED_COLUMNS, "a word on quality is unknown"));
                }
            }
            _ => return Err(self.flaw(index + FIXED_COLUMNS, "its type is another than it is said to have")),
        }
        Ok(())
    }
}

/// The rows of a range that have a value, counted from its beginning.
struct Each<'a> {
    presence: &'a Presence,
    rows: Range<usize>,
}

impl Each<'_> {
    /// Hands each of these rows its value.
    fn zip<T>(&self, values: &[T], mut put: impl FnMut(usize, &T)) {
        match self.presence {
            Presence::All(_) => {
                (0..self.rows.len()).zip(values).for_each(|(row, value)| put(row, value));
            }
            Presence::Some(there) => {
                let there = there[self.rows.clone()].iter().enumerate().filter(|(_, is_there)| **is_there);
                there.zip(values).for_each(|((row, _), value)| put(row, value));
            }
        }
    }
}

/// The cell with what the word on its quality says. Where there is a word and no value, there was none to be had.
fn judged(cell: Cell, word: &str) -> Option<Cell> {
    if word == "removed" {
        return Some(Cell::REMOVED);
    }
    let (level, reason) = word.split_once('/').unwrap_or((word, ""));
    let level = (0..=2).filter_map(Quality::from_u8).find(|quality| quality.as_str() == level)?;
    let reason = (0..=u8::MAX)
        .map_while(QualityReason::from_u8)
        .find(|known| known.as_str().unwrap_or_default() == reason)?;
    let cell = if cell.is_absent() { Cell::NULL } else { cell };
    Some(cell.judged(level, reason))
}
