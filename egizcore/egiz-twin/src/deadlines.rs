//! When silent Things become stale.
//!
//! A heap of due times with at most one entry a Thing. A message only moves the Thing's `last_seen`; an entry that comes
//! due too early is put back with the later time. So a message costs nothing here, and a tick only what is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use egiz_model::Timestamp;

/// The heap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Timestamp, u32)>>,
    /// Slots that have an entry.
    waiting: Vec<bool>,
}

impl Deadlines {
    /// Makes sure that the slot has an entry.
    pub(crate) fn watch(&mut self, slot: u32, due: Timestamp) {
        let index = slot as usize;
        if self.waiting.len() <= index {
            self.waiting.resize(index + 1, false);
        }
        if !self.waiting[index] {
            self.waiting[index] = true;
            self.heap.push(Reverse((due, slot)));
        }
    }

    /// The earliest time at which something may be due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes the next slot whose entry is due.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<u32> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, slot)) = self.heap.pop()?;
        self.waiting[slot as usize] = false;
        Some(slot)
    }
}
