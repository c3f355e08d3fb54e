//! The broker: what all connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;

use crate::Offset;
use crate::delivery::Offer;
use crate::gate::{ClientInfo, NothingRights, Surroundings};
use crate::ledger::Ledger;
use crate::listener::Places;
use crate::message::Publish;
use crate::metrics::BrokerMetrics;
use crate::planning;
use crate::protocol::{ProtocolLimits, Retained, SubscribeRequest};
use crate::retained::RetainedStore;
use crate::router::{Match, Subscription};
use crate::routes::Routes;
use crate::session::{Planner, Session, State};
use crate::sessions::Sessions;
use crate::wills::Orphans;

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
    /// Bytes that may wait for one client in memory, once to be written and once for its window. At the bound a message of
    /// QoS 0 is dropped; one of QoS 1 or 2 is read from the journal when there is room again.
    pub outbox_bytes_max: usize,
    /// Sessions, connected or kept; a client beyond them is refused (0x97).
    pub sessions_max: usize,
    /// The longest time that a session is kept after its connection, in seconds; `u32::MAX` is for good. A client that asks
    /// for more is told this one (MQTT 5) or has it (3.1.1).
    pub session_expiry_max_s: u32,
    /// Messages of QoS 1 and 2 that an MQTT 5 client may have under way; one more closes it (0x93).
    pub receive_max: u16,
    /// How often `$SYS` topics are published; zero is never.
    pub sys_interval: Duration,
    /// What acknowledged means, in a word for `$SYS`: `fsync`, `os` or `memory`.
    pub durability: &'static str,
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
            outbox_bytes_max: 1 << 20,
            sessions_max: 100_000,
            session_expiry_max_s: u32::MAX,
            receive_max: 8192,
            sys_interval: Duration::from_secs(10),
            durability: "fsync",
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
    /// Sessions, those of clients that are away included.
    pub sessions: usize,
    /// Subscriptions.
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
    pub(crate) surroundings: Surroundings,
    pub(crate) metrics: BrokerMetrics,
    pub(crate) sessions: Sessions,
    /// Wills that a crash left.
    pub(crate) orphans: Orphans,
    pub(crate) routes: Routes,
    retained: Mutex<RetainedStore>,
    /// What the broker says of itself; it takes no room from what clients retain.
    sys: Mutex<RetainedStore>,
    /// Counts from the moment when the broker began, in microseconds, so that no number is one of an earlier run.
    next_number: AtomicU64,
    pub(crate) places: Arc<Places>,
    /// Where tasks run that commits begin.
    pub(crate) runtime: Handle,
    /// Who publishes what the broker itself has to say.
    pub(crate) itself: Arc<ClientInfo>,
    pub(crate) planner: Planner,
    /// Every message with an offset before this one has been offered to the sessions.
    pub(crate) head: AtomicU64,
}

impl Broker {
    /// A broker that listens nowhere yet. To be called within a Tokio runtime.
    #[must_use]
    pub fn new(config: BrokerConfig, surroundings: Surroundings, metrics: BrokerMetrics) -> Self {
        let begun_micros = (surroundings.clock)();
        let (planner, plans) = unbounded_channel();
        let shared = Arc::new(Shared {
            planner,
            config,
            surroundings,
            metrics,
            sessions: Sessions::new(config.sessions_max),
            orphans: Orphans::default(),
            routes: Routes::default(),
            retained: Mutex::new(RetainedStore::new(config.retained_messages_max, config.retained_bytes_max)),
            sys: Mutex::new(RetainedStore::new(usize::MAX, usize::MAX)),
            next_number: AtomicU64::new(u64::try_from(begun_micros).unwrap_or(0).max(1)),
            places: Places::new(config.connections_max, config.connections_per_address_max),
            runtime: Handle::current(),
            itself: Arc::new(ClientInfo {
                client_id: String::new(),
                principal: "openegiz/broker".to_owned(),
                rights: Arc::new(NothingRights),
            }),
            head: AtomicU64::new(0),
        });
        shared.runtime.spawn(planning::note_plans(Arc::downgrade(&shared), plans));
        Self(shared)
    }

    /// Takes retained messages in that were kept over a restart.
    pub fn restore_retained(&self, messages: impl IntoIterator<Item = Publish>) {
        for message in messages {
            self.0.retain(&message);
        }
    }

    /// Takes sessions and wills in that were kept over a restart, when the journal ends at `journal_end`. To be called before clients
    /// are let in.
    pub fn restore_sessions(&self, ledger: &Ledger, journal_end: Offset) {
        let shared = &self.0;
        let now_micros = shared.now_micros();
        shared.orphans.restore(ledger, now_micros);
        for (client_id, kept) in &ledger.sessions {
            let bytes_max = shared.config.outbox_bytes_max;
            let (number, planner) = (shared.next_number(), shared.planner.clone());
            let session =
                Session::restore(number, client_id, kept, bytes_max, planner, (now_micros, journal_end));
            let session = Arc::new(session);
            for (filter, own) in &kept.filters {
                shared.routes.subscribe(&session, filter, own.options.into());
            }
            shared.sessions.put(session);
        }
        shared.note_counts();
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> BrokerStatus {
        BrokerStatus {
            clients: usize::try_from(self.0.metrics.connections.get()).unwrap_or(usize::MAX),
            sessions: self.0.sessions.len(),
            subscriptions: self.0.routes.len(),
            retained: self.0.retained.lock().len(),
        }
    }
}

impl Shared {
    pub(crate) fn now_micros(&self) -> i64 {
        (self.surroundings.clock)()
    }

    pub(crate) fn limits(&self) -> ProtocolLimits {
        ProtocolLimits {
            packet_bytes_max: self.config.packet_bytes_max,
            connect_bytes_max: self.config.connect_bytes_max,
            topic_aliases_max: self.config.topic_aliases_max,
            filters_max: self.config.subscriptions_max,
        }
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// A client id for a client that brought none; no session that is kept has it.
    pub(crate) fn assigned_client_id(&self) -> String {
        format!("assigned-{:x}", self.next_number())
    }

    pub(crate) fn note_counts(&self) {
        self.metrics.subscriptions.set(self.routes.len() as u64);
        self.metrics.sessions.set(self.sessions.len() as u64);
    }

    /// Has subscriptions take effect, of which the journal has the notes at `first` and later; then has the client told, and
    /// sends the retained messages that it gets for them. Whoever hears of the SUBACK and publishes is heard; who publishes
    /// meanwhile waits for the session's lock, so that nothing newer is sent before the retained messages.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        session: &Arc<Session>,
        subscriptions: &[(SubscribeRequest, Subscription)],
        first: Offset,
        tell: impl FnOnce(),
    ) {
        let mut state = session.lock();
        let mut begun = Vec::with_capacity(subscriptions.len());
        for (request, subscription) in subscriptions {
            // It was unsubscribed from before it took effect, or its session is over.
            if state.ended || !state.filters.contains_key(&*request.filter) {
                continue;
            }
            let is_new = self.routes.subscribe(session, &request.filter, *subscription);
            if is_new {
                state.in_force_from(&request.filter, first);
            }
            begun.push((request, subscription, is_new));
        }
        self.note_counts();
        tell();
        for (request, subscription, is_new) in begun {
            self.send_retained(session, &mut state, request, subscription, is_new);
        }
    }

    fn send_retained(
        self: &Arc<Self>,
        session: &Arc<Session>,
        state: &mut State,
        request: &SubscribeRequest,
        subscription: &Subscription,
        is_new: bool,
    ) {
        let wanted = match request.retained {
            Retained::Always => true,
            Retained::IfNew => is_new,
            Retained::Never => false,
        };
        // A shared subscription gets none (3.8.3.1).
        let shared = crate::topic::is_shared(&request.filter);
        let mut found =
            if wanted && !shared { self.retained.lock().matching(&request.filter) } else { Vec::new() };
        found.extend(
            (wanted && !shared).then(|| self.sys.lock().matching(&request.filter)).into_iter().flatten(),
        );
        let mut how = Match::default();
        how.add(subscription);
        let now_micros = self.now_micros();
        let not_for_itself = |message: &&Publish| request.no_local && message.is_from(&session.client_id);
        for message in found.iter().filter(|message| !not_for_itself(message)) {
            let offer = Offer { message, how: &how, retained: true, offset: None, shared: false, now_micros };
            let (offered, begin) = session.offer_locked(state, &offer);
            self.offered(session, &offer, offered, begin);
        }
    }

    /// Keeps what the broker says of itself for those who subscribe later.
    pub(crate) fn retain_sys(&self, message: &Publish) {
        self.sys.lock().set(message);
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
}
