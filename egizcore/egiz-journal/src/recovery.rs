//! Opening a log that may have been cut off at any instant.
//!
//! Segments must follow on one another. In the last one, a group that does not check out is a torn tail if nothing valid
//! follows it: it was being written when the program or the machine stopped, and nothing in it was acknowledged. It is cut
//! off and reported. Anything else is damage, and the journal refuses to open rather than to go on with a hole: the error
//! names file and place, and a backup or the owner decides.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::format::{self, GROUP_HEADER_BYTES, GroupHeader, HEADER_BYTES};
use crate::segments::{Segment, Segments, base_of, file_name};
use crate::storage::{Storage, StoredFile};
use crate::{Offset, OpenError};

/// What was found when the journal was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments there were.
    pub segments: usize,
    /// The oldest offset kept.
    pub first: Offset,
    /// The offset of the next record.
    pub next: Offset,
    /// Bytes of a torn tail that were cut off, with the reason; nothing in them had been acknowledged.
    pub torn_tail: Option<(u64, String)>,
}

/// How a segment's groups end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Bytes that check out.
    pub valid_bytes: u64,
    /// The offset after the last record.
    pub next: Offset,
    /// Why the rest does not check out; `None` when there is no rest.
    pub trouble: Option<String>,
    /// Where a valid group lies behind the trouble, if one does.
    pub valid_group_behind: Option<u64>,
}

/// Walks the groups of a whole segment. Pure; never panics on any bytes.
///
/// # Errors
/// In words, where the header itself is wrong.
pub fn scan_segment(bytes: &[u8]) -> Result<(Offset, Scan), &'static str> {
    let base = format::decode_header(bytes)?;
    let mut scan =
        Scan { valid_bytes: HEADER_BYTES as u64, next: base, trouble: None, valid_group_behind: None };
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        match group_at(bytes, at, scan.next, true) {
            Ok(group) => {
                at += GROUP_HEADER_BYTES + group.body_bytes;
                scan.valid_bytes = at as u64;
                scan.next += Offset::from(group.count);
            }
            Err(reason) => {
                scan.trouble = Some(reason.to_owned());
                let mut behind = at + 1..bytes.len();
                scan.valid_group_behind =
                    behind.find(|at| group_at(bytes, *at, scan.next, false).is_ok()).map(|at| at as u64);
                break;
            }
        }
    }
    Ok((base, scan))
}

/// The group at `at`, if it checks out and begins with `next` (or later, unless `exactly`).
fn group_at(bytes: &[u8], at: usize, next: Offset, exactly: bool) -> Result<GroupHeader, &'static str> {
    let rest = &bytes[at..];
    let group = format::decode_group_header(rest)?;
    let in_order = if exactly { group.first == next } else { group.first >= next };
    if !in_order {
        return Err("a group's first offset does not follow on");
    }
    if next.checked_add(Offset::from(group.count)).is_none() {
        return Err("a group's offsets are out of range");
    }
    let body =
        rest.get(GROUP_HEADER_BYTES..GROUP_HEADER_BYTES + group.body_bytes).ok_or("a group is cut short")?;
    format::check_group(&group, body)?;
    Ok(group)
}

/// Opens every segment, cuts a torn tail off, and makes the first segment of a new journal.
pub(crate) fn open(storage: &Arc<dyn Storage>) -> Result<(VecDeque<Segment>, RecoveryReport), OpenError> {
    let failed = |what: &str| {
        let what = format!("{what} in {}", storage.describe());
        move |source| OpenError::Io { what, source }
    };
    let names = storage.list().map_err(failed("the segments cannot be listed"))?;
    let mut bases: Vec<_> = names.iter().filter_map(|name| base_of(name)).collect();
    bases.sort_unstable();
    let mut report = RecoveryReport::default();
    let mut segments = VecDeque::new();
    for (index, &base) in bases.iter().enumerate() {
        let name = file_name(base);
        let file = storage.open(&name, false).map_err(failed(&name))?;
        let length = file.length().map_err(failed(&name))?;
        let is_last = index + 1 == bases.len();
        if is_last && length < HEADER_BYTES as u64 {
            // Made by a roll that was cut off; nothing can have been committed to it.
            drop(file);
            storage.remove(&name).map_err(failed(&name))?;
            report.torn_tail = Some((length, format!("{name} has no whole header")));
            continue;
        }
        let bytes = read_all(&*file, length).map_err(failed(&name))?;
        let damaged =
            |position: u64, reason: String| OpenError::Damaged { file: name.clone(), position, reason };
        let (in_header, scan) = scan_segment(&bytes).map_err(|reason| damaged(0, reason.to_owned()))?;
        if in_header != base {
            return Err(damaged(16, format!("its header says that it begins with offset {in_header}")));
        }
        if let Some(previous) = segments.back().map(|segment: &Segment| segment.next)
            && previous != base
        {
            if scan.next == base && scan.valid_group_behind.is_none() {
                // Made by a roll that failed, after which the log went on in the segment before; nothing was ever in it.
                drop(file);
                storage.remove(&name).map_err(failed(&name))?;
                continue;
            }
            return Err(damaged(0, format!("the segment before it ends with offset {previous}")));
        }
        // What a failed commit left behind before the log went on in the next segment was never acknowledged.
        let superseded = bases.get(index + 1).is_some_and(|following| *following == scan.next);
        if let Some(reason) = &scan.trouble {
            let torn = (is_last && scan.valid_group_behind.is_none()) || superseded;
            if !torn {
                let behind = scan.valid_group_behind.map_or_else(String::new, |at| {
                    format!("; a valid group follows at byte {at}, so this is damage and no torn tail")
                });
                return Err(damaged(scan.valid_bytes, format!("{reason}{behind}")));
            }
            file.truncate(scan.valid_bytes).map_err(failed(&name))?;
            file.sync().map_err(failed(&name))?;
            report.torn_tail =
                Some((length - scan.valid_bytes, format!("{name} at byte {}: {reason}", scan.valid_bytes)));
        }
        let file = Arc::from(file);
        segments.push_back(Segment { base, next: scan.next, committed_bytes: scan.valid_bytes, file });
    }
    if segments.is_empty() {
        let base = bases.first().copied().unwrap_or(0);
        segments.push_back(
            Segments::create(&**storage, base).map_err(failed("the first segment cannot be made"))?,
        );
    }
    report.segments = segments.len();
    report.first = segments.front().map_or(0, |segment| segment.base);
    report.next = segments.back().map_or(0, |segment| segment.next);
    Ok((segments, report))
}

fn read_all(file: &dyn StoredFile, length: u64) -> std::io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(std::io::Error::other)?;
    let mut bytes = vec![0; length];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}
