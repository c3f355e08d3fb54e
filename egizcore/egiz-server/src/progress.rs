//! How far the records have come: on disk, and in the live state.
//!
//! Whoever writes is answered when the record is on disk, a moment before the live state has it. A read that begins in
//! that moment waits for it, so that nobody who was told of a write fails to see it, whichever way the write came. Most
//! often nothing is under way, and a read learns so from two atomic loads.

use std::sync::atomic::{AtomicU64, Ordering};

use egiz_model::Offset;
use tokio::sync::Notify;

/// How far the records have come; the program moves it, reads look at it.
#[derive(Debug, Default)]
pub struct Progress {
    durable: AtomicU64,
    applied: AtomicU64,
    moved: Notify,
}

impl Progress {
    /// Every record before `next` is on disk and applied.
    #[must_use]
    pub fn at(next: Offset) -> Self {
        Self { durable: next.into(), applied: next.into(), moved: Notify::new() }
    }

    /// Every record before `next` is on disk. To be said before anybody is told that theirs is.
    pub fn durable_before(&self, next: Offset) {
        self.durable.fetch_max(next, Ordering::Release);
    }

    /// The live state has every record before `next`. To be said when whoever looks at the state sees it.
    pub fn applied_before(&self, next: Offset) {
        self.applied.fetch_max(next, Ordering::Release);
        self.moved.notify_waiters();
    }

    /// Before which record all were on disk just now.
    pub(crate) fn durable(&self) -> Offset {
        self.durable.load(Ordering::Acquire)
    }

    /// Whether the live state has every record before `next`.
    pub(crate) fn has_applied(&self, next: Offset) -> bool {
        self.applied.load(Ordering::Acquire) >= next
    }

    /// Waits for the state to move on, and goes on waiting as long as it is not as `is_reached` wants it.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(crate) async fn until(&self, is_reached: impl Fn() -> bool) {
        loop {
            // Made before the look: what moves in between wakes it.
            let moved = self.moved.notified();
            if is_reached() {
                return;
            }
            moved.await;
        }
    }
}
