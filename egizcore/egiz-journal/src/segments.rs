//! The segments that make up the log: which there are, how far each is committed, which may go.
//!
//! Shared between the committer, which appends and rolls, and cursors, which read behind the committed end.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::format::{HEADER_BYTES, encode_header};
use crate::storage::{Storage, StoredFile};
use crate::{Offset, ReadError};

const EXTENSION: &str = ".egj";

/// One file of the log.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) base: Offset,
    /// The offset after its last committed record.
    pub(crate) next: Offset,
    /// Bytes that are committed.
    pub(crate) committed_bytes: u64,
    pub(crate) file: Arc<dyn StoredFile>,
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

impl Segments {
    pub(crate) fn new(storage: Arc<dyn Storage>, list: VecDeque<Segment>) -> Self {
        Self { storage, list: Mutex::new(list) }
    }

    /// Makes an empty segment that begins with `base`, durable before anything is written to it.
    pub(crate) fn create(storage: &dyn Storage, base: Offset) -> io::Result<Segment> {
        let file = storage.open(&file_name(base), true)?;
        file.truncate(0)?;
        file.write_at(&encode_header(base), 0)?;
        file.sync()?;
        storage.sync_folder()?;
        Ok(Segment { base, next: base, committed_bytes: HEADER_BYTES as u64, file: Arc::from(file) })
    }

    /// Begins a new segment after the last.
    pub(crate) fn roll(&self) -> io::Result<()> {
        let segment = Self::create(&*self.storage, self.last().next)?;
        let mut list = self.list.lock();
        // A roll without a record in between takes the empty segment's place.
        if list.back().is_some_and(|last| last.base == segment.base) {
            list.pop_back();
        }
        list.push_back(segment);
        Ok(())
    }

    pub(crate) fn last(&self) -> Segment {
        self.list.lock().back().cloned().expect("a journal always has a segment")
    }

    /// Moves the committed end of the last segment.
    pub(crate) fn commit(&self, committed_bytes: u64, next: Offset) {
        let mut list = self.list.lock();
        let last = list.back_mut().expect("a journal always has a segment");
        last.committed_bytes = committed_bytes;
        last.next = next;
    }

    /// The oldest offset kept, the next one, and the bytes on disk.
    pub(crate) fn extent(&self) -> (Offset, Offset, u64) {
        let list = self.list.lock();
        let first = list.front().map_or(0, |segment| segment.base);
        let next = list.back().map_or(0, |segment| segment.next);
        (first, next, list.iter().map(|segment| segment.committed_bytes).sum())
    }

    /// The segment that holds `offset`, or would hold it next.
    pub(crate) fn holding(&self, offset: Offset) -> Result<Segment, ReadError> {
        let list = self.list.lock();
        let after = list.partition_point(|segment| segment.base <= offset);
        match after.checked_sub(1) {
            Some(index) => Ok(list[index].clone()),
            None => {
                Err(ReadError::Trimmed { wanted: offset, first: list.front().map_or(0, |first| first.base) })
            }
        }
    }

    /// The segment that begins with `base`, as far as it is committed now.
    pub(crate) fn starting_at(&self, base: Offset) -> Option<Segment> {
        let list = self.list.lock();
        let index = list.binary_search_by_key(&base, |segment| segment.base).ok()?;
        Some(list[index].clone())
    }

    /// Removes the oldest segments that lie wholly before `released`, until at most `bytes_max` are left. Returns how many
    /// went.
    pub(crate) fn trim(&self, released: Offset, bytes_max: u64) -> io::Result<usize> {
        let mut removed = 0;
        loop {
            let oldest = {
                let mut list = self.list.lock();
                let bytes: u64 = list.iter().map(|segment| segment.committed_bytes).sum();
                let may_go = list.len() > 1 && list.front().is_some_and(|oldest| oldest.next <= released);
                if bytes <= bytes_max || !may_go {
                    return Ok(removed);
                }
                list.pop_front().expect("there is one")
            };
            self.storage.remove(&file_name(oldest.base))?;
            self.storage.sync_folder()?;
            removed += 1;
        }
    }
}
