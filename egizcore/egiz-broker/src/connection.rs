//! One connection: a task that reads and one that writes.
//!
//! The reader takes a large read, decodes every whole packet in it, and hands all publishes over in one batch; while the
//! intake has no room it does not read. What a packet asks for that a crash must not undo goes into the same batch as a note,
//! and is answered once that is durable. The writer writes whatever has gathered in the outbox, and flushes once. Either
//! ending ends both; a connection that did not say good-bye has its will published.

mod batch;
mod linger;
mod login;
mod read_size;
mod subscribing;
mod writing;

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use bytestring::ByteString;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Shared};
use crate::delivery::OnReceived;
use crate::gate::{ClientInfo, Placed, Receipt, TopicRights};
use crate::ledger::Note;
use crate::listener::{Arrival, Reader};
use crate::message::Publish;
use crate::metrics::{BrokerMetrics, Qos};
use crate::outbox::{Answer, Outbox, Takes};
use crate::protocol::{Event, Fault, Protocol, Version};
use crate::reader;
use crate::routes::Route;
use crate::session::Session;
use crate::settling::Settling;
use crate::topic;
use crate::wills::{self, KeptWill};
use batch::{Batch, Kept, Outcome, Reply, Sender};
use read_size::ReadSize;

/// How long a connection that is being closed may take for what is left to write.
const CLOSING_GRACE: Duration = Duration::from_secs(1);
/// How long a connection that is taken over may take to be gone.
const TAKEOVER_GRACE: Duration = Duration::from_secs(5);
/// How long it may take to hand over what its client had sent.
const TAKEOVER_READING: Duration = Duration::from_secs(1);
/// How long a client must be silent for everything that it had sent before it connected anew to be there.
const TAKEOVER_SILENCE: Duration = Duration::from_millis(20);
/// Topics that a client publishes to, or was denied, remembered; beyond, they are asked anew.
const REMEMBERED_TOPICS: usize = 64;

/// Why a connection ends.
enum End {
    /// The client said good-bye and wants no will published; its session may be kept for another time.
    Goodbye { session_expiry_s: Option<u32> },
    /// The client is gone, or wants its will published.
    Gone { session_expiry_s: Option<u32> },
    /// The client broke a rule.
    Fault(Fault),
    /// It was told to go, with this reason.
    Closed(&'static str, u8),
}

const GONE: End = End::Gone { session_expiry_s: None };
const TAKEN_OVER: End = End::Closed("session-taken-over", 0x8E);

pub(crate) async fn run(broker: &Broker, mut arrival: Arrival, stop: CancellationToken) {
    let shared = &broker.0;
    let Some(mut guest) = login::welcome(shared, &mut arrival, &stop).await else { return };
    let request = &guest.request;
    let takes = Takes {
        version: request.version,
        packet_bytes_max: request.packet_bytes_max,
        topic_aliases_max: request.topic_aliases_max.min(shared.config.topic_aliases_max),
    };
    // 3.1.1 knows no such bound: its publishers are slowed by not being read.
    let receive_max = match request.version {
        Version::V5 => u32::from(shared.config.receive_max),
        Version::V3 => u32::MAX,
    };
    let outbox = Arc::new(Outbox::new(takes, receive_max, shared.config.outbox_bytes_max));
    if let Some(older) = shared.tell_to_go(&guest.client.client_id) {
        // The client may have said good-bye there, with all that this means for its will and its session.
        let _ = timeout(TAKEOVER_GRACE, older.cancelled()).await;
    }
    let taken_up = shared.take_up(&guest.client, request, guest.session_expiry_s, &outbox);
    let Some(mut taken_up) = taken_up else {
        return login::refuse_session(shared, &mut arrival, &guest.request).await;
    };
    let (session, connection) = (Arc::clone(&taken_up.session), taken_up.connection);
    if let Some(older) = taken_up.older.take() {
        // What the older connection had begun must be settled before the same is asked for again.
        let _ = timeout(TAKEOVER_GRACE, older.cancelled()).await;
    }
    if let Some(will) = taken_up.due_will.take() {
        shared.publish_will(will);
    }
    // Nobody is told of a session that a restart would not find.
    let begins = taken_up.notes.iter().any(|note| matches!(note, Note::Opened { .. }));
    if begins && let Err(refusal) = shared.keep(&guest.client, &std::mem::take(&mut taken_up.notes)).await {
        let left = shared.leave(&session, connection, &guest.client, None, Some(0));
        // Most likely refused as well, and then there is nothing to strike out.
        let _ = shared.keep(&guest.client, &left.notes).await;
        taken_up.gone.cancel();
        return login::refuse_unkept(shared, &mut arrival, &guest.request, refusal).await;
    }
    shared.metrics.connects.inc();
    shared.metrics.connections.inc();
    {
        // Whoever has a message for the client comes before this and leaves it be, or behind the CONNACK.
        let mut state = session.lock();
        login::accept(shared, &outbox, &guest, taken_up.present);
        state.accept(connection);
    }
    let Arrival { mut reader, writer, peer, .. } = arrival;
    let writing =
        tokio::spawn(writing::write(Arc::clone(shared), writer, Arc::clone(&outbox), Arc::clone(&session)));

    let silence_max = guest.silence_max();
    let window = guest.request.receive_max;
    let own_id: Arc<str> = guest.client.client_id.as_str().into();
    let will = guest.request.will.take().map(|mut will| {
        will.from = Some(Arc::clone(&own_id));
        (will, guest.request.will_delay_s)
    });
    let speaks_past_itself = session.lock().filters.values().any(|held| held.subscription.no_local);
    let mut served = Connection {
        shared,
        protocol: guest.protocol,
        buffer: guest.buffer,
        read_size: ReadSize::default(),
        client: Arc::clone(&guest.client),
        outbox: Arc::clone(&outbox),
        session: Arc::clone(&session),
        settling: Arc::new(Settling::new()),
        held: Arc::default(),
        known: Vec::new(),
        denied: BTreeSet::new(),
        takeover: taken_up.takeover.clone(),
        own_id,
        speaks_past_itself,
    };
    // One that its client may not publish need not be kept.
    let willed = will.as_ref().filter(|(message, _)| guest.client.rights.may_publish(message.topic()));
    let willed = willed
        .map(|(message, delay_s)| KeptWill::note(&guest.client, connection, message, *delay_s, silence_max));
    let is_kept = willed.is_some();
    let end = {
        let serving = async {
            let mut begin = Batch::default();
            taken_up.notes.into_iter().chain(willed).for_each(|note| begin.note(note));
            let (to_note, read_for) = shared.resume(&session, connection, window);
            for (id, offset) in to_note {
                served.note_received(id, offset, &mut begin);
            }
            served.hand_over(begin).await;
            if let Some(connection) = read_for {
                reader::spawn(shared, &session, connection);
            }
            served.read(&mut reader, silence_max).await
        };
        tokio::select! {
            end = serving => end,
            () = too_long_after(&taken_up.takeover) => TAKEN_OVER,
            () = stop.cancelled() => End::Closed("server-shutting-down", 0x8B),
            () = withdrawn(&*guest.client.rights) => End::Closed("rights-withdrawn", 0x87),
            // Closed by somebody else: a commit failed, or the writer.
            () = outbox.closed.cancelled() => GONE,
        }
    };
    let was_told_to_go = matches!(end, End::Fault(_) | End::Closed(..));
    let (will, session_expiry_s) = match end {
        End::Goodbye { session_expiry_s } => (None, session_expiry_s),
        End::Gone { session_expiry_s } => (will, session_expiry_s),
        End::Fault(fault) => {
            BrokerMetrics::count(&shared.metrics.closed, fault.reason);
            tracing::debug!(client.id = guest.client.client_id, %peer, reason = fault.reason, "a client broke a rule and is closed");
            outbox.disconnect(fault.code);
            (will, None)
        }
        End::Closed(reason, code) => {
            BrokerMetrics::count(&shared.metrics.closed, reason);
            outbox.disconnect(code);
            (will, None)
        }
    };
    let session_expiry_s = session_expiry_s.map(|asked| asked.min(shared.config.session_expiry_max_s));
    let left = shared.leave(&session, connection, &guest.client, will, session_expiry_s);
    let mut last = Batch::default();
    left.notes.into_iter().for_each(|note| last.note(note));
    if is_kept && !left.will_waits {
        last.note(wills::struck_out(&guest.client, connection));
    }
    if let Some(will) = left.will {
        served.take_will(will, &mut last);
    }
    served.hand_over(last).await;
    taken_up.gone.cancel();
    shared.metrics.connections.dec();
    outbox.close();
    if let Err(error) = writing.await
        && error.is_panic()
    {
        tracing::error!(client.id = guest.client.client_id, "a connection's writer panicked");
    }
    if was_told_to_go {
        linger::until_heard(&mut reader, linger::PATIENCE, &stop).await;
    }
}

/// Waits until the rights are taken back; for ever where they never are.
async fn withdrawn(rights: &dyn TopicRights) {
    match rights.withdrawn() {
        Some(withdrawn) => withdrawn.cancelled().await,
        None => std::future::pending().await,
    }
}

/// What a future gives within that time, or at all where there is no limit.
async fn within<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    match limit {
        None => Some(future.await),
        Some(limit) => timeout(limit, future).await.ok(),
    }
}

/// Waits until a connection that is to be given up has had its time.
async fn too_long_after(takeover: &CancellationToken) {
    takeover.cancelled().await;
    tokio::time::sleep(TAKEOVER_READING).await;
}

struct Connection<'b> {
    shared: &'b Arc<Shared>,
    protocol: Protocol,
    buffer: BytesMut,
    read_size: ReadSize,
    client: Arc<ClientInfo>,
    outbox: Arc<Outbox>,
    session: Arc<Session>,
    settling: Arc<Settling<Outcome>>,
    /// Batches under way whose messages of QoS 0 wait for the commit; while there are any, so do those of later batches.
    held: Arc<AtomicUsize>,
    /// Topics that may be published to, with where their messages go.
    known: Vec<(ByteString, Arc<Route>)>,
    /// Topics whose refusal was logged.
    denied: BTreeSet<String>,
    /// Cancelled when the client has connected anew.
    takeover: CancellationToken,
    /// The client's id, for messages that are found again.
    own_id: Arc<str>,
    /// Whether the client does not want to hear some of its own messages.
    speaks_past_itself: bool,
}

impl Connection<'_> {
    async fn read(&mut self, reader: &mut Reader, silence_max: Option<Duration>) -> End {
        loop {
            let mut batch = Batch::default();
            let end = loop {
                match self.protocol.receive(&mut self.buffer) {
                    Ok(None) => break None,
                    Err(fault) => break Some(End::Fault(fault)),
                    Ok(Some(event)) => {
                        // A subscription takes effect behind what was published before it.
                        if matches!(event, Event::Subscribe { .. }) && !batch.publishes.is_empty() {
                            self.hand_over(std::mem::take(&mut batch)).await;
                        }
                        if let Err(end) = self.handle(event, &mut batch) {
                            break Some(end);
                        }
                    }
                }
            };
            self.hand_over(batch).await;
            if let Some(end) = end {
                return end;
            }
            self.outbox.room().await;
            self.read_size.prepare(&mut self.buffer);
            // What the client had sent before it connected anew is still taken: it may have said good-bye.
            let is_taken_over = self.takeover.is_cancelled();
            let silence_max = if is_taken_over { Some(TAKEOVER_SILENCE) } else { silence_max };
            let read = tokio::select! {
                biased;
                read = within(silence_max, reader.read_buf(&mut self.buffer)) => read,
                () = self.takeover.cancelled(), if !is_taken_over => continue,
            };
            let Some(read) = read else {
                return if is_taken_over { TAKEN_OVER } else { End::Closed("keep-alive-timeout", 0x8D) };
            };
            match read {
                Ok(0) | Err(_) => return GONE,
                Ok(count) => {
                    self.read_size.note(count);
                    self.shared.metrics.received_bytes.inc_by(count as u64);
                }
            }
        }
    }

    fn handle(&mut self, event: Event, batch: &mut Batch) -> Result<(), End> {
        match event {
            Event::Publish(publish, id) => return self.take(publish, id, batch),
            Event::Release(id) => self.release(id, batch),
            Event::Acknowledge(id) => {
                self.session.answered(self.shared.now_micros(), |delivery| delivery.acknowledged(id));
            }
            Event::Received(id, code) => {
                let mut found = OnReceived::Nothing;
                self.session
                    .answered(self.shared.now_micros(), |delivery| found = delivery.received(id, code));
                match found {
                    OnReceived::Nothing => {}
                    OnReceived::Release(code) => {
                        self.outbox.answer(&[(Answer::Released, id, code)]);
                    }
                    OnReceived::Note(offset) => self.note_received(id, offset, batch),
                }
            }
            Event::Complete(id) => {
                self.session.answered(self.shared.now_micros(), |delivery| delivery.completed(id));
            }
            Event::Subscribe { id, filters, identifier } => self.subscribe(id, &filters, identifier, batch),
            Event::Unsubscribe { id, filters } => self.unsubscribe(id, &filters, batch),
            Event::Ping => self.outbox.ping_response(),
            Event::Disconnect { with_will: true, session_expiry_s } => {
                return Err(End::Gone { session_expiry_s });
            }
            Event::Disconnect { with_will: false, session_expiry_s } => {
                return Err(End::Goodbye { session_expiry_s });
            }
            Event::Connect(_) => return Err(End::Fault(Fault { reason: "protocol-error", code: 0x82 })),
        }
        Ok(())
    }

    /// Puts a publish into the batch, or refuses it.
    fn take(&mut self, mut publish: Publish, id: Option<NonZeroU16>, batch: &mut Batch) -> Result<(), End> {
        self.shared.metrics.received.get_or_create(&Qos { qos: publish.qos }).inc();
        let answer = if publish.qos == 2 { Answer::Received } else { Answer::Acknowledged };
        if let Some(id) = id
            && publish.qos == 2
            && self.session.lock().taken.contains(&id)
        {
            // Sent again: the message is on its way or durable already (4.3.3). The note makes sure of the latter.
            self.note_taken(id, batch);
            batch.replies.push(Reply::Publish { answer, id, code: 0, fresh: false });
            return Ok(());
        }
        if id.is_some() && !self.outbox.take_in() {
            return Err(End::Closed("receive-maximum-exceeded", 0x93));
        }
        if let Some(id) = id
            && topic::is_too_deep(&publish.topic)
        {
            BrokerMetrics::count(&self.shared.metrics.refused, "topic-name-invalid");
            batch.replies.push(Reply::Publish { answer, id, code: 0x90, fresh: true });
            return Ok(());
        }
        let Some(route) = self.route(&publish.topic) else {
            return self.refuse_publish(&publish, answer, id, batch);
        };
        publish.received_micros = self.shared.now_micros();
        batch.holds |= publish.qos == 0 && publish.retain;
        // A subscription of the client's own that is about to take effect may be for it. And whose it is, is kept with what
        // is owed only.
        let may_be_found = self.holds(batch) || self.speaks_past_itself;
        publish.owed = route.owes(publish.qos) || (publish.qos > 0 && may_be_found);
        publish.from = (publish.retain || self.speaks_past_itself).then(|| Arc::clone(&self.own_id));
        batch.bytes += publish.byte_len();
        if let Some(id) = id {
            if publish.qos == 2 {
                self.session.lock().taken.insert(id);
                self.note_taken(id, batch);
            }
            batch.replies.push(Reply::Publish { answer, id, code: 0, fresh: true });
        }
        batch.publishes.push((publish, route));
        Ok(())
    }

    fn refuse_publish(
        &mut self,
        publish: &Publish,
        answer: Answer,
        id: Option<NonZeroU16>,
        batch: &mut Batch,
    ) -> Result<(), End> {
        BrokerMetrics::count(&self.shared.metrics.refused, "not-authorized");
        if self.denied.len() < REMEMBERED_TOPICS && self.denied.insert(publish.topic.to_string()) {
            tracing::warn!(
                client.id = self.client.client_id,
                principal = self.client.principal,
                topic = &*publish.topic,
                "a client may not publish to this topic"
            );
        }
        match (self.outbox.version(), id) {
            (Version::V5, Some(id)) => {
                let code = if self.client.rights.tells_why(&publish.topic) { 0x87 } else { 0x80 };
                batch.replies.push(Reply::Publish { answer, id, code, fresh: true });
                Ok(())
            }
            (Version::V5, None) => Ok(()),
            // 3.1.1 has no word for it: acknowledging would be a lie, so the connection ends (MQTT-3.3.5-2).
            (Version::V3, _) => Err(End::Closed("not-authorized", 0x87)),
        }
    }

    /// Where the messages of a topic go; `None` where the client may not publish to it.
    fn route(&mut self, topic: &ByteString) -> Option<Arc<Route>> {
        let from = Some(self.session.number);
        if let Some((_, route)) = self.known.iter_mut().find(|(known, _)| known == topic) {
            if !self.shared.routes.holds(route) {
                *route = self.shared.routes.find(topic, from);
            }
            return Some(Arc::clone(route));
        }
        if !self.client.rights.may_publish(topic) {
            return None;
        }
        let route = self.shared.routes.find(topic, from);
        if self.known.len() < REMEMBERED_TOPICS {
            // A copy: the topic itself is a part of the read buffer, which would be kept with it.
            self.known.push((ByteString::from(&**topic), Arc::clone(&route)));
        }
        Some(route)
    }

    fn note_taken(&self, id: NonZeroU16, batch: &mut Batch) {
        if self.session.lock().persisted {
            batch.note(Note::Taken { client: self.client.client_id.clone(), id: id.get() });
        }
    }

    fn note_received(&self, id: NonZeroU16, offset: crate::Offset, batch: &mut Batch) {
        batch.note(Note::Received { client: self.client.client_id.clone(), offset, id: id.get() });
        batch.replies.push(Reply::Noted { id, offset });
    }

    /// PUBREL: the client lets go of a packet id; PUBCOMP says that it may use it again.
    fn release(&self, id: NonZeroU16, batch: &mut Batch) {
        let (known, persisted) = {
            let state = self.session.lock();
            (state.taken.contains(&id), state.persisted)
        };
        if known && persisted {
            batch.note(Note::Freed { client: self.client.client_id.clone(), id: id.get() });
        }
        let code = if known { 0 } else { 0x92 };
        batch.replies.push(Reply::Publish { answer: Answer::Completed, id, code, fresh: false });
    }

    /// Puts the will into a batch as if the client had published it.
    fn take_will(&mut self, mut will: Publish, batch: &mut Batch) {
        match self.route(&will.topic) {
            Some(route) => {
                will.received_micros = self.shared.now_micros();
                will.owed = route.owes(will.qos) || (will.qos > 0 && self.holds(batch));
                batch.holds |= will.qos == 0 && will.retain;
                batch.bytes += will.byte_len();
                batch.publishes.push((will, route));
            }
            None => BrokerMetrics::count(&self.shared.metrics.refused, "not-authorized"),
        }
    }

    /// Whether messages of QoS 0 in this batch wait for the commit.
    fn holds(&self, batch: &Batch) -> bool {
        batch.holds || self.held.load(Ordering::Acquire) > 0
    }

    /// Hands a batch to the intake; waits for room, which is what slows the client down.
    async fn hand_over(&mut self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let Some(ticket) = self.settling.ticket().await else { return };
        let held = self.holds(&batch);
        if held {
            self.held.fetch_add(1, Ordering::AcqRel);
        }
        let Batch { publishes, notes, replies, bytes, .. } = batch;
        let (publishes, routes): (Vec<_>, Vec<_>) = publishes.into_iter().unzip();
        let publishes: Arc<[Publish]> = publishes.into();
        let live: Vec<_> = routes.iter().map(Arc::clone).collect();
        let settle = {
            let sender = Sender {
                shared: Arc::clone(self.shared),
                outbox: Arc::clone(&self.outbox),
                session: Arc::clone(&self.session),
                held: Arc::clone(&self.held),
            };
            let (settling, publishes) = (Arc::clone(&self.settling), Arc::clone(&publishes));
            move |result: Result<Placed<'_>, _>| {
                let result = result.map(Kept::from);
                let outcome = Outcome { publishes, routes, replies, held, result };
                settling.settle(ticket, outcome, |outcome| sender.apply(outcome));
            }
        };
        if publishes.is_empty() && notes.is_empty() {
            return settle(Ok(Placed::default()));
        }
        // Made first: should this future be dropped while it waits for room, the ticket is settled all the same.
        let receipt = Receipt::new(settle);
        let intake = &self.shared.surroundings.intake;
        let room = intake.reserve(bytes).await;
        for (publish, route) in publishes.iter().zip(&live).filter(|(publish, _)| !held && publish.qos == 0) {
            self.shared.distribute(publish, route, Some(self.session.number), None);
        }
        let notes: Vec<_> = notes.iter().map(Note::to_bytes).collect();
        intake.submit(&self.client, &publishes, &notes, room, receipt);
    }
}
