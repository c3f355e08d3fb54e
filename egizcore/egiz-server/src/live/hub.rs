//! Where changes meet subscriptions.
//!
//! ```text
//!  apply thread ─ publish ─► route, file ─► worker: wake clients
//!                     └ a client subscribes just now ─► handed over (bounded) ─► worker: route, file, wake
//! ```
//!
//! Routing happens under one lock, taken by the apply thread for a batch and by a client for subscribing: so a subscription
//! begins between two batches, and the offset in its answer is exactly where its stream becomes complete. Before it begins,
//! what was handed over is routed. The snapshot is read afterwards, piece by piece, and may be newer than that offset; an
//! event that a piece already contains comes again, with a revision that the Thing has reached, which does no harm. Nothing
//! long is done under the lock but to find the Things of a new filter: snapshots, filters of slow clients and encoding take the
//! engine's lock alone, and only for one piece at a time.
//!
//! Batches are routed where they are applied, because a filter is decided on the engine's state: the later, the more of what
//! happened in between is not seen. But the apply thread does not wait for a client that subscribes; it hands the batch over to
//! the worker, a task of the runtime. Beyond [`HubSettings::handed_over_max`] it does wait, which is counted. Clients are woken
//! by the worker: from inside the runtime that costs no system call for each.
//!
//! Locks are taken in this order: routing, then handed-over batches, engine or one mailbox. Nobody who holds one of those
//! asks for the routing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use egiz_model::{Offset, ThingId};
use egiz_twin::Engine;
use egiz_twin::interest::GroupId;
use parking_lot::{Mutex, MutexGuard, RwLock};
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::acks::Acks;
use super::board::Boards;
use super::mailbox::Mailbox;
use super::metrics::LiveMetrics;
use super::playback::Stage;
use super::routing::Routing;
pub use super::settings::HubSettings;
use super::subscriber::{Subscriber, Wish};
use super::ticket::{Scope, Ticket};
use super::tickets::Tickets;
use crate::ports::AppliedBatch;

/// Changes that the worker routes before it lets others run.
const CHANGES_AT_ONCE: usize = 1024;

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
    routing: Mutex<Routing>,
    handed_over: Mutex<VecDeque<AppliedBatch>>,
    /// Whom the worker is to wake. Bounded: who has been woken is not put here again before it has taken what waits.
    woken: Mutex<Vec<Arc<Notify>>>,
    /// Wakes the worker; there is none without a runtime.
    worker: Option<Arc<Notify>>,
    boards: Boards,
    tickets: Tickets,
    acks: Acks,
    playback: Arc<Stage>,
    clients: AtomicU64,
    stopping: CancellationToken,
}

impl Hub {
    /// A hub without subscriptions.
    #[must_use]
    pub fn new(engine: Arc<RwLock<Engine>>, settings: HubSettings, registry: &mut Registry) -> Self {
        let next_offset = engine.read().next_offset();
        let routing = Routing::new(&settings, next_offset);
        let runtime = tokio::runtime::Handle::try_current().ok();
        let worker = runtime.is_some().then(Arc::<Notify>::default);
        let shared = Arc::new(Shared {
            engine,
            settings,
            metrics: LiveMetrics::register(registry),
            routing: Mutex::new(routing),
            handed_over: Mutex::default(),
            woken: Mutex::default(),
            worker: worker.clone(),
            boards: Boards::default(),
            tickets: Tickets::default(),
            acks: Acks::default(),
            playback: Arc::new(Stage::new(registry)),
            clients: AtomicU64::new(0),
            stopping: CancellationToken::new(),
        });
        if let (Some(runtime), Some(worker)) = (runtime, worker) {
            runtime.spawn(work(Arc::downgrade(&shared), worker));
        }
        Self(shared)
    }

    /// Takes what was applied, whole records at a time. Called in order by one thread; never waits for a client.
    pub fn publish(&self, batch: AppliedBatch) {
        let shared = &*self.0;
        let waiting = {
            let mut handed_over = shared.handed_over.lock();
            handed_over.push_back(batch);
            handed_over.len()
        };
        let mut routing = match (shared.routing.try_lock(), &shared.worker) {
            (Some(routing), _) => routing,
            (None, Some(worker)) if waiting <= shared.settings.handed_over_max => {
                return worker.notify_one();
            }
            (None, _) => {
                shared.metrics.waits.inc();
                shared.routing.lock()
            }
        };
        let (_, woken) = shared.route(&mut routing, usize::MAX);
        drop(routing);
        match &shared.worker {
            Some(worker) if !woken.is_empty() => {
                shared.woken.lock().extend(woken);
                worker.notify_one();
            }
            _ => wake(woken),
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

    pub(crate) fn boards(&self) -> &Boards {
        &self.0.boards
    }

    pub(crate) fn acks(&self) -> &Acks {
        &self.0.acks
    }

    pub(crate) fn playback(&self) -> &Arc<Stage> {
        &self.0.playback
    }

    pub(crate) fn tickets(&self) -> &Tickets {
        &self.0.tickets
    }

    pub(super) fn routing(&self) -> MutexGuard<'_, Routing> {
        self.0.routing.lock()
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
        let state = self.routing();
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
        let mut state = self.routing();
        let (_, woken) = self.0.route(&mut state, usize::MAX);
        let (group, applied) = {
            let engine = self.0.engine.read();
            (state.join(&engine, wish.target), engine.next_offset())
        };
        let place = wish.from.and_then(|from| state.place_to_resume(group, from, wish.mode, applied));
        if place.is_none() {
            state.admit(group, &subscriber);
        }
        let offset = state.next_offset;
        drop(state);
        wake(woken);
        self.0.metrics.subscriptions.inc();
        if place.is_some() {
            self.0.metrics.resumes.inc();
        }
        Ticket::new(self.clone(), group, scope, subscriber, offset, place)
    }

    /// Ends a subscription.
    pub(super) fn leave(&self, group: GroupId, subscriber: &Arc<Subscriber>) {
        self.routing().leave(group, subscriber, self.0.settings.lingering_filters_max);
        self.0.metrics.subscriptions.dec();
    }
}

impl Shared {
    /// Routes about so many of the changes that were handed over; whether some are left, and whom to wake.
    fn route(&self, routing: &mut Routing, changes: usize) -> (bool, Vec<Arc<Notify>>) {
        let mut routed = 0;
        let is_left = loop {
            // Taken out under the routing's lock, so that batches keep their order whoever routes them.
            let Some(batch) = self.handed_over.lock().pop_front() else { break false };
            routed += routing.file_batch(&self.engine, batch, &self.metrics);
            if routed >= changes {
                break true;
            }
        };
        (is_left, routing.woken())
    }
}

/// Routes what is handed over and wakes clients, until the hub is gone.
async fn work(shared: Weak<Shared>, worker: Arc<Notify>) {
    loop {
        worker.notified().await;
        let Some(shared) = shared.upgrade() else { return };
        wake(std::mem::take(&mut *shared.woken.lock()));
        while !shared.handed_over.lock().is_empty() {
            let (is_left, woken) = shared.route(&mut shared.routing.lock(), CHANGES_AT_ONCE);
            wake(woken);
            if is_left {
                tokio::task::yield_now().await;
            }
        }
    }
}

fn wake(woken: Vec<Arc<Notify>>) {
    woken.into_iter().for_each(|ready| ready.notify_one());
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.notify_one();
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

#[cfg(test)]
mod tests;
