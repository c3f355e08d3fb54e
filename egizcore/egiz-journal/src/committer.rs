//! The one thread that writes: takes what has queued up, writes it as one group, syncs once, calls back in order.
//!
//! While it writes, the next group gathers; that is the group commit, and it needs no timer. A linger, if configured, lets
//! a small group gather longer where the disk is so fast that syncs would cost more than they bring.
//!
//! When a write or a sync fails, everybody in the group is refused, the file is cut back to what is committed, and the log
//! goes on in a new segment: after a failed sync nothing is known about the pages of the old one, and trusting a second
//! sync of it is how databases have lost data. Attempts are spaced by a growing pause; each group that comes after the pause is
//! the probe, so the journal recovers by itself when space returns.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::file_journal::JournalConfig;
use crate::format::{GROUP_BODY_BYTES_MAX, begin_group, finish_group};
use crate::metrics::JournalMetrics;
use crate::segments::Segments;
use crate::{AppendError, Batch, Committed, Durability, Offset, OnCommit, Permit};

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A submission in the queue.
pub(crate) struct Submission {
    pub(crate) batch: Batch,
    pub(crate) permit: Permit,
    pub(crate) on_commit: OnCommit,
}

/// What submitters and the committer share.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Submission>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// Puts a submission in line.
    ///
    /// # Errors
    /// Gives it back where the journal is closed.
    pub(crate) fn push(&self, submission: Submission) -> Result<(), Submission> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(submission);
        }
        state.bytes += submission.batch.byte_len();
        state.waiting.push_back(submission);
        let first = state.waiting.len() == 1;
        drop(state);
        if first {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Lets the committer end once the queue is empty.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
    }

    /// Waits for submissions and takes up to `bytes_max` of them; none when the queue is closed and empty.
    fn take(&self, bytes_max: usize, linger: Duration, into: &mut Vec<Submission>) {
        let mut state = self.state.lock();
        while state.waiting.is_empty() && !state.closed {
            self.filled.wait(&mut state);
        }
        if !linger.is_zero() && !state.closed {
            let until = Instant::now() + linger;
            while state.bytes < bytes_max && !state.closed {
                if self.filled.wait_until(&mut state, until).timed_out() {
                    break;
                }
            }
        }
        let mut bytes = 0;
        while let Some(submission) = state.waiting.front() {
            bytes += submission.batch.byte_len();
            if bytes > bytes_max && !into.is_empty() {
                break;
            }
            state.bytes -= submission.batch.byte_len();
            into.extend(state.waiting.pop_front());
        }
    }
}

/// The thread's own state.
pub(crate) struct Committer {
    pub(crate) queue: Arc<Queue>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) config: JournalConfig,
    pub(crate) metrics: JournalMetrics,
    pub(crate) failing: Arc<Mutex<Option<AppendError>>>,
    pub(crate) released: Arc<std::sync::atomic::AtomicU64>,
}

impl Committer {
    /// Runs until the queue is closed and empty.
    pub(crate) fn run(self) {
        let mut taken = Vec::new();
        let mut group = Vec::new();
        let mut pause = PAUSE_MIN;
        let mut probe_at: Option<Instant> = None;
        loop {
            let linger = if probe_at.is_some() { Duration::ZERO } else { self.config.linger };
            self.queue.take(self.config.group_bytes_max.min(GROUP_BODY_BYTES_MAX), linger, &mut taken);
            if taken.is_empty() {
                return;
            }
            if probe_at.is_some_and(|at| Instant::now() < at) {
                let error = self.failing.lock().clone().unwrap_or(AppendError::Closed);
                self.refuse(&mut taken, &error);
                continue;
            }
            match self.commit(&mut taken, &mut group) {
                Ok(()) => {
                    if probe_at.take().is_some() {
                        tracing::info!("the journal takes writes again");
                        pause = PAUSE_MIN;
                    }
                }
                Err(error) => {
                    if probe_at.is_none() {
                        tracing::error!(%error, "the journal does not take writes; publishers and writers are refused");
                    }
                    self.metrics.failures.inc();
                    *self.failing.lock() = Some(error.clone());
                    self.refuse(&mut taken, &error);
                    probe_at = Some(Instant::now() + pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Writes what was taken as one group. On error everything is still in `taken`.
    fn commit(&self, taken: &mut Vec<Submission>, group: &mut Vec<u8>) -> Result<(), AppendError> {
        self.make_room()?;
        let last = self.segments.last();
        let first = last.next;
        group.clear();
        let start = begin_group(group);
        let mut count = 0_u32;
        for submission in taken.iter() {
            group.extend_from_slice(submission.batch.encoded());
            count += u32::try_from(submission.batch.len()).unwrap_or(u32::MAX);
        }
        if count > 0 {
            finish_group(group, start, first, count);
            let begun = Instant::now();
            if self.config.durability == Durability::Memory {
                self.call_back(taken, first);
            }
            if let Err(error) = self.write(&last, group) {
                self.start_over(&last);
                return Err(append_error(&error));
            }
            self.metrics.commit_seconds.observe(begun.elapsed().as_secs_f64());
            self.segments.commit(last.committed_bytes + group.len() as u64, first + Offset::from(count));
            self.metrics.groups.inc();
            self.metrics.records.inc_by(u64::from(count));
            self.metrics.bytes.inc_by(group.len() as u64);
        }
        // Whoever hears that it is durable must not be told by the status that nothing is.
        *self.failing.lock() = None;
        self.call_back(taken, first);
        Ok(())
    }

    fn write(&self, last: &crate::segments::Segment, group: &[u8]) -> io::Result<()> {
        last.file.write_at(group, last.committed_bytes)?;
        match self.config.durability {
            Durability::Fsync => last.file.sync(),
            Durability::Os | Durability::Memory => Ok(()),
        }
    }

    /// Rolls when the segment is full, and trims what is released when the log is too large.
    fn make_room(&self) -> Result<(), AppendError> {
        let last = self.segments.last();
        if last.committed_bytes >= self.config.segment_bytes && last.next > last.base {
            if self.config.durability != Durability::Fsync {
                last.file.sync().map_err(|error| append_error(&error))?;
            }
            self.segments.roll().map_err(|error| append_error(&error))?;
        }
        let released = self.released.load(std::sync::atomic::Ordering::Acquire);
        let trimmed = self
            .segments
            .trim(released, self.config.total_bytes_max)
            .map_err(|error| append_error(&error))?;
        self.metrics.trimmed.inc_by(trimmed as u64);
        let (_, _, disk_bytes) = self.segments.extent();
        self.metrics.disk_bytes.set(disk_bytes);
        // One segment of grace: a snapshot that is due releases the older ones.
        if disk_bytes > self.config.total_bytes_max.saturating_add(self.config.segment_bytes) {
            return Err(AppendError::NoSpace(format!(
                "it holds {disk_bytes} bytes, journal.max_total_bytes allows {}, and nothing may be trimmed",
                self.config.total_bytes_max
            )));
        }
        Ok(())
    }

    /// After a failed write: cuts the segment back and goes on in a new one. Where that fails, too, the next attempt
    /// writes over the same place; either way nothing behind the committed end was acknowledged.
    fn start_over(&self, last: &crate::segments::Segment) {
        let cut = last.file.truncate(last.committed_bytes).and_then(|()| last.file.sync());
        let rolled = if last.next > last.base { self.segments.roll() } else { Ok(()) };
        if let Err(error) = cut.and(rolled) {
            tracing::warn!(%error, "the journal's segment could not be cut back yet");
        }
    }

    fn call_back(&self, taken: &mut Vec<Submission>, mut first: Offset) {
        for Submission { batch, permit, on_commit } in taken.drain(..) {
            let committed = Committed { first, batch };
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
}

fn append_error(error: &io::Error) -> AppendError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::NoSpace(error.to_string()),
        _ => AppendError::Io(error.to_string()),
    }
}
