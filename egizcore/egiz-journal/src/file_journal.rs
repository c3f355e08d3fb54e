//! The journal in a folder of the local disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::committer::{Committer, Shared};
use crate::config::JournalConfig;
use crate::format::{Flaw, GROUP_BODY_BYTES_MAX};
use crate::metrics::JournalMetrics;
use crate::queue::{Gather, Queue, Submission, Woken};
use crate::recovery::{self, Recover, RecoveryReport};
use crate::segments::Segments;
use crate::storage::{Folder, Storage};
use crate::{
    AppendError, Batch, Clock, Cursor, Journal, JournalStatus, Offset, OnCommit, Permit, ReadError,
    Reservation,
};

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another program, or another journal of this one, uses the folder.
    #[error("another program has the journal in {folder} open")]
    InUse {
        /// The folder.
        folder: String,
    },
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
        "the journal's {file} is damaged at byte {position}: {flaw}{}; restore the journal from a backup",
        valid_from.map(|at| format!(", though a valid commit follows at byte {at}")).unwrap_or_default()
    )]
    Damaged {
        /// The segment's file.
        file: String,
        /// Where in it.
        position: u64,
        /// What is wrong.
        flaw: Flaw,
        /// Where a valid commit follows, which is how it is known not to be a torn tail.
        valid_from: Option<u64>,
    },
}

/// A journal in files.
pub struct FileJournal {
    queue: Arc<Queue>,
    segments: Arc<Segments>,
    shared: Arc<Shared>,
    config: JournalConfig,
    metrics: JournalMetrics,
    room: Arc<Semaphore>,
    recovery: Arc<RecoveryReport>,
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
    /// Opens the journal in `folder`, making it if it is not there, and starts its thread. Blocks while it reads the last
    /// segment.
    ///
    /// # Errors
    /// [`OpenError`]: the folder cannot be used, another program has it, or acknowledged records are damaged.
    pub fn open(
        folder: &Path,
        config: JournalConfig,
        metrics: JournalMetrics,
        clock: Clock,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let storage = Folder::open(folder).map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => OpenError::InUse { folder: folder.display().to_string() },
            _ => OpenError::Io { what: folder.display().to_string(), source },
        })?;
        Self::open_storage(Arc::new(storage), config, metrics, clock)
    }

    /// Opens the journal on any storage.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_storage(
        storage: Arc<dyn Storage>,
        config: JournalConfig,
        metrics: JournalMetrics,
        clock: Clock,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let config = config.bounded();
        let how = Recover { verify_all: config.verify_all, next_at_least: config.next_at_least };
        let (segments, report) = recovery::open(&storage, how)?;
        let segments = Arc::new(segments);
        let (queue, shared) = (Arc::new(Queue::new()), Arc::new(Shared::default()));
        let committer = Committer::new(
            Arc::clone(&queue),
            Arc::clone(&segments),
            Arc::clone(&shared),
            config,
            metrics.clone(),
            clock,
        );
        let (their_queue, their_shared) = (Arc::clone(&queue), Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| committer.run())).is_err() {
                    give_up(&their_queue, &their_shared);
                }
            })
            .map_err(|source| OpenError::Io { what: "no thread for the committer".to_owned(), source })?;
        let room = Arc::new(Semaphore::new(room_units(config.queue_bytes)));
        let recovery = Arc::new(report.clone());
        let committer = Mutex::new(Some(thread));
        Ok((Self { queue, segments, shared, config, metrics, room, recovery, committer }, report))
    }

    pub(crate) fn segments(&self) -> &Segments {
        &self.segments
    }

    fn units(&self, bytes: usize) -> u32 {
        let units = bytes.div_ceil(ROOM_UNIT_BYTES).clamp(1, room_units(self.config.queue_bytes));
        u32::try_from(units).unwrap_or(u32::MAX)
    }
}

fn room_units(queue_bytes: usize) -> usize {
    (queue_bytes / ROOM_UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize))
}

/// After a panic in a callback: what it should have done with durable records is unknown, so nothing more is accepted.
fn give_up(queue: &Queue, shared: &Shared) {
    let error = AppendError::Io("a commit callback panicked; a restart is needed".to_owned());
    tracing::error!(%error, "the journal has stopped");
    *shared.failing.lock() = Some(error.clone());
    queue.close();
    let everything = Gather { bytes_max: usize::MAX, until: None, count: 0 };
    let mut taken = Vec::new();
    while queue.take(everything, Some(Instant::now()), &mut taken) != Woken::Closed {
        for Submission { on_commit, .. } in taken.drain(..) {
            let error = error.clone();
            // Whatever this one does, the others are to hear of it, too.
            let _ = catch_unwind(AssertUnwindSafe(|| on_commit(Err(error))));
        }
    }
}

impl Journal for FileJournal {
    fn reserve(&self, bytes: usize) -> Reservation<'_> {
        if let Some(permit) = self.try_reserve(bytes) {
            return Box::pin(std::future::ready(permit));
        }
        self.metrics.reserve_waits.inc();
        let (room, units) = (Arc::clone(&self.room), self.units(bytes));
        Box::pin(async move { Permit { _room: room.acquire_many_owned(units).await.ok() } })
    }

    fn try_reserve(&self, bytes: usize) -> Option<Permit> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(self.units(bytes)).ok()?;
        Some(Permit { _room: Some(room) })
    }

    fn submit(&self, batch: Batch, permit: Permit, on_commit: OnCommit) {
        let bytes = batch.byte_len();
        if bytes > GROUP_BODY_BYTES_MAX {
            return on_commit(Err(AppendError::TooLarge { bytes, limit_bytes: GROUP_BODY_BYTES_MAX }));
        }
        if let Err(Submission { on_commit, .. }) = self.queue.push(Submission { batch, permit, on_commit }) {
            on_commit(Err(AppendError::Closed));
        }
    }

    fn read(&self, from: Offset) -> Result<Cursor, ReadError> {
        Cursor::new(Arc::clone(&self.segments), from)
    }

    fn release_before(&self, offset: Offset) {
        self.shared.released.fetch_max(offset, Ordering::AcqRel);
        if self.shared.failing.lock().is_some() {
            self.queue.nudge();
        }
    }

    fn status(&self) -> JournalStatus {
        let (first, next, disk_bytes) = self.segments.extent();
        JournalStatus {
            first,
            next,
            disk_bytes,
            durability: self.config.durability,
            failing: self.shared.failing.lock().clone(),
            recovery: Arc::clone(&self.recovery),
        }
    }

    fn close(&self) {
        self.queue.close();
        let Some(thread) = self.committer.lock().take() else { return };
        // The last reference may be dropped by a callback, on the committer's own thread: it ends by itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the journal's thread had panicked");
        }
    }
}

impl Drop for FileJournal {
    fn drop(&mut self) {
        self.close();
    }
}
