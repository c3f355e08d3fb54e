//! The broker: who is connected and who subscribes to what.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use crate::gate::{Gatekeeper, Intake};
use crate::listener::Places;
use crate::message::Publish;
use crate::metrics::{BrokerMetrics, Qos};
use crate::outbox::{Delivery, Outbox};
use crate::retained::RetainedStore;
use crate::router::{ClientNumber, Match, Router, Subscription};
use crate::session::{Retained, SessionLimits, SubscribeRequest};

/// How a broker works. Every bound says what happens there.
#[derive(Debug, Clone, Copy)]
pub struct BrokerConfig {
    /// The largest packet, in bytes; a larger one closes the connection (0x95) before it is read.
    pub packet_bytes_max: usize,
    /// The largest CONNECT, in bytes; a larger one closes the connection before it is read.
    pub connect_bytes_max: usize,
    /// Connections; more are closed at once.
    pub connections_max: usize,
    /// Connections from one address; more are closed at once.
    pub connections_per_address_max: usize,
    /// How long a client may take to log in; then it is closed.
    pub connect_timeout: Duration,
    /// The longest keep-alive, in seconds; 0 allows every. A client that asks for more is told this one (MQTT 5) or has
    /// its own.
    pub keep_alive_max_s: u16,
    /// Subscriptions of one client; more are refused (0x97).
    pub subscriptions_max: usize,
    /// Bytes that may wait for one client; see `outbox` for what happens then.
    pub outbox_bytes_max: usize,
    /// Retained messages; a further one is not retained, and counted.
    pub retained_messages_max: usize,
    /// Bytes of retained messages; a further one is not retained, and counted.
    pub retained_bytes_max: usize,
    /// Topic aliases that an MQTT 5 client may use.
    pub topic_aliases_max: u16,
    /// How long a client may leave its socket full; then it is closed.
    pub write_timeout: Duration,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            packet_bytes_max: 1 << 20,
            connect_bytes_max: 16 << 10,
            connections_max: 10_000,
            connections_per_address_max: 10_000,
            connect_timeout: Duration::from_secs(10),
            keep_alive_max_s: 0,
            subscriptions_max: 1000,
            outbox_bytes_max: 16 << 20,
            retained_messages_max: 100_000,
            retained_bytes_max: 64 << 20,
            topic_aliases_max: 64,
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// How a broker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerStatus {
    /// Clients connected.
    pub clients: usize,
    /// Their subscriptions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
}

/// The broker. Cloning it is cheap and gives the same broker.
#[derive(Clone)]
pub struct Broker(pub(crate) Arc<Shared>);

impl std::fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Broker").field("status", &self.status()).finish_non_exhaustive()
    }
}

pub(crate) struct Shared {
    pub(crate) config: BrokerConfig,
    pub(crate) intake: Arc<dyn Intake>,
    pub(crate) gatekeeper: Arc<dyn Gatekeeper>,
    pub(crate) metrics: BrokerMetrics,
    router: RwLock<Router>,
    /// Read before the router's lock: most plants have no subscriber at all.
    subscriptions: AtomicUsize,
    outboxes: RwLock<HashMap<ClientNumber, Arc<Outbox>>>,
    clients: Mutex<HashMap<String, (ClientNumber, CancellationToken)>>,
    retained: Mutex<RetainedStore>,
    next_number: AtomicU64,
    pub(crate) places: Arc<Places>,
}

impl Broker {
    /// A broker that listens nowhere yet.
    #[must_use]
    pub fn new(
        config: BrokerConfig,
        intake: Arc<dyn Intake>,
        gatekeeper: Arc<dyn Gatekeeper>,
        metrics: BrokerMetrics,
    ) -> Self {
        Self(Arc::new(Shared {
            config,
            intake,
            gatekeeper,
            metrics,
            router: RwLock::new(Router::default()),
            subscriptions: AtomicUsize::new(0),
            outboxes: RwLock::new(HashMap::new()),
            clients: Mutex::new(HashMap::new()),
            retained: Mutex::new(RetainedStore::new(config.retained_messages_max, config.retained_bytes_max)),
            next_number: AtomicU64::new(1),
            places: Places::new(config.connections_max, config.connections_per_address_max),
        }))
    }

    /// Takes retained messages in that were kept over a restart.
    pub fn restore_retained(&self, messages: impl IntoIterator<Item = Publish>) {
        let mut retained = self.0.retained.lock();
        for message in messages {
            if !retained.set(&message) {
                BrokerMetrics::count(&self.0.metrics.dropped, "retained-full");
            }
        }
        self.0.metrics.retained.set(retained.len() as u64);
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> BrokerStatus {
        BrokerStatus {
            clients: self.0.clients.lock().len(),
            subscriptions: self.0.subscriptions.load(Ordering::Relaxed),
            retained: self.0.retained.lock().len(),
        }
    }
}

impl Shared {
    pub(crate) fn session_limits(&self) -> SessionLimits {
        SessionLimits {
            packet_bytes_max: self.config.packet_bytes_max,
            connect_bytes_max: self.config.connect_bytes_max,
            topic_aliases_max: self.config.topic_aliases_max,
            filters_max: self.config.subscriptions_max,
        }
    }

    pub(crate) fn next_number(&self) -> ClientNumber {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes a client known; a connection with the same id is told to go (3.1.4-3).
    pub(crate) fn enter(
        &self,
        id: &str,
        number: ClientNumber,
        outbox: &Arc<Outbox>,
        takeover: CancellationToken,
    ) {
        self.outboxes.write().insert(number, Arc::clone(outbox));
        if let Some((_, older)) = self.clients.lock().insert(id.to_owned(), (number, takeover)) {
            older.cancel();
        }
        self.metrics.connects.inc();
        self.metrics.connections.inc();
    }

    /// Forgets a client and its subscriptions.
    pub(crate) fn leave(&self, id: &str, number: ClientNumber, filters: impl Iterator<Item = String>) {
        {
            let mut router = self.router.write();
            for filter in filters {
                router.unsubscribe(number, &filter);
            }
            self.note_subscriptions(router.len());
        }
        self.outboxes.write().remove(&number);
        let mut clients = self.clients.lock();
        if clients.get(id).is_some_and(|(current, _)| *current == number) {
            clients.remove(id);
        }
        self.metrics.connections.dec();
    }

    fn note_subscriptions(&self, count: usize) {
        self.subscriptions.store(count, Ordering::Release);
        self.metrics.subscriptions.set(count as u64);
    }

    /// Subscribes, and returns the retained messages that the client gets for it.
    pub(crate) fn subscribe(
        &self,
        number: ClientNumber,
        request: &SubscribeRequest,
        identifier: Option<NonZeroU32>,
    ) -> (Match, Vec<Publish>) {
        let subscription = Subscription {
            qos: request.qos.min(1),
            no_local: request.no_local,
            retain_as_published: request.retain_as_published,
            identifier,
        };
        let is_new = {
            let mut router = self.router.write();
            let is_new = router.subscribe(number, &request.filter, subscription);
            self.note_subscriptions(router.len());
            is_new
        };
        let wanted = match request.retained {
            Retained::Always => true,
            Retained::IfNew => is_new,
            Retained::Never => false,
        };
        let retained = if wanted { self.retained.lock().matching(&request.filter) } else { Vec::new() };
        let how = Match {
            qos: subscription.qos,
            retain_as_published: true,
            identifiers: identifier.into_iter().collect(),
        };
        (how, retained)
    }

    pub(crate) fn unsubscribe(&self, number: ClientNumber, filter: &str) -> bool {
        let mut router = self.router.write();
        let removed = router.unsubscribe(number, filter);
        self.note_subscriptions(router.len());
        removed
    }

    /// Keeps the message if it is to be retained.
    pub(crate) fn retain(&self, message: &Publish) {
        if message.retain {
            let mut retained = self.retained.lock();
            if !retained.set(message) {
                BrokerMetrics::count(&self.metrics.dropped, "retained-full");
            }
            self.metrics.retained.set(retained.len() as u64);
        }
    }

    /// Sends a message to everybody who subscribes to it.
    pub(crate) fn fan_out(&self, message: &Publish, from: Option<ClientNumber>) {
        if self.subscriptions.load(Ordering::Acquire) == 0 {
            return;
        }
        let matches = self.router.read().matches(&message.topic, from);
        if matches.is_empty() {
            return;
        }
        let outboxes = self.outboxes.read();
        for (number, how) in matches {
            if let Some(outbox) = outboxes.get(&number) {
                self.deliver(outbox, message, &how, false);
            }
        }
    }

    pub(crate) fn deliver(&self, outbox: &Outbox, message: &Publish, how: &Match, retained: bool) {
        match outbox.deliver(message, how, retained) {
            Delivery::Sent => {
                self.metrics.sent.get_or_create(&Qos { qos: how.qos.min(message.qos) }).inc();
            }
            Delivery::Dropped => BrokerMetrics::count(&self.metrics.dropped, "subscriber-too-slow"),
            Delivery::TooLarge => BrokerMetrics::count(&self.metrics.dropped, "larger-than-subscriber-takes"),
            Delivery::Overflow => {
                if !outbox.is_closed() {
                    BrokerMetrics::count(&self.metrics.closed, "subscriber-too-slow");
                    outbox.disconnect(0x97);
                    outbox.close();
                }
            }
        }
    }
}
