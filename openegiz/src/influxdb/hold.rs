//! How far back the journal is kept for the InfluxDB, and how far at the most.
//!
//! The writer itself drops the oldest records when they take more than `influxdb.max_behind_bytes`, and counts each. Should it not
//! come to that, the journal is let go half way between there and its own bound: the plant must not stop because an InfluxDB
//! is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use egiz_journal::FileJournal;
use egiz_model::Offset;

/// What keeps the journal.
pub(crate) struct Hold {
    journal: Arc<FileJournal>,
    from: AtomicU64,
    /// Bytes at which the writer lets the oldest go, segment by segment.
    pub(super) bytes_max: u64,
    /// Bytes at which nothing is kept any more.
    bytes_at_worst: u64,
    was_broken: AtomicBool,
}

impl Hold {
    pub(super) fn new(journal: Arc<FileJournal>, from: Offset, bytes_max: u64, total_bytes_max: u64) -> Self {
        let bytes_at_worst = bytes_max + total_bytes_max.saturating_sub(bytes_max) / 2;
        Self {
            journal,
            from: AtomicU64::new(from),
            bytes_max,
            bytes_at_worst,
            was_broken: AtomicBool::new(false),
        }
    }

    /// Everything before this is needed no more.
    pub(super) fn move_to(&self, from: Offset) {
        self.from.store(from, Ordering::Release);
    }

    /// From where on the journal is needed; nothing where that has become too much.
    pub(crate) fn needed_from(&self) -> Option<Offset> {
        let from = self.from.load(Ordering::Acquire);
        let bytes = self.bytes_since(from);
        let is_broken = bytes > self.bytes_at_worst;
        if is_broken && !self.was_broken.swap(is_broken, Ordering::AcqRel) {
            tracing::error!(
                from,
                bytes,
                "the journal is not kept any longer for an InfluxDB that is too far behind"
            );
        }
        self.was_broken.store(is_broken, Ordering::Release);
        (!is_broken).then_some(from)
    }

    /// Bytes that the journal keeps for it.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes_since(self.from.load(Ordering::Acquire))
    }

    /// Bytes of the segments with records from here on.
    fn bytes_since(&self, from: Offset) -> u64 {
        self.journal.committed_segments().iter().filter(|segment| segment.next > from).map(|s| s.bytes).sum()
    }

    /// Whether more is kept than may be, and something of it can go that the writer, which is at this record, has not read.
    pub(super) fn may_not_keep(&self, at: Offset) -> bool {
        self.bytes() > self.bytes_max && self.oldest_after_all() > at
    }

    /// The record from which on three quarters of what may be kept are kept, and at least the newest segment: so that it does
    /// not come to that again at once.
    pub(super) fn oldest_after_all(&self) -> Offset {
        let segments = self.journal.committed_segments();
        let mut bytes = 0;
        let kept = segments.iter().rev().take_while(|segment| {
            bytes += segment.bytes;
            bytes <= self.bytes_max / 4 * 3
        });
        let oldest = kept.last().or(segments.last());
        oldest.map_or(0, |segment| segment.base)
    }
}
