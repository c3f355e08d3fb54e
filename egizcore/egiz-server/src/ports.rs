//! What the server needs from the rest of the program, as traits and values; the program gives them when it starts.
//!
//! Writes leave through [`WriteGate`] and come back when they are durable and applied; what was applied comes in through
//! [`crate::live::Hub::publish`]. The server itself knows neither journal nor broker.

use std::sync::Arc;

use async_trait::async_trait;
use egiz_api::{Health, RejectedMessage};
use egiz_influx::{Lines, MappedLines};
use egiz_model::{Offset, Timestamp};
use egiz_twin::{Change, Engine, Outcome};
use parking_lot::RwLock;

use crate::{Progress, live, settings::ServerSettings};

/// The way of a write into the journal and through the engine.
#[async_trait]
pub trait WriteGate: Send + Sync {
    /// Submits one batch of encoded records; answers when all are durable and applied, in order, one answer a record.
    ///
    /// # Errors
    /// [`SubmitError`]: nothing of the batch was accepted.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the batch back: it may still be carried out.
    async fn submit(&self, records: Vec<Vec<u8>>) -> Result<Vec<Applied>, SubmitError>;
}

/// What came of one record.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Where the journal has it.
    pub offset: Offset,
    /// When it was on disk.
    pub durable: Timestamp,
    /// What the engine made of it.
    pub outcome: Outcome,
}

/// Why a batch was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full.
    #[error("writes are queued up")]
    Busy {
        /// When to try again, in seconds.
        retry_after_s: u32,
    },
    /// The journal's disk is full.
    #[error("the journal's disk is full")]
    NoSpace,
    /// The program is stopping.
    #[error("the program is stopping")]
    ShuttingDown,
    /// The journal cannot write; the reason is for the log.
    #[error("the journal cannot write: {0}")]
    Failed(String),
}

/// What lines of line protocol mean.
pub trait LineMapper: Send + Sync {
    /// Makes records of the lines of a body; may take some milliseconds for each megabyte.
    fn map(&self, lines: &Lines<'_>) -> MappedLines;
}

/// What the program says about itself.
pub trait ProgramReport: Send + Sync {
    /// The health of every part.
    fn health(&self) -> Health;
    /// All metrics in the OpenMetrics text format.
    fn metrics_text(&self) -> String;
    /// Refused messages with a sequence above `after`, oldest first, at most `limit`.
    fn rejected(&self, after: Option<u64>, limit: usize) -> Vec<RejectedMessage>;
}

/// Backups of the program.
#[async_trait]
pub trait Backups: Send + Sync {
    /// Begins one.
    ///
    /// # Errors
    /// Where one is being made already.
    fn begin(&self) -> Result<egiz_api::Backup, BackupError>;
    /// Those there are, the one being made and the one that failed last, the newest first.
    ///
    /// # Errors
    /// Where the storage does not answer.
    async fn list(&self) -> Result<Vec<egiz_api::Backup>, BackupError>;
    /// One of them.
    ///
    /// # Errors
    /// Where the storage does not answer.
    async fn get(&self, id: &str) -> Result<Option<egiz_api::Backup>, BackupError>;
}

/// Why backups cannot be made or seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// One is being made.
    #[error("backup {0} is being made")]
    UnderWay(String),
    /// The storage fails; the reason is for the log.
    #[error("the backups cannot be read: {0}")]
    Failed(String),
}

/// A run of records that were applied, for the subscribers.
#[derive(Debug, Clone)]
pub struct AppliedBatch {
    /// The offset after the last record.
    pub next_offset: Offset,
    /// When the records were on disk.
    pub durable: Timestamp,
    /// When the engine had applied them.
    pub applied: Timestamp,
    /// What changed, in order.
    pub changes: Vec<Change>,
}

/// The clock, given by the program.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Fills a buffer with random bytes; given by the program.
pub type RandomSource = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// Everything that the server is given.
#[derive(Clone)]
pub struct Ports {
    /// The live state; read under the lock, never across `.await`.
    pub engine: Arc<RwLock<Engine>>,
    /// How far the records have come, so that a read sees what was acknowledged before it.
    pub progress: Arc<Progress>,
    /// The way of writes.
    pub writes: Arc<dyn WriteGate>,
    /// What lines of line protocol mean.
    pub lines: Arc<dyn LineMapper>,
    /// The registry.
    pub store: egiz_store::Store,
    /// What was, where it is kept.
    pub history: Option<Arc<egiz_historian::Historian>>,
    /// Backups, where there is a place for them.
    pub backups: Option<Arc<dyn Backups>>,
    /// Health, metrics and refused messages.
    pub program: Arc<dyn ProgramReport>,
    /// The live subscriptions.
    pub hub: live::Hub,
    /// The clock.
    pub clock: Clock,
    /// The random source, for correlation ids.
    pub random: RandomSource,
    /// Bounds, tokens, origins.
    pub settings: Arc<ServerSettings>,
    /// The server's own counters.
    pub metrics: crate::metrics::ServerMetrics,
}
