//! The journal in a folder of the local disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::committer::{Committer, Queue, Submission};
use crate::metrics::JournalMetrics;
use crate::recovery::{self, RecoveryReport};
use crate::segments::Segments;
use crate::storage::{Folder, Storage};
use crate::{
    AppendError, Batch, Cursor, Durability, Journal, JournalStatus, Offset, OnCommit, Permit, ReadError,
    Reservation,
};

/// How a journal works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalConfig {
    /// What committed means.
    pub durability: Durability,
    /// How long a group may gather beyond the time that the disk is busy; 0 to 2 ms.
    pub linger: Duration,
    /// A segment is closed when it has this many bytes.
    pub segment_bytes: u64,
    /// The log's size from which released segments go; one segment beyond it, appends are refused.
    pub total_bytes_max: u64,
    /// Bytes that may wait in the queue. Full: `reserve` waits.
    pub queue_bytes: usize,
    /// The largest group; a single larger batch makes a group of its own.
    pub group_bytes_max: usize,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            linger: Duration::ZERO,
            segment_bytes: 64 << 20,
            total_bytes_max: 2 << 30,
            queue_bytes: 16 << 20,
            group_bytes_max: 4 << 20,
        }
    }
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk does not give what is needed.
    #[error("the journal cannot be opened: {what}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Acknowledged records are damaged.
    #[error(
        "the journal's {file} is damaged at byte {position}: {reason}; restore it from a backup, or move it and the segments after it away to go on without them"
    )]
    Damaged {
        /// The segment's file.
        file: String,
        /// Where in it.
        position: u64,
        /// What is wrong.
        reason: String,
    },
}

/// A journal in files.
pub struct FileJournal {
    queue: Arc<Queue>,
    segments: Arc<Segments>,
    config: JournalConfig,
    room: Arc<Semaphore>,
    failing: Arc<Mutex<Option<AppendError>>>,
    released: Arc<AtomicU64>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for FileJournal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FileJournal").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// The queue's room is counted in units of this many bytes, so that any configured size fits a semaphore.
const ROOM_UNIT_BYTES: usize = 1024;

impl FileJournal {
    /// Opens the journal in `folder`, making it if it is not there.
    ///
    /// # Errors
    /// [`OpenError`]: the folder cannot be used, another program has it, or acknowledged records are damaged.
    pub fn open(
        folder: &Path,
        config: JournalConfig,
        metrics: JournalMetrics,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let storage = Folder::open(folder)
            .map_err(|source| OpenError::Io { what: folder.display().to_string(), source })?;
        Self::open_storage(Arc::new(storage), config, metrics)
    }

    /// Opens the journal on any storage.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_storage(
        storage: Arc<dyn Storage>,
        config: JournalConfig,
        metrics: JournalMetrics,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let (segments, report) = recovery::open(&storage)?;
        let segments = Arc::new(Segments::new(storage, segments));
        let queue = Arc::new(Queue::default());
        let failing = Arc::new(Mutex::new(None));
        let released = Arc::new(AtomicU64::new(0));
        let committer = Committer {
            queue: Arc::clone(&queue),
            segments: Arc::clone(&segments),
            config,
            metrics,
            failing: Arc::clone(&failing),
            released: Arc::clone(&released),
        };
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || committer.run())
            .map_err(|source| OpenError::Io { what: "no thread for the committer".to_owned(), source })?;
        let room =
            Arc::new(Semaphore::new((config.queue_bytes / ROOM_UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS)));
        let committer = Mutex::new(Some(thread));
        Ok((Self { queue, segments, config, room, failing, released, committer }, report))
    }
}

impl Journal for FileJournal {
    fn reserve(&self, bytes: usize) -> Reservation<'_> {
        let all = (self.config.queue_bytes / ROOM_UNIT_BYTES).max(1);
        let units = bytes.div_ceil(ROOM_UNIT_BYTES).clamp(1, all);
        let room = Arc::clone(&self.room);
        Box::pin(async move {
            let units = u32::try_from(units).unwrap_or(u32::MAX);
            Permit { _room: room.acquire_many_owned(units).await.ok() }
        })
    }

    fn submit(&self, batch: Batch, permit: Permit, on_commit: OnCommit) {
        if let Err(Submission { on_commit, .. }) = self.queue.push(Submission { batch, permit, on_commit }) {
            on_commit(Err(AppendError::Closed));
        }
    }

    fn read(&self, from: Offset) -> Result<Cursor, ReadError> {
        Cursor::new(Arc::clone(&self.segments), from)
    }

    fn release_before(&self, offset: Offset) {
        self.released.fetch_max(offset, Ordering::AcqRel);
    }

    fn status(&self) -> JournalStatus {
        let (first, next, disk_bytes) = self.segments.extent();
        JournalStatus {
            first,
            next,
            disk_bytes,
            durability: self.config.durability,
            failing: self.failing.lock().clone(),
        }
    }

    fn close(&self) {
        self.queue.close();
        if let Some(thread) = self.committer.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's committer had panicked");
        }
    }
}

impl Drop for FileJournal {
    fn drop(&mut self) {
        self.close();
    }
}
