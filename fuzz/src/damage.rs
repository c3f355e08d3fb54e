//! What disks, crashes and hands do to files, and a reader of segments that is as plain as the format's description.

use arbitrary::Arbitrary;
use egiz_journal::format::{GROUP_HEADER_BYTES, HEADER_BYTES};

/// One thing that happens to a file.
#[derive(Debug, Clone, Arbitrary)]
pub enum Damage {
    /// A byte changes.
    Flip {
        /// Where, modulo the length.
        at: u16,
        /// What is flipped in it.
        mask: u8,
    },
    /// The file ends early.
    Cut {
        /// Where, modulo the length.
        at: u16,
    },
    /// A range reads as zeros.
    Zero {
        /// Where, modulo the length.
        at: u16,
        /// Bytes.
        length: u8,
    },
    /// Bytes of one place are at another, too.
    Copy {
        /// From where, modulo the length.
        from: u16,
        /// To where, modulo the length.
        to: u16,
        /// Bytes.
        length: u8,
    },
    /// Bytes stand behind the end.
    Append(Vec<u8>),
}

impl Damage {
    /// Lets it happen.
    pub fn strike(&self, bytes: &mut Vec<u8>) {
        let place = |at: u16| usize::from(at) % bytes.len().max(1);
        match self {
            Self::Flip { at, mask } => {
                let at = place(*at);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= mask);
            }
            Self::Cut { at } => bytes.truncate(place(*at)),
            Self::Zero { at, length } => {
                let at = place(*at);
                bytes.iter_mut().skip(at).take(usize::from(*length)).for_each(|byte| *byte = 0);
            }
            Self::Copy { from, to, length } => {
                let (from, to) = (place(*from), place(*to));
                let copied: Vec<u8> = bytes.iter().skip(from).take(usize::from(*length)).copied().collect();
                bytes.iter_mut().skip(to).zip(copied).for_each(|(byte, copied)| *byte = copied);
            }
            Self::Append(more) => bytes.extend_from_slice(&more[..more.len().min(256)]),
        }
    }
}

/// CRC-32C bit by bit (RFC 3720, appendix B.4).
#[must_use]
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}

/// A group as the format's description has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Where it begins.
    pub at: usize,
    /// Where it ends.
    pub end: usize,
    /// Offset of its first record.
    pub first: u64,
    /// Offset after its last.
    pub next: u64,
    /// Whether everything before it was synced.
    pub synced_before: bool,
}

/// The group at byte `at`, if a whole one with the right salt, checksum and count is there.
#[must_use]
pub fn group_at(bytes: &[u8], at: usize, salt: u64) -> Option<Group> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let body_at = at.checked_add(GROUP_HEADER_BYTES)?;
    let end = body_at.checked_add(u32_at(at + 8)? as usize)?;
    let body = bytes.get(body_at..end)?;
    if u64_at(at)? != salt || crc32c(&[&bytes[at..at + 28], body]) != u32_at(at + 28)? {
        return None;
    }
    let (mut record_at, mut count) = (body_at, 0);
    while record_at < end {
        record_at = record_at.checked_add(4)?.checked_add(u32_at(record_at)? as usize)?;
        count += 1;
    }
    if record_at != end || count != u32_at(at + 12)? {
        return None;
    }
    let first = u64_at(at + 16)?;
    let next = first.checked_add(u64::from(count))?;
    Some(Group { at, end, first, next, synced_before: u32_at(at + 24)? & 1 == 1 })
}

/// The groups that follow on from the header without a gap.
#[must_use]
pub fn groups(bytes: &[u8], base: u64, salt: u64) -> Vec<Group> {
    let (mut at, mut next) = (HEADER_BYTES, base);
    let mut groups = Vec::new();
    while let Some(group) = group_at(bytes, at, salt).filter(|group| group.first == next) {
        (at, next) = (group.end, group.next);
        groups.push(group);
    }
    groups
}
