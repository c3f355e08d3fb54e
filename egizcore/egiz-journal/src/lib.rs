//! A segmented, checksummed, append-only log with group commit.
//!
//! Everything that happens to a factory goes through here before anybody is told that it was accepted. Records are opaque
//! bytes at consecutive offsets. Submissions of many threads and tasks queue up while the disk is busy, and one write and
//! one sync make all of them durable; then their callbacks run in offset order.
//!
//! ```text
//!  submit ──► queue (bounded by permits) ──► committer thread: write group, sync ──► callbacks in offset order
//!                                                 │
//!                                            segments on disk ──► Cursor (replay, consumers)
//! ```
//!
//! It refuses to know what a record says, to acknowledge before the chosen durability is reached, and to go on after
//! damage that is not a torn tail.

mod batch;
mod committer;
mod cursor;
mod file_journal;
pub mod format;
mod metrics;
pub mod recovery;
mod segments;
pub mod storage;

use std::future::Future;
use std::pin::Pin;

pub use batch::Batch;
pub use cursor::Cursor;
pub use file_journal::{FileJournal, JournalConfig, OpenError};
pub use metrics::JournalMetrics;
pub use recovery::RecoveryReport;

/// The position of one record: consecutive from 0, never reused.
pub type Offset = u64;

/// What must be true of a record before it counts as committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on disk: written and synced. Survives a power cut.
    Fsync,
    /// The operating system has it. Survives a crash of the program, not of the machine.
    Os,
    /// The program has it. Survives nothing; for tests and demonstrations.
    Memory,
}

/// Records that became durable, with the bytes given back so that nobody has to read them again.
#[derive(Debug)]
pub struct Committed {
    /// The offset of the batch's first record; the others follow on.
    pub first: Offset,
    /// The records.
    pub batch: Batch,
}

/// Why a batch was not committed. None of its records is in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk, or the part of it that the journal may use, is full.
    #[error("there is no space for the journal: {0}")]
    NoSpace(String),
    /// The disk does not take writes.
    #[error("the journal cannot be written: {0}")]
    Io(String),
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The records were trimmed away.
    #[error("records from offset {wanted} are gone; the oldest kept is {first}")]
    Trimmed {
        /// The offset asked for.
        wanted: Offset,
        /// The oldest offset that is there.
        first: Offset,
    },
    /// A segment is damaged.
    #[error("{file} is damaged at byte {position}: {reason}")]
    Damaged {
        /// The segment's file.
        file: String,
        /// Where in it.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// The disk cannot be read.
    #[error("{file} cannot be read")]
    Io {
        /// The segment's file.
        file: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Called once for each batch: on the committer's thread, in offset order. It must be light; while it waits, nothing is
/// committed, which is the way a full queue behind it slows writers down.
pub type OnCommit = Box<dyn FnOnce(Result<Committed, AppendError>) + Send>;

/// Room in the queue for a batch; given back when the batch is committed or refused.
#[derive(Debug)]
pub struct Permit {
    _room: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// A future that yields room in the queue.
pub type Reservation<'a> = Pin<Box<dyn Future<Output = Permit> + Send + 'a>>;

/// What a journal says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalStatus {
    /// The oldest offset that can be read.
    pub first: Offset,
    /// The offset of the next record.
    pub next: Offset,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// What committed means here.
    pub durability: Durability,
    /// Why nothing can be appended at the moment, if so.
    pub failing: Option<AppendError>,
}

/// An ordered, durable log. A replicated log can take the file's place.
pub trait Journal: Send + Sync {
    /// Waits for room for `bytes` in the queue. More than the whole queue holds counts as the whole queue.
    ///
    /// # Cancel safety
    /// Dropping the future gives its place in the line back.
    fn reserve(&self, bytes: usize) -> Reservation<'_>;

    /// Queues a batch for which there is room; never waits. An empty batch is committed in its turn.
    fn submit(&self, batch: Batch, permit: Permit, on_commit: OnCommit);

    /// Reads committed records from `from` on.
    ///
    /// # Errors
    /// Where they are trimmed away or cannot be read.
    fn read(&self, from: Offset) -> Result<Cursor, ReadError>;

    /// Says that records before `offset` are no longer needed; they go when the space is.
    fn release_before(&self, offset: Offset);

    /// How it stands.
    fn status(&self) -> JournalStatus;

    /// Commits what is queued, then refuses everything, and returns when the committer has ended.
    fn close(&self);
}
