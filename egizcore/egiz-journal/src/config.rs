//! How a journal works.

use std::time::Duration;

use crate::{Durability, Offset};

/// The longest linger; more is taken as this.
pub const LINGER_MAX: Duration = Duration::from_millis(2);

/// How a journal works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalConfig {
    /// What committed means.
    pub durability: Durability,
    /// The least time between the starts of two groups while several submitters write at once; 0 to 2 ms. A lone submission
    /// does not wait for it.
    pub linger: Duration,
    /// A segment is closed when it has this many bytes; at most half of `total_bytes_max`.
    pub segment_bytes: u64,
    /// When the log is larger, released segments go; when none may go, appends are refused.
    pub total_bytes_max: u64,
    /// Bytes that may wait in the queue. Full: `reserve` waits, `try_reserve` gives nothing.
    pub queue_bytes: usize,
    /// The largest group; a single larger batch makes a group of its own.
    pub group_bytes_max: usize,
    /// Reads and checks every segment wholly at opening, instead of the last one only.
    pub verify_all: bool,
    /// The next record's offset is this one at least, even if the log ends before. For who has state that goes further than
    /// the log (a snapshot, after a power cut under `Os`): its offsets must not be given out a second time.
    pub next_at_least: Offset,
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
            verify_all: false,
            next_at_least: 0,
        }
    }
}

impl JournalConfig {
    /// The same within its ranges.
    pub(crate) fn bounded(mut self) -> Self {
        self.linger = self.linger.min(LINGER_MAX);
        self.segment_bytes = self.segment_bytes.min(self.total_bytes_max / 2);
        self
    }
}
