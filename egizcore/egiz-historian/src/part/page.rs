//! One page: its header checked against what is known of it, its checksum, its bytes laid open.
//!
//! Parquet's checksum covers a page's data and not its header. What the header says is known from elsewhere, though: the
//! length from the page index, the number of rows from the page after it, the encoding from the footer. A header that says
//! anything else is damage. Where pages of a chunk differ in their encoding, the whole chunk's checksum is looked at
//! before (`rows.rs`).

use std::cell::RefCell;

use super::decode::PADDING;
use super::thrift::{Compact, I32, STRUCT};

/// Encodings of Parquet, by their numbers.
pub(super) const PLAIN: i64 = 0;
const PLAIN_DICTIONARY: i64 = 2;
const RLE: i64 = 3;
pub(super) const DELTA_BINARY_PACKED: i64 = 5;
const RLE_DICTIONARY: i64 = 8;

const DATA_PAGE: i64 = 0;
const DICTIONARY_PAGE: i64 = 2;
/// No page of ours comes near this.
const PAGE_BYTES_MAX: usize = 256 << 20;

/// What a header says.
#[derive(Debug, Default)]
struct Header {
    kind: i64,
    length: i64,
    stored_length: i64,
    crc: Option<i64>,
    values: i64,
    encoding: i64,
    levels: i64,
}

/// How a page's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Plainly,
    ByDictionary,
    Packed,
}

/// What a page must be.
pub(super) struct Expected {
    /// Its rows; not known of a dictionary.
    pub(super) rows: Option<usize>,
    /// How its values are written, where that is known.
    pub(super) written: Option<Written>,
    pub(super) is_zstd: bool,
}

/// A page laid open.
pub(super) struct Opened<'a> {
    /// Its data, and [`PADDING`] bytes.
    pub(super) data: &'a [u8],
    pub(super) values: usize,
    pub(super) written: Written,
}

/// Where pages are laid open, used again and again.
#[derive(Default)]
pub(super) struct Desk {
    inflated: Vec<u8>,
}

thread_local! {
    /// What zstd needs is large and costs more to make than a page to decompress.
    static ZSTD: RefCell<zstd::bulk::Decompressor<'static>> = RefCell::default();
}

impl Desk {
    /// Lays a page open: `bytes` is header and data and nothing else, followed by [`PADDING`] bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open<'a>(
        &'a mut self,
        bytes: &'a [u8],
        expected: &Expected,
    ) -> Result<Opened<'a>, &'static str> {
        let end = bytes.len().checked_sub(PADDING).ok_or("a page is too short")?;
        let (header, header_bytes) = header(&bytes[..end]).ok_or("a page header is none")?;
        let stored = &bytes[header_bytes..end];
        let is_dictionary = expected.rows.is_none();
        let kind = if is_dictionary { DICTIONARY_PAGE } else { DATA_PAGE };
        let values = usize::try_from(header.values).map_err(|_| "a page has fewer than no values")?;
        let length = usize::try_from(header.length).ok().filter(|length| *length <= PAGE_BYTES_MAX);
        let length = length.ok_or("a page has no length")?;
        if header.kind != kind
            || usize::try_from(header.stored_length) != Ok(stored.len())
            || (!is_dictionary && header.levels != RLE)
            || expected.rows.is_some_and(|rows| rows != values)
        {
            return Err("a page header is not as it should be");
        }
        let crc = header.crc.ok_or("a page has no checksum")?;
        if i64::from(crc32fast::hash(stored).cast_signed()) != crc {
            return Err("the checksum of a page does not hold");
        }
        let written = match header.encoding {
            PLAIN => Written::Plainly,
            PLAIN_DICTIONARY if is_dictionary => Written::Plainly,
            PLAIN_DICTIONARY | RLE_DICTIONARY => Written::ByDictionary,
            DELTA_BINARY_PACKED => Written::Packed,
            _ => return Err("a page has an encoding that parts do not have"),
        };
        if expected.written.is_some_and(|expected| expected != written) {
            return Err("a page header is not as it should be");
        }
        if !expected.is_zstd {
            if length != stored.len() {
                return Err("a page header is not as it should be");
            }
            return Ok(Opened { data: &bytes[header_bytes..], values, written });
        }
        // The checksum holds, so the frame is what was written, its length included.
        if zstd::zstd_safe::get_frame_content_size(stored).ok().flatten() != Some(length as u64) {
            return Err("a page header is not as it should be");
        }
        self.inflated.clear();
        self.inflated.resize(length + PADDING, 0);
        let space = &mut self.inflated[..length];
        let inflated = ZSTD.with_borrow_mut(|zstd| zstd.decompress_to_buffer(stored, space));
        if inflated.ok() != Some(length) {
            return Err("a page cannot be decompressed");
        }
        Ok(Opened { data: &self.inflated, values, written })
    }
}

fn header(bytes: &[u8]) -> Option<(Header, usize)> {
    let mut compact = Compact::new(bytes);
    let mut header = Header { levels: RLE, ..Header::default() };
    let mut id = 0;
    while let Some(kind) = compact.field(&mut id)? {
        match (id, kind) {
            (1, I32) => header.kind = compact.int()?,
            (2, I32) => header.length = compact.int()?,
            (3, I32) => header.stored_length = compact.int()?,
            (4, I32) => header.crc = Some(compact.int()?),
            (5 | 7, STRUCT) => {
                let mut inner = 0;
                while let Some(kind) = compact.field(&mut inner)? {
                    match (inner, kind) {
                        (1, I32) => header.values = compact.int()?,
                        (2, I32) => header.encoding = compact.int()?,
                        (3, I32) if id == 5 => header.levels = compact.int()?,
                        (_, kind) => compact.skip(kind)?,
                    }
                }
            }
            (_, kind) => compact.skip(kind)?,
        }
    }
    Some((header, bytes.len() - compact.remaining()))
}

/// Where a page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) offset: u64,
    pub(super) length: u32,
    /// Its first row in the row group.
    pub(super) row: u32,
}

/// The pages of a column chunk from Parquet's page index; nothing where the bytes are none.
pub(super) fn locations(bytes: &[u8]) -> Option<Vec<Location>> {
    let mut compact = Compact::new(bytes);
    let mut locations = Vec::new();
    let mut id = 0;
    while let Some(kind) = compact.field(&mut id)? {
        if id != 1 {
            compact.skip(kind)?;
            continue;
        }
        let (count, STRUCT) = compact.list()? else { return None };
        for _ in 0..count {
            let mut location = Location { offset: 0, length: 0, row: 0 };
            let mut inner = 0;
            while let Some(kind) = compact.field(&mut inner)? {
                match inner {
                    1 => location.offset = u64::try_from(compact.int()?).ok()?,
                    2 => location.length = u32::try_from(compact.int()?).ok()?,
                    3 => location.row = u32::try_from(compact.int()?).ok()?,
                    _ => compact.skip(kind)?,
                }
            }
            locations.push(location);
        }
    }
    (compact.remaining() == 0).then_some(locations)
}
