//! Acknowledges the messages of whichever connection is open, from any thread.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::link::Requests;
use crate::window::{Delivery, Ticket, Window};

/// The acknowledging side of a client over all its connections. Clones share it.
///
/// The window and the connection that it belongs to change together, under one lock: an acknowledgement is decided and
/// queued on the connection that its message came on, or not at all.
#[derive(Clone, Default)]
pub(crate) struct Acknowledger(Arc<Mutex<Current>>);

#[derive(Default)]
struct Current {
    window: Window,
    requests: Option<Requests>,
}

/// What settling some messages did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Acknowledgements that went out.
    pub(crate) acknowledged: u64,
    /// Messages whose connection is gone: they come again.
    pub(crate) stale: u64,
    /// Acknowledgements that the connection had no place for; it has to end.
    pub(crate) not_queued: u64,
}

impl Acknowledger {
    /// From now on messages come on this connection.
    pub(crate) fn open(&self, requests: Requests) {
        let mut current = self.0.lock();
        current.window.restart();
        current.requests = Some(requests);
    }

    /// The connection is over.
    pub(crate) fn close(&self) {
        let mut current = self.0.lock();
        current.window.restart();
        current.requests = None;
    }

    /// Takes note of a message; none is needed with QoS 0.
    pub(crate) fn arrive(&self, packet_id: u16, qos: u8) -> Option<Ticket> {
        (qos > 0).then(|| self.0.lock().window.arrive(Delivery { packet_id, qos }))
    }

    /// The messages are dealt with.
    pub(crate) fn settle(&self, tickets: impl IntoIterator<Item = Ticket>) -> Settled {
        let mut settled = Settled::default();
        let mut current = self.0.lock();
        let Current { window, requests } = &mut *current;
        for ticket in tickets {
            let known = window.settle(ticket, |delivery| {
                let queued = requests
                    .as_ref()
                    .is_some_and(|requests| requests.acknowledge(delivery.packet_id, delivery.qos).is_ok());
                if queued {
                    settled.acknowledged += 1;
                } else {
                    settled.not_queued += 1;
                }
            });
            settled.stale += u64::from(!known);
        }
        settled
    }

    /// How many messages are not acknowledged yet.
    pub(crate) fn under_way(&self) -> usize {
        self.0.lock().window.len()
    }
}
