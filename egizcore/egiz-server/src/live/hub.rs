//! Where changes meet subscriptions.
//!
//! Everything happens under one lock, taken by the apply thread for a batch and by a client for a moment: so a subscription
//! begins between two batches, and the offset in its answer is exactly where its stream becomes complete. The snapshot is
//! read afterwards, piece by piece, and may be newer than that offset; an event that a piece already contains comes again,
//! with a revision that the Thing has reached, which does no harm. Nothing long is done under the lock: snapshots, filters of
//! slow clients and encoding take the engine's lock alone, and only for one piece at a time.
//!
//! Locks are taken in this order: hub, then engine or one mailbox. Nobody who holds the engine's lock asks for the hub's.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use egiz_model::{Offset, ThingId};
use egiz_twin::interest::{GroupId, Interest, Sight, Target};
use egiz_twin::{Change, ChangeKind, Engine};
use parking_lot::{Mutex, MutexGuard, RwLock};
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::board::Boards;
use super::event::{Event, Fact, feature_of};
use super::mailbox::{Mailbox, Mode, Taken};
use super::metrics::LiveMetrics;
use super::ring::Ring;
use super::ticket::{Scope, Ticket};
use super::tickets::Tickets;
use crate::ports::AppliedBatch;

/// Bounds of live subscriptions.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Clients at once; more are answered 503.
    pub clients_max: usize,
    /// Events that wait for one subscription; then it gets the newest state instead.
    pub mailbox_events: usize,
    /// Things and features whose newest state may be owed to one subscription; then everything is sent anew.
    pub owed_keys_max: usize,
    /// Subscriptions of one client; more are refused.
    pub subscriptions_per_client_max: usize,
    /// Events kept for clients that come back; the oldest go.
    pub ring_events: usize,
    /// Bytes kept for clients that come back, estimated; the oldest go.
    pub ring_bytes: usize,
    /// Filters followed on after their last client left, so that it can go on where it was; the oldest go.
    pub lingering_filters_max: usize,
    /// How often a client is pinged; two missed pings close it.
    pub ping_interval: Duration,
    /// How often a quiet subscription is told the offset.
    pub bookmark_interval: Duration,
    /// The largest frame from a client, in bytes.
    pub frame_bytes_max: usize,
    /// Commands of one client in a second; more are refused, ten times as many close it.
    pub commands_per_second_max: u32,
    /// Writes of one client that wait for their answer; then nothing more is read from it.
    pub writes_in_flight_max: usize,
    /// Slots of one column table; further properties are left out and counted.
    pub slots_max: usize,
    /// How long a client may leave its socket full; then it is closed.
    pub write_patience: Duration,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            clients_max: 5000,
            mailbox_events: 1024,
            owed_keys_max: 65_536,
            subscriptions_per_client_max: 100,
            ring_events: 100_000,
            ring_bytes: 16 << 20,
            lingering_filters_max: 64,
            ping_interval: Duration::from_secs(30),
            bookmark_interval: Duration::from_secs(15),
            frame_bytes_max: 64 << 10,
            commands_per_second_max: 100,
            writes_in_flight_max: 64,
            slots_max: 500_000,
            write_patience: Duration::from_secs(60),
        }
    }
}

/// Takes what was applied and files it for the subscriptions; cloning shares it.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

impl std::fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Hub")
    }
}

struct Shared {
    engine: Arc<RwLock<Engine>>,
    settings: HubSettings,
    metrics: LiveMetrics,
    state: Mutex<State>,
    boards: Boards,
    tickets: Tickets,
    clients: AtomicU64,
    stopping: CancellationToken,
}

pub(super) struct State {
    interest: Interest,
    groups: HashMap<GroupId, Group>,
    /// Filters without subscribers, oldest first, with the offset at which they were left.
    lingering: VecDeque<(GroupId, Offset)>,
    pub(super) ring: Ring,
    pub(super) next_offset: Offset,
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

/// One subscription as the hub sees it.
pub(crate) struct Subscriber {
    pub(super) mailbox: Mutex<Mailbox>,
    /// Features that it wants; `None` is all.
    features: Option<Vec<String>>,
    pub(super) ready: Arc<Notify>,
}

impl Subscriber {
    pub(crate) fn take(&self) -> Option<Taken> {
        self.mailbox.lock().take()
    }

    pub(crate) fn overflowed(&self) -> bool {
        self.mailbox.lock().overflowed()
    }

    /// Whether it shows a change. A Thing that comes into view or leaves it is always shown: which feature made it do so
    /// need not be one that is shown.
    pub(crate) fn wants(&self, kind: &ChangeKind, sight: Sight) -> bool {
        match (&self.features, feature_of(kind)) {
            (Some(features), Some(feature)) if sight == Sight::Seen => {
                features.iter().any(|wanted| wanted == feature)
            }
            _ => true,
        }
    }

    fn push(&self, event: &Arc<Event>, sight: Sight, metrics: &LiveMetrics) {
        let (was_empty, merged) = {
            let mut mailbox = self.mailbox.lock();
            let was_empty = mailbox.is_empty();
            let kept = mailbox.push(event, sight);
            (was_empty, !kept && mailbox.mode() == Mode::Conflate)
        };
        if merged {
            metrics.conflated.inc();
        }
        if was_empty {
            self.ready.notify_one();
        }
    }
}

/// What a client subscribes with.
pub(crate) struct Wish {
    pub(crate) target: Target,
    pub(crate) features: Option<Vec<String>>,
    pub(crate) mode: Mode,
    pub(crate) from: Option<Offset>,
    pub(crate) ready: Arc<Notify>,
}

impl Hub {
    /// A hub without subscriptions.
    #[must_use]
    pub fn new(engine: Arc<RwLock<Engine>>, settings: HubSettings, registry: &mut Registry) -> Self {
        let next_offset = engine.read().next_offset();
        let state = State {
            interest: Interest::default(),
            groups: HashMap::new(),
            lingering: VecDeque::new(),
            ring: Ring::new(settings.ring_events, settings.ring_bytes, next_offset),
            next_offset,
        };
        Self(Arc::new(Shared {
            engine,
            settings,
            metrics: LiveMetrics::register(registry),
            state: Mutex::new(state),
            boards: Boards::default(),
            tickets: Tickets::default(),
            clients: AtomicU64::new(0),
            stopping: CancellationToken::new(),
        }))
    }

    /// Files what was applied, whole records at a time. Called in order by one thread; never waits for a client.
    pub fn publish(&self, batch: AppliedBatch) {
        let shared = &*self.0;
        let mut state = shared.state.lock();
        let state = &mut *state;
        state.next_offset = batch.next_offset;
        let mut changes = batch.changes.into_iter().filter(concerns_things).peekable();
        if changes.peek().is_none() {
            return;
        }
        let (durable, applied) = (batch.durable, batch.applied);
        {
            let engine = shared.engine.read();
            while let Some(change) = changes.next() {
                let more = changes.peek().is_some_and(|next| next.offset == change.offset);
                state.file(&engine, Arc::new(Fact { change, durable, applied, more }), &shared.metrics);
            }
        }
        state.forget_lingering(usize::MAX);
        shared.metrics.ring_bytes.set(state.ring.bytes() as u64);
    }

    /// Tells every client to go and come back in a moment.
    pub fn shut_down(&self) {
        self.0.stopping.cancel();
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    pub(crate) fn settings(&self) -> &HubSettings {
        &self.0.settings
    }

    pub(crate) fn metrics(&self) -> &LiveMetrics {
        &self.0.metrics
    }

    pub(crate) fn engine(&self) -> &RwLock<Engine> {
        &self.0.engine
    }

    pub(crate) fn boards(&self) -> &Boards {
        &self.0.boards
    }

    pub(crate) fn tickets(&self) -> &Tickets {
        &self.0.tickets
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// A place for a client, if there is one; given back when dropped.
    pub(crate) fn enter(&self) -> Option<Seat> {
        let taken = self.0.clients.fetch_add(1, Ordering::AcqRel);
        self.0.metrics.clients.inc();
        let seat = Seat(self.clone());
        let is_free = usize::try_from(taken).is_ok_and(|taken| taken < self.0.settings.clients_max);
        if !is_free {
            self.0.metrics.count_closed("too-many-clients");
        }
        is_free.then_some(seat)
    }

    /// Whether something that happened to this Thing since an offset can still be told.
    pub(crate) fn remembers(&self, thing: &ThingId, from: Offset) -> bool {
        let state = self.state();
        let place = state.ring.place_of(from);
        let mut since = place.and_then(|place| state.ring.since(place)).into_iter().flatten();
        since.any(|(fact, _)| fact.change.thing == *thing)
    }

    /// Begins a subscription. Where it can be resumed, the ticket catches up before it takes part.
    pub(crate) fn subscribe(&self, wish: Wish) -> Ticket {
        let settings = &self.0.settings;
        let subscriber = Arc::new(Subscriber {
            mailbox: Mutex::new(Mailbox::new(wish.mode, settings.mailbox_events, settings.owed_keys_max)),
            features: wish.features,
            ready: wish.ready,
        });
        let scope = Scope::of(&wish.target);
        let mut state = self.state();
        let group = state.join(&self.0.engine.read(), wish.target);
        let place = wish.from.and_then(|from| state.place_to_resume(group, from, wish.mode));
        if place.is_none() {
            state.admit(group, &subscriber);
        }
        let offset = state.next_offset;
        drop(state);
        self.0.metrics.subscriptions.inc();
        if place.is_some() {
            self.0.metrics.resumes.inc();
        }
        Ticket::new(self.clone(), group, scope, subscriber, offset, place)
    }

    /// Ends a subscription.
    pub(super) fn leave(&self, group: GroupId, subscriber: &Arc<Subscriber>) {
        self.state().leave(group, subscriber, self.0.settings.lingering_filters_max);
        self.0.metrics.subscriptions.dec();
    }
}

impl State {
    fn file(&mut self, engine: &Engine, fact: Arc<Fact>, metrics: &LiveMetrics) {
        let Self { interest, groups, ring, .. } = self;
        let event = Arc::new(Event::new(Arc::clone(&fact)));
        let mut seen_by = Vec::new();
        interest.route(engine, &fact.change, |id, sight| {
            let Some(group) = groups.get(&id) else { return };
            if group.is_filter {
                seen_by.push((id, sight));
            }
            for subscriber in &group.subscribers {
                if subscriber.wants(&fact.change.kind, sight) {
                    subscriber.push(&event, sight, metrics);
                }
            }
        });
        ring.push(fact, seen_by.into());
    }

    /// Adds a subscriber to the group of a target, and the group where there is none.
    fn join(&mut self, engine: &Engine, target: Target) -> GroupId {
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

    /// Where in the ring a subscription goes on, if everything since then is there.
    fn place_to_resume(&self, group: GroupId, from: Offset, mode: Mode) -> Option<u64> {
        let group = self.groups.get(&group)?;
        let was_followed = !group.is_filter || from >= group.born;
        if mode == Mode::Newest || from > self.next_offset || !was_followed {
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

    fn leave(&mut self, id: GroupId, subscriber: &Arc<Subscriber>, lingering_max: usize) {
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

impl Scope {
    fn of(target: &Target) -> Self {
        match target {
            Target::All => Self::All,
            Target::Things(things) => Self::Things(things.iter().cloned().collect::<HashSet<_>>()),
            Target::Filter(filter) => Self::Filter(filter.clone()),
        }
    }
}

/// A client's place.
pub(crate) struct Seat(Hub);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.clients.fetch_sub(1, Ordering::AcqRel);
        self.0.0.metrics.clients.dec();
    }
}
