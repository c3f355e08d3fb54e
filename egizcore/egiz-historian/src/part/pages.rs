//! Pages with the checksum that the Parquet format has a place for and the library leaves empty.
//!
//! A page header is Thrift in its compact form: fields with ascending ids, each begun by a byte that holds how much larger
//! its id is than the one before (upper half) and its type (lower half). The header of a page begins with
//! 1 `type`, 2 `uncompressed_page_size`, 3 `compressed_page_size`, all of them varints; 4 `crc` is missing. It is put in,
//! and the field after it is said to be one less larger. Readers check it: ours, DuckDB, pyarrow.
//!
//! # Source
//! Apache Thrift compact protocol; Apache Parquet format, `PageHeader.crc`: CRC-32 over the page as it is stored.

use egiz_model::record::format::ItemWriter;
use parquet::column::page::{CompressedPage, PageWriteSpec, PageWriter};
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use std::io::Write as _;

use crate::leb128::zigzag;

/// The type of a 32-bit integer.
const I32: u8 = 5;
/// `compressed_page_size`, the last field before the checksum.
const BEFORE: u8 = 3;
const CRC: u8 = 4;

/// Writes pages into memory, each with its checksum.
pub(super) struct ChecksummedPages<'a>(pub(super) &'a mut Vec<u8>);

impl PageWriter for ChecksummedPages<'_> {
    fn write_page(&mut self, page: CompressedPage) -> Result<PageWriteSpec> {
        let crc = crc32fast::hash(page.data());
        let body_bytes = page.compressed_size();
        let mut plain = TrackedWrite::new(Vec::with_capacity(body_bytes + 64));
        let mut spec = SerializedPageWriter::new(&mut plain).write_page(page)?;
        plain.flush()?;
        let plain = plain.into_inner()?;
        let (header, body) = plain.split_at(plain.len() - body_bytes);

        let position = self.0.len();
        let added = insert_crc(header, crc, self.0)
            .ok_or_else(|| ParquetError::General("a page header has no place for a checksum".to_owned()))?;
        self.0.extend_from_slice(body);
        spec.offset = position as u64;
        spec.uncompressed_size += added;
        spec.compressed_size += added;
        spec.bytes_written = (self.0.len() - position) as u64;
        Ok(spec)
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Appends the header with the checksum; returns by how much it became longer. Nothing where it is not as expected.
fn insert_crc(header: &[u8], crc: u32, out: &mut Vec<u8>) -> Option<usize> {
    let mut at = 0;
    for _ in 0..BEFORE {
        if *header.get(at)? != 1 << 4 | I32 {
            return None;
        }
        at += 1;
        while header.get(at)? & 0x80 != 0 {
            at += 1;
        }
        at += 1;
    }
    let next = *header.get(at)?;
    let next_id = BEFORE + (next >> 4);
    if next >> 4 == 0 || next_id <= CRC {
        return None;
    }
    let before = out.len();
    out.extend_from_slice(&header[..at]);
    out.push((CRC - BEFORE) << 4 | I32);
    ItemWriter::new(out).varint(zigzag(i64::from(crc.cast_signed())));
    out.push((next_id - CRC) << 4 | next & 0x0f);
    out.extend_from_slice(&header[at + 1..]);
    Some(out.len() - before - header.len())
}
