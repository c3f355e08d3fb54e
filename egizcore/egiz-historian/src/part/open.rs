//! Opens a part: reads its footer once, and checks that what it says fits together.

use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};

use super::decode::ValueKind;
use super::format::{DescribedColumn, DescribedThing, Description, FIXED_COLUMNS, Form, KEY, VERSION};
use super::page::Written;
use super::{Layout, PartError};
use crate::column::ColumnKey;
use crate::disk::{Disk, Readable};
use crate::scale::Divisor;

const MAGIC: &[u8; 4] = b"PAR1";
/// Footer length and magic at the end of a Parquet file.
const TAIL_BYTES: usize = 8;
/// No footer of ours comes near this.
const FOOTER_BYTES_MAX: usize = 256 << 20;

/// Where one column chunk lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub(super) start: u64,
    /// From `start` on, data begins after a dictionary if there is one.
    pub(super) data_after: u32,
    /// The length of its page index.
    pub(super) index_length: u32,
    /// CRC-32C of all of it.
    pub(super) crc32c: u32,
    /// How the values of all its pages are written; nothing where it is not the same for all.
    pub(super) written: Option<Written>,
}

/// One row group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) rows: u32,
    /// Where its page indexes begin; they lie side by side.
    pub(super) indexes_at: u64,
}

/// One column of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) kind: ValueKind,
    /// Whether its values may be missing.
    pub(super) is_optional: bool,
    pub(super) is_zstd: bool,
}

/// One column of properties.
#[derive(Debug, Clone)]
pub(super) struct PartColumn {
    pub(super) key: ColumnKey,
    pub(super) form: Form,
    pub(super) divisor: Option<Divisor>,
}

/// A part open for reading. What it knows of the file takes a few bytes for each column chunk.
pub(crate) struct Part {
    pub(super) name: String,
    pub(super) file: Arc<dyn Readable>,
    pub(super) columns: Vec<PartColumn>,
    /// Which property each of them is of, as a number.
    pub(super) property_of: Vec<u32>,
    /// The fixed columns, then those of properties.
    pub(super) stored: Vec<Stored>,
    /// Microseconds in the unit of the time column.
    pub(super) time_unit: i64,
    /// By id.
    pub(super) things: Vec<DescribedThing>,
    /// Rows of a page.
    pub(super) page_rows: u32,
    pub(super) groups: Vec<Group>,
    /// By row group, then column.
    pub(super) chunks: Vec<Chunk>,
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
        understand(name, file, &metadata, footer_crc32c)
    }

    /// Its columns, and how fine its times are.
    pub(crate) fn layout(&self) -> Layout {
        let columns = self.columns.iter().map(|column| DescribedColumn::new(&column.key, column.form));
        Layout { columns: columns.collect(), has_micros: self.time_unit == 1 }
    }

    pub(super) fn thing(&self, id: &str) -> Option<&DescribedThing> {
        let index = self.things.binary_search_by(|thing| thing.id.as_str().cmp(id)).ok()?;
        Some(&self.things[index])
    }

    /// Whether rows of the Thing are in it.
    pub(crate) fn knows(&self, thing: &str) -> bool {
        self.thing(thing).is_some()
    }

    /// The times of a Thing's first and last row; nothing where it has none.
    pub(crate) fn span(&self, thing: &str) -> Option<(i64, i64)> {
        let thing = self.thing(thing)?;
        let last = thing.times.iter().fold(0_i64, |time, after| time.wrapping_add(*after));
        Some((*thing.times.first()?, last))
    }

    /// Whether it has anything of a Thing in a column like this.
    pub(crate) fn has_any(&self, thing: &str, is_like: impl Fn(&ColumnKey) -> bool) -> bool {
        self.thing(thing)
            .is_some_and(|thing| self.columns_of(thing).any(|index| is_like(&self.columns[index].key)))
    }

    /// Whose rows are in it, by id.
    pub(crate) fn things(&self) -> impl ExactSizeIterator<Item = &str> {
        self.things.iter().map(|thing| thing.id.as_str())
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

fn understand(
    name: &str,
    file: Arc<dyn Readable>,
    metadata: &ParquetMetaData,
    footer_crc32c: u32,
) -> Result<Part, PartError> {
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
        let flaw = format!("it has version {}, which this program does not know", described.version);
        return Err(PartError::damaged(name, flaw));
    }
    let columns: Vec<PartColumn> = described
        .columns
        .iter()
        .map(|column| PartColumn { key: column.key(), form: column.form, divisor: column.form.divisor() })
        .collect();
    let descriptions = metadata.file_metadata().schema_descr().columns();
    let has_divisor =
        |column: &PartColumn| !matches!(column.form, Form::Steps(_)) || column.divisor.is_some();
    if descriptions.len() != columns.len() + FIXED_COLUMNS || !columns.iter().all(has_divisor) {
        return Err(damaged("its columns are not the described ones"));
    }
    let kinds = [ValueKind::Text, ValueKind::Long, ValueKind::Int].into_iter();
    let kinds = kinds.chain(columns.iter().map(|column| column.form.kind()));
    let stored: Vec<Stored> = kinds
        .zip(descriptions)
        .enumerate()
        .map(|(number, (kind, description))| Stored {
            kind,
            is_optional: description.max_def_level() == 1,
            is_zstd: metadata.row_groups().first().is_some_and(|group| is_zstd(group.column(number))),
        })
        .collect();
    let groups = metadata.row_groups();
    let rows_of = |number: u32| groups.get(number as usize).map(|group| group.num_rows());
    let page_rows = described.page_rows;
    let fits = |thing: &DescribedThing| {
        rows_of(thing.group).is_some_and(|rows| {
            thing.rows > 0
                && i64::from(thing.row) + i64::from(thing.rows) <= rows
                && page_rows > 0
                && thing.times.len() == thing.rows.div_ceil(page_rows) as usize + 1
                && thing.has.is_sorted_by(|a, b| a < b)
                && thing.has.last().is_none_or(|column| (*column as usize) < columns.len())
        })
    };
    if !described.things.is_sorted_by(|a, b| a.id < b.id) || !described.things.iter().all(fits) {
        return Err(damaged("its Things are not where they are said to be"));
    }
    let mut of_groups = Vec::with_capacity(groups.len());
    let mut chunks = Vec::with_capacity(groups.len() * descriptions.len());
    for group in groups {
        if group.num_columns() != descriptions.len() {
            return Err(damaged("a row group lacks columns"));
        }
        let mut indexes_end = None;
        let checksums = described.chunks_crc32c.get(chunks.len()..).unwrap_or_default();
        if checksums.len() < descriptions.len() {
            return Err(damaged("it lacks checksums"));
        }
        for ((column, stored), crc32c) in group.columns().iter().zip(&stored).zip(checksums) {
            let (chunk, index_at) = chunk(column, *crc32c, file.length())
                .ok_or_else(|| damaged("a column chunk lies outside the file"))?;
            if indexes_end.is_some_and(|end| end != index_at) || is_zstd(column) != stored.is_zstd {
                return Err(damaged("a column chunk is not as the others are"));
            }
            indexes_end = Some(index_at + u64::from(chunk.index_length));
            chunks.push(chunk);
        }
        let indexes: u64 = chunks[chunks.len() - descriptions.len()..]
            .iter()
            .map(|chunk| u64::from(chunk.index_length))
            .sum();
        let rows = u32::try_from(group.num_rows()).map_err(|_| damaged("a row group has no rows"))?;
        of_groups.push(Group { rows, indexes_at: indexes_end.unwrap_or_default() - indexes });
    }
    let is_micros = matches!(
        descriptions[1].logical_type_ref(),
        Some(parquet::basic::LogicalType::Timestamp(time)) if time.unit == parquet::basic::TimeUnit::MICROS
    );
    Ok(Part {
        name: name.to_owned(),
        file,
        property_of: number_properties(&columns),
        columns,
        stored,
        time_unit: if is_micros { 1 } else { 1000 },
        things: described.things,
        page_rows,
        groups: of_groups,
        chunks,
        footer_crc32c,
    })
}

fn is_zstd(chunk: &ColumnChunkMetaData) -> bool {
    matches!(chunk.compression(), Compression::ZSTD(_))
}

/// The chunk, and where its page index is; nothing where they are not within the file.
fn chunk(column: &ColumnChunkMetaData, crc32c: u32, file_length: u64) -> Option<(Chunk, u64)> {
    let (start, length) = column.byte_range();
    start.checked_add(length).filter(|end| *end <= file_length)?;
    let data_after = u64::try_from(column.data_page_offset()).ok()?.checked_sub(start)?;
    let index_at = u64::try_from(column.offset_index_offset()?).ok()?;
    let index_length = u32::try_from(column.offset_index_length()?).ok()?;
    index_at.checked_add(u64::from(index_length)).filter(|end| *end <= file_length)?;
    let data_after = u32::try_from(data_after).ok()?;
    let is_only = |encoding| column.page_encoding_stats_mask().is_some_and(|mask| mask.is_only(encoding));
    let written = [
        (Encoding::PLAIN, Written::Plainly),
        (Encoding::RLE_DICTIONARY, Written::ByDictionary),
        (Encoding::DELTA_BINARY_PACKED, Written::Packed),
    ];
    let written = written.into_iter().find(|(encoding, _)| is_only(*encoding)).map(|(_, written)| written);
    Some((Chunk { start, data_after, index_length, crc32c, written }, index_at))
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
    let mut tail = [0; TAIL_BYTES];
    file.read_at(tail_at, &mut tail).map_err(io)?;
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
    let mut footer = vec![0; footer_bytes];
    file.read_at(footer_at, &mut footer).map_err(io)?;
    let crc32c = crc32c::crc32c_append(crc32c::crc32c(&footer), &tail);
    if expected.is_some_and(|expected| expected != crc32c) {
        return Err(damaged("the checksum of its footer does not hold"));
    }
    let metadata =
        ParquetMetaDataReader::decode_metadata(&footer).map_err(|error| PartError::parquet(name, error))?;
    Ok((metadata, crc32c))
}

/// The columns of one property lie side by side.
fn number_properties(columns: &[PartColumn]) -> Vec<u32> {
    let of_property = columns.chunk_by(|a, b| a.key.same_property(&b.key));
    (0..).zip(of_property).flat_map(|(number, columns)| columns.iter().map(move |_| number)).collect()
}
