//! The segments that make up the log: which there are, how far each is committed, which may go.
//!
//! Shared between the committer, which appends and rolls, and cursors, which read behind the committed end. Only the
//! committer changes the list, so what it reads in one step still holds in the next.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::format::{HEADER_BYTES, Header};
use crate::storage::{Storage, StoredFile};
use crate::{Offset, ReadError};

const EXTENSION: &str = ".egj";

/// One file of the log.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) header: Header,
    /// The offset after its last committed record; for all but the last segment, where the following one begins.
    pub(crate) next: Offset,
    /// Where its committed bytes end.
    pub(crate) end: u64,
    pub(crate) file: Arc<dyn StoredFile>,
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
    list: Mutex<VecDeque<Segment>>,
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
) -> io::Result<Segment> {
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
    Ok(Segment { header, next: base, end: HEADER_BYTES as u64, file: Arc::from(file) })
}

impl Segments {
    pub(crate) fn new(storage: Arc<dyn Storage>, list: VecDeque<Segment>) -> Self {
        Self { storage, list: Mutex::new(list) }
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
        let segment = create(&*self.storage, base, previous)?;
        let mut list = self.list.lock();
        if last.is_empty() {
            list.pop_back();
        } else if let Some(last) = list.back_mut() {
            last.next = base;
        }
        list.push_back(segment);
        Ok(())
    }

    pub(crate) fn last(&self) -> Segment {
        self.list.lock().back().cloned().expect("a journal always has a segment")
    }

    /// Moves the committed end of the last segment.
    pub(crate) fn commit(&self, end: u64, next: Offset) {
        let mut list = self.list.lock();
        let last = list.back_mut().expect("a journal always has a segment");
        last.end = end;
        last.next = next;
    }

    /// The oldest offset kept, the next one, and the committed bytes.
    pub(crate) fn extent(&self) -> (Offset, Offset, u64) {
        let list = self.list.lock();
        let first = list.front().map_or(0, |segment| segment.header.base);
        let next = list.back().map_or(0, |segment| segment.next);
        (first, next, list.iter().map(|segment| segment.end).sum())
    }

    /// The segment that holds `offset`, or would hold it next.
    pub(crate) fn holding(&self, offset: Offset) -> Result<Segment, ReadError> {
        let list = self.list.lock();
        let after = list.partition_point(|segment| segment.header.base <= offset);
        after.checked_sub(1).map(|index| list[index].clone()).ok_or_else(|| ReadError::Trimmed {
            wanted: offset,
            first: list.front().map_or(0, |first| first.header.base),
        })
    }

    /// The segment that begins with `base`, as far as it is committed now, and the one after it; where the first is trimmed
    /// away, nothing and the oldest that is left.
    pub(crate) fn from(&self, base: Offset) -> (Option<Segment>, Option<Segment>) {
        let list = self.list.lock();
        match list.binary_search_by_key(&base, |segment| segment.header.base) {
            Ok(index) => (Some(list[index].clone()), list.get(index + 1).cloned()),
            Err(_) => (None, list.front().cloned()),
        }
    }

    /// Removes the oldest segments that lie wholly before `released`, until at most `bytes_max` are left. Returns how many
    /// went; an error leaves the segment it concerns in the list.
    pub(crate) fn trim(&self, released: Offset, bytes_max: u64) -> io::Result<u64> {
        let mut removed = 0;
        loop {
            let oldest = {
                let list = self.list.lock();
                let bytes: u64 = list.iter().map(|segment| segment.end).sum();
                match list.front() {
                    Some(oldest) if list.len() > 1 && bytes > bytes_max && oldest.next <= released => {
                        oldest.name()
                    }
                    _ => return Ok(removed),
                }
            };
            // One after the other, so that after a power cut no younger segment is missing where an older one is there.
            match self.storage.remove(&oldest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.storage.sync_folder()?,
            }
            self.list.lock().pop_front();
            removed += 1;
        }
    }
}
