//! What waits for the committer: submissions in order, and the rule when to wake it.
//!
//! The queue itself never waits and never refuses for want of room: permits, taken before, bound it.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::{Batch, OnCommit, Permit};

/// A submission in the queue.
pub(crate) struct Submission {
    pub(crate) batch: Batch,
    pub(crate) permit: Permit,
    pub(crate) on_commit: OnCommit,
}

/// What submitters and the committer share.
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

struct State {
    waiting: VecDeque<Submission>,
    bytes: usize,
    closed: bool,
    nudged: bool,
    /// Submissions for which the committer sleeps; no number reaches it while the committer is awake.
    wake_at_count: usize,
    wake_at_bytes: usize,
}

const AWAKE: usize = usize::MAX;

/// How long submissions gather for one group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gather {
    /// A group takes no more than this, save for a single larger batch.
    pub(crate) bytes_max: usize,
    /// Until then, unless there is enough before. `None`: whatever is there goes at once.
    pub(crate) until: Option<Instant>,
    /// So many submissions are enough.
    pub(crate) count: usize,
}

/// Why the committer woke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// There are submissions.
    Submissions,
    /// Time is up, or somebody nudged; there may be something to try again.
    Retry,
    /// The queue is closed and empty.
    Closed,
}

impl Queue {
    pub(crate) fn new() -> Self {
        let state = State {
            waiting: VecDeque::new(),
            bytes: 0,
            closed: false,
            nudged: false,
            wake_at_count: AWAKE,
            wake_at_bytes: AWAKE,
        };
        Self { state: Mutex::new(state), filled: Condvar::new() }
    }

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
        let enough = state.waiting.len() >= state.wake_at_count || state.bytes >= state.wake_at_bytes;
        drop(state);
        if enough {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Lets the committer end once the queue is empty.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
    }

    /// Lets the committer look whether it can go on.
    pub(crate) fn nudge(&self) {
        self.state.lock().nudged = true;
        self.filled.notify_one();
    }

    /// Waits for submissions, until `retry_at` if given, and takes one group of them.
    pub(crate) fn take(
        &self,
        gather: Gather,
        retry_at: Option<Instant>,
        into: &mut Vec<Submission>,
    ) -> Woken {
        let mut state = self.state.lock();
        (state.wake_at_count, state.wake_at_bytes) = (1, AWAKE);
        let mut late = false;
        while state.waiting.is_empty() && !state.closed && !state.nudged && !late {
            match retry_at {
                None => self.filled.wait(&mut state),
                Some(at) => late = self.filled.wait_until(&mut state, at).timed_out(),
            }
        }
        if let Some(until) = gather.until
            && !state.waiting.is_empty()
        {
            (state.wake_at_count, state.wake_at_bytes) = (gather.count, gather.bytes_max);
            while state.waiting.len() < gather.count && state.bytes < gather.bytes_max && !state.closed {
                if self.filled.wait_until(&mut state, until).timed_out() {
                    break;
                }
            }
        }
        (state.wake_at_count, state.wake_at_bytes) = (AWAKE, AWAKE);
        state.nudged = false;
        let mut bytes = 0;
        while let Some(submission) = state.waiting.front() {
            bytes += submission.batch.byte_len();
            if bytes > gather.bytes_max && !into.is_empty() {
                break;
            }
            state.bytes -= submission.batch.byte_len();
            into.extend(state.waiting.pop_front());
        }
        match (into.is_empty(), state.closed) {
            (false, _) => Woken::Submissions,
            (true, true) => Woken::Closed,
            (true, false) => Woken::Retry,
        }
    }
}
