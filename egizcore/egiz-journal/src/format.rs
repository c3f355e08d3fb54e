//! The bytes of a segment, version 1.
//!
//! ```text
//! segment = header group*                        file name: <base offset, 20 digits>.egj
//! header  = "EGIZJRNL" version:u32 checksum:u32 base:u64 salt:u64 previous_base:u64 previous_bytes:u64      48 bytes
//! group   = salt:u64 body_bytes:u32 count:u32 first:u64 flags:u32 checksum:u32 body                    32 bytes + body
//! body    = (length:u32 record)*
//! ```
//!
//! All numbers are little endian; checksums are CRC-32C over everything else of the header, or of the group and its body.
//!
//! - A group is what one commit wrote. It is valid or torn as a whole, so half a commit is never seen.
//! - The salt is drawn when the segment is made. It keeps a record's content from passing for a group (who sends records does
//!   not know it) and bytes left over from another segment from passing for this one's.
//! - The checksum covers the first offset: a group counts only in its place.
//! - Flag 1 says that everything before the group was synced when it was written. With such a group behind it, something that
//!   does not check out is damage; without, it is what a power cut left of unsynced writes.
//! - A segment pins the end of the one before it (`previous_base`, `previous_bytes`), so that a missing or shortened segment is
//!   noticed without reading it, and what a failed commit left behind that end is known to be void.
//!
//! A golden file, `tests/golden/segment-v1.egj`, holds the reader to version 1 for good.

use crate::Offset;
use crate::batch::records;

/// Bytes before the first group.
pub const HEADER_BYTES: usize = 48;
/// Bytes before a group's body.
pub const GROUP_HEADER_BYTES: usize = 32;
/// The largest body that is written or believed.
pub const GROUP_BODY_BYTES_MAX: usize = 256 << 20;

const MAGIC: &[u8; 8] = b"EGIZJRNL";
const VERSION: u32 = 1;
const FLAG_SYNCED_BEFORE: u32 = 1;

/// What is wrong with bytes that should be a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// There are fewer bytes than a header has.
    #[error("the segment's header is cut short")]
    HeaderCut,
    /// The first bytes are something else.
    #[error("it is no journal segment")]
    NoSegment,
    /// A later program wrote it.
    #[error("it has format version {0}, this program reads 1")]
    Version(u32),
    /// The header changed after it was written.
    #[error("the checksum of the segment's header does not match")]
    HeaderChecksum,
    /// The file's name and its header disagree.
    #[error("its header says that it begins with offset {0}")]
    Misnamed(Offset),
    /// The file before it is not the one it was written after.
    #[error("the segment before it, which begins with offset {0}, is missing")]
    PreviousMissing(Offset),
    /// The file is shorter than what was committed to it.
    #[error("it has {found} bytes of {committed} committed")]
    Shortened {
        /// Bytes there are.
        found: u64,
        /// Bytes there were.
        committed: u64,
    },
    /// No group begins where one should.
    #[error("no group begins here")]
    NoGroup,
    /// The file ends within a group.
    #[error("a group is cut short")]
    GroupCut,
    /// A group claims to be larger than any that is written.
    #[error("a group's size is out of range")]
    GroupSize,
    /// A group is not the one that belongs here.
    #[error("a group begins with offset {0}, which does not follow on")]
    GroupOffset(Offset),
    /// The group changed after it was written, or was not wholly written.
    #[error("a group's checksum does not match")]
    GroupChecksum,
    /// The group's records do not fill it.
    #[error("a group's records do not add up")]
    GroupRecords,
}

/// A segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record, if there is one.
    pub base: Offset,
    /// What the segment's groups begin with.
    pub salt: u64,
    /// The base and the committed bytes of the segment before; `None` for a log's first.
    pub previous: Option<(Offset, u64)>,
}

/// A group's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupHeader {
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Number of records.
    pub count: u32,
    /// Offset of the first record.
    pub first: Offset,
    /// Whether everything before it was synced when it was written.
    pub synced_before: bool,
}

impl GroupHeader {
    /// The offset after its last record.
    #[must_use]
    pub fn next(&self) -> Offset {
        self.first.saturating_add(Offset::from(self.count))
    }

    /// Bytes of header and body.
    #[must_use]
    pub fn whole_bytes(&self) -> u64 {
        (GROUP_HEADER_BYTES + self.body_bytes) as u64
    }
}

impl Header {
    /// The first bytes of a segment.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let (previous_base, previous_bytes) = self.previous.unwrap_or((self.base, 0));
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.base.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        bytes[32..40].copy_from_slice(&previous_base.to_le_bytes());
        bytes[40..48].copy_from_slice(&previous_bytes.to_le_bytes());
        let checksum = header_checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a segment's first bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>().ok_or(Flaw::HeaderCut)?;
        if &bytes[..8] != MAGIC {
            return Err(Flaw::NoSegment);
        }
        let version = number_u32(bytes, 8);
        if version != VERSION {
            return Err(Flaw::Version(version));
        }
        if header_checksum(bytes) != number_u32(bytes, 12) {
            return Err(Flaw::HeaderChecksum);
        }
        let (base, previous_bytes) = (number_u64(bytes, 16), number_u64(bytes, 40));
        let previous = (previous_bytes > 0).then_some((number_u64(bytes, 32), previous_bytes));
        Ok(Self { base, salt: number_u64(bytes, 24), previous })
    }
}

/// Starts a group in an empty buffer; the bodies of batches follow, then [`finish_group`].
pub fn begin_group(out: &mut Vec<u8>) {
    out.clear();
    out.resize(GROUP_HEADER_BYTES, 0);
}

/// Fills in the header of the group in `out`.
///
/// # Panics
/// Where the body exceeds [`GROUP_BODY_BYTES_MAX`]: the caller bounds it.
pub fn finish_group(out: &mut [u8], salt: u64, first: Offset, count: u32, synced_before: bool) {
    let (header, body) = out.split_at_mut(GROUP_HEADER_BYTES);
    assert!(body.len() <= GROUP_BODY_BYTES_MAX, "groups are bounded");
    let flags = if synced_before { FLAG_SYNCED_BEFORE } else { 0 };
    header[..8].copy_from_slice(&salt.to_le_bytes());
    header[8..12].copy_from_slice(&(body.len() as u32).to_le_bytes());
    header[12..16].copy_from_slice(&count.to_le_bytes());
    header[16..24].copy_from_slice(&first.to_le_bytes());
    header[24..28].copy_from_slice(&flags.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[..28]), body);
    header[28..32].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads a group's header; its checksum covers the body and is checked with it, by [`check_group`].
///
/// # Errors
/// What is wrong with it.
pub fn decode_group_header(bytes: &[u8], salt: u64) -> Result<GroupHeader, Flaw> {
    let header = bytes.first_chunk::<GROUP_HEADER_BYTES>().ok_or(Flaw::GroupCut)?;
    if number_u64(header, 0) != salt {
        return Err(Flaw::NoGroup);
    }
    let body_bytes = number_u32(header, 8) as usize;
    if body_bytes > GROUP_BODY_BYTES_MAX {
        return Err(Flaw::GroupSize);
    }
    let (count, first) = (number_u32(header, 12), number_u64(header, 16));
    if first.checked_add(Offset::from(count)).is_none() {
        return Err(Flaw::GroupOffset(first));
    }
    Ok(GroupHeader {
        body_bytes,
        count,
        first,
        synced_before: number_u32(header, 24) & FLAG_SYNCED_BEFORE != 0,
    })
}

/// Checks a whole group, header and body, down to the number of records; gives its body.
///
/// # Errors
/// What is wrong with it.
pub fn check_group(group: &[u8], header: &GroupHeader) -> Result<(), Flaw> {
    let (fields, body) = group.split_at_checked(GROUP_HEADER_BYTES).ok_or(Flaw::GroupCut)?;
    if body.len() != header.body_bytes {
        return Err(Flaw::GroupCut);
    }
    if crc32c::crc32c_append(crc32c::crc32c(&fields[..28]), body) != number_u32(fields, 28) {
        return Err(Flaw::GroupChecksum);
    }
    let (count, bytes) =
        records(body).fold((0_u64, 0), |(count, bytes), record| (count + 1, bytes + 4 + record.len()));
    if count != u64::from(header.count) || bytes != body.len() {
        return Err(Flaw::GroupRecords);
    }
    Ok(())
}

fn header_checksum(bytes: &[u8; HEADER_BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

fn number_u32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn number_u64(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests;
