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
mod committed;
mod committer;
mod config;
mod cursor;
pub mod cut;
mod file_journal;
pub mod format;
mod metrics;
mod queue;
pub mod recovery;
mod segments;
pub mod storage;
mod wait;
mod window;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use batch::Batch;
pub use committed::CommittedSegment;
pub use config::{JournalConfig, LINGER_MAX};
pub use cursor::Cursor;
pub use file_journal::{FileJournal, OpenError};
pub use metrics::JournalMetrics;
pub use recovery::{RecoveryReport, TornTail};

/// The position of one record: consecutive from 0, never reused.
pub type Offset = u64;

/// What must be true of a record before it counts as committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on disk: written and synced. Survives a power cut.
    Fsync,
    /// The operating system has it. Survives a crash of the program, not of the machine. The disk gets it when a segment is
    /// full and when the journal closes.
    Os,
    /// Nothing is promised: written like under `Os`, but never synced. For tests and demonstrations.
    Memory,
}

/// Microseconds since the epoch, passed in by who chooses the clock.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Records that became durable, with the bytes given back so that nobody has to read them again.
#[derive(Debug)]
pub struct Committed {
    /// The offset of the batch's first record; the others follow on.
    pub first: Offset,
    /// The records.
    pub batch: Batch,
    /// When they were durable, by the journal's clock: microseconds since the epoch.
    pub durable_at_micros: i64,
}

/// Why a batch was not committed. None of its records is in the log, and its offsets go to others. As with every write whose
/// outcome a crash hides, a batch that failed with `NoSpace` or `Io` may be found by the next opening if the program ends
/// before the journal could cut it off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk is full.
    #[error("there is no space for the journal: {0}")]
    NoSpace(String),
    /// The part of the disk that the journal may use is full, and all of it is still needed.
    #[error(
        "the journal holds {disk_bytes} bytes, journal.max_total_bytes allows {limit_bytes}, and all of it is still needed"
    )]
    LimitReached {
        /// Bytes it holds.
        disk_bytes: u64,
        /// Bytes it may hold.
        limit_bytes: u64,
    },
    /// The batch is larger than any that is written.
    #[error("a batch of {bytes} bytes is larger than the {limit_bytes} that are written at once")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The most there may be.
        limit_bytes: usize,
    },
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
    #[error("{file} is damaged at byte {position}: {flaw}")]
    Damaged {
        /// The segment's file.
        file: String,
        /// Where in it.
        position: u64,
        /// What is wrong.
        flaw: format::Flaw,
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
/// committed, which is the way a full queue behind it slows writers down. A panic in it stops the journal for good.
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
    /// The offset of the next record. Everything before it is committed.
    pub next: Offset,
    /// Committed bytes on disk.
    pub disk_bytes: u64,
    /// What committed means here.
    pub durability: Durability,
    /// Why nothing can be appended at the moment, if so.
    pub failing: Option<AppendError>,
    /// What was found when it was opened.
    pub recovery: Arc<RecoveryReport>,
}

/// An ordered, durable log. A replicated log can take the file's place.
pub trait Journal: Send + Sync {
    /// Waits for room for `bytes` in the queue. More than the whole queue holds counts as the whole queue.
    ///
    /// # Cancel safety
    /// Dropping the future gives its place in the line back.
    fn reserve(&self, bytes: usize) -> Reservation<'_>;

    /// Room for `bytes` in the queue, if there is some now.
    fn try_reserve(&self, bytes: usize) -> Option<Permit>;

    /// Waits for room on a plain thread; not for use in async code, nor in a commit callback.
    fn reserve_blocking(&self, bytes: usize) -> Permit {
        wait::for_future(self.reserve(bytes))
    }

    /// Queues a batch for which there is room; never waits. An empty batch is committed in its turn.
    fn submit(&self, batch: Batch, permit: Permit, on_commit: OnCommit);

    /// Reads committed records from `from` on.
    ///
    /// # Errors
    /// Where they are trimmed away or cannot be read.
    fn read(&self, from: Offset) -> Result<Cursor, ReadError>;

    /// Says that records before `offset` are no longer needed; their segments go, oldest first, when the log is larger than
    /// it should be.
    fn release_before(&self, offset: Offset);

    /// How it stands.
    fn status(&self) -> JournalStatus;

    /// Commits what is queued, then refuses everything, and returns when the committer has ended. Called from a commit
    /// callback, it does not wait.
    fn close(&self);
}
