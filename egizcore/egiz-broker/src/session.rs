//! A session: what the broker knows of one client, which may outlive the client's connection.
//!
//! Everything that changes together is under one lock, held for moments and never over a wait. Steps that a crash must not
//! undo are returned as notes; who takes the step commits them before it tells the client.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::Offset;
use crate::delivery::{Delivery, Mode, Offer, Offered};
use crate::gate::TopicRights;
use crate::ledger::{KeptFilter, KeptSession, KeptSubscription, Note};
use crate::outbox::Outbox;
use crate::router::{Match, SessionNumber, Subscription};
use crate::topic;
use crate::wills::DelayedWill;

/// A session.
pub(crate) struct Session {
    pub(crate) number: SessionNumber,
    pub(crate) client_id: String,
    state: Mutex<State>,
    /// Told when the journal's reader may go on.
    pub(crate) room: Notify,
    /// Whether something waits for room, so that the writer looks after it.
    hungry: AtomicBool,
    /// Whether deliveries went on since it was last noted how far they are.
    touched: AtomicBool,
    planner: Planner,
}

/// A delivery of QoS 2 whose packet id is to be noted before it is sent.
pub(crate) struct Plan {
    pub(crate) session: Arc<Session>,
    pub(crate) id: NonZeroU16,
    pub(crate) offset: Offset,
}

/// Where plans go. Not bounded here: there are no more plans than the windows of all clients hold.
pub(crate) type Planner = UnboundedSender<Plan>;

pub(crate) struct State {
    pub(crate) delivery: Delivery,
    pub(crate) online: Option<Online>,
    pub(crate) filters: BTreeMap<String, HeldFilter>,
    /// Packet ids of the client's own messages of QoS 2 that it has not released.
    pub(crate) taken: HashSet<NonZeroU16>,
    pub(crate) expiry_s: u32,
    /// When its client left.
    pub(crate) left_at_micros: Option<i64>,
    /// It has been ended; whoever still holds it is to leave it alone.
    pub(crate) ended: bool,
    /// Messages before this one were assigned to members of shared subscriptions by a broker that is gone: which were this
    /// client's is not known, so all are.
    pub(crate) shared_until: Offset,
    /// Counts changes of the filters.
    pub(crate) filters_version: u64,
    /// For which of its connections somebody reads the journal.
    pub(crate) reading: Option<u64>,
    /// Whether the journal knows it.
    pub(crate) persisted: bool,
    /// A will that waits, and when it is due.
    pub(crate) will: Option<DelayedWill>,
    /// The newest note on how far it has come.
    noted: (Offset, usize),
}

/// A filter that a session subscribes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldFilter {
    pub(crate) subscription: Subscription,
    /// Messages that the journal has before this offset were published before the subscription, and are not for it. 0 until
    /// it takes effect.
    pub(crate) since: Offset,
}

/// A session's connection.
pub(crate) struct Online {
    pub(crate) outbox: Arc<Outbox>,
    /// Which connection it is.
    pub(crate) connection: u64,
    /// Whether it has its CONNACK: before that it is sent nothing else (MQTT-3.2.0-1).
    pub(crate) accepted: bool,
    pub(crate) takeover: CancellationToken,
    /// What its login may hear.
    pub(crate) rights: Arc<dyn TopicRights>,
    /// Cancelled when it has begun nothing that is not settled.
    pub(crate) gone: CancellationToken,
}

/// How long a session is kept for good.
pub(crate) const FOR_GOOD_S: u32 = u32::MAX;

impl Session {
    pub(crate) fn new(
        number: SessionNumber,
        client_id: &str,
        expiry_s: u32,
        bytes_max: usize,
        planner: Planner,
    ) -> Self {
        Self::with(number, client_id, expiry_s, Delivery::new(expiry_s > 0, bytes_max), planner)
    }

    /// A session that a restart found; its client left `left_at_micros`, or when the program ended.
    pub(crate) fn restore(
        number: SessionNumber,
        client_id: &str,
        kept: &KeptSession,
        bytes_max: usize,
        planner: Planner,
        (now_micros, journal_end): (i64, Offset),
    ) -> Self {
        let delivery = Delivery::restore(kept, bytes_max);
        let session = Self::with(number, client_id, kept.expiry_s, delivery, planner);
        {
            let mut state = session.state.lock();
            state.left_at_micros = Some(kept.left_at_micros.unwrap_or(now_micros));
            state.filters =
                kept.filters.iter().map(|(filter, own)| (filter.clone(), (*own).into())).collect();
            state.taken = kept.taken.iter().filter_map(|id| NonZeroU16::new(*id)).collect();
            state.persisted = true;
            state.shared_until = journal_end;
            state.noted = (kept.through, kept.done.len());
        }
        session
    }

    fn with(
        number: SessionNumber,
        client_id: &str,
        expiry_s: u32,
        delivery: Delivery,
        planner: Planner,
    ) -> Self {
        Self {
            number,
            client_id: client_id.to_owned(),
            state: Mutex::new(State {
                delivery,
                online: None,
                filters: BTreeMap::new(),
                taken: HashSet::new(),
                expiry_s,
                left_at_micros: None,
                ended: false,
                shared_until: 0,
                filters_version: 0,
                reading: None,
                persisted: false,
                will: None,
                noted: (0, 0),
            }),
            room: Notify::new(),
            hungry: AtomicBool::new(false),
            touched: AtomicBool::new(false),
            planner,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Offers a message; and for which connection somebody is to begin to read the journal, if so.
    pub(crate) fn offer(self: &Arc<Self>, offer: &Offer<'_>) -> (Offered, Option<u64>) {
        self.offer_locked(&mut self.state.lock(), offer)
    }

    pub(crate) fn offer_locked(
        self: &Arc<Self>,
        state: &mut State,
        offer: &Offer<'_>,
    ) -> (Offered, Option<u64>) {
        if state.ended {
            return (Offered::Already, None);
        }
        if !state.may_receive(&offer.message.topic) {
            return (Offered::Already, None);
        }
        let State { delivery, online, .. } = &mut *state;
        let outbox = online.as_ref().filter(|online| online.accepted).map(|online| &*online.outbox);
        let offered = delivery.offer(outbox, offer);
        if offered == Offered::Owed || offered == Offered::FellBehind {
            self.set_hungry();
        }
        self.hand_plans_over(delivery);
        let begin = if offered == Offered::FellBehind { state.begin_reading() } else { None };
        (offered, begin)
    }

    /// The connection's writer has made room, or the client has acknowledged: sends what waits.
    pub(crate) fn pump(self: &Arc<Self>, now_micros: i64) {
        if self.hungry.load(Ordering::Acquire) {
            let mut state = self.state.lock();
            self.pump_locked(&mut state, now_micros);
        }
    }

    pub(crate) fn pump_locked(self: &Arc<Self>, state: &mut State, now_micros: i64) {
        let Some(online) = state.online.as_ref().filter(|online| online.accepted) else { return };
        let reader_has_room = state.delivery.pump(&online.outbox, now_micros);
        self.hand_plans_over(&mut state.delivery);
        let (waiting, _) = state.delivery.waiting();
        self.hungry.store(waiting > 0 || state.delivery.mode() == Mode::CatchingUp, Ordering::Release);
        if reader_has_room {
            self.room.notify_waiters();
        }
    }

    /// Something waits for room.
    pub(crate) fn set_hungry(&self) {
        self.hungry.store(true, Ordering::Release);
    }

    /// Has packet ids noted that have to be before their messages are sent.
    pub(crate) fn hand_plans_over(self: &Arc<Self>, delivery: &mut Delivery) {
        for (id, offset) in delivery.take_planned() {
            // Without a planner the broker is gone, and so is the client.
            let _ = self.planner.send(Plan { session: Arc::clone(self), id, offset });
        }
    }

    /// What the client has answered to a delivery.
    pub(crate) fn answered(self: &Arc<Self>, now_micros: i64, change: impl FnOnce(&mut Delivery)) {
        let mut state = self.state.lock();
        change(&mut state.delivery);
        self.touched.store(true, Ordering::Release);
        if self.hungry.load(Ordering::Acquire) {
            self.pump_locked(&mut state, now_micros);
        }
    }

    /// Whether deliveries went on since the last call.
    pub(crate) fn take_touched(&self) -> bool {
        self.touched.swap(false, Ordering::AcqRel)
    }
}

impl State {
    /// Whether the session is kept when its client goes.
    pub(crate) fn outlives(&self) -> bool {
        self.expiry_s > 0
    }

    /// Whether its client is there and may be sent messages.
    pub(crate) fn is_reachable(&self) -> bool {
        self.online.as_ref().is_some_and(|online| online.accepted)
    }

    /// The connection has its CONNACK.
    pub(crate) fn accept(&mut self, connection: u64) {
        if let Some(online) = self.online.as_mut().filter(|online| online.connection == connection) {
            online.accepted = true;
        }
    }

    /// Whether it is this connection that serves the client.
    pub(crate) fn is_served_by(&self, connection: u64) -> bool {
        self.online.as_ref().is_some_and(|online| online.connection == connection)
    }

    /// The client subscribes; what takes the place of an older subscription to the same filter goes on from where that began.
    pub(crate) fn subscribe(&mut self, filter: &str, subscription: Subscription) {
        let since = self.filters.get(filter).map_or(0, |older| older.since);
        self.filters.insert(filter.to_owned(), HeldFilter { subscription, since });
        self.filters_version += 1;
    }

    /// A new subscription has taken effect.
    pub(crate) fn in_force_from(&mut self, filter: &str, since: Offset) {
        if let Some(held) = self.filters.get_mut(filter) {
            held.since = since;
            self.filters_version += 1;
        }
    }

    /// For which connection somebody is to begin to read the journal, if it has to be and nobody does.
    pub(crate) fn begin_reading(&mut self) -> Option<u64> {
        let connection = self.online.as_ref()?.connection;
        let begin = self.delivery.mode() == Mode::CatchingUp && self.reading != Some(connection);
        begin.then(|| *self.reading.insert(connection))
    }

    /// Whether the journal is still to be read for this connection; else the reader is to end.
    pub(crate) fn goes_on_reading(&mut self, connection: u64) -> bool {
        if self.reading != Some(connection) {
            return false;
        }
        if self.is_served_by(connection) && self.delivery.mode() == Mode::CatchingUp {
            return true;
        }
        self.reading = None;
        false
    }

    /// When it ends if its client does not come back.
    pub(crate) fn expires_at_micros(&self) -> Option<i64> {
        let left = self.left_at_micros.filter(|_| self.online.is_none() && self.expiry_s != FOR_GOOD_S)?;
        Some(left.saturating_add(i64::from(self.expiry_s) * 1_000_000))
    }

    /// Whether its client may hear of a topic. What is owed to one that is away is asked about when it is back: the rights
    /// that count are those of its last login.
    pub(crate) fn may_receive(&self, name: &str) -> bool {
        self.online.as_ref().is_none_or(|online| online.rights.may_receive(name))
    }

    /// How its filters match a message that the journal has; those of shared subscriptions only where it is not known
    /// whose it was, and those that are not for its client's own messages (MQTT-3.8.3-3) only where it is not one `of_its_own`.
    pub(crate) fn matching(&self, offset: Offset, name: &str, of_its_own: bool) -> Option<Match> {
        if !self.may_receive(name) {
            return None;
        }
        let mut found: Option<Match> = None;
        for own in &self.filters {
            let subscription = &own.1.subscription;
            if is_read_for(own, offset, name, self.shared_until) && !(of_its_own && subscription.no_local) {
                found.get_or_insert_default().add(subscription);
            }
        }
        found
    }

    /// A note on how far deliveries are, if they are so many records further than the last said. Everything before `head`
    /// has been offered.
    pub(crate) fn settled(&mut self, client_id: &str, head: Offset, records_least: Offset) -> Option<Note> {
        let through =
            self.delivery.needed_from().unwrap_or_else(|| self.delivery.passed(head)).max(self.noted.0);
        let done = self.delivery.done_from(through);
        if through < self.noted.0 + records_least && done.len() == self.noted.1 {
            return None;
        }
        self.noted = (through, done.len());
        Some(Note::Settled { client: client_id.to_owned(), through, done })
    }
}

/// Whether a message that is read from the journal is for a filter.
pub(crate) fn is_read_for(
    (filter, held): (&String, &HeldFilter),
    offset: Offset,
    name: &str,
    shared_until: Offset,
) -> bool {
    let (group, plain) = topic::split_shared(filter);
    offset >= held.since && (group.is_none() || offset < shared_until) && topic::matches(plain, name)
}

impl From<KeptFilter> for HeldFilter {
    fn from(kept: KeptFilter) -> Self {
        Self { subscription: kept.options.into(), since: kept.since }
    }
}

impl From<KeptSubscription> for Subscription {
    fn from(kept: KeptSubscription) -> Self {
        let KeptSubscription { qos, no_local, retain_as_published, identifier } = kept;
        Self { qos, no_local, retain_as_published, identifier }
    }
}

impl From<Subscription> for KeptSubscription {
    fn from(own: Subscription) -> Self {
        let Subscription { qos, no_local, retain_as_published, identifier } = own;
        Self { qos, no_local, retain_as_published, identifier }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::gate::EverythingRights;
    use crate::message::Publish;
    use crate::outbox::Takes;
    use crate::protocol::Version;

    #[test]
    fn mqtt_3_2_0_1_before_the_connack_a_client_is_sent_nothing() {
        let (planner, _plans) = unbounded_channel();
        let session = Arc::new(Session::new(1, "c", 60, 1000, planner));
        let takes = Takes { version: Version::V3, packet_bytes_max: None, topic_aliases_max: 0 };
        let older = Outbox::new(takes, u32::MAX, 1000);
        session.lock().delivery.resume(&older, 10, 0);
        session.lock().delivery.leave();
        let outbox = Arc::new(Outbox::new(takes, u32::MAX, 1000));
        session.lock().online = Some(Online {
            outbox: Arc::clone(&outbox),
            connection: 7,
            accepted: false,
            takeover: CancellationToken::new(),
            rights: Arc::new(EverythingRights),
            gone: CancellationToken::new(),
        });
        let message = Publish::new("a", Bytes::from_static(b"hi"), 0, false);
        let how = Match::default();
        let offer = Offer {
            message: &message,
            how: &how,
            retained: false,
            offset: None,
            shared: false,
            now_micros: 0,
        };
        assert_eq!(session.offer(&offer), (Offered::Already, None));
        // The retained message of a subscription waits in memory; the writer of an older connection must not have it sent.
        let retained = Publish::new("b", Bytes::from_static(b"hi"), 1, true);
        let how_1 = Match { qos: 1, ..Match::default() };
        let waits = Offer { message: &retained, how: &how_1, retained: true, ..offer };
        assert_eq!(session.offer(&waits).0, Offered::Owed);
        session.pump(0);
        assert!(outbox.take(BytesMut::new()).is_empty() && !session.lock().is_reachable());
        session.lock().accept(6);
        assert!(!session.lock().is_reachable());
        session.lock().accept(7);
        assert_eq!(session.offer(&offer).0, Offered::Sent);
    }
}
