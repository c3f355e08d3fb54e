//! The committed part of each file of the log, for who copies them while records go on being appended.
//!
//! A file before the last never changes again; the last one grows behind its committed end. Whole groups end there, so bytes up
//! to it are a log of their own. It refuses to copy anything itself, and to keep a file from being trimmed: who copies sees to
//! it that what it needs is not released meanwhile.

use crate::segments::file_name;
use crate::{FileJournal, Offset};

/// One file of the log, as far as it is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedSegment {
    /// Its name in the journal's folder.
    pub name: String,
    /// The offset of its first record.
    pub base: Offset,
    /// The offset after its last committed record.
    pub next: Offset,
    /// Where its committed bytes end. What may lie behind them is void.
    pub bytes: u64,
}

impl CommittedSegment {
    /// Whether there are records in it.
    #[must_use]
    pub fn has_records(&self) -> bool {
        self.next > self.base
    }
}

impl FileJournal {
    /// The files of the log at one moment, the oldest first.
    #[must_use]
    pub fn committed_segments(&self) -> Vec<CommittedSegment> {
        let list = self.segments().all();
        let files = list.into_iter().map(|segment| CommittedSegment {
            name: file_name(segment.header.base),
            base: segment.header.base,
            next: segment.next,
            bytes: segment.end,
        });
        files.collect()
    }
}
