//! The last messages that were not understood, with the reason: what a technician looks at when a new sensor is not seen.
//!
//! Bounded by count, each payload cut to an excerpt; at the bound the oldest goes (the metric still counts it).

use std::collections::VecDeque;
use std::sync::Arc;

use egiz_model::Timestamp;
use parking_lot::Mutex;

use crate::payload::Rejection;

/// How much of a payload is shown.
const EXCERPT_BYTES: usize = 1024;

/// A message that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedMessage {
    /// Counts up from 1 since the program started, those that were not kept included; a place to page from.
    pub number: u64,
    /// When it came.
    pub received: Timestamp,
    /// Who sent it.
    pub principal: String,
    /// Where to.
    pub topic: String,
    /// What is wrong with it.
    pub rejection: Rejection,
    /// Its beginning.
    pub excerpt: Vec<u8>,
    /// Its whole length in bytes.
    pub size_bytes: usize,
}

/// The list.
#[derive(Debug)]
pub(crate) struct RejectedList {
    capacity: usize,
    list: Mutex<(u64, VecDeque<Arc<RejectedMessage>>)>,
}

impl RejectedList {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, list: Mutex::new((0, VecDeque::new())) }
    }

    pub(crate) fn keep(
        &self,
        received: Timestamp,
        principal: &str,
        topic: &str,
        payload: &[u8],
        rejection: Rejection,
    ) {
        let mut list = self.list.lock();
        list.0 += 1;
        if self.capacity == 0 {
            return;
        }
        if list.1.len() == self.capacity {
            list.1.pop_front();
        }
        let message = RejectedMessage {
            number: list.0,
            received,
            principal: principal.to_owned(),
            topic: topic.to_owned(),
            rejection,
            excerpt: payload[..payload.len().min(EXCERPT_BYTES)].to_vec(),
            size_bytes: payload.len(),
        };
        list.1.push_back(Arc::new(message));
    }

    /// Counts one that is not kept.
    pub(crate) fn count(&self) {
        self.list.lock().0 += 1;
    }

    /// The kept messages, newest first, and how many there have been in all.
    pub(crate) fn newest_first(&self) -> (u64, Vec<Arc<RejectedMessage>>) {
        let list = self.list.lock();
        (list.0, list.1.iter().rev().cloned().collect())
    }
}
