//! Where changes meet subscriptions.
//!
//! Everything happens under one lock, taken by the apply thread for a batch and by a client for subscribing: so a
//! subscription begins between two batches, and the offset in its answer is exactly where its stream becomes complete.
//! The snapshot is read afterwards and may be newer than that; an event that it already contains comes again with the same
//! revision, which does no harm.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use egiz_model::{Offset, ThingId};
use egiz_twin::interest::{GroupId, Interest, Sight, Target};
use egiz_twin::{ChangeKind, Engine};
use parking_lot::{Mutex, RwLock};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::event::Event;
use super::mailbox::{Mailbox, Mode};
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
    /// Events kept for clients that come back.
    pub ring_events: usize,
    /// How often a client is pinged; two missed pings close it.
    pub ping_interval: Duration,
    /// How often a quiet subscription is told the offset.
    pub bookmark_interval: Duration,
    /// The largest frame from a client, in bytes.
    pub frame_bytes_max: usize,
    /// Commands of one client in a second; more are refused.
    pub commands_per_second_max: u32,
    /// Slots of one column subscription; further properties are left out and counted.
    pub slots_max: usize,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            clients_max: 5000,
            mailbox_events: 1024,
            owed_keys_max: 65_536,
            subscriptions_per_client_max: 100,
            ring_events: 100_000,
            ping_interval: Duration::from_secs(30),
            bookmark_interval: Duration::from_secs(15),
            frame_bytes_max: 64 << 10,
            commands_per_second_max: 100,
            slots_max: 500_000,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What live subscriptions count.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveMetrics {
    /// `egiz_server_live_clients`
    pub(crate) clients: Gauge<u64, AtomicU64>,
    /// `egiz_server_live_subscriptions`
    pub(crate) subscriptions: Gauge<u64, AtomicU64>,
    /// `egiz_server_live_frames_total`: frames sent.
    pub(crate) frames: Counter,
    /// `egiz_server_live_conflated_changes_total`: changes that a client got only as newest state.
    pub(crate) conflated: Counter,
    /// `egiz_server_live_resyncs_total`: times that everything was sent anew.
    pub(crate) resyncs: Counter,
    /// `egiz_server_live_closed_total{reason}`: clients that were closed.
    closed: Family<Reason, Counter>,
    /// `egiz_server_live_omitted_slots_total`: properties left out of columns at the bound.
    pub(crate) omitted_slots: Counter,
}

impl LiveMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "egiz_server_live_clients",
            "Clients with live subscriptions",
            metrics.clients.clone(),
        );
        registry.register(
            "egiz_server_live_subscriptions",
            "Live subscriptions",
            metrics.subscriptions.clone(),
        );
        registry.register("egiz_server_live_frames", "Frames sent", metrics.frames.clone());
        registry.register(
            "egiz_server_live_conflated_changes",
            "Changes that a client got only as newest state",
            metrics.conflated.clone(),
        );
        registry.register(
            "egiz_server_live_resyncs",
            "Times that everything was sent anew",
            metrics.resyncs.clone(),
        );
        registry.register("egiz_server_live_closed", "Clients that were closed", metrics.closed.clone());
        registry.register(
            "egiz_server_live_omitted_slots",
            "Properties left out of columns at the bound",
            metrics.omitted_slots.clone(),
        );
        metrics
    }

    pub(crate) fn count_closed(&self, reason: &'static str) {
        self.closed.get_or_create(&Reason { reason }).inc();
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
    clients: AtomicU64,
    stopping: CancellationToken,
}

struct State {
    interest: Interest,
    groups: HashMap<GroupId, Vec<Arc<Subscriber>>>,
    ring: VecDeque<Arc<Event>>,
    /// Events from this offset on are in the ring.
    ring_from: Offset,
    next_offset: Offset,
}

/// One subscription as the hub sees it.
pub(crate) struct Subscriber {
    mailbox: Mutex<Mailbox>,
    /// Features that it wants; `None` is all.
    features: Option<Vec<String>>,
    ready: Arc<Notify>,
}

impl Subscriber {
    pub(crate) fn take(&self) -> Option<super::mailbox::Taken> {
        self.mailbox.lock().take()
    }

    pub(crate) fn overflowed(&self) -> bool {
        self.mailbox.lock().overflowed()
    }

    fn wants(&self, event: &Event) -> bool {
        match (&self.features, event.feature()) {
            (Some(features), Some(feature)) => features.iter().any(|wanted| wanted == feature),
            _ => true,
        }
    }

    fn push(&self, event: &Arc<Event>, sight: Sight, metrics: &LiveMetrics) {
        if !self.wants(event) {
            return;
        }
        let (was_empty, merged) = {
            let mut mailbox = self.mailbox.lock();
            let was_empty = mailbox.is_empty();
            (was_empty, mailbox.push(event, sight))
        };
        if merged {
            metrics.conflated.inc();
        }
        if was_empty || merged {
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

/// A subscription; dropping it ends it.
pub(crate) struct Ticket {
    hub: Hub,
    group: GroupId,
    pub(crate) subscriber: Arc<Subscriber>,
    /// From here on the stream is complete.
    pub(crate) offset: Offset,
    /// Whether the events since the wished offset are in the mailbox; if not, a snapshot is owed.
    pub(crate) resumed: bool,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.hub.0.state.lock();
        if let Some(subscribers) = state.groups.get_mut(&self.group) {
            subscribers.retain(|other| !Arc::ptr_eq(other, &self.subscriber));
            if subscribers.is_empty() {
                state.groups.remove(&self.group);
            }
        }
        state.interest.remove(self.group);
        self.hub.0.metrics.subscriptions.dec();
    }
}

impl Ticket {
    /// Slots of the Things that belong to the subscription now.
    pub(crate) fn members(&self) -> Vec<u32> {
        let state = self.hub.0.state.lock();
        let engine = self.hub.0.engine.read();
        let slots = engine.things().map(|thing| thing.slot());
        slots.filter(|slot| state.interest.holds(&engine, self.group, *slot)).collect()
    }

    /// Which of these Things belong to the subscription now.
    ///
    /// Takes the hub's lock before the engine's, as everybody here does; a caller must hold neither.
    pub(crate) fn which_belong<'t>(&self, things: impl Iterator<Item = &'t ThingId>) -> BTreeSet<ThingId> {
        let state = self.hub.0.state.lock();
        let engine = self.hub.0.engine.read();
        things
            .filter(|id| {
                let thing = engine.thing(id.as_str());
                thing.is_some_and(|thing| state.interest.holds(&engine, self.group, thing.slot()))
            })
            .cloned()
            .collect()
    }
}

impl Hub {
    /// A hub without subscriptions.
    #[must_use]
    pub fn new(engine: Arc<RwLock<Engine>>, settings: HubSettings, registry: &mut Registry) -> Self {
        let next_offset = engine.read().next_offset();
        let state = State {
            interest: Interest::default(),
            groups: HashMap::new(),
            ring: VecDeque::new(),
            ring_from: next_offset,
            next_offset,
        };
        Self(Arc::new(Shared {
            engine,
            settings,
            metrics: LiveMetrics::register(registry),
            state: Mutex::new(state),
            clients: AtomicU64::new(0),
            stopping: CancellationToken::new(),
        }))
    }

    /// Files what was applied. Called in order by one thread; never waits for a client.
    pub fn publish(&self, batch: AppliedBatch) {
        let shared = &*self.0;
        let mut state = shared.state.lock();
        let State { interest, groups, ring, ring_from, next_offset } = &mut *state;
        *next_offset = batch.next_offset;
        if batch.changes.is_empty() {
            return;
        }
        let engine = shared.engine.read();
        for change in batch.changes {
            if matches!(change.kind, ChangeKind::Discovered | ChangeKind::Template { .. }) {
                continue;
            }
            let event = Arc::new(Event::new(change, batch.durable, batch.applied));
            interest.route(&engine, &event.change, |group, sight| {
                for subscriber in groups.get(&group).into_iter().flatten() {
                    subscriber.push(&event, sight, &shared.metrics);
                }
            });
            if ring.len() >= shared.settings.ring_events
                && let Some(oldest) = ring.pop_front()
            {
                // Others of the same record may still be there, but no longer all of it.
                *ring_from = oldest.change.offset + 1;
            }
            if shared.settings.ring_events > 0 {
                ring.push_back(event);
            } else {
                *ring_from = batch.next_offset;
            }
        }
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

    /// The offset up to which subscriptions have been served.
    pub(crate) fn next_offset(&self) -> Offset {
        self.0.state.lock().next_offset
    }

    /// A place for a client, if there is one; given back when dropped.
    pub(crate) fn enter(&self) -> Option<Seat> {
        let taken = self.0.clients.fetch_add(1, Ordering::AcqRel);
        let seat = Seat(self.clone());
        self.0.metrics.clients.set(taken + 1);
        (usize::try_from(taken).is_ok_and(|taken| taken < self.0.settings.clients_max)).then_some(seat)
    }

    /// Begins a subscription.
    pub(crate) fn subscribe(&self, wish: Wish) -> Ticket {
        let settings = &self.0.settings;
        let mut mailbox = Mailbox::new(wish.mode, settings.mailbox_events, settings.owed_keys_max);
        let mut state = self.0.state.lock();
        let engine = self.0.engine.read();
        // Which Things satisfied a filter back then is not known, so only fixed targets can be resumed.
        let fixed = !matches!(wish.target, Target::Filter(_));
        let group = state.interest.add(&engine, wish.target);
        let subscriber_features = wish.features;
        let resumable = wish.from.filter(|from| {
            fixed && wish.mode != Mode::Newest && *from >= state.ring_from && *from <= state.next_offset
        });
        let probe = Subscriber {
            mailbox: Mutex::new(Mailbox::new(Mode::Newest, 0, 1)),
            features: subscriber_features,
            ready: Arc::clone(&wish.ready),
        };
        if let Some(from) = resumable {
            for event in state.ring.iter().filter(|event| event.change.offset >= from && probe.wants(event)) {
                let deleted = event.change.kind == ChangeKind::Deleted;
                if deleted || state.interest.holds(&engine, group, event.change.slot) {
                    mailbox.push(event, Sight::Seen);
                }
            }
        }
        let subscriber = Arc::new(Subscriber {
            mailbox: Mutex::new(mailbox),
            features: probe.features,
            ready: wish.ready,
        });
        state.groups.entry(group).or_default().push(Arc::clone(&subscriber));
        let offset = state.next_offset;
        drop(engine);
        drop(state);
        self.0.metrics.subscriptions.inc();
        subscriber.ready.notify_one();
        Ticket { hub: self.clone(), group, subscriber, offset, resumed: resumable.is_some() }
    }
}

/// A client's place.
pub(crate) struct Seat(Hub);

impl Drop for Seat {
    fn drop(&mut self) {
        let before = self.0.0.clients.fetch_sub(1, Ordering::AcqRel);
        self.0.0.metrics.clients.set(before.saturating_sub(1));
    }
}
