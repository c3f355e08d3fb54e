//! Which subscriptions see a change, what is kept for those that come back, and who follows which filter.
//!
//! Pure but for the mailboxes that it fills: the hub holds it under its lock and gives it changes in order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use egiz_model::Offset;
use egiz_twin::interest::{GroupId, Interest, Sight, Target};
use egiz_twin::{Change, ChangeKind, Engine};
use parking_lot::RwLock;
use tokio::sync::Notify;

use super::event::Event;
use super::fact::Fact;
use super::mailbox::Mode;
use super::metrics::LiveMetrics;
use super::ring::Ring;
use super::settings::HubSettings;
use super::subscriber::Subscriber;
use super::ticket::Scope;
use crate::ports::AppliedBatch;

/// The routing of all subscriptions.
pub(super) struct Routing {
    interest: Interest,
    groups: HashMap<GroupId, Group>,
    /// Filters without subscribers, oldest first, with the offset at which they were left.
    lingering: VecDeque<(GroupId, Offset)>,
    pub(super) ring: Ring,
    pub(super) next_offset: Offset,
    /// Whom to wake for what was filed since the last [`Routing::woken`].
    woken: Vec<Arc<Notify>>,
}

/// The subscribers of equal targets.
struct Group {
    /// Subscriptions, those that catch up included.
    tickets: usize,
    /// Those that take part.
    subscribers: Vec<Arc<Subscriber>>,
    is_filter: bool,
    /// Which Things it holds has been followed from this offset on.
    born: Offset,
}

impl Routing {
    pub(super) fn new(settings: &HubSettings, next_offset: Offset) -> Self {
        Self {
            interest: Interest::default(),
            groups: HashMap::new(),
            lingering: VecDeque::new(),
            ring: Ring::new(settings.ring_events, settings.ring_bytes, next_offset),
            next_offset,
            woken: Vec::new(),
        }
    }

    /// Files a batch of whole records; how many changes that were.
    pub(super) fn file_batch(
        &mut self,
        engine: &RwLock<Engine>,
        batch: AppliedBatch,
        metrics: &LiveMetrics,
    ) -> usize {
        self.next_offset = batch.next_offset;
        if batch.changes.is_empty() {
            return 0;
        }
        let engine = engine.read();
        let (durable, applied) = (batch.durable, batch.applied);
        let mut changes = batch.changes.into_iter().filter(concerns_things).peekable();
        let mut count = 0;
        while let Some(change) = changes.next() {
            let more = changes.peek().is_some_and(|next| next.offset == change.offset);
            self.file(&engine, Arc::new(Fact { change, durable, applied, more }), metrics);
            count += 1;
        }
        if count > 0 {
            self.forget_lingering(usize::MAX);
            metrics.ring_bytes.set(self.ring.bytes() as u64);
        }
        count
    }

    /// Whom to wake for what was filed. Once for all of it: a client that is woken for each change would send each by
    /// itself.
    pub(super) fn woken(&mut self) -> Vec<Arc<Notify>> {
        std::mem::take(&mut self.woken)
    }

    fn file(&mut self, engine: &Engine, fact: Arc<Fact>, metrics: &LiveMetrics) {
        let Self { interest, groups, ring, woken, .. } = self;
        let event = Arc::new(Event::new(Arc::clone(&fact)));
        let mut seen_by = Vec::new();
        interest.route(engine, &fact.change, |id, sight| {
            let Some(group) = groups.get(&id) else { return };
            if group.is_filter {
                seen_by.push((id, sight));
            }
            for subscriber in &group.subscribers {
                if subscriber.wants(&fact.change.kind, sight) && subscriber.push(&event, sight, metrics) {
                    woken.push(Arc::clone(&subscriber.ready));
                }
            }
        });
        ring.push(fact, seen_by.into());
    }

    /// Adds a subscriber to the group of a target, and the group where there is none.
    pub(super) fn join(&mut self, engine: &Engine, target: Target) -> GroupId {
        let is_filter = matches!(target, Target::Filter(_));
        let id = self.interest.add(engine, target);
        if let Some(group) = self.groups.get_mut(&id) {
            group.tickets += 1;
            let before = self.lingering.len();
            self.lingering.retain(|(other, _)| *other != id);
            if self.lingering.len() < before {
                // What kept it alive until now.
                self.interest.remove(id);
            }
        } else {
            // The engine may be ahead of what has been routed; the changes between are in the group's Things already.
            let born = engine.next_offset();
            self.groups.insert(id, Group { tickets: 1, subscribers: Vec::new(), is_filter, born });
        }
        id
    }

    /// Where in the ring a subscription goes on, if everything since then is there. `applied` is where the engine is: somebody
    /// may have read it there before the changes came here.
    pub(super) fn place_to_resume(
        &self,
        group: GroupId,
        from: Offset,
        mode: Mode,
        applied: Offset,
    ) -> Option<u64> {
        let group = self.groups.get(&group)?;
        let was_followed = !group.is_filter || from >= group.born;
        if mode == Mode::Newest || from > applied || !was_followed {
            return None;
        }
        self.ring.place_of(from)
    }

    /// From now on the subscriber gets what its group sees.
    pub(super) fn admit(&mut self, group: GroupId, subscriber: &Arc<Subscriber>) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.subscribers.push(Arc::clone(subscriber));
        }
    }

    pub(super) fn leave(&mut self, id: GroupId, subscriber: &Arc<Subscriber>, lingering_max: usize) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.subscribers.retain(|other| !Arc::ptr_eq(other, subscriber));
        group.tickets -= 1;
        if group.tickets > 0 {
            return self.interest.remove(id);
        }
        if group.is_filter && !self.ring.keeps_nothing() {
            self.lingering.push_back((id, self.next_offset));
            self.forget_lingering(lingering_max);
        } else {
            self.groups.remove(&id);
            self.interest.remove(id);
        }
    }

    /// Stops following filters that nobody can resume any more, and the oldest beyond a number.
    fn forget_lingering(&mut self, keep_max: usize) {
        while let Some((id, left_at)) = self.lingering.front().copied()
            && (self.lingering.len() > keep_max || left_at < self.ring.from())
        {
            self.lingering.pop_front();
            self.groups.remove(&id);
            self.interest.remove(id);
        }
    }

    /// Whether a group saw a change back then, and how.
    pub(super) fn sight(
        &self,
        group: GroupId,
        scope: &Scope,
        change: &Change,
        seen_by: &[(GroupId, Sight)],
    ) -> Option<Sight> {
        match scope {
            Scope::All => Some(Sight::Seen),
            Scope::Things(things) => things.contains(&change.thing).then_some(Sight::Seen),
            Scope::Filter(_) => seen_by.iter().find(|(id, _)| *id == group).map(|(_, sight)| *sight),
        }
    }
}

fn concerns_things(change: &Change) -> bool {
    !matches!(change.kind, ChangeKind::Discovered | ChangeKind::Template { .. })
}
