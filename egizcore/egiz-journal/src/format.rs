//! The bytes of a segment, version 1.
//!
//! ```text
//! segment = header group*                        file name: <base offset, 20 digits>.egj
//! header  = "EGIZJRNL" version:u32 zero:u32 base:u64 crc32c(the 24 bytes before):u32 zero:u32
//! group   = "GRP1" size:u32 first:u64 count:u32 crc32c(size first count body):u32 body
//! body    = (length:u32 record)*                 size = bytes of the body; all numbers little endian
//! ```
//!
//! A group is what one commit wrote. The next group is written only after the one before is synced, so a group that does
//! not check out is a torn tail exactly when nothing valid follows it; nothing in a torn group was ever acknowledged. The
//! checksum covers the first offset, so bytes left over from another place cannot pass. Golden file:
//! `tests/golden/segment-v1.egj`.

use crate::Offset;
use crate::batch::records;

/// Bytes before the first group.
pub const HEADER_BYTES: usize = 32;
/// Bytes before a group's body.
pub const GROUP_HEADER_BYTES: usize = 24;
/// The largest body that is believed; larger groups are never written.
pub const GROUP_BODY_BYTES_MAX: usize = 256 << 20;

const MAGIC: &[u8; 8] = b"EGIZJRNL";
const VERSION: u32 = 1;
const GROUP_MAGIC: &[u8; 4] = b"GRP1";

/// A group's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupHeader {
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Offset of the first record.
    pub first: Offset,
    /// Number of records.
    pub count: u32,
    checksum: u32,
}

/// A segment's first bytes.
#[must_use]
pub fn encode_header(base: Offset) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&base.to_le_bytes());
    let checksum = crc32c::crc32c(&header[..24]);
    header[24..28].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Reads a segment's first bytes: its base offset.
///
/// # Errors
/// In words, what is wrong with them.
pub fn decode_header(bytes: &[u8]) -> Result<Offset, &'static str> {
    let header = bytes.first_chunk::<HEADER_BYTES>().ok_or("the header is cut short")?;
    if &header[..8] != MAGIC {
        return Err("it is no journal segment");
    }
    if crc32c::crc32c(&header[..24]) != number_u32(&header[24..28]) {
        return Err("the header's checksum does not match");
    }
    if number_u32(&header[8..12]) != VERSION {
        return Err("it was written by a later version of this program");
    }
    Ok(number_u64(&header[16..24]))
}

/// Starts a group at the end of `out`; the bodies of batches follow, then [`finish_group`].
pub fn begin_group(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.resize(start + GROUP_HEADER_BYTES, 0);
    start
}

/// Fills in the header of the group that starts at `start` and ends with `out`.
pub fn finish_group(out: &mut [u8], start: usize, first: Offset, count: u32) {
    let (header, body) = out[start..].split_at_mut(GROUP_HEADER_BYTES);
    let size = u32::try_from(body.len()).expect("groups are bounded far below 4 GiB");
    header[..4].copy_from_slice(GROUP_MAGIC);
    header[4..8].copy_from_slice(&size.to_le_bytes());
    header[8..16].copy_from_slice(&first.to_le_bytes());
    header[16..20].copy_from_slice(&count.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[4..20]), body);
    header[20..24].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads a group's header, without its checksum being checked yet.
///
/// # Errors
/// In words, what is wrong with it.
pub fn decode_group_header(bytes: &[u8]) -> Result<GroupHeader, &'static str> {
    let header = bytes.first_chunk::<GROUP_HEADER_BYTES>().ok_or("a group's header is cut short")?;
    if &header[..4] != GROUP_MAGIC {
        return Err("no group begins here");
    }
    let body_bytes = number_u32(&header[4..8]) as usize;
    if body_bytes > GROUP_BODY_BYTES_MAX {
        return Err("a group's size is out of range");
    }
    Ok(GroupHeader {
        body_bytes,
        first: number_u64(&header[8..16]),
        count: number_u32(&header[16..20]),
        checksum: number_u32(&header[20..24]),
    })
}

/// Checks a group's body against its header, down to the number of records.
///
/// # Errors
/// In words, what is wrong with it.
pub fn check_group(header: &GroupHeader, body: &[u8]) -> Result<(), &'static str> {
    let mut fields = [0; 16];
    fields[..4].copy_from_slice(&(header.body_bytes as u32).to_le_bytes());
    fields[4..12].copy_from_slice(&header.first.to_le_bytes());
    fields[12..].copy_from_slice(&header.count.to_le_bytes());
    if body.len() != header.body_bytes
        || crc32c::crc32c_append(crc32c::crc32c(&fields), body) != header.checksum
    {
        return Err("a group's checksum does not match");
    }
    let (count, bytes) =
        records(body).fold((0_u64, 0), |(count, bytes), record| (count + 1, bytes + 4 + record.len()));
    if count != u64::from(header.count) || bytes != body.len() {
        return Err("a group's records do not add up");
    }
    Ok(())
}

fn number_u32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn number_u64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;
    use proptest::prelude::*;

    fn segment() -> Vec<u8> {
        let mut bytes = encode_header(7).to_vec();
        for (first, records) in [(7, vec![&b"alpha"[..], b""]), (9, vec![b"gamma"])] {
            let mut batch = Batch::new();
            records.iter().for_each(|record| batch.push(record));
            let start = begin_group(&mut bytes);
            bytes.extend_from_slice(batch.encoded());
            finish_group(&mut bytes, start, first, u32::try_from(records.len()).expect("few"));
        }
        bytes
    }

    #[test]
    fn segments_of_version_1_stay_readable() {
        let golden: &[u8] = include_bytes!("../tests/golden/segment-v1.egj");
        assert_eq!(golden, segment());
        assert_eq!(decode_header(golden), Ok(7));
        let header = decode_group_header(&golden[HEADER_BYTES..]).expect("a group");
        assert_eq!((header.first, header.count, header.body_bytes), (7, 2, 13));
        let body = &golden[HEADER_BYTES + GROUP_HEADER_BYTES..][..13];
        assert_eq!(check_group(&header, body), Ok(()));
        assert_eq!(records(body).collect::<Vec<_>>(), [&b"alpha"[..], b""]);
    }

    proptest! {
        #[test]
        fn no_flipped_bit_goes_unnoticed(at in 0..segment().len(), bit in 0..8_u8) {
            // The eight zero bytes of the header carry nothing and are not covered.
            prop_assume!(!(28..32).contains(&at));
            let mut bytes = segment();
            bytes[at] ^= 1 << bit;
            let mut rest = &bytes[HEADER_BYTES..];
            let mut whole = decode_header(&bytes).is_ok();
            while whole && !rest.is_empty() {
                whole = decode_group_header(rest).is_ok_and(|header| {
                    let Some(group) = rest.get(GROUP_HEADER_BYTES..GROUP_HEADER_BYTES + header.body_bytes) else { return false };
                    rest = &rest[GROUP_HEADER_BYTES + header.body_bytes..];
                    check_group(&header, group).is_ok()
                });
            }
            prop_assert!(!whole);
        }
    }
}
