//! The segments that make up the log: which there are, how far each is committed, which may go.
//!
//! Shared between the committer, which appends and rolls, and cursors, which read behind the committed end. Only the
//! committer changes the list, so what it reads in one step still holds in the next. Only the last file is held open here:
//! a log may have more segments than a program may have files.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::format::{HEADER_BYTES, Header};
use crate::storage::{Storage, StoredFile};
use crate::{Offset, ReadError};

const EXTENSION: &str = ".egj";

/// One file of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) header: Header,
    /// The offset after its last committed record; for all but the last segment, where the following one begins.
    pub(crate) next: Offset,
    /// Where its committed bytes end.
    pub(crate) end: u64,
}

impl Segment {
    pub(crate) fn name(&self) -> String {
        file_name(self.header.base)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.end <= HEADER_BYTES as u64
    }
}

/// All files of the log, oldest first; never empty once opened.
pub(crate) struct Segments {
    storage: Arc<dyn Storage>,
    list: Mutex<List>,
}

struct List {
    segments: VecDeque<Segment>,
    /// The last segment's file.
    active: Arc<dyn StoredFile>,
}

/// The name of the segment that begins with `base`.
pub(crate) fn file_name(base: Offset) -> String {
    format!("{base:020}{EXTENSION}")
}

/// The base offset in a segment's name; `None` for other files.
pub(crate) fn base_of(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(EXTENSION)?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

/// Makes an empty segment that begins with `base`, durable before anything is written to it.
pub(crate) fn create(
    storage: &dyn Storage,
    base: Offset,
    previous: Option<(Offset, u64)>,
) -> io::Result<(Segment, Arc<dyn StoredFile>)> {
    // Odd, so that a hole of zero bytes never passes for the beginning of a group.
    let header = Header { base, salt: storage.salt() | 1, previous };
    let name = file_name(base);
    let file = match storage.create(&name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // What an attempt that failed left behind. Nothing was ever committed to it, and its pages are not to be trusted.
            storage.remove(&name)?;
            storage.sync_folder()?;
            storage.create(&name)?
        }
        other => other?,
    };
    file.write_at(&header.encode(), 0)?;
    file.sync()?;
    storage.sync_folder()?;
    Ok((Segment { header, next: base, end: HEADER_BYTES as u64 }, Arc::from(file)))
}

impl Segments {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        segments: VecDeque<Segment>,
        active: Arc<dyn StoredFile>,
    ) -> Self {
        Self { storage, list: Mutex::new(List { segments, active }) }
    }

    /// Begins a new segment at `base`, which is the next offset or a later one. `pin`: everything in the last segment is
    /// synced, so that the new one may vouch for its end. A last segment without records gives its place.
    pub(crate) fn roll(&self, base: Offset, pin: bool) -> io::Result<()> {
        let last = self.last();
        let previous =
            if last.is_empty() { last.header.previous } else { pin.then_some((last.header.base, last.end)) };
        if last.is_empty() && last.header.base != base {
            self.storage.remove(&last.name())?;
            self.storage.sync_folder()?;
        }
        let (segment, file) = create(&*self.storage, base, previous)?;
        let mut list = self.list.lock();
        if last.is_empty() {
            list.segments.pop_back();
        } else if let Some(last) = list.segments.back_mut() {
            last.next = base;
        }
        list.segments.push_back(segment);
        list.active = file;
        Ok(())
    }

    pub(crate) fn last(&self) -> Segment {
        self.list.lock().segments.back().copied().expect("a journal always has a segment")
    }

    /// All of them at one moment, the oldest first.
    pub(crate) fn all(&self) -> Vec<Segment> {
        self.list.lock().segments.iter().copied().collect()
    }

    /// The last segment's file.
    pub(crate) fn active(&self) -> Arc<dyn StoredFile> {
        Arc::clone(&self.list.lock().active)
    }

    /// Opens a segment's file to read `wanted` from it. Where it was trimmed away this instant, says so.
    pub(crate) fn open(&self, segment: &Segment, wanted: Offset) -> Result<Arc<dyn StoredFile>, ReadError> {
        let list = self.list.lock();
        // While its successor is being made, the last segment may have no name, but it has its file.
        if list.segments.back().is_some_and(|last| last.header == segment.header) {
            return Ok(Arc::clone(&list.active));
        }
        drop(list);
        let file = self.storage.open(&segment.name());
        file.map(Arc::from).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ReadError::Trimmed { wanted, first: segment.next },
            _ => ReadError::Io { file: segment.name(), source },
        })
    }

    /// Moves the committed end of the last segment.
    pub(crate) fn commit(&self, end: u64, next: Offset) {
        let mut list = self.list.lock();
        let last = list.segments.back_mut().expect("a journal always has a segment");
        last.end = end;
        last.next = next;
    }

    /// The oldest offset kept, the next one, and the committed bytes.
    pub(crate) fn extent(&self) -> (Offset, Offset, u64) {
        let segments = &self.list.lock().segments;
        let first = segments.front().map_or(0, |segment| segment.header.base);
        let next = segments.back().map_or(0, |segment| segment.next);
        (first, next, segments.iter().map(|segment| segment.end).sum())
    }

    /// The segment that holds `offset`, or would hold it next.
    pub(crate) fn holding(&self, offset: Offset) -> Result<Segment, ReadError> {
        let segments = &self.list.lock().segments;
        let after = segments.partition_point(|segment| segment.header.base <= offset);
        after.checked_sub(1).map(|index| segments[index]).ok_or_else(|| ReadError::Trimmed {
            wanted: offset,
            first: segments.front().map_or(0, |first| first.header.base),
        })
    }

    /// The segment that begins with `base`, as far as it is committed now, and the one after it; where the first is trimmed
    /// away, nothing and the oldest that is left.
    pub(crate) fn from(&self, base: Offset) -> (Option<Segment>, Option<Segment>) {
        let segments = &self.list.lock().segments;
        match segments.binary_search_by_key(&base, |segment| segment.header.base) {
            Ok(index) => (Some(segments[index]), segments.get(index + 1).copied()),
            Err(_) => (None, segments.front().copied()),
        }
    }

    /// Removes the oldest segments that lie wholly before `released`, until at most `bytes_max` are left. Returns how many
    /// went; an error leaves the segment it concerns in the list.
    pub(crate) fn trim(&self, released: Offset, bytes_max: u64) -> io::Result<u64> {
        let mut removed = 0;
        loop {
            let oldest = {
                let segments = &self.list.lock().segments;
                let bytes: u64 = segments.iter().map(|segment| segment.end).sum();
                match segments.front() {
                    Some(oldest) if segments.len() > 1 && bytes > bytes_max && oldest.next <= released => {
                        oldest.name()
                    }
                    _ => return Ok(removed),
                }
            };
            // The removal before must be durable first: after a power cut no segment may be missing where an older one is
            // there. The last removal itself may be forgotten; then the segment is there again, and goes again.
            self.storage.sync_folder()?;
            match self.storage.remove(&oldest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.list.lock().segments.pop_front();
            removed += 1;
        }
    }
}
