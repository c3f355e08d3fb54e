//! What waits for one subscription. Pure; bounded whatever happens.
//!
//! ```text
//!            push, room                    push, no room
//!  events ───────────────► events   events ──────────────► newest      lossless: ► overflow (closed, 1013)
//!     ▲                                                       │ push
//!     └──────────────── take: all, in order ◄─────────────────┘ take: keys of what changed, and how many changes that was
//!                                              more keys than allowed ► resync
//! ```
//!
//! While the newest state is owed, events are not kept besides, so order holds: what is taken as newest is read from the
//! engine after everything that was pushed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use egiz_model::{Offset, ThingId};
use egiz_twin::ChangeKind;
use egiz_twin::interest::Sight;

use super::event::Event;

/// What of a Thing is owed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    /// It came, came into view, went, or lost a feature: all of it.
    pub(crate) whole: bool,
    /// Its definition or attributes.
    pub(crate) head: bool,
    /// Its connection.
    pub(crate) connection: bool,
    /// Features of which properties, desired properties or metadata changed.
    pub(crate) features: BTreeSet<Arc<str>>,
}

/// What is taken out.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Events in order.
    Events(VecDeque<(Arc<Event>, Sight)>),
    /// The newest state of these is owed, for so many changes; with it everything before `next` is told.
    Newest { things: BTreeMap<ThingId, Owed>, changes: u64, next: Offset },
    /// More was owed than is kept track of: everything is to be sent anew.
    Resync { changes: u64 },
}

/// How a mailbox behaves at its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Newest state instead of a backlog.
    Conflate,
    /// Everything or an end.
    Lossless,
    /// Only ever the newest state: columns.
    Newest,
}

#[derive(Debug)]
enum State {
    Events(VecDeque<(Arc<Event>, Sight)>),
    Newest { things: BTreeMap<ThingId, Owed>, keys: usize, changes: u64, next: Offset },
    Resync { changes: u64 },
    Overflow,
}

/// The mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox {
    mode: Mode,
    events_max: usize,
    keys_max: usize,
    state: State,
}

impl Mailbox {
    pub(crate) fn new(mode: Mode, events_max: usize, keys_max: usize) -> Self {
        Self { mode, events_max, keys_max, state: State::Events(VecDeque::new()) }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.state, State::Events(events) if events.is_empty())
    }

    /// Whether a lossless subscription did not keep up.
    pub(crate) fn overflowed(&self) -> bool {
        matches!(self.state, State::Overflow)
    }

    /// Files an event; whether it was kept as such and not merged into newest state.
    pub(crate) fn push(&mut self, event: &Arc<Event>, sight: Sight) -> bool {
        if let State::Events(events) = &mut self.state {
            if self.mode != Mode::Newest && events.len() < self.events_max {
                events.push_back((Arc::clone(event), sight));
                return true;
            }
            if self.mode == Mode::Lossless {
                self.state = State::Overflow;
                return false;
            }
            let waiting = std::mem::take(events);
            self.state = State::Newest { things: BTreeMap::new(), keys: 0, changes: 0, next: 0 };
            for (event, sight) in waiting {
                self.owe(&event, sight);
            }
        }
        self.owe(event, sight);
        false
    }

    fn owe(&mut self, event: &Event, sight: Sight) {
        match &mut self.state {
            State::Newest { things, keys, changes, next } => {
                *changes += 1;
                *next = event.fact.next();
                let change = &event.fact.change;
                if !things.contains_key(&change.thing) {
                    *keys += 1;
                    things.insert(change.thing.clone(), Owed::default());
                }
                let Some(owed) = things.get_mut(&change.thing) else { return };
                match &change.kind {
                    _ if sight != Sight::Seen => owed.whole = true,
                    ChangeKind::Feature { feature, removed: false, .. }
                    | ChangeKind::Desired { feature }
                    | ChangeKind::Metadata { feature, .. } => {
                        if !owed.features.contains(feature) {
                            *keys += 1;
                            owed.features.insert(Arc::clone(feature));
                        }
                    }
                    ChangeKind::Definition | ChangeKind::Attributes => owed.head = true,
                    ChangeKind::Connection(_) => owed.connection = true,
                    _ => owed.whole = true,
                }
                if *keys > self.keys_max {
                    self.state = State::Resync { changes: *changes };
                }
            }
            State::Resync { changes } => *changes += 1,
            State::Events(_) | State::Overflow => {}
        }
    }

    /// Takes what waits; `None` when nothing does.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        if self.is_empty() || self.overflowed() {
            return None;
        }
        Some(match std::mem::replace(&mut self.state, State::Events(VecDeque::new())) {
            State::Events(events) => Taken::Events(events),
            State::Newest { things, changes, next, .. } => Taken::Newest { things, changes, next },
            State::Resync { changes } => Taken::Resync { changes },
            State::Overflow => return None,
        })
    }
}

#[cfg(test)]
mod tests;
