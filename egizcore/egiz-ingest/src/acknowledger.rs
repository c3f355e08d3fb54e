//! Acknowledges the messages of whichever connection is open, from any thread.
//!
//! ```text
//!  arrive ─► window ─ settled, in turn ─► ready ─ as the connection has room ─► its request queue ─► PUBACK
//! ```
//!
//! `ready` is our own because a broker may send faster than acknowledgements go out, and then the crate's queue is full with
//! nothing wrong: the crate writes one request a turn and reads up to nine packets a turn (`readb` in its `framed.rs`).
//! Mosquitto 2.0.11 does send faster. Seen on the wire with a backlog of 1,000 messages and a receive maximum of 10: 10
//! unacknowledged messages, then 19, 28, 37 and 46 after one PUBACK each, so each PUBACK releases a whole window instead of
//! one message. It is the same in 3.1.1 and with any `max_inflight_messages`. A resumed session begins with all that had been
//! released. What waits here is bounded by the protocol: a packet id that is not acknowledged may not be used again, so there
//! are at most 65,535.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::link::{Problem, Requests};
use crate::window::{Delivery, Ticket, Window};

/// Packet ids that there are.
const UNDER_WAY_MAX: usize = 65_535;

/// The acknowledging side of a client over all its connections. Clones share it.
///
/// The window and the connection that it belongs to change together, under one lock: an acknowledgement is decided and
/// queued on the connection that its message came on, or not at all.
#[derive(Clone, Default)]
pub(crate) struct Acknowledger(Arc<Mutex<Current>>);

#[derive(Default)]
struct Current {
    window: Window,
    ready: VecDeque<Delivery>,
    requests: Option<Requests>,
}

/// What settling some messages did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Acknowledgements handed to the connection.
    pub(crate) acknowledged: u64,
    /// Messages whose connection is gone: they come again.
    pub(crate) stale: u64,
}

impl Acknowledger {
    /// From now on messages come on this connection.
    pub(crate) fn open(&self, requests: Requests) {
        self.change(Some(requests));
    }

    /// The connection is over.
    pub(crate) fn close(&self) {
        self.change(None);
    }

    fn change(&self, requests: Option<Requests>) {
        let mut current = self.0.lock();
        current.window.restart();
        current.ready.clear();
        current.requests = requests;
    }

    /// Takes note of a message; none is needed with QoS 0.
    ///
    /// # Errors
    /// Where more are under way than there are packet ids.
    pub(crate) fn arrive(&self, packet_id: u16, qos: u8) -> Result<Option<Ticket>, Problem> {
        if qos == 0 {
            return Ok(None);
        }
        let mut current = self.0.lock();
        if current.under_way() >= UNDER_WAY_MAX {
            return Err(Problem::unreachable("the broker uses packet ids again that were not acknowledged"));
        }
        Ok(Some(current.window.arrive(Delivery { packet_id, qos })))
    }

    /// The messages are dealt with: those whose turn has come are acknowledged, now or as the connection has room.
    pub(crate) fn settle(&self, tickets: impl IntoIterator<Item = Ticket>) -> Settled {
        let mut settled = Settled::default();
        let mut current = self.0.lock();
        let Current { window, ready, .. } = &mut *current;
        for ticket in tickets {
            let known = window.settle(ticket, |delivery| ready.push_back(delivery));
            settled.stale += u64::from(!known);
        }
        settled.acknowledged = current.hand_over();
        settled
    }

    /// Hands over what waits for room; to be called whenever the connection has made some. How many.
    pub(crate) fn go_on(&self) -> u64 {
        self.0.lock().hand_over()
    }

    /// How many messages are not acknowledged yet.
    pub(crate) fn under_way(&self) -> usize {
        self.0.lock().under_way()
    }
}

impl Current {
    fn hand_over(&mut self) -> u64 {
        let Some(requests) = &self.requests else { return 0 };
        let mut count = 0;
        while let Some(delivery) = self.ready.front() {
            if requests.acknowledge(delivery.packet_id, delivery.qos).is_err() {
                break;
            }
            self.ready.pop_front();
            count += 1;
        }
        count
    }

    fn under_way(&self) -> usize {
        self.window.len() + self.ready.len()
    }
}
