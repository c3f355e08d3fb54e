//! Opening a log that may have been cut off at any instant.
//!
//! The headers of all segments are read: each must follow on the one before and find it as long as it was. The last segment
//! is read wholly. A group in it that does not check out is a torn tail, unless a valid group behind it says that everything
//! before was synced: then acknowledged records are damaged, and the journal refuses to open rather than to go on with a
//! hole. The error names file and place, and a backup or the owner decides.
//!
//! ```text
//!  last segment:   group group gro·                       → cut off, reported: nothing in it was acknowledged
//!                  group gr··p group(synced before)       → refused: damage
//!                  group gr··p group                      → cut off: a power cut under durability `os` or `memory`
//!  others:         shorter than pinned, missing, misnamed → refused: damage
//!                  longer than pinned                     → the rest is void: what a failed commit left behind
//! ```
//!
//! What it can't tell apart: damage to the very last commit looks like a torn tail.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use memchr::memmem;

use crate::format::{self, Flaw, GROUP_HEADER_BYTES, GroupHeader, HEADER_BYTES, Header};
use crate::segments::{self, Segment, Segments, base_of, file_name};
use crate::storage::{Storage, StoredFile};
use crate::window::{Source, Window};
use crate::{Offset, OpenError};

/// What was found when the journal was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments there are.
    pub segments: usize,
    /// The oldest offset kept.
    pub first: Offset,
    /// The offset of the next record.
    pub next: Offset,
    /// A torn tail that was cut off; nothing in it had been acknowledged.
    pub torn_tail: Option<TornTail>,
    /// A segment that was being made when the program stopped, and was taken away; nothing was ever in it.
    pub half_made: Option<String>,
}

/// Bytes at the end of the log that were no whole commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes of {file} from byte {position} (offset {offset}) were cut off: {flaw}")]
pub struct TornTail {
    /// The segment's file.
    pub file: String,
    /// Where in it they began.
    pub position: u64,
    /// The offset that the first record in them would have had; the next record gets it.
    pub offset: Offset,
    /// How many there were.
    pub bytes: u64,
    /// What was wrong with them.
    pub flaw: Flaw,
}

/// How a segment's groups end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Bytes that check out.
    pub valid_bytes: u64,
    /// The offset after the last record.
    pub next: Offset,
    /// Why the rest does not check out; `None` when there is no rest.
    pub flaw: Option<Flaw>,
    /// Where behind the flaw a valid group says that everything before it was synced.
    pub damaged_before: Option<u64>,
}

/// Walks the groups of a whole segment. Pure; does not panic on any bytes.
///
/// # Errors
/// Where the header itself is wrong.
pub fn scan_segment(bytes: &[u8]) -> Result<(Header, Scan), Flaw> {
    let header = Header::decode(bytes)?;
    let scan = scan(&mut &*bytes, &header, bytes.len() as u64);
    Ok((header, scan.expect("memory can be read")))
}

/// Walks groups up to byte `length`.
fn scan(source: &mut impl Source, header: &Header, length: u64) -> io::Result<Scan> {
    let mut scan =
        Scan { valid_bytes: HEADER_BYTES as u64, next: header.base, flaw: None, damaged_before: None };
    while scan.valid_bytes < length {
        let group = match group_at(source, scan.valid_bytes, header.salt)? {
            Ok(group) if group.first != scan.next => Err(Flaw::GroupOffset(group.first)),
            other => other,
        };
        match group {
            Ok(group) => {
                scan.valid_bytes += group.whole_bytes();
                scan.next = group.next();
            }
            Err(flaw) => {
                scan.flaw = Some(flaw);
                scan.damaged_before = synced_group_behind(source, header.salt, scan.valid_bytes, scan.next)?;
                break;
            }
        }
    }
    Ok(scan)
}

fn group_at(source: &mut impl Source, at: u64, salt: u64) -> io::Result<Result<GroupHeader, Flaw>> {
    let header = match format::decode_group_header(source.at(at, GROUP_HEADER_BYTES)?, salt) {
        Ok(header) => header,
        Err(flaw) => return Ok(Err(flaw)),
    };
    let group = source.at(at, GROUP_HEADER_BYTES + header.body_bytes)?;
    Ok(format::check_group(group, &header).map(|()| header))
}

/// Looks behind byte `at` for a valid group with offset `next` or a later one before which everything was synced.
fn synced_group_behind(
    source: &mut impl Source,
    salt: u64,
    mut at: u64,
    next: Offset,
) -> io::Result<Option<u64>> {
    // Every place is looked at, also inside of valid groups: one that lies there by mistake may reach into the next.
    while let Some(found) = find(source, &salt.to_le_bytes(), at + 1)? {
        at = found;
        if let Ok(group) = group_at(source, at, salt)?
            && group.first >= next
            && group.synced_before
        {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Where `marker` is found at or behind byte `at`.
fn find(source: &mut impl Source, marker: &[u8], mut at: u64) -> io::Result<Option<u64>> {
    const PIECE_BYTES: usize = 1 << 20;
    let finder = memmem::Finder::new(marker);
    loop {
        let piece = source.at(at, PIECE_BYTES)?;
        if let Some(ahead) = finder.find(piece) {
            return Ok(Some(at + ahead as u64));
        }
        if piece.len() < PIECE_BYTES {
            return Ok(None);
        }
        at += (PIECE_BYTES - marker.len() + 1) as u64;
    }
}

/// How a log is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recover {
    /// Reads all segments wholly instead of only the last.
    pub(crate) verify_all: bool,
    /// The next offset is this one at least.
    pub(crate) next_at_least: Offset,
}

/// Looks at every segment, cuts a torn tail off, and makes the first segment of a new journal.
pub(crate) fn open(
    storage: &Arc<dyn Storage>,
    how: Recover,
) -> Result<(Segments, RecoveryReport), OpenError> {
    let mut report = RecoveryReport::default();
    let names = storage.list().map_err(|source| failed(&**storage, "its folder", source))?;
    let mut bases: Vec<_> = names.iter().filter_map(|name| base_of(name)).collect();
    bases.sort_unstable();

    let mut segments: VecDeque<Segment> = VecDeque::with_capacity(bases.len() + 1);
    let mut base = how.next_at_least;
    for (index, &segment_base) in bases.iter().enumerate() {
        let is_last = index + 1 == bases.len();
        match read_header(&**storage, segment_base, is_last, &mut report)? {
            Some(segment) => segments.push_back(segment),
            // The log's first segment, of a log that never had a record; its place in the order is kept.
            None if segments.is_empty() => base = base.max(segment_base),
            None => {}
        }
    }
    for index in 0..segments.len() {
        settle_segment(&**storage, &mut segments, index, how.verify_all, &mut report)?;
    }
    let file = match segments.back() {
        Some(last) if last.next >= base => storage.open(&last.name()).map(Arc::from),
        _ => append_segment(&**storage, &mut segments, base),
    };
    let file = file.map_err(|source| failed(&**storage, "its last segment", source))?;
    // What a crash left in the caches is shown to be committed from here on, so it must be.
    storage.sync_folder().map_err(|source| failed(&**storage, "its folder", source))?;
    report.segments = segments.len();
    report.first = segments.front().map_or(0, |segment| segment.header.base);
    report.next = segments.back().map_or(0, |segment| segment.next);
    Ok((Segments::new(Arc::clone(storage), segments, file), report))
}

/// Reads a file's header; `None` where it was half made and is taken away.
fn read_header(
    storage: &dyn Storage,
    base: Offset,
    is_last: bool,
    report: &mut RecoveryReport,
) -> Result<Option<Segment>, OpenError> {
    let name = file_name(base);
    let io = |source| failed(storage, &name, source);
    let file = storage.open(&name).map_err(io)?;
    let length = file.length().map_err(io)?;
    let mut bytes = [0; HEADER_BYTES];
    let read = file.read_at(&mut bytes, 0).map_err(io)?;
    match Header::decode(&bytes[..read]) {
        Ok(header) if header.base == base => Ok(Some(Segment { header, next: base, end: length })),
        Ok(header) => Err(damaged(&name, 0, Flaw::Misnamed(header.base))),
        // Groups come only after the header is synced, so nothing can have been committed to it.
        Err(_) if is_last && length <= HEADER_BYTES as u64 => {
            drop(file);
            storage.remove(&name).and_then(|()| storage.sync_folder()).map_err(io)?;
            report.half_made = Some(name);
            Ok(None)
        }
        Err(flaw) => Err(damaged(&name, 0, flaw)),
    }
}

/// Finds where the segment's committed bytes end, and cuts or refuses what does not belong there.
fn settle_segment(
    storage: &dyn Storage,
    segments: &mut VecDeque<Segment>,
    index: usize,
    verify_all: bool,
    report: &mut RecoveryReport,
) -> Result<(), OpenError> {
    let following = segments.get(index + 1).map(|segment| segment.header);
    let Segment { header, end: length, .. } = segments[index];
    let name = file_name(header.base);
    let io = |source| failed(storage, &name, source);

    let mut end = length;
    if let Some(following) = &following
        && let Some((previous_base, committed)) = following.previous
    {
        if previous_base != header.base {
            return Err(damaged(&file_name(following.base), 0, Flaw::PreviousMissing(previous_base)));
        }
        if length < committed {
            return Err(damaged(&name, length, Flaw::Shortened { found: length, committed }));
        }
        end = committed;
        if !verify_all {
            segments[index].next = following.base;
            segments[index].end = end;
            return Ok(());
        }
    }
    let file: Arc<dyn StoredFile> = storage.open(&name).map(Arc::from).map_err(io)?;
    let mut window = Window::new(Arc::clone(&file), end);
    let scan = scan(&mut window, &header, end).map_err(io)?;
    let pinned = following.is_some_and(|following| following.previous.is_some());
    if let Some(flaw) = scan.flaw {
        if pinned || scan.damaged_before.is_some() {
            return Err(OpenError::Damaged {
                file: name,
                position: scan.valid_bytes,
                flaw,
                valid_from: scan.damaged_before,
            });
        }
        report.torn_tail = Some(TornTail {
            file: name.clone(),
            position: scan.valid_bytes,
            offset: scan.next,
            bytes: length - scan.valid_bytes,
            flaw,
        });
        file.truncate(scan.valid_bytes).map_err(io)?;
    }
    file.sync().map_err(io)?;
    segments[index].next = following.map_or(scan.next, |following| following.base);
    segments[index].end = scan.valid_bytes;
    Ok(())
}

/// Makes a segment at `base`, behind those that are there and are synced.
fn append_segment(
    storage: &dyn Storage,
    segments: &mut VecDeque<Segment>,
    base: Offset,
) -> io::Result<Arc<dyn StoredFile>> {
    let previous = match segments.back_mut() {
        Some(last) if last.is_empty() => {
            let previous = last.header.previous;
            storage.remove(&last.name())?;
            storage.sync_folder()?;
            segments.pop_back();
            previous
        }
        Some(last) => {
            last.next = base;
            Some((last.header.base, last.end))
        }
        None => None,
    };
    let (segment, file) = segments::create(storage, base, previous)?;
    segments.push_back(segment);
    Ok(file)
}

fn failed(storage: &dyn Storage, what: &str, source: io::Error) -> OpenError {
    OpenError::Io { what: format!("{what} in {}", storage.describe()), source }
}

fn damaged(name: &str, position: u64, flaw: Flaw) -> OpenError {
    OpenError::Damaged { file: name.to_owned(), position, flaw, valid_from: None }
}
