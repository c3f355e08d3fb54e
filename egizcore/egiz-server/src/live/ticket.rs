//! A client's hold on one subscription: what it covers, what waits for it, and where it is.
//!
//! ```text
//!  subscribe ─► catching up ──► taking part        the events since `from` are read from the ring a piece at a time, and
//!       │            │ overtaken                   in the same moment in which nothing is left, the mailbox opens
//!       └────────────┴─────────► taking part, everything to be sent anew
//! ```

use std::collections::HashSet;
use std::sync::Arc;

use egiz_model::{Offset, ThingId};
use egiz_twin::interest::{GroupId, Sight, Target};
use egiz_twin::{Filter, ThingRef};

use super::event::Event;
use super::hub::Hub;
use super::subscriber::Subscriber;

/// Events that a client that catches up gets at once.
const CATCH_UP_EVENTS: usize = 256;
/// Changes looked at under one hold of the hub's lock for a client that catches up.
const CATCH_UP_SCAN: usize = 8192;

/// Which Things a subscription covers.
#[derive(Debug, Clone)]
pub(crate) enum Scope {
    All,
    Things(HashSet<ThingId>),
    Filter(Filter),
}

impl Scope {
    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::All => Self::All,
            Target::Things(things) => Self::Things(things.iter().cloned().collect::<HashSet<_>>()),
            Target::Filter(filter) => Self::Filter(filter.clone()),
        }
    }

    /// Whether a Thing is covered as it is now.
    pub(crate) fn covers(&self, thing: ThingRef<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Things(things) => things.contains(thing.id()),
            Self::Filter(filter) => filter.matches(thing),
        }
    }
}

/// What a client that catches up gets.
#[derive(Debug)]
pub(crate) enum CatchUp {
    /// The next events; more are to be asked for unless the subscription now takes part.
    Events(Vec<(Arc<Event>, Sight)>),
    /// What comes next is no longer kept; the subscription takes part from now on, with everything owed.
    Overtaken,
}

/// A subscription; dropping it ends it.
pub(crate) struct Ticket {
    hub: Hub,
    group: GroupId,
    pub(crate) scope: Arc<Scope>,
    pub(crate) subscriber: Arc<Subscriber>,
    /// From here on the stream is complete.
    pub(crate) offset: Offset,
    /// Where in the ring it goes on, while it catches up.
    place: Option<u64>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.hub.leave(self.group, &self.subscriber);
    }
}

impl Ticket {
    pub(super) fn new(
        hub: Hub,
        group: GroupId,
        scope: Scope,
        subscriber: Arc<Subscriber>,
        offset: Offset,
        place: Option<u64>,
    ) -> Self {
        Self { hub, group, scope: Arc::new(scope), subscriber, offset, place }
    }

    pub(crate) fn group(&self) -> GroupId {
        self.group
    }

    /// Whether the events since the wished offset come first, instead of a snapshot.
    pub(crate) fn is_catching_up(&self) -> bool {
        self.place.is_some()
    }

    /// The next events of the past.
    pub(crate) fn catch_up(&mut self) -> CatchUp {
        let mut events = Vec::new();
        let Some(place) = self.place else { return CatchUp::Events(events) };
        let mut state = self.hub.routing();
        let mut looked_at = 0;
        let mut reached_the_present = true;
        let Some(entries) = state.ring.since(place) else {
            self.place = None;
            self.offset = state.next_offset;
            state.admit(self.group, &self.subscriber);
            return CatchUp::Overtaken;
        };
        for (fact, seen_by) in entries {
            if looked_at == CATCH_UP_SCAN || events.len() == CATCH_UP_EVENTS {
                reached_the_present = false;
                break;
            }
            looked_at += 1;
            if let Some(sight) = state.sight(self.group, &self.scope, &fact.change, seen_by)
                && self.subscriber.wants(&fact.change.kind, sight)
            {
                events.push((Arc::new(Event::new(Arc::clone(fact))), sight));
            }
        }
        if reached_the_present {
            self.place = None;
            state.admit(self.group, &self.subscriber);
        } else {
            self.place = Some(place + looked_at as u64);
        }
        CatchUp::Events(events)
    }

    /// Forgets what waits; from the offset in the answer on, the stream is complete again.
    pub(crate) fn restart(&mut self) -> Offset {
        let state = self.hub.routing();
        // What waits was routed before that offset, so what is read from now on contains it.
        drop(self.subscriber.take());
        self.offset = state.next_offset;
        self.offset
    }

    /// The offset up to which everything has been taken, if nothing waits.
    pub(crate) fn bookmark(&self) -> Option<Offset> {
        let state = self.hub.routing();
        let nothing_waits = self.place.is_none() && self.subscriber.mailbox.lock().is_empty();
        nothing_waits.then_some(state.next_offset)
    }
}
