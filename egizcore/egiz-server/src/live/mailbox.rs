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

use egiz_model::ThingId;
use egiz_twin::ChangeKind;
use egiz_twin::interest::Sight;

use super::event::Event;

/// What of a Thing is owed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    /// Something that is not a feature's properties: the Thing came, went, or its head changed.
    pub(crate) whole: bool,
    /// Features whose properties changed.
    pub(crate) features: BTreeSet<Arc<str>>,
}

/// What is taken out.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Events in order.
    Events(Vec<(Arc<Event>, Sight)>),
    /// The newest state of these is owed, for so many changes.
    Newest { things: BTreeMap<ThingId, Owed>, changes: u64 },
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
    Newest { things: BTreeMap<ThingId, Owed>, keys: usize, changes: u64 },
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

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.state, State::Events(events) if events.is_empty())
    }

    /// Whether a lossless subscription did not keep up.
    pub(crate) fn overflowed(&self) -> bool {
        matches!(self.state, State::Overflow)
    }

    /// Files an event; whether it was merged into newest state instead of being kept.
    pub(crate) fn push(&mut self, event: &Arc<Event>, sight: Sight) -> bool {
        if let State::Events(events) = &mut self.state {
            if self.mode != Mode::Newest && events.len() < self.events_max {
                events.push_back((Arc::clone(event), sight));
                return false;
            }
            if self.mode == Mode::Lossless {
                self.state = State::Overflow;
                return true;
            }
            let waiting = std::mem::take(events);
            self.state = State::Newest { things: BTreeMap::new(), keys: 0, changes: 0 };
            for (event, sight) in waiting {
                self.owe(&event, sight);
            }
        }
        self.owe(event, sight);
        true
    }

    fn owe(&mut self, event: &Event, sight: Sight) {
        match &mut self.state {
            State::Newest { things, keys, changes } => {
                *changes += 1;
                let owed = things.entry(event.change.thing.clone()).or_insert_with(|| {
                    *keys += 1;
                    Owed::default()
                });
                match &event.change.kind {
                    ChangeKind::Feature { feature, removed: false, .. } if sight == Sight::Seen => {
                        if owed.features.insert(Arc::clone(feature)) {
                            *keys += 1;
                        }
                    }
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
            State::Events(events) => Taken::Events(events.into()),
            State::Newest { things, changes, .. } => Taken::Newest { things, changes },
            State::Resync { changes } => Taken::Resync { changes },
            State::Overflow => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egiz_model::Timestamp;
    use egiz_twin::Change;
    use proptest::prelude::*;

    fn event(thing: u8, feature: Option<u8>, offset: u64) -> Arc<Event> {
        let kind = match feature {
            Some(feature) => ChangeKind::Feature {
                feature: format!("f{feature}").into(),
                properties: Vec::new(),
                removed: false,
            },
            None => ChangeKind::Attributes,
        };
        let change = Change {
            thing: ThingId::new(&format!("s:{thing}")).expect("an id"),
            slot: thing.into(),
            revision: offset,
            offset,
            received: Timestamp::default(),
            source: None,
            principal: "p".into(),
            correlation: None,
            kind,
        };
        Arc::new(Event::new(change, Timestamp::default(), Timestamp::default()))
    }

    #[test]
    fn a_lossless_subscription_overflows_instead_of_losing() {
        let mut mailbox = Mailbox::new(Mode::Lossless, 1, 10);
        assert!(!mailbox.push(&event(1, None, 1), Sight::Seen));
        assert!(mailbox.push(&event(1, None, 2), Sight::Seen));
        assert!(mailbox.overflowed() && mailbox.take().is_none());
    }

    proptest! {
        #[test]
        fn nothing_is_forgotten_and_nothing_grows(steps in prop::collection::vec(prop::option::weighted(0.8, (0..4_u8, prop::option::of(0..3_u8))), 0..80), events_max in 1..5_usize, keys_max in 1..12_usize) {
            let mut mailbox = Mailbox::new(Mode::Conflate, events_max, keys_max);
            // What was pushed since the last take, in order.
            let mut pending: Vec<(u8, Option<u8>, u64)> = Vec::new();
            for (offset, step) in steps.into_iter().enumerate() {
                let offset = offset as u64;
                match step {
                    Some((thing, feature)) => {
                        mailbox.push(&event(thing, feature, offset), Sight::Seen);
                        pending.push((thing, feature, offset));
                    }
                    None => {
                        match mailbox.take() {
                            None => prop_assert!(pending.is_empty()),
                            Some(Taken::Events(events)) => {
                                prop_assert!(events.len() <= events_max);
                                let offsets: Vec<u64> = events.iter().map(|(event, _)| event.change.offset).collect();
                                prop_assert_eq!(offsets, pending.iter().map(|(.., offset)| *offset).collect::<Vec<_>>());
                            }
                            Some(Taken::Newest { things, changes }) => {
                                prop_assert_eq!(changes, pending.len() as u64);
                                for (thing, feature, _) in &pending {
                                    let id = ThingId::new(&format!("s:{thing}")).expect("an id");
                                    let owed = &things[&id];
                                    match feature {
                                        Some(feature) => {
                                            let name = format!("f{feature}");
                                            prop_assert!(owed.features.contains(name.as_str()));
                                        }
                                        None => prop_assert!(owed.whole),
                                    }
                                }
                                let keys: usize = things.values().map(|owed| 1 + owed.features.len()).sum();
                                prop_assert!(keys <= keys_max);
                            }
                            Some(Taken::Resync { changes }) => prop_assert_eq!(changes, pending.len() as u64),
                        }
                        pending.clear();
                    }
                }
            }
        }
    }
}
