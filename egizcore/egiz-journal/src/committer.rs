//! The one thread that writes: takes what has queued up, writes it as one group, syncs once, calls back in order.
//!
//! While it writes, the next group gathers; that is the group commit, and it needs no timer. The linger is a least distance
//! between the starts of two groups, and only while several submitters are at it: the group before held more than one
//! submission, and fewer than that have come since. So a lone message, or a lone writer that waits for each answer, never
//! lingers, and a disk slower than the linger makes it vanish.
//!
//! ```text
//!            write or sync fails                       repaired
//!  healthy ────────────────────► failing (refuses) ───────────────► healthy, in a new segment
//!                                  │        ▲
//!                                  └────────┘ after a pause that grows from 50 ms to 2 s
//! ```
//!
//! After a failed write or sync everybody in the group is refused, and the file is cut back to what is committed. The log goes
//! on in a new segment: after a failed sync nothing is known about the old one's pages, and trusting a later sync of it is
//! how databases have lost data. The new segment pins where the old one ends, so whatever was left behind is void. Making
//! it, and writing and syncing as many bytes as failed, is the probe; it needs nobody to submit anything.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::JournalConfig;
use crate::format::{GROUP_BODY_BYTES_MAX, HEADER_BYTES, begin_group, finish_group};
use crate::metrics::JournalMetrics;
use crate::queue::{Gather, Queue, Submission, Woken};
use crate::segments::{Segment, Segments};
use crate::{AppendError, Clock, Committed, Durability, Offset};

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What the committer tells its journal.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Why nothing can be appended at the moment.
    pub(crate) failing: Mutex<Option<AppendError>>,
    /// Records before this one are no longer needed.
    pub(crate) released: AtomicU64,
}

/// The thread's own state.
pub(crate) struct Committer {
    queue: Arc<Queue>,
    segments: Arc<Segments>,
    shared: Arc<Shared>,
    config: JournalConfig,
    metrics: JournalMetrics,
    clock: Clock,
    group: Vec<u8>,
    /// Whether everything that was written is synced.
    synced: bool,
    /// Whether segments could be removed when it was last tried.
    trims: bool,
    pace: Pace,
    failure: Option<Failure>,
    pause: Duration,
}

/// What the linger goes by.
#[derive(Debug, Default)]
struct Pace {
    begun: Option<Instant>,
    submissions: usize,
}

/// What is to be repaired.
struct Failure {
    error: AppendError,
    retry_at: Instant,
    needs_segment: bool,
    /// Bytes that could not be written.
    probe_bytes: usize,
}

impl Committer {
    pub(crate) fn new(
        queue: Arc<Queue>,
        segments: Arc<Segments>,
        shared: Arc<Shared>,
        config: JournalConfig,
        metrics: JournalMetrics,
        clock: Clock,
    ) -> Self {
        let (group, pace) = (Vec::new(), Pace::default());
        // Opening syncs what is there.
        Self {
            queue,
            segments,
            shared,
            config,
            metrics,
            clock,
            group,
            synced: true,
            trims: true,
            pace,
            failure: None,
            pause: PAUSE_MIN,
        }
    }

    /// Runs until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let mut taken = Vec::new();
        loop {
            let retry_at = self.failure.as_ref().map(|failure| failure.retry_at);
            let woken = self.queue.take(self.gather(), retry_at, &mut taken);
            if woken == Woken::Closed {
                return self.end();
            }
            let began = Instant::now();
            if let Some(failure) = self.failure.take() {
                if woken == Woken::Retry || began >= failure.retry_at {
                    self.repair(failure);
                } else {
                    self.failure = Some(failure);
                }
            }
            if self.failure.is_none() && woken == Woken::Submissions {
                self.pace = Pace { begun: Some(began), submissions: taken.len() };
                self.commit(&mut taken);
            }
            if let Some(failure) = &self.failure {
                self.refuse(&mut taken, &failure.error);
            }
        }
    }

    fn gather(&self) -> Gather {
        let lingers = !self.config.linger.is_zero() && self.failure.is_none() && self.pace.submissions > 1;
        Gather {
            bytes_max: self.config.group_bytes_max.min(GROUP_BODY_BYTES_MAX),
            until: self.pace.begun.filter(|_| lingers).map(|begun| begun + self.config.linger),
            count: self.pace.submissions,
        }
    }

    /// Writes what was taken as one group and calls back. On failure everything is still in `taken`.
    fn commit(&mut self, taken: &mut Vec<Submission>) {
        if let Err(failure) = self.make_room() {
            return self.fail(failure);
        }
        let last = self.segments.last();
        let first = last.next;
        let count: usize = taken.iter().map(|submission| submission.batch.len()).sum();
        if count > 0 {
            begin_group(&mut self.group);
            taken.iter().for_each(|submission| self.group.extend_from_slice(submission.batch.encoded()));
            // More records than that do not fit the bytes of a group.
            let count = u32::try_from(count).expect("each record takes four bytes");
            finish_group(&mut self.group, last.header.salt, first, count, self.synced);
            let begun = Instant::now();
            if let Err(error) = self.write(&last) {
                return self.fail(Failure {
                    error: append_error(&error),
                    retry_at: begun,
                    needs_segment: true,
                    probe_bytes: self.group.len(),
                });
            }
            self.metrics.commit_seconds.observe(begun.elapsed().as_secs_f64());
            self.segments.commit(last.end + self.group.len() as u64, first + Offset::from(count));
            self.metrics.groups.inc();
            self.metrics.records.inc_by(u64::from(count));
            self.metrics.bytes.inc_by(self.group.len() as u64);
            // One large batch must not keep its memory for good.
            self.group.shrink_to(2 * self.config.group_bytes_max);
        }
        self.pause = PAUSE_MIN;
        self.call_back(taken, first);
    }

    fn write(&mut self, last: &Segment) -> io::Result<()> {
        let file = self.segments.active();
        file.write_at(&self.group, last.end)?;
        if self.config.durability == Durability::Fsync {
            return file.sync();
        }
        self.synced = false;
        Ok(())
    }

    /// Rolls when the segment is full, and trims what is released when the log is too large.
    fn make_room(&mut self) -> Result<(), Failure> {
        let last = self.segments.last();
        if last.end >= self.config.segment_bytes && !last.is_empty() {
            self.roll(&last).map_err(|error| Failure {
                error: append_error(&error),
                retry_at: Instant::now(),
                needs_segment: true,
                probe_bytes: 0,
            })?;
        }
        let released = self.shared.released.load(Ordering::Acquire);
        let limit_bytes = self.config.total_bytes_max;
        match self.segments.trim(released, limit_bytes) {
            Ok(trimmed) => {
                self.metrics.trimmed.inc_by(trimmed);
                self.trims = true;
            }
            // Not a reason to refuse: it is tried again at the next group, and the limit below holds.
            Err(error) => {
                self.metrics.failures.inc();
                if std::mem::take(&mut self.trims) {
                    tracing::warn!(%error, "segments that are no longer needed cannot be removed");
                }
            }
        }
        let (_, _, disk_bytes) = self.segments.extent();
        self.metrics.disk_bytes.set(disk_bytes);
        if disk_bytes > limit_bytes {
            let error = AppendError::LimitReached { disk_bytes, limit_bytes };
            return Err(Failure { error, retry_at: Instant::now(), needs_segment: false, probe_bytes: 0 });
        }
        Ok(())
    }

    /// Goes on in a new segment after an orderly end of `last`.
    fn roll(&mut self, last: &Segment) -> io::Result<()> {
        if self.config.durability == Durability::Os && !self.synced {
            self.segments.active().sync()?;
            self.synced = true;
        }
        self.segments.roll(last.next, self.synced)?;
        Ok(())
    }

    fn fail(&mut self, mut failure: Failure) {
        if self.shared.failing.lock().is_none() {
            tracing::error!(error = %failure.error, "the journal does not take writes; everybody who writes is refused");
        }
        self.metrics.failures.inc();
        *self.shared.failing.lock() = Some(failure.error.clone());
        failure.retry_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.failure = Some(failure);
    }

    /// Tries to get into a state in which the next group can be written.
    fn repair(&mut self, failure: Failure) {
        if failure.needs_segment
            && let Err(error) = self.start_over(failure.probe_bytes)
        {
            return self.fail(Failure { error: append_error(&error), ..failure });
        }
        match self.make_room() {
            Ok(()) => {
                *self.shared.failing.lock() = None;
                tracing::info!("the journal takes writes again");
            }
            Err(failure) => self.fail(failure),
        }
    }

    /// Cuts the last segment back, goes on in a new one, and tries whether it takes as many bytes as could not be written.
    fn start_over(&mut self, probe_bytes: usize) -> io::Result<()> {
        let last = self.segments.last();
        if let Err(error) = self.segments.active().truncate(last.end) {
            // The new segment says where this one ends, so what is behind it is void anyhow.
            tracing::debug!(%error, "what a failed commit left behind could not be cut off");
        }
        // What is committed there was synced before, if anything was; of the failed rest the new segment says nothing.
        self.segments.roll(last.next, self.synced)?;
        let file = self.segments.active();
        self.group.clear();
        self.group.resize(probe_bytes, 0);
        if probe_bytes > 0 {
            file.write_at(&self.group, HEADER_BYTES as u64)?;
            file.sync()?;
            file.truncate(HEADER_BYTES as u64)?;
            file.sync()?;
        }
        Ok(())
    }

    fn call_back(&self, taken: &mut Vec<Submission>, mut first: Offset) {
        let durable_at_micros = (self.clock)();
        for Submission { batch, permit, on_commit } in taken.drain(..) {
            let committed = Committed { first, batch, durable_at_micros };
            first += committed.batch.len() as Offset;
            on_commit(Ok(committed));
            drop(permit);
        }
    }

    fn refuse(&self, taken: &mut Vec<Submission>, error: &AppendError) {
        for Submission { batch, permit, on_commit } in taken.drain(..) {
            self.metrics.refused.inc_by(batch.len() as u64);
            on_commit(Err(error.clone()));
            drop(permit);
        }
    }

    /// An orderly end: under `Os`, what was committed reaches the disk.
    fn end(self) {
        if self.config.durability == Durability::Os
            && !self.synced
            && let Err(error) = self.segments.active().sync()
        {
            tracing::warn!(%error, "the journal could not be synced at its end");
        }
    }
}

fn append_error(error: &io::Error) -> AppendError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::NoSpace(error.to_string()),
        _ => AppendError::Io(error.to_string()),
    }
}
