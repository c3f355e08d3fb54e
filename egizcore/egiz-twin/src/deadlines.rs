//! When silent Things become stale.
//!
//! A heap of due times. A message only moves the Thing's `last_seen`; an entry that comes due too early is put back with
//! the later time. So a message costs nothing here, and a tick only what is due. An entry is never later than the moment
//! at which its Thing does become stale, or a replica that computed its entries anew would find it at an earlier tick.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use egiz_model::Timestamp;

/// The heap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Timestamp, u32)>>,
    /// By slot: the entry that counts. Others of the slot were overtaken by an earlier one and mean nothing.
    due: Vec<Option<Timestamp>>,
}

impl Deadlines {
    /// Makes sure that the slot has an entry, due at this moment or before.
    pub(crate) fn watch(&mut self, slot: u32, due: Timestamp) {
        let index = slot as usize;
        if self.due.len() <= index {
            self.due.resize(index + 1, None);
        }
        if self.due[index].is_none_or(|already| due < already) {
            self.due[index] = Some(due);
            self.heap.push(Reverse((due, slot)));
        }
    }

    /// The earliest time at which something may be due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes the next slot whose entry is due.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<u32> {
        while self.next()? <= now {
            let Reverse((due, slot)) = self.heap.pop()?;
            if self.due[slot as usize] == Some(due) {
                self.due[slot as usize] = None;
                return Some(slot);
            }
        }
        None
    }
}
