//! Reads a part: its footer once, then of a Thing only the columns and pages that are asked for.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use egiz_model::{Quality, QualityReason};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::ReaderProperties;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescPtr;

use super::format::{DescribedColumn, DescribedThing, Description, FIXED_COLUMNS, Form, KEY, VERSION};
use super::{Layout, PAGE_ROWS, PartError};
use crate::cell::{Cell, Texts};
use crate::column::ColumnKey;
use crate::disk::{Disk, Readable};
use crate::scale::Divisor;
use crate::table::{Column, Table};

const MAGIC: &[u8; 4] = b"PAR1";
/// Footer length and magic at the end of a Parquet file.
const TAIL_BYTES: usize = 8;
/// No footer of ours comes near this.
const FOOTER_BYTES_MAX: usize = 256 << 20;

/// Where one column chunk lies.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    start: u64,
    length: u32,
    /// Where data begins, after a dictionary if there is one.
    data_after: u32,
    has_dictionary: bool,
    crc32c: u32,
}

/// One column of properties.
#[derive(Debug, Clone)]
struct PartColumn {
    key: ColumnKey,
    form: Form,
    divisor: Option<Divisor>,
}

/// A part open for reading. What it knows of the file takes a few bytes for each column chunk.
pub(crate) struct Part {
    name: String,
    file: Arc<dyn Readable>,
    columns: Vec<PartColumn>,
    descriptions: Vec<ColumnDescPtr>,
    /// Microseconds in the unit of the time column.
    time_unit: i64,
    /// By id.
    things: Vec<DescribedThing>,
    group_rows: Vec<u32>,
    /// By row group, then column.
    chunks: Vec<Chunk>,
    compression: Compression,
    reading: Arc<ReaderProperties>,
    footer_crc32c: u32,
}

impl Part {
    /// Opens a part and reads its footer, whose checksum must be `expected` if that is known.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    pub(crate) fn open(disk: &dyn Disk, name: &str, expected: Option<u32>) -> Result<Self, PartError> {
        let file = disk.open(name).map_err(|error| PartError::io(name, error))?;
        let (metadata, footer_crc32c) = read_footer(name, &*file, expected)?;
        Ok(Self { footer_crc32c, ..Self::understand(name, file, &metadata)? })
    }

    fn understand(
        name: &str,
        file: Arc<dyn Readable>,
        metadata: &ParquetMetaData,
    ) -> Result<Self, PartError> {
        let damaged = |flaw: &str| PartError::damaged(name, flaw);
        let described = metadata
            .file_metadata()
            .key_value_metadata()
            .and_then(|pairs| pairs.iter().find(|pair| pair.key == KEY))
            .and_then(|pair| pair.value.as_deref())
            .ok_or_else(|| damaged("it has no key openegiz.part"))?;
        let described: Description =
            serde_json::from_str(described).map_err(|error| PartError::damaged(name, error))?;
        if described.version > VERSION {
            return Err(PartError::damaged(
                name,
                format!("it has version {}, which this program does not know", described.version),
            ));
        }
        let descriptions = metadata.file_metadata().schema_descr().columns().to_vec();
        let columns: Vec<PartColumn> = described
            .columns
            .iter()
            .map(|column| PartColumn { key: column.key(), form: column.form, divisor: column.form.divisor() })
            .collect();
        let knows_all = descriptions.len() == columns.len() + FIXED_COLUMNS
            && columns
                .iter()
                .all(|column| !matches!(column.form, Form::Steps(_)) || column.divisor.is_some());
        if !knows_all {
            return Err(damaged("its columns are not the described ones"));
        }
        let groups = metadata.row_groups();
        let group_rows: Vec<u32> =
            groups.iter().map(|group| u32::try_from(group.num_rows()).unwrap_or(u32::MAX)).collect();
        let fits = |thing: &DescribedThing| {
            group_rows.get(thing.group as usize).is_some_and(|rows| {
                thing.rows > 0
                    && u64::from(thing.row) + u64::from(thing.rows) <= u64::from(*rows)
                    && thing.times.len() == (thing.rows as usize).div_ceil(PAGE_ROWS) + 1
            })
        };
        if !described.things.is_sorted_by(|a, b| a.id < b.id) || !described.things.iter().all(fits) {
            return Err(damaged("its Things are not where they are said to be"));
        }
        let mut chunks = Vec::with_capacity(groups.len() * descriptions.len());
        if described.chunks_crc32c.len() != groups.len() * descriptions.len() {
            return Err(damaged("it lacks checksums"));
        }
        let mut checksums = described.chunks_crc32c.iter().copied();
        for group in groups {
            if group.num_columns() != descriptions.len() {
                return Err(damaged("a row group lacks columns"));
            }
            for chunk in group.columns() {
                let (start, length) = chunk.byte_range();
                let end = start.checked_add(length).filter(|end| *end <= file.length());
                let data =
                    u64::try_from(chunk.data_page_offset()).ok().and_then(|data| data.checked_sub(start));
                let (Some(_), Some(data), Ok(length)) = (end, data, u32::try_from(length)) else {
                    return Err(damaged("a column chunk lies outside the file"));
                };
                let has_dictionary = chunk.dictionary_page_offset().is_some();
                let data_after = u32::try_from(data).unwrap_or(u32::MAX);
                let crc32c = checksums.next().unwrap_or_default();
                chunks.push(Chunk { start, length, data_after, has_dictionary, crc32c });
            }
        }
        let is_micros = matches!(
            descriptions[1].logical_type_ref(),
            Some(parquet::basic::LogicalType::Timestamp(time)) if time.unit == parquet::basic::TimeUnit::MICROS
        );
        let compression = groups
            .first()
            .map_or(Compression::ZSTD(ZstdLevel::default()), |group| group.column(0).compression());
        Ok(Self {
            name: name.to_owned(),
            file,
            columns,
            descriptions,
            time_unit: if is_micros { 1 } else { 1000 },
            things: described.things,
            group_rows,
            chunks,
            compression,
            reading: Arc::new(ReaderProperties::builder().build()),
            footer_crc32c: 0,
        })
    }

    /// Its columns, and how fine its times are.
    pub(crate) fn layout(&self) -> Layout {
        let columns = self.columns.iter().map(|column| DescribedColumn::new(&column.key, column.form));
        Layout { columns: columns.collect(), has_micros: self.time_unit == 1 }
    }

    fn thing(&self, id: &str) -> Option<&DescribedThing> {
        let index = self.things.binary_search_by(|thing| thing.id.as_str().cmp(id)).ok()?;
        Some(&self.things[index])
    }

    /// Whether rows of the Thing are in it.
    pub(crate) fn knows(&self, thing: &str) -> bool {
        self.thing(thing).is_some()
    }

    /// Whose rows are in it, by id.
    pub(crate) fn things(&self) -> impl ExactSizeIterator<Item = &str> {
        self.things.iter().map(|thing| thing.id.as_str())
    }

    /// A Thing's rows with times in `[from, to)`, of the wanted columns.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(crate) fn read(
        &self,
        thing: &str,
        from: i64,
        to: i64,
        wanted: &dyn Fn(&ColumnKey) -> bool,
        texts: &mut Texts,
    ) -> Result<Table, PartError> {
        let Some(thing) = self.thing(thing) else {
            return Ok(Table::default());
        };
        let rows = rows_around(thing, from, to);
        if rows.is_empty() {
            return Ok(Table::default());
        }
        let rows = thing.row + rows.start..thing.row + rows.end;
        let mut table = self.read_rows(thing.group, rows, wanted, texts)?;
        let inside = table.between(from, to);
        if inside.len() < table.len() {
            table = table.rows(inside);
        }
        Ok(table)
    }

    /// Rows of a group by their numbers.
    fn read_rows(
        &self,
        group: u32,
        rows: Range<u32>,
        wanted: &dyn Fn(&ColumnKey) -> bool,
        texts: &mut Texts,
    ) -> Result<Table, PartError> {
        let indexes: Vec<usize> =
            (0..self.columns.len()).filter(|index| wanted(&self.columns[*index].key)).collect();
        let numbers: Vec<usize> =
            [1, 2].into_iter().chain(indexes.iter().map(|index| index + FIXED_COLUMNS)).collect();
        let window = self.window(group, &numbers)?;
        let mut table = Table {
            times: self.times(&window, group, rows.clone())?,
            delays: self.delays(&window, group, rows.clone())?,
            columns: Vec::new(),
        };
        for index in indexes {
            let raw = self.column(&window, group, index + FIXED_COLUMNS, rows.clone())?;
            self.put_cells(&mut table, index, &raw, texts)?;
        }
        Ok(table)
    }

    /// The bytes from the first to the last of these columns of a group.
    fn window(&self, group: u32, numbers: &[usize]) -> Result<Window, PartError> {
        let chunk = |number: &usize| self.chunks[group as usize * self.descriptions.len() + number];
        let start = numbers.iter().map(|number| chunk(number).start).min().unwrap_or_default();
        let end = numbers.iter().map(|number| chunk(number).start + u64::from(chunk(number).length)).max();
        let length = usize::try_from(end.unwrap_or(start) - start).unwrap_or(usize::MAX);
        let bytes = self.file.read_at(start, length).map_err(|error| PartError::io(&self.name, error))?;
        Ok(Window { start, bytes })
    }

    fn column(&self, window: &Window, group: u32, number: usize, rows: Range<u32>) -> Result<Raw, PartError> {
        let flaw = |error: ParquetError| PartError::parquet(&self.name, error);
        let chunk = self.chunks[group as usize * self.descriptions.len() + number];
        let begin = usize::try_from(chunk.start - window.start).unwrap_or(usize::MAX);
        let bytes = window.bytes.slice(begin..begin + chunk.length as usize);
        // The library trusts page headers, which no checksum of the format covers.
        if crc32c::crc32c(&bytes) != chunk.crc32c {
            let name = self.descriptions[number].name();
            return Err(PartError::damaged(
                &self.name,
                format!("the checksum of column {name} does not hold"),
            ));
        }
        let description = Arc::clone(&self.descriptions[number]);
        let group_rows = self.group_rows[group as usize];
        let metadata = ColumnChunkMetaData::builder(Arc::clone(&description))
            .set_compression(self.compression)
            .set_num_values(i64::from(group_rows))
            .set_total_compressed_size(i64::from(chunk.length))
            .set_dictionary_page_offset(chunk.has_dictionary.then_some(0))
            .set_data_page_offset(i64::from(chunk.data_after))
            .build()
            .map_err(flaw)?;
        let pages = SerializedPageReader::new_with_properties(
            Arc::new(bytes),
            &metadata,
            group_rows as usize,
            None,
            Arc::clone(&self.reading),
        )
        .map_err(flaw)?;
        let reader = get_column_reader(description, Box::new(pages));
        let raw = Raw::read(reader, rows.start as usize, rows.len()).map_err(flaw)?;
        if raw.rows != rows.len() {
            return Err(PartError::damaged(&self.name, "a column has fewer rows than it should"));
        }
        Ok(raw)
    }

    /// The cell that a column's last value makes of `before`, which is what the columns of its key before it say.
    fn last_cell(&self, index: usize, raw: &Raw, before: Cell, texts: &mut Texts) -> Result<Cell, PartError> {
        let last = Raw { rows: 1, present: vec![1], values: raw.values.last() };
        let column = Column { key: self.columns[index].key.clone(), cells: vec![before] };
        let mut table = Table { times: vec![0], delays: vec![0], columns: vec![column] };
        self.put_cells(&mut table, index, &last, texts)?;
        Ok(table.columns[0].cell(0))
    }

    /// Brings what a column says into the table's column of the same key.
    fn put_cells(
        &self,
        table: &mut Table,
        index: usize,
        raw: &Raw,
        texts: &mut Texts,
    ) -> Result<(), PartError> {
        let PartColumn { key, form, divisor } = &self.columns[index];
        let at = match table.columns.last() {
            Some(column) if column.key == *key => table.columns.len() - 1,
            _ => {
                table.columns.push(Column { key: key.clone(), cells: vec![Cell::ABSENT; raw.rows] });
                table.columns.len() - 1
            }
        };
        let cells = &mut table.columns[at].cells;
        let damaged = |flaw: &str| PartError::damaged(&self.name, format!("{key}: {flaw}"));
        let rows = raw.present.iter().enumerate().filter(|(_, present)| **present == 1).map(|(row, _)| row);
        match (&raw.values, form) {
            (RawValues::Longs(values), Form::Steps(_)) => {
                let divisor = divisor.ok_or_else(|| damaged("its divisor is unknown"))?;
                if divisor.number() == 1.0 {
                    rows.zip(values).for_each(|(row, value)| cells[row] = Cell::int(*value));
                } else {
                    rows.zip(values)
                        .for_each(|(row, steps)| cells[row] = Cell::number(divisor.value(*steps)));
                }
            }
            (RawValues::Longs(values), Form::Wide) => {
                rows.zip(values).for_each(|(row, value)| cells[row] = Cell::int(*value));
            }
            (RawValues::Doubles(values), Form::Double) => {
                rows.zip(values).for_each(|(row, value)| cells[row] = Cell::number(*value));
            }
            (RawValues::Bools(values), Form::Bool) => {
                rows.zip(values).for_each(|(row, value)| cells[row] = Cell::bool(*value));
            }
            (RawValues::Texts(values), Form::Text | Form::Json) => {
                let mut last: Option<(&ByteArray, u32)> = None;
                for (row, value) in rows.zip(values) {
                    let number = match last {
                        Some((text, number)) if text == value => number,
                        _ => {
                            let text =
                                std::str::from_utf8(value.data()).map_err(|_| damaged("it is no text"))?;
                            texts.intern(text)
                        }
                    };
                    last = Some((value, number));
                    cells[row] = if *form == Form::Text { Cell::text(number) } else { Cell::json(number) };
                }
            }
            (RawValues::Texts(values), Form::Quality) => {
                for (row, value) in rows.zip(values) {
                    let word = std::str::from_utf8(value.data()).unwrap_or_default();
                    cells[row] =
                        judged(cells[row], word).ok_or_else(|| damaged("a word on quality is unknown"))?;
                }
            }
            _ => return Err(damaged("its type is another than it is said to have")),
        }
        Ok(())
    }

    /// The last cell before a time of each column of a Thing, with the number of its row's time and delay.
    ///
    /// Of a property only the columns of its last form are among them: where a list became a text, the text is.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(crate) fn last_cells(
        &self,
        thing: &str,
        before: i64,
        texts: &mut Texts,
    ) -> Result<Vec<LastCell>, PartError> {
        let Some(thing) = self.thing(thing) else {
            return Ok(Vec::new());
        };
        let page_rows = u32::try_from(PAGE_ROWS).expect("it is small");
        let mut end = rows_around(thing, i64::MIN, before).end;
        let mut missing: Vec<usize> = (0..self.columns.len()).collect();
        let mut found = Vec::new();
        if end == 0 {
            return Ok(found);
        }
        let all: Vec<usize> = (0..self.descriptions.len()).collect();
        let window = self.window(thing.group, &all)?;
        while end > 0 && !missing.is_empty() {
            let begin = (end - 1) / page_rows * page_rows;
            let times = self.times(&window, thing.group, thing.row + begin..thing.row + end)?;
            let inside = times.partition_point(|time| *time < before);
            let rows = thing.row + begin..thing.row + begin + u32::try_from(inside).unwrap_or_default();
            end = begin;
            if rows.is_empty() {
                continue;
            }
            let mut raws = Vec::with_capacity(missing.len());
            for index in &missing {
                let raw = self.column(&window, thing.group, index + FIXED_COLUMNS, rows.clone())?;
                let last = raw.present.iter().rposition(|present| *present == 1);
                raws.extend(last.map(|last| (*index, last, raw)));
            }
            let mut delays = None;
            let of_one_property = |a: &(usize, usize, Raw), b: &(usize, usize, Raw)| {
                self.columns[a.0].key.same_property(&self.columns[b.0].key)
            };
            for of_property in raws.chunk_by(of_one_property) {
                let row = of_property.iter().map(|(_, last, _)| *last).max().unwrap_or_default();
                if delays.is_none() {
                    delays = Some(self.delays(&window, thing.group, rows.clone())?);
                }
                let delay = delays.as_ref().and_then(|delays| delays.get(row).copied()).unwrap_or_default();
                let mut cells: Vec<LastCell> = Vec::new();
                for (index, last, raw) in of_property {
                    if *last != row {
                        continue;
                    }
                    let key = &self.columns[*index].key;
                    let before = match cells.last() {
                        Some((known, _, _, cell)) if known == key => *cell,
                        _ => Cell::ABSENT,
                    };
                    let cell = self.last_cell(*index, raw, before, texts)?;
                    match cells.last_mut() {
                        Some((known, _, _, known_cell)) if known == key => *known_cell = cell,
                        _ => cells.push((key.clone(), times[row], delay, cell)),
                    }
                }
                let key = &self.columns[of_property[0].0].key;
                missing.retain(|index| !self.columns[*index].key.same_property(key));
                found.extend(cells);
            }
        }
        Ok(found)
    }

    /// All Things with all their rows, in the order of the file; each row group is read once.
    pub(crate) fn walk(self: &Arc<Self>) -> Walk {
        Walk { part: Arc::clone(self), next: 0, group: None }
    }

    fn times(&self, window: &Window, group: u32, rows: Range<u32>) -> Result<Vec<i64>, PartError> {
        match self.column(window, group, 1, rows)?.values {
            RawValues::Longs(times) => {
                Ok(times.into_iter().map(|time| time.saturating_mul(self.time_unit)).collect())
            }
            _ => Err(PartError::damaged(&self.name, "its times have another type")),
        }
    }

    fn delays(&self, window: &Window, group: u32, rows: Range<u32>) -> Result<Vec<u32>, PartError> {
        match self.column(window, group, 2, rows)?.values {
            RawValues::Ints(delays) => {
                Ok(delays.into_iter().map(|delay| u32::try_from(delay).unwrap_or_default()).collect())
            }
            _ => Err(PartError::damaged(&self.name, "its delays have another type")),
        }
    }

    /// The file's length.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.length()
    }

    /// CRC-32C of the footer, from its first byte to the end of the file.
    pub(crate) fn footer_crc32c(&self) -> u32 {
        self.footer_crc32c
    }
}

/// The last cell of a column: which, when, how many seconds late, what.
pub(crate) type LastCell = (ColumnKey, i64, u32, Cell);

/// A part from its first Thing to its last.
pub(crate) struct Walk {
    part: Arc<Part>,
    next: usize,
    /// The row group at hand, and its number.
    group: Option<(u32, Table)>,
}

impl Walk {
    /// The id of the Thing that comes next.
    pub(crate) fn peek(&self) -> Option<&str> {
        self.part.things.get(self.next).map(|thing| thing.id.as_str())
    }

    /// The rows of the Thing that comes next. The texts must be the same each time.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(crate) fn take(&mut self, texts: &mut Texts) -> Result<Table, PartError> {
        let Some(thing) = self.part.things.get(self.next) else { return Ok(Table::default()) };
        let rows = thing.row as usize..(thing.row + thing.rows) as usize;
        let table = match &self.group {
            Some((group, table)) if *group == thing.group => table,
            _ => {
                let all = 0..self.part.group_rows[thing.group as usize];
                let table = self.part.read_rows(thing.group, all, &|_| true, texts)?;
                &self.group.insert((thing.group, table)).1
            }
        };
        self.next += 1;
        let is_whole = rows.len() == table.len();
        Ok(if is_whole { table.clone() } else { table.rows(rows).without_empty_columns() })
    }
}

/// The rows of a Thing that may lie in `[from, to)`: whole stretches of [`PAGE_ROWS`] between two known times.
fn rows_around(thing: &DescribedThing, from: i64, to: i64) -> Range<u32> {
    let page_rows = u32::try_from(PAGE_ROWS).expect("it is small");
    let (mut time, mut times) = (0_i64, Vec::with_capacity(thing.times.len()));
    for after in &thing.times {
        time = time.wrapping_add(*after);
        times.push(time);
    }
    let (Some((last, begins)), true) = (times.split_last(), from < to) else { return 0..0 };
    if *last < from {
        return 0..0;
    }
    let first_page = begins.partition_point(|begin| *begin <= from).saturating_sub(1);
    let end_page = begins.partition_point(|begin| *begin < to);
    let page =
        |number: usize| u32::try_from(number).unwrap_or(u32::MAX).saturating_mul(page_rows).min(thing.rows);
    page(first_page)..page(end_page).max(page(first_page))
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

fn read_footer(
    name: &str,
    file: &dyn Readable,
    expected: Option<u32>,
) -> Result<(ParquetMetaData, u32), PartError> {
    let damaged = |flaw: &str| PartError::damaged(name, flaw);
    let io = |error| PartError::io(name, error);
    let length = file.length();
    let tail_at = length.checked_sub(TAIL_BYTES as u64).ok_or_else(|| damaged("it is too short"))?;
    let tail = file.read_at(tail_at, TAIL_BYTES).map_err(io)?;
    let Some((footer_bytes, MAGIC)) = tail
        .split_first_chunk::<4>()
        .and_then(|(length, magic)| Some((u32::from_le_bytes(*length) as usize, magic.first_chunk::<4>()?)))
    else {
        return Err(damaged("it does not end as a Parquet file does"));
    };
    let footer_at = tail_at
        .checked_sub(footer_bytes as u64)
        .filter(|_| footer_bytes <= FOOTER_BYTES_MAX)
        .ok_or_else(|| damaged("its footer is longer than it"))?;
    let footer = file.read_at(footer_at, footer_bytes).map_err(io)?;
    let crc32c = crc32c::crc32c_append(crc32c::crc32c(&footer), &tail);
    if expected.is_some_and(|expected| expected != crc32c) {
        return Err(damaged("the checksum of its footer does not hold"));
    }
    let metadata =
        ParquetMetaDataReader::decode_metadata(&footer).map_err(|error| PartError::parquet(name, error))?;
    Ok((metadata, crc32c))
}

/// A stretch of a file.
struct Window {
    start: u64,
    bytes: Bytes,
}

/// A column's values as Parquet gives them.
struct Raw {
    rows: usize,
    /// Whether each row has a value; empty for fixed columns, which all have.
    present: Vec<i16>,
    values: RawValues,
}

enum RawValues {
    Longs(Vec<i64>),
    Ints(Vec<i32>),
    Doubles(Vec<f64>),
    Bools(Vec<bool>),
    Texts(Vec<ByteArray>),
}

impl RawValues {
    /// Only the last of them.
    fn last(&self) -> Self {
        match self {
            Self::Longs(values) => Self::Longs(values.last().copied().into_iter().collect()),
            Self::Ints(values) => Self::Ints(values.last().copied().into_iter().collect()),
            Self::Doubles(values) => Self::Doubles(values.last().copied().into_iter().collect()),
            Self::Bools(values) => Self::Bools(values.last().copied().into_iter().collect()),
            Self::Texts(values) => Self::Texts(values.last().cloned().into_iter().collect()),
        }
    }
}

impl Raw {
    fn read(reader: ColumnReader, skip: usize, take: usize) -> Result<Self, ParquetError> {
        Ok(match reader {
            ColumnReader::Int64ColumnReader(reader) => Self::typed(reader, skip, take, RawValues::Longs)?,
            ColumnReader::Int32ColumnReader(reader) => Self::typed(reader, skip, take, RawValues::Ints)?,
            ColumnReader::DoubleColumnReader(reader) => Self::typed(reader, skip, take, RawValues::Doubles)?,
            ColumnReader::BoolColumnReader(reader) => Self::typed(reader, skip, take, RawValues::Bools)?,
            ColumnReader::ByteArrayColumnReader(reader) => Self::typed(reader, skip, take, RawValues::Texts)?,
            _ => return Err(ParquetError::General("a column has a type that parts do not have".to_owned())),
        })
    }

    fn typed<T: DataType>(
        mut reader: parquet::column::reader::ColumnReaderImpl<T>,
        skip: usize,
        take: usize,
        values_of: impl FnOnce(Vec<T::T>) -> RawValues,
    ) -> Result<Self, ParquetError> {
        let skipped = reader.skip_records(skip)?;
        if skipped != skip {
            return Err(ParquetError::General("a column ends early".to_owned()));
        }
        let (mut present, mut values) = (Vec::new(), Vec::with_capacity(take));
        let (rows, _, _) = reader.read_records(take, Some(&mut present), None, &mut values)?;
        Ok(Self { rows, present, values: values_of(values) })
    }
}
