//! How far a long work is, readable while it goes on. It is counted, never waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    files: AtomicU64,
    files_done: AtomicU64,
    bytes: AtomicU64,
    bytes_done: AtomicU64,
    bytes_sent: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProgressNow {
    /// Files in all.
    pub files: u64,
    /// Files that are done.
    pub files_done: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of the files that are done.
    pub bytes_done: u64,
    /// Bytes sent to the storage, or fetched from it.
    pub bytes_sent: u64,
}

impl Progress {
    /// The counters now.
    #[must_use]
    pub fn now(&self) -> ProgressNow {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { files, files_done, bytes, bytes_done, bytes_sent } = &*self.0;
        ProgressNow {
            files: read(files),
            files_done: read(files_done),
            bytes: read(bytes),
            bytes_done: read(bytes_done),
            bytes_sent: read(bytes_sent),
        }
    }

    pub(crate) fn begin(&self, files: u64, bytes: u64) {
        self.0.files.fetch_add(files, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn file_done(&self, bytes: u64) {
        self.0.files_done.fetch_add(1, Ordering::Relaxed);
        self.0.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.0.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }
}
