//! Writes a part: Things in the order of their ids, rows in the order of time, columns encoded one by one.

use std::io::Write;
use std::sync::Arc;

use egiz_model::{Quality, QualityReason};
use parquet::column::writer::{ColumnCloseResult, ColumnWriter, get_column_writer};
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnDescPtr;

use super::format::{DescribedColumn, DescribedThing, Description, FIXED_COLUMNS, Form, KEY, VERSION};
use super::pages::ChecksummedPages;
use super::{GROUP_ROWS, Layout, PAGE_ROWS, schema};
use crate::cell::{Cell, Kind, Texts};
use crate::column::ColumnKey;
use crate::scale::is_minus_zero;
use crate::table::Table;

/// What is in a part that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) rows: u64,
    pub(crate) samples: u64,
    pub(crate) things: usize,
    /// Times of the first and the last row, in microseconds.
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// Writes one part. Its [`Layout`] must hold whatever goes into it.
pub(crate) struct PartWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    properties: WriterPropertiesPtr,
    description: Description,
    keys: Vec<ColumnKey>,
    has_micros: bool,
    waiting: Vec<(String, Table)>,
    waiting_rows: usize,
    groups: u32,
    written: Written,
}

impl<W: Write + Send> PartWriter<W> {
    /// Begins a part of the family.
    ///
    /// # Errors
    /// Where the first bytes cannot be written.
    pub(crate) fn begin(out: W, family: &str, layout: Layout) -> Result<Self> {
        let Layout { columns, has_micros } = layout;
        let parquet_schema = schema::parquet_schema(&columns, has_micros)?;
        let properties = Arc::new(schema::properties(&columns));
        let file = SerializedFileWriter::new(out, Arc::new(parquet_schema), Arc::clone(&properties))?;
        Ok(Self {
            file,
            properties,
            keys: columns.iter().map(DescribedColumn::key).collect(),
            description: Description {
                version: VERSION,
                family: family.to_owned(),
                page_rows: u32::try_from(PAGE_ROWS).expect("it is small"),
                columns,
                things: Vec::new(),
                chunks_crc32c: Vec::new(),
            },
            has_micros,
            waiting: Vec::new(),
            waiting_rows: 0,
            groups: 0,
            written: Written { rows: 0, samples: 0, things: 0, first: i64::MAX, last: i64::MIN },
        })
    }

    /// Adds a Thing's tidy rows. Things come in the order of their ids, none twice.
    ///
    /// # Errors
    /// Where the bytes cannot be written.
    pub(crate) fn add(&mut self, id: &str, table: Table, texts: &Texts) -> Result<()> {
        let (Some(first), Some(last)) = (table.times.first(), table.times.last()) else { return Ok(()) };
        debug_assert!(table.times.is_sorted(), "tables are tidied before");
        self.written.first = self.written.first.min(*first);
        self.written.last = self.written.last.max(*last);
        self.written.rows += table.len() as u64;
        self.written.things += 1;
        self.waiting_rows += table.len();
        self.waiting.push((id.to_owned(), table));
        if self.waiting_rows >= GROUP_ROWS { self.write_group(texts) } else { Ok(()) }
    }

    /// Completes the file; the caller syncs it.
    ///
    /// # Errors
    /// Where the bytes cannot be written.
    pub(crate) fn finish(mut self, texts: &Texts) -> Result<(Written, W)> {
        self.end_group(texts)?;
        let description = serde_json::to_string(&self.description)
            .map_err(|error| ParquetError::External(Box::new(error)))?;
        self.file.append_key_value_metadata(KeyValue::new(KEY.to_owned(), description));
        Ok((self.written, self.file.into_inner()?))
    }

    /// Completes a file that is no part: it does not say what parts say of themselves.
    ///
    /// # Errors
    /// Where the bytes cannot be written.
    pub(crate) fn finish_undescribed(self) -> Result<W> {
        debug_assert!(self.waiting.is_empty(), "groups are ended as they come");
        self.file.into_inner()
    }

    /// Ends the row group, if there are rows for one.
    ///
    /// # Errors
    /// Where the bytes cannot be written.
    pub(crate) fn end_group(&mut self, texts: &Texts) -> Result<()> {
        if self.waiting.is_empty() { Ok(()) } else { self.write_group(texts) }
    }

    fn write_group(&mut self, texts: &Texts) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut has: Vec<Vec<u32>> = vec![Vec::new(); waiting.len()];
        let descriptions: Vec<ColumnDescPtr> = self.file.schema_descr().columns().to_vec();
        let mut group = self.file.next_row_group()?;
        let mut encoder = Encoder { properties: &self.properties, bytes: Vec::new() };
        let mut values = Values::default();
        let mut likely = vec![0; waiting.len()];
        for (number, description) in descriptions.into_iter().enumerate() {
            let close = match number.checked_sub(FIXED_COLUMNS) {
                None => encoder.fixed(number, description, &waiting, self.has_micros)?,
                Some(index) => {
                    let (key, form) = (&self.keys[index], self.description.columns[index].form);
                    // Whole numbers come first; a column of doubles after them has what they cannot hold.
                    let is_beside = index.checked_sub(1).is_some_and(|before| {
                        self.keys[before] == *key
                            && matches!(self.description.columns[before].form, Form::Steps(_) | Form::Wide)
                    });
                    values.is_beside_whole = is_beside;
                    values.gather(key, form, &waiting, texts, &mut likely);
                    for (has, has_any) in has.iter_mut().zip(&values.has_any) {
                        has.extend(
                            has_any.then(|| u32::try_from(index).expect("Parquet has no more columns")),
                        );
                    }
                    if form != Form::Quality {
                        self.written.samples += values.count as u64;
                    }
                    encoder.optional(description, &values)?
                }
            };
            self.description.chunks_crc32c.push(crc32c::crc32c(&encoder.bytes));
            group.append_column(&bytes::Bytes::from(std::mem::take(&mut encoder.bytes)), close)?;
        }
        group.close()?;
        self.describe_things(&waiting, has);
        self.waiting_rows = 0;
        self.groups += 1;
        Ok(())
    }

    fn describe_things(&mut self, waiting: &[(String, Table)], has: Vec<Vec<u32>>) {
        let mut row = 0;
        for ((id, table), mut has) in waiting.iter().zip(has) {
            if has.len() == self.keys.len() {
                has.clear();
            }
            let rows = u32::try_from(table.len()).expect("a table holds far fewer rows");
            let marks = table.times.iter().step_by(PAGE_ROWS).chain(table.times.last());
            let mut before = 0;
            let times = marks.map(|time| {
                let after = time - before;
                before = *time;
                after
            });
            let (id, times) = (id.clone(), times.collect());
            self.description.things.push(DescribedThing { id, group: self.groups, row, rows, times, has });
            row += rows;
        }
    }
}

/// One column's cells, ready for Parquet.
#[derive(Default)]
struct Values {
    /// Whether each row has a value.
    present: Vec<i16>,
    longs: Vec<i64>,
    doubles: Vec<f64>,
    bools: Vec<bool>,
    texts: Vec<ByteArray>,
    /// Whether each table has a value.
    has_any: Vec<bool>,
    count: usize,
    /// Whether doubles are only what the column of steps before cannot hold.
    is_beside_whole: bool,
}

impl Values {
    /// `likely` says for each table where its column may be.
    fn gather(
        &mut self,
        key: &ColumnKey,
        form: Form,
        waiting: &[(String, Table)],
        texts: &Texts,
        likely: &mut [usize],
    ) {
        self.present.clear();
        self.longs.clear();
        self.doubles.clear();
        self.bools.clear();
        self.texts.clear();
        self.has_any.clear();
        let mut kept: Vec<Option<ByteArray>> = Vec::new();
        for ((_, table), likely) in waiting.iter().zip(likely) {
            // Columns of tables from parts are in the order of the layout.
            let is_it = |index: &usize| table.columns.get(*index).is_some_and(|column| column.key == *key);
            let found = [*likely, *likely + 1].into_iter().chain(0..table.columns.len()).find(is_it);
            *likely = found.unwrap_or(*likely);
            let cells = found.map_or(&[][..], |index| &table.columns[index].cells);
            let mut has_any = false;
            for cell in cells {
                let is_there = self.take(form, *cell, texts, &mut kept);
                has_any |= is_there;
                self.present.push(i16::from(is_there));
            }
            self.has_any.push(has_any);
            self.present.resize(self.present.len() + table.len() - cells.len(), 0);
        }
        self.count = self.present.iter().filter(|present| **present == 1).count();
    }

    #[inline]
    fn take(&mut self, form: Form, cell: Cell, texts: &Texts, kept: &mut Vec<Option<ByteArray>>) -> bool {
        match (form, cell.kind) {
            (Form::Steps(_), Kind::Int | Kind::Float) => {
                let divisor = form.divisor().expect("layouts name only divisors that there are");
                let number = cell.as_number().filter(|number| !is_wide(cell) && !is_minus_zero(*number));
                let Some(number) = number else { return false };
                self.longs.push(divisor.steps(number).expect("the layout holds this number"));
            }
            (Form::Wide, Kind::Int) => self.longs.push(cell.as_int()),
            (Form::Double, Kind::Int | Kind::Float) => {
                let is_here =
                    |number: &f64| !is_wide(cell) && (!self.is_beside_whole || is_minus_zero(*number));
                let Some(number) = cell.as_number().filter(is_here) else { return false };
                self.doubles.push(number);
            }
            (Form::Bool, Kind::Bool) => self.bools.push(cell.as_bool()),
            (Form::Text, Kind::Text) | (Form::Json, Kind::Json) => {
                let number = cell.text_number() as usize;
                if kept.len() <= number {
                    kept.resize(number + 1, None);
                }
                let text = kept[number].get_or_insert_with(|| {
                    ByteArray::from(texts.get(cell.text_number()).as_bytes().to_vec())
                });
                self.texts.push(text.clone());
            }
            (Form::Quality, Kind::Absent) => return false,
            (Form::Quality, _) => match word(cell) {
                Some(word) => self.texts.push(ByteArray::from(word.into_bytes())),
                None => return false,
            },
            _ => return false,
        }
        true
    }
}

/// A number in [`Form::Wide`] although others of its column are not: it has a column of its own then.
fn is_wide(cell: Cell) -> bool {
    cell.kind == Kind::Int && cell.as_int().unsigned_abs() > 1 << 53
}

/// The word on a cell that is not simply a good value.
fn word(cell: Cell) -> Option<String> {
    if cell.kind == Kind::Removed {
        return Some("removed".to_owned());
    }
    let (level, reason) = (cell.quality, cell.reason);
    if level == Quality::Good && reason == QualityReason::None && cell.kind != Kind::Null {
        return None;
    }
    let reason = reason.as_str().map_or_else(String::new, |reason| format!("/{reason}"));
    Some(format!("{}{reason}", level.as_str()))
}

struct Encoder<'a> {
    properties: &'a WriterPropertiesPtr,
    bytes: Vec<u8>,
}

impl Encoder<'_> {
    fn fixed(
        &mut self,
        number: usize,
        description: ColumnDescPtr,
        waiting: &[(String, Table)],
        has_micros: bool,
    ) -> Result<ColumnCloseResult> {
        let rows = waiting.iter().map(|(_, table)| table.len()).sum();
        let mut writer = self.writer(description);
        match &mut writer {
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                let mut ids = Vec::with_capacity(rows);
                for (id, table) in waiting {
                    let id = ByteArray::from(id.as_bytes().to_vec());
                    ids.resize(ids.len() + table.len(), id);
                }
                writer.write_batch(&ids, None, None)?;
            }
            ColumnWriter::Int64ColumnWriter(writer) => {
                let unit = if has_micros { 1 } else { 1000 };
                let times: Vec<i64> = waiting
                    .iter()
                    .flat_map(|(_, table)| table.times.iter().map(|time| time / unit))
                    .collect();
                writer.write_batch(&times, None, None)?;
            }
            ColumnWriter::Int32ColumnWriter(writer) => {
                let delays: Vec<i32> = waiting
                    .iter()
                    .flat_map(|(_, table)| &table.delays)
                    .map(|delay| i32::try_from(*delay).unwrap_or(i32::MAX))
                    .collect();
                writer.write_batch(&delays, None, None)?;
            }
            _ => unreachable!("fixed column {number} has one of these types"),
        }
        writer.close()
    }

    fn optional(&mut self, description: ColumnDescPtr, values: &Values) -> Result<ColumnCloseResult> {
        let present = Some(&values.present[..]);
        let mut writer = self.writer(description);
        match &mut writer {
            ColumnWriter::Int64ColumnWriter(writer) => writer.write_batch(&values.longs, present, None)?,
            ColumnWriter::DoubleColumnWriter(writer) => writer.write_batch(&values.doubles, present, None)?,
            ColumnWriter::BoolColumnWriter(writer) => writer.write_batch(&values.bools, present, None)?,
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                writer.write_batch(&values.texts, present, None)?
            }
            _ => unreachable!("a property's column has one of these types"),
        };
        writer.close()
    }

    fn writer(&mut self, description: ColumnDescPtr) -> ColumnWriter<'_> {
        let pages = Box::new(ChecksummedPages(&mut self.bytes));
        get_column_writer(description, Arc::clone(self.properties), pages)
    }
}
