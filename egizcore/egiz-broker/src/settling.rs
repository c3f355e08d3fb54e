//! Puts the outcomes of one connection's batches into the order in which they were read.
//!
//! ```text
//!  read:      1   2   3        (a batch each)
//!  outcomes:  3 ─► waits    1 ─► applied    2 ─► applied, then 3
//! ```
//!
//! Acknowledgements go out in packet order (MQTT-4.6.0-2), whatever the order in which the intake settles its batches, and also
//! around batches that need no commit at all. Batches under way are bounded: at the bound the connection is not read.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Batches of a connection that may be under way at once.
pub(crate) const BATCHES_MAX: usize = 4096;

/// The order of a connection's batches. `T` is what a batch comes to.
pub(crate) struct Settling<T> {
    places: Arc<Semaphore>,
    state: Mutex<State<T>>,
}

struct State<T> {
    issued: u64,
    due: u64,
    /// Outcomes that came before their turn.
    early: BTreeMap<u64, (T, OwnedSemaphorePermit)>,
}

/// A batch's place in the order.
#[derive(Debug)]
pub(crate) struct Ticket {
    number: u64,
    place: OwnedSemaphorePermit,
}

impl<T> Settling<T> {
    pub(crate) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(BATCHES_MAX)),
            state: Mutex::new(State { issued: 0, due: 0, early: BTreeMap::new() }),
        }
    }

    /// Gives the next place in the order; waits while too many batches are under way. Every ticket is to be settled.
    ///
    /// # Cancel safety
    /// May be dropped while waiting.
    pub(crate) async fn ticket(&self) -> Option<Ticket> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let mut state = self.state.lock();
        let number = state.issued;
        state.issued += 1;
        Some(Ticket { number, place })
    }

    /// Applies the outcome once it is its turn, and those that waited for it; one at a time.
    pub(crate) fn settle(&self, ticket: Ticket, outcome: T, mut apply: impl FnMut(T)) {
        let mut state = self.state.lock();
        if ticket.number != state.due {
            state.early.insert(ticket.number, (outcome, ticket.place));
            return;
        }
        apply(outcome);
        state.due += 1;
        loop {
            let due = state.due;
            let Some((outcome, _place)) = state.early.remove(&due) else { break };
            apply(outcome);
            state.due += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn at_the_bound_a_ticket_waits_for_a_place() {
        let settling = Settling::new();
        let mut tickets = Vec::new();
        for _ in 0..BATCHES_MAX {
            tickets.push(settling.ticket().await.expect("never closed"));
        }
        let waiting = settling.ticket();
        tokio::pin!(waiting);
        assert!(futures_poll(&mut waiting).await.is_none());
        settling.settle(tickets.remove(0), (), |()| {});
        assert!(waiting.await.is_some());
    }

    /// What a future gives without waiting.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }

    proptest! {
        #[test]
        fn outcomes_are_applied_in_the_order_of_their_tickets(order in Just((0..20_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let settling = Settling::new();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
            let mut tickets: Vec<Option<Ticket>> = (0..order.len()).map(|_| runtime.block_on(settling.ticket())).collect();
            let (applied, seen) = mpsc::channel();
            for index in &order {
                let ticket = tickets[*index].take().expect("each once");
                settling.settle(ticket, *index, |outcome| applied.send(outcome).expect("kept"));
            }
            prop_assert_eq!(seen.try_iter().collect::<Vec<_>>(), (0..order.len()).collect::<Vec<_>>());
            prop_assert_eq!(settling.places.available_permits(), BATCHES_MAX);
        }
    }
}
