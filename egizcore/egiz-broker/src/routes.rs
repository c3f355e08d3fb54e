//! The ways of messages: from a topic name to the sessions that get it, remembered by those who publish to it often.
//!
//! A way is valid for one state of all subscriptions; the state has a number, so that a remembered way is looked at for
//! nothing but that number until somebody subscribes or leaves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::Offset;
use crate::broker::Shared;
use crate::delivery::{Offer, Offered};
use crate::message::Publish;
use crate::metrics::{BrokerMetrics, Qos};
use crate::reader;
use crate::router::{Match, Router, SessionNumber, Subscription};
use crate::session::Session;

/// Where a topic's messages go.
#[derive(Default)]
pub(crate) struct Route {
    /// The state of the subscriptions that it is of.
    generation: u64,
    sessions: Vec<(Arc<Session>, Match)>,
    groups: Vec<GroupRoute>,
}

struct GroupRoute {
    turn: Arc<AtomicUsize>,
    members: Vec<(Arc<Session>, Match)>,
}

impl Route {
    /// Whether a message of this quality must be found again for somebody.
    pub(crate) fn owes(&self, qos: u8) -> bool {
        let wants = |(_, how): &(Arc<Session>, Match)| how.qos > 0;
        qos > 0
            && (self.sessions.iter().any(wants)
                || self.groups.iter().any(|group| group.members.iter().any(wants)))
    }
}

/// All subscriptions.
#[derive(Default)]
pub(crate) struct Routes {
    table: RwLock<Table>,
    /// Read before the lock: it says whether what is remembered still holds.
    generation: AtomicU64,
    count: AtomicUsize,
}

#[derive(Default)]
struct Table {
    router: Router,
    sessions: HashMap<SessionNumber, Arc<Session>>,
}

impl Routes {
    /// Subscribes; whether the subscription is new.
    pub(crate) fn subscribe(&self, session: &Arc<Session>, filter: &str, own: Subscription) -> bool {
        let mut table = self.table.write();
        table.sessions.entry(session.number).or_insert_with(|| Arc::clone(session));
        let is_new = table.router.subscribe(session.number, filter, own);
        self.changed(&table);
        is_new
    }

    /// Unsubscribes; whether there was a subscription.
    pub(crate) fn unsubscribe(&self, session: SessionNumber, filter: &str) -> bool {
        let mut table = self.table.write();
        let removed = table.router.unsubscribe(session, filter);
        self.changed(&table);
        removed
    }

    /// Forgets a session.
    pub(crate) fn forget<'f>(&self, session: SessionNumber, filters: impl Iterator<Item = &'f String>) {
        let mut table = self.table.write();
        if table.sessions.remove(&session).is_some() {
            for filter in filters {
                table.router.unsubscribe(session, filter);
            }
            self.changed(&table);
        }
    }

    fn changed(&self, table: &Table) {
        self.count.store(table.router.len(), Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether a route is of now.
    pub(crate) fn holds(&self, route: &Route) -> bool {
        route.generation == self.generation.load(Ordering::Acquire)
    }

    /// Where a topic's messages go; `from` is who publishes them.
    pub(crate) fn find(&self, topic: &str, from: Option<SessionNumber>) -> Arc<Route> {
        // Before the lock: a change in between makes the route out of date, not wrong.
        let generation = self.generation.load(Ordering::Acquire);
        if self.len() == 0 {
            return Arc::new(Route { generation, ..Route::default() });
        }
        let table = self.table.read();
        let matches = table.router.matches(topic, from);
        let with_session = |(number, how): (SessionNumber, Match)| {
            table.sessions.get(&number).map(|session| (Arc::clone(session), how))
        };
        let groups = matches.groups.into_iter().map(|group| GroupRoute {
            turn: group.turn,
            members: group.members.into_iter().filter_map(with_session).collect(),
        });
        let groups = groups.collect();
        Arc::new(Route {
            generation,
            sessions: matches.clients.into_iter().filter_map(with_session).collect(),
            groups,
        })
    }
}

impl Shared {
    /// Sends a message to everybody who subscribes to it; `offset` is where the journal has it.
    pub(crate) fn distribute(
        self: &Arc<Self>,
        message: &Publish,
        route: &Arc<Route>,
        from: Option<SessionNumber>,
        offset: Option<Offset>,
    ) {
        let fresh;
        let route = if self.routes.holds(route) {
            route
        } else {
            fresh = self.routes.find(&message.topic, from);
            &fresh
        };
        if route.sessions.is_empty() && route.groups.is_empty() {
            return;
        }
        let now_micros = self.now_micros();
        for (session, how) in &route.sessions {
            let offer = Offer { message, how, retained: false, offset, shared: false, now_micros };
            self.offer(session, &offer);
        }
        for group in &route.groups {
            if let Some((session, how)) = group.choose(&message.topic) {
                let offer = Offer { message, how, retained: false, offset, shared: true, now_micros };
                self.offer(session, &offer);
            }
        }
    }

    pub(crate) fn offer(self: &Arc<Self>, session: &Arc<Session>, offer: &Offer<'_>) {
        let (offered, begin) = session.offer(offer);
        self.offered(session, offer, offered, begin);
    }

    /// What an offer came to is counted, and the journal read where it has to be.
    pub(crate) fn offered(
        self: &Arc<Self>,
        session: &Arc<Session>,
        offer: &Offer<'_>,
        offered: Offered,
        begin: Option<u64>,
    ) {
        let dropped = |reason| BrokerMetrics::count(&self.metrics.dropped, reason);
        match offered {
            Offered::Sent => {
                let qos = offer.how.qos.min(offer.message.qos);
                self.metrics.sent.get_or_create(&Qos { qos }).inc();
            }
            Offered::FellBehind => {
                self.metrics.fell_behind.inc();
            }
            Offered::Dropped => dropped("subscriber-too-slow"),
            Offered::Expired => dropped("expired"),
            Offered::TooLarge => dropped("larger-than-subscriber-takes"),
            Offered::Owed | Offered::Already => {}
        }
        if let Some(connection) = begin {
            reader::spawn(self, session, connection);
        }
    }
}

impl GroupRoute {
    /// The member whose turn it is among those who can take a message of this topic best.
    fn choose(&self, topic: &str) -> Option<&(Arc<Session>, Match)> {
        let count = self.members.len();
        let start = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = || {
            let members = (0..count).filter_map(|step| self.members.get((start + step) % count));
            members.filter(|(session, _)| session.lock().may_receive(topic))
        };
        let is_ready = |session: &Session| {
            let state = session.lock();
            state.is_reachable() && state.delivery.is_ready()
        };
        in_turn()
            .find(|(session, _)| is_ready(session))
            .or_else(|| in_turn().find(|(session, _)| session.lock().is_reachable()))
            .or_else(|| in_turn().find(|(session, _)| session.lock().outlives()))
    }
}
