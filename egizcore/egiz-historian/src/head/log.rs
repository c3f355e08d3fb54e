//! The bytes of rows in memory: a row after the other in the order in which they came, each with the way back to its
//! Thing's row before.
//!
//! ```text
//! row    = back:varint time:zigzag delay:varint cells:varint cell*
//! cell   = column:varint tag:u8 trust:2 octets if flagged  value
//! value  = zigzag (whole number, or steps of a tenth to a ten-thousandth) | 8 octets (double) | varint (text, JSON) | nothing
//! ```
//!
//! `back` is how far before this row the Thing's row before begins, 0 where there is none; `time` counts from the first row's.
//! Most readings are a few steps and take three octets. Nothing of it leaves the memory, so it has no version.

use egiz_model::record::format::{ItemReader, ItemWriter};
use egiz_model::{Quality, QualityReason};

use crate::cell::{Cell, Kind};
use crate::leb128::{unzigzag, zigzag};
use crate::scale::Divisor;

/// Chunks are of this size, so that the log grows without being copied. A row lies in one chunk; one that is larger has a
/// chunk of its own.
const CHUNK_BYTES: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 18;

/// What stands before the cells, at its longest.
const HEADER_BYTES_MAX: usize = 4 * 10;

/// The bit of a tag that says that words on quality follow.
const TRUST: u8 = 0x80;
const REMOVED: u8 = 0;
const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const JSON: u8 = 6;
/// A whole number; the tags after it are tenths, hundredths, and so on.
const INT: u8 = 7;
/// The largest exponent of ten that is tried.
const TENS_MAX: u8 = 4;

/// Where a row begins: its chunk, and the place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address(u64);

/// Rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    chunks: Vec<Vec<u8>>,
    bytes: usize,
}

/// A row being made.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    cells: Vec<u8>,
    count: u64,
    /// For each column the exponent of ten that its last number needed.
    exponents: Vec<u8>,
}

/// A row as it was written.
pub(super) struct Row<'a> {
    pub(super) before: Option<Address>,
    /// After the first row's.
    pub(super) time: i64,
    pub(super) delay_s: u32,
    cells: u64,
    reader: ItemReader<'a>,
}

impl Draft {
    /// Adds a cell.
    pub(super) fn put(&mut self, column: usize, cell: Cell) {
        self.count += 1;
        let is_trusted = (cell.quality, cell.reason) == (Quality::Good, QualityReason::None);
        let steps = match cell.kind {
            Kind::Float => self.steps(column, cell.as_float()),
            _ => None,
        };
        let tag = match cell.kind {
            Kind::Absent | Kind::Removed => REMOVED,
            Kind::Null => NULL,
            Kind::Bool => FALSE + u8::from(cell.as_bool()),
            Kind::Int => INT,
            Kind::Float => steps.map_or(FLOAT, |(exponent, _)| INT + exponent),
            Kind::Text => TEXT,
            Kind::Json => JSON,
        };
        let mut out = ItemWriter::new(&mut self.cells);
        out.varint(column as u64);
        out.byte(tag | if is_trusted { 0 } else { TRUST });
        if !is_trusted {
            out.byte(cell.quality as u8);
            out.byte(cell.reason as u8);
        }
        match (cell.kind, steps) {
            (Kind::Int, _) => out.varint(zigzag(cell.as_int())),
            (Kind::Float, Some((_, steps))) => out.varint(zigzag(steps)),
            (Kind::Float, None) => out.fixed_i64(cell.as_float().to_bits().cast_signed()),
            (Kind::Text | Kind::Json, _) => out.varint(u64::from(cell.text_number())),
            (Kind::Absent | Kind::Removed | Kind::Null | Kind::Bool, _) => {}
        }
    }

    /// The number as whole tenths, hundredths, …, with the exponent; nothing where it is none of these.
    fn steps(&mut self, column: usize, number: f64) -> Option<(u8, i64)> {
        if self.exponents.len() <= column {
            self.exponents.resize(column + 1, 1);
        }
        let likely = self.exponents[column];
        let others = (1..=TENS_MAX).filter(|exponent| *exponent != likely);
        let mut found = std::iter::once(likely)
            .chain(others)
            .filter_map(|exponent| Some((exponent, Divisor::Ten(exponent).steps(number)?)));
        let (exponent, steps) = found.next()?;
        self.exponents[column] = exponent;
        Some((exponent, steps))
    }
}

impl Log {
    /// Adds the row that was made, which then is empty again. `time` is after the first row's.
    pub(super) fn add(
        &mut self,
        draft: &mut Draft,
        before: Option<Address>,
        time: i64,
        delay_s: u32,
    ) -> Address {
        let Draft { cells, count, .. } = draft;
        let length = HEADER_BYTES_MAX + cells.len();
        if self.chunks.last().is_none_or(|chunk| chunk.len() + length > CHUNK_BYTES) {
            self.chunks.push(Vec::new());
        }
        let number = self.chunks.len() - 1;
        let chunk = &mut self.chunks[number];
        let address = Address((number as u64) << CHUNK_BITS | chunk.len() as u64);
        self.bytes -= chunk.capacity();
        let mut out = ItemWriter::new(chunk);
        out.varint(before.map_or(0, |before| address.0 - before.0));
        out.varint(zigzag(time));
        out.varint(u64::from(delay_s));
        out.varint(*count);
        chunk.extend_from_slice(cells);
        self.bytes += chunk.capacity();
        cells.clear();
        *count = 0;
        address
    }

    /// The row at an address that [`Self::add`] gave.
    pub(super) fn row(&self, address: Address) -> Row<'_> {
        let chunk = usize::try_from(address.0 >> CHUNK_BITS).expect("it was made from one");
        let begin = usize::try_from(address.0 & (CHUNK_BYTES as u64 - 1)).expect("it was made from one");
        let mut reader = ItemReader::new(&self.chunks[chunk][begin..]);
        let back = varint(&mut reader);
        Row {
            before: (back > 0).then(|| Address(address.0 - back)),
            time: unzigzag(varint(&mut reader)),
            delay_s: u32::try_from(varint(&mut reader)).unwrap_or(u32::MAX),
            cells: varint(&mut reader),
            reader,
        }
    }

    /// How much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Iterator for Row<'_> {
    /// The number of a column, and its cell.
    type Item = (usize, Cell);

    fn next(&mut self) -> Option<Self::Item> {
        self.cells = self.cells.checked_sub(1)?;
        let reader = &mut self.reader;
        let column = usize::try_from(varint(reader)).expect("it was one");
        let tag = byte(reader);
        let trust = (tag & TRUST != 0).then(|| {
            let (quality, reason) = (byte(reader), byte(reader));
            let known = Quality::from_u8(quality).zip(QualityReason::from_u8(reason));
            known.expect("it was written from one")
        });
        let text = |reader: &mut ItemReader<'_>| u32::try_from(varint(reader)).expect("it was one");
        let cell = match tag & !TRUST {
            REMOVED => Cell::REMOVED,
            NULL => Cell::NULL,
            FALSE => Cell::bool(false),
            TRUE => Cell::bool(true),
            FLOAT => {
                Cell::number(f64::from_bits(reader.fixed_i64().expect("rows are whole").cast_unsigned()))
            }
            TEXT => Cell::text(text(reader)),
            JSON => Cell::json(text(reader)),
            INT => Cell::int(unzigzag(varint(reader))),
            tens => Cell::number(Divisor::Ten(tens - INT).value(unzigzag(varint(reader)))),
        };
        let (quality, reason) = trust.unwrap_or_default();
        Some((column, cell.judged(quality, reason)))
    }
}

fn varint(reader: &mut ItemReader<'_>) -> u64 {
    reader.varint().expect("rows are whole")
}

fn byte(reader: &mut ItemReader<'_>) -> u8 {
    reader.byte().expect("rows are whole")
}
