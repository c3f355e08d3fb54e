//! One connection: a task that reads and one that writes.
//!
//! The reader takes a large read, decodes every whole packet in it, and hands all publishes over in one batch; while the
//! intake has no room it does not read. The writer writes whatever has gathered in the outbox, and flushes once. Either
//! ending ends both; a connection that did not say good-bye has its will published.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rmqtt_codec::types::QoS;
use rmqtt_codec::{v3, v5};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Shared};
use crate::gate::{ClientCertificate, ClientInfo, Denied, Login, Receipt, Refusal};
use crate::listener::{Arrival, Reader, Writer};
use crate::message::Publish;
use crate::metrics::{BrokerMetrics, Qos};
use crate::outbox::Outbox;
use crate::router::ClientNumber;
use crate::session::{ConnectRequest, Event, Fault, Session, SessionLimits, SubscribeRequest, Version};
use crate::settling::Settling;
use crate::topic;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// How long a connection that is being closed may take for what is left to write.
const CLOSING_GRACE: Duration = Duration::from_secs(1);
/// Topics that a client was allowed or denied, remembered; beyond, they are asked anew.
const REMEMBERED_TOPICS: usize = 64;

/// Who calls, from where, and until when it is to be let in.
struct Caller<'a> {
    request: &'a ConnectRequest,
    peer: SocketAddr,
    certificate: Option<&'a ClientCertificate>,
    deadline: Instant,
}

/// Why a connection ends.
enum End {
    /// The client said good-bye and wants no will published.
    Goodbye,
    /// The client is gone, or wants its will published.
    Gone,
    /// The client broke a rule.
    Fault(Fault),
    /// It was told to go, with this reason.
    Closed(&'static str, u8),
}

pub(crate) async fn run(broker: &Broker, arrival: Arrival, stop: CancellationToken) {
    let shared = &broker.0;
    let Arrival { mut reader, mut writer, peer, certificate, deadline, connect_bytes_max } = arrival;
    let mut session = Session::new(SessionLimits { connect_bytes_max, ..shared.session_limits() });
    let mut buffer = BytesMut::with_capacity(4096);
    let request = loop {
        match session.receive(&mut buffer) {
            Ok(Some(Event::Connect(request))) => break *request,
            Ok(Some(_)) => return,
            Ok(None) => {}
            Err(fault) => {
                BrokerMetrics::count(&shared.metrics.refused_connects, fault.reason);
                refuse(&mut writer, session.version(), fault).await;
                return;
            }
        }
        let read = tokio::select! {
            read = timeout_at(deadline, reader.read_buf(&mut buffer)) => read,
            () = stop.cancelled() => return,
        };
        match read {
            Ok(Ok(1..)) => {}
            Ok(_) => return,
            Err(_) => {
                BrokerMetrics::count(&shared.metrics.refused_connects, "connect-timeout");
                return;
            }
        }
    };
    let caller = Caller { request: &request, peer, certificate: certificate.as_deref(), deadline };
    let Some((client, keep_alive)) = log_in(shared, &caller, &mut writer).await else { return };
    let outbox = Arc::new(Outbox::new(
        request.version,
        request.receive_max,
        request.packet_bytes_max,
        shared.config.outbox_bytes_max,
    ));
    let takeover = CancellationToken::new();
    let number = shared.next_number();
    shared.enter(&client.client_id, number, &outbox, takeover.clone());
    accept(shared, &outbox, &request, &client);
    let writing = tokio::spawn(write(Arc::clone(shared), writer, Arc::clone(&outbox)));

    let mut connection = Connection {
        shared,
        session,
        buffer,
        client: Arc::clone(&client),
        outbox: Arc::clone(&outbox),
        number,
        settling: Arc::new(Settling::new()),
        filters: BTreeSet::new(),
        allowed: Vec::new(),
        denied: BTreeSet::new(),
    };
    let end = tokio::select! {
        end = connection.read(&mut reader, keep_alive) => end,
        () = takeover.cancelled() => End::Closed("session-taken-over", 0x8E),
        () = stop.cancelled() => End::Closed("server-shutting-down", 0x8B),
        // Closed by somebody else: the client does not keep up, or the writer failed.
        () = outbox.closed.cancelled() => End::Gone,
    };
    let filters = std::mem::take(&mut connection.filters);
    shared.leave(&client.client_id, number, filters.into_iter());
    match end {
        End::Goodbye | End::Gone => {}
        End::Fault(fault) => {
            BrokerMetrics::count(&shared.metrics.closed, fault.reason);
            tracing::debug!(client.id = client.client_id, %peer, reason = fault.reason, "a client broke a rule and is closed");
            outbox.disconnect(fault.code);
        }
        End::Closed(reason, code) => {
            BrokerMetrics::count(&shared.metrics.closed, reason);
            outbox.disconnect(code);
        }
    }
    if let Some(will) = request.will.filter(|_| !matches!(end, End::Goodbye)) {
        connection.publish_will(will).await;
    }
    outbox.close();
    if let Err(error) = writing.await
        && error.is_panic()
    {
        tracing::error!(client.id = client.client_id, "a connection's writer panicked");
    }
}

/// Answers a CONNECT that breaks a rule, as far as the version allows.
async fn refuse(writer: &mut Writer, version: Option<Version>, fault: Fault) {
    let answer: &[u8] = match (version, fault.code) {
        (Some(Version::V5), code) => &[0x20, 3, 0, code, 0],
        // Without an id there is no session to come back to (MQTT-3.1.3-8).
        (Some(Version::V3), 0x85) => &[0x20, 2, 0, 2],
        // An unknown version is answered as 3.1.1 has it (MQTT-3.1.2-2).
        (_, 0x84) => &[0x20, 2, 0, 1],
        _ => return,
    };
    last_words(writer, answer).await;
}

/// Writes the last packet of a connection that is closed either way.
async fn last_words(writer: &mut Writer, packet: &[u8]) {
    let write = async {
        writer.write_all(packet).await?;
        writer.shutdown().await
    };
    let _ = timeout(CLOSING_GRACE, write).await;
}

/// Checks the login; the client and how long it may be silent. Answers a refusal.
async fn log_in(
    shared: &Arc<Shared>,
    caller: &Caller<'_>,
    writer: &mut Writer,
) -> Option<(Arc<ClientInfo>, Option<Duration>)> {
    let &Caller { request, peer, certificate, deadline } = caller;
    let login = Login {
        client_id: &request.client_id,
        username: request.username.as_deref(),
        password: request.password.as_deref(),
        peer,
        certificate,
    };
    let refusal = if request.wants_authentication {
        Err(("authentication-method", 5, 0x8C))
    } else {
        let checked = timeout_at(deadline, shared.gatekeeper.authenticate(login)).await;
        checked.unwrap_or(Err(Denied::Busy)).map_err(|denied| match denied {
            Denied::BadCredentials => ("bad-credentials", 4, 0x86),
            Denied::NotAuthorized => ("not-authorized", 5, 0x87),
            Denied::Busy => ("busy", 3, 0x89),
        })
    };
    match refusal {
        Err((reason, v3_code, v5_code)) => {
            BrokerMetrics::count(&shared.metrics.refused_connects, reason);
            tracing::info!(client.id = &*request.client_id, %peer, reason, "a client was not let in");
            let answer: &[u8] = if request.version == Version::V5 {
                &[0x20, 3, 0, v5_code, 0]
            } else {
                &[0x20, 2, 0, v3_code]
            };
            last_words(writer, answer).await;
            None
        }
        Ok((principal, rights)) => {
            let client_id = if request.client_id.is_empty() {
                format!("assigned-{}", shared.next_number())
            } else {
                request.client_id.to_string()
            };
            let seconds = granted_keep_alive(shared, request);
            let keep_alive = (seconds > 0).then(|| Duration::from_millis(u64::from(seconds) * 1500));
            Some((Arc::new(ClientInfo { client_id, principal, rights }), keep_alive))
        }
    }
}

/// The keep-alive in force: the server's where an MQTT 5 client asks for more.
fn granted_keep_alive(shared: &Shared, request: &ConnectRequest) -> u16 {
    let max = shared.config.keep_alive_max_s;
    let too_long = max > 0 && (request.keep_alive_s == 0 || request.keep_alive_s > max);
    if too_long && request.version == Version::V5 { max } else { request.keep_alive_s }
}

/// Sends CONNACK.
fn accept(shared: &Shared, outbox: &Outbox, request: &ConnectRequest, client: &ClientInfo) {
    if request.version == Version::V3 {
        outbox.packet_v3(v3::Packet::ConnectAck(v3::ConnectAck {
            return_code: v3::ConnectAckReason::ConnectionAccepted,
            session_present: false,
        }));
        return;
    }
    let keep_alive = granted_keep_alive(shared, request);
    outbox.packet_v5(v5::Packet::ConnectAck(Box::new(v5::ConnectAck {
        session_present: false,
        reason_code: v5::ConnectAckReason::Success,
        session_expiry_interval_secs: (request.session_expiry_s > 0).then_some(0),
        receive_max: NonZeroU16::MAX,
        max_qos: QoS::AtLeastOnce,
        max_packet_size: u32::try_from(shared.config.packet_bytes_max).ok(),
        assigned_client_id: request.client_id.is_empty().then(|| client.client_id.as_str().into()),
        topic_alias_max: shared.config.topic_aliases_max,
        retain_available: true,
        wildcard_subscription_available: true,
        subscription_identifiers_available: true,
        shared_subscription_available: false,
        server_keepalive_sec: (keep_alive != request.keep_alive_s).then_some(keep_alive),
        response_info: None,
        server_reference: None,
        auth_method: None,
        auth_data: None,
        reason_string: None,
        user_properties: Vec::new(),
    })));
}

/// Writes what gathers until the outbox is closed; then what is left, for a moment.
async fn write(shared: Arc<Shared>, mut writer: Writer, outbox: Arc<Outbox>) {
    let closed = async {
        outbox.closed.cancelled().await;
        tokio::time::sleep(CLOSING_GRACE).await;
    };
    tokio::select! {
        () = write_on(&shared, &mut writer, &outbox) => {}
        () = closed => {}
    }
    outbox.close();
    // The peer may be gone already, or not read what TLS has to say.
    let _ = timeout(CLOSING_GRACE, writer.shutdown()).await;
}

async fn write_on(shared: &Shared, writer: &mut Writer, outbox: &Outbox) {
    let mut bytes = BytesMut::new();
    loop {
        bytes = outbox.take(bytes);
        if bytes.is_empty() {
            if outbox.is_closed() {
                return;
            }
            outbox.changed.notified().await;
            continue;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match timeout(shared.config.write_timeout, writer.write(rest)).await {
                Ok(Ok(count @ 1..)) => {
                    shared.metrics.sent_bytes.inc_by(count as u64);
                    rest = &rest[count..];
                }
                Ok(_) => return,
                Err(_) => {
                    BrokerMetrics::count(&shared.metrics.closed, "write-timeout");
                    return;
                }
            }
        }
        // TLS and WebSocket may still hold a part of it.
        match timeout(shared.config.write_timeout, writer.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                BrokerMetrics::count(&shared.metrics.closed, "write-timeout");
                return;
            }
        }
    }
}

struct Connection<'b> {
    shared: &'b Arc<Shared>,
    session: Session,
    buffer: BytesMut,
    client: Arc<ClientInfo>,
    outbox: Arc<Outbox>,
    number: ClientNumber,
    settling: Arc<Settling<Outcome>>,
    filters: BTreeSet<String>,
    /// Topics that may be published to, asked before.
    allowed: Vec<bytestring::ByteString>,
    /// Topics whose refusal was logged.
    denied: BTreeSet<String>,
}

/// Publishes of one read, with what each is acknowledged with once the others are committed.
#[derive(Default)]
struct Batch {
    publishes: Vec<Publish>,
    acknowledgements: Vec<(NonZeroU16, u8)>,
    bytes: usize,
}

/// What became of a batch.
struct Outcome {
    publishes: Arc<[Publish]>,
    acknowledgements: Vec<(NonZeroU16, u8)>,
    result: Result<(), Refusal>,
}

impl Connection<'_> {
    async fn read(&mut self, reader: &mut Reader, keep_alive: Option<Duration>) -> End {
        loop {
            let mut batch = Batch::default();
            loop {
                match self.session.receive(&mut self.buffer) {
                    Ok(None) => break,
                    Ok(Some(Event::Publish(publish, id))) => {
                        if let Err(end) = self.take(publish, id, &mut batch) {
                            self.hand_over(batch).await;
                            return end;
                        }
                    }
                    Ok(Some(event)) => {
                        // What came before is handed over before what comes after is answered.
                        self.hand_over(std::mem::take(&mut batch)).await;
                        if let Some(end) = self.handle(event) {
                            return end;
                        }
                    }
                    Err(fault) => {
                        self.hand_over(std::mem::take(&mut batch)).await;
                        return End::Fault(fault);
                    }
                }
            }
            self.hand_over(batch).await;
            self.outbox.room().await;
            self.buffer.reserve(READ_BYTES);
            let read = match keep_alive {
                None => reader.read_buf(&mut self.buffer).await,
                Some(silence) => match timeout(silence, reader.read_buf(&mut self.buffer)).await {
                    Ok(read) => read,
                    // One and a half times the keep-alive (MQTT-3.1.2-24).
                    Err(_) => return End::Closed("keep-alive-timeout", 0x8D),
                },
            };
            match read {
                Ok(0) | Err(_) => return End::Gone,
                Ok(count) => {
                    self.shared.metrics.received_bytes.inc_by(count as u64);
                }
            }
        }
    }

    /// Puts a publish into the batch, or refuses it.
    fn take(&mut self, publish: Publish, id: Option<NonZeroU16>, batch: &mut Batch) -> Result<(), End> {
        self.shared.metrics.received.get_or_create(&Qos { qos: publish.qos }).inc();
        if !self.may_publish(&publish) {
            BrokerMetrics::count(&self.shared.metrics.refused, "not-authorized");
            if self.denied.len() < REMEMBERED_TOPICS && self.denied.insert(publish.topic.to_string()) {
                tracing::warn!(
                    client.id = self.client.client_id,
                    principal = self.client.principal,
                    topic = &*publish.topic,
                    "a client may not publish to this topic"
                );
            }
            return match (self.outbox.version(), id) {
                (Version::V5, Some(id)) => {
                    batch.acknowledgements.push((id, 0x87));
                    Ok(())
                }
                (Version::V5, None) => Ok(()),
                // 3.1.1 has no word for it: acknowledging would be a lie, so the connection ends (MQTT-3.3.5-2).
                (Version::V3, _) => Err(End::Closed("not-authorized", 0x87)),
            };
        }
        batch.bytes += publish.byte_len();
        batch.acknowledgements.extend(id.map(|id| (id, 0)));
        batch.publishes.push(publish);
        Ok(())
    }

    fn may_publish(&mut self, publish: &Publish) -> bool {
        if self.allowed.contains(&publish.topic) {
            return true;
        }
        let may = self.client.rights.may_publish(&publish.topic);
        if may && self.allowed.len() < REMEMBERED_TOPICS {
            // A copy: the topic itself is a part of the read buffer, which would be kept with it.
            self.allowed.push(bytestring::ByteString::from(&*publish.topic));
        }
        may
    }

    /// Hands a batch to the intake; waits for room, which is what slows the client down.
    async fn hand_over(&mut self, batch: Batch) {
        if batch.publishes.is_empty() && batch.acknowledgements.is_empty() {
            return;
        }
        let Some(ticket) = self.settling.ticket().await else { return };
        let publishes: Arc<[Publish]> = batch.publishes.into();
        let settle = {
            let (shared, outbox, number) = (Arc::clone(self.shared), Arc::clone(&self.outbox), self.number);
            let (settling, publishes) = (Arc::clone(&self.settling), Arc::clone(&publishes));
            move |result| {
                let outcome = Outcome { publishes, acknowledgements: batch.acknowledgements, result };
                settling.settle(ticket, outcome, |outcome| apply(&shared, &outbox, number, outcome));
            }
        };
        if publishes.is_empty() {
            return settle(Ok(()));
        }
        // Made first: should this future be dropped while it waits for room, the ticket is settled all the same.
        let receipt = Receipt::new(settle);
        let room = self.shared.intake.reserve(batch.bytes).await;
        for publish in publishes.iter().filter(|publish| publish.qos == 0) {
            self.shared.fan_out(publish, Some(self.number));
        }
        self.shared.intake.submit(&self.client, &publishes, room, receipt);
    }

    /// Publishes the will as if the client had.
    async fn publish_will(&mut self, will: Publish) {
        if !self.client.rights.may_publish(&will.topic) {
            BrokerMetrics::count(&self.shared.metrics.refused, "not-authorized");
            return;
        }
        let bytes = will.byte_len();
        self.hand_over(Batch { publishes: vec![will], acknowledgements: Vec::new(), bytes }).await;
    }

    /// Answers what is no publish; `Some` ends the connection.
    fn handle(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Ping => self.outbox.ping_response(),
            Event::Acknowledge(id) => self.outbox.acknowledged(id),
            Event::Subscribe { id, filters, identifier } => self.subscribe(id, &filters, identifier),
            Event::Unsubscribe { id, filters } => self.unsubscribe(id, &filters),
            Event::Disconnect { with_will } => return Some(if with_will { End::Gone } else { End::Goodbye }),
            Event::Connect(_) | Event::Publish(..) => {
                return Some(End::Fault(Fault { reason: "protocol-error", code: 0x82 }));
            }
        }
        None
    }

    fn subscribe(
        &mut self,
        id: NonZeroU16,
        filters: &[SubscribeRequest],
        identifier: Option<std::num::NonZeroU32>,
    ) {
        let mut codes = Vec::with_capacity(filters.len());
        let mut retained = Vec::new();
        for request in filters {
            let filter = &*request.filter;
            let code = if !topic::is_filter(filter) {
                0x8F
            } else if topic::is_shared(filter) {
                0x9E
            } else if !self.client.rights.may_subscribe(filter) {
                0x87
            } else if self.filters.len() >= self.shared.config.subscriptions_max
                && !self.filters.contains(filter)
            {
                0x97
            } else {
                let (how, messages) = self.shared.subscribe(self.number, request, identifier);
                self.filters.insert(filter.to_owned());
                retained.extend(messages.into_iter().map(|message| (message, how.clone())));
                request.qos.min(1)
            };
            codes.push(code);
        }
        match self.outbox.version() {
            Version::V3 => {
                let status = codes.iter().map(|code| match code {
                    0 => v3::SubscribeReturnCode::Success(QoS::AtMostOnce),
                    1 => v3::SubscribeReturnCode::Success(QoS::AtLeastOnce),
                    _ => v3::SubscribeReturnCode::Failure,
                });
                self.outbox.packet_v3(v3::Packet::SubscribeAck { packet_id: id, status: status.collect() });
            }
            Version::V5 => {
                let status = codes.iter().map(|code| match code {
                    0 => v5::SubscribeAckReason::GrantedQos0,
                    1 => v5::SubscribeAckReason::GrantedQos1,
                    0x87 => v5::SubscribeAckReason::NotAuthorized,
                    0x97 => v5::SubscribeAckReason::QuotaExceeded,
                    0x9E => v5::SubscribeAckReason::SharedSubscriptionNotSupported,
                    _ => v5::SubscribeAckReason::TopicFilterInvalid,
                });
                self.outbox.packet_v5(v5::Packet::SubscribeAck(v5::SubscribeAck {
                    packet_id: id,
                    properties: Vec::new(),
                    reason_string: None,
                    status: status.collect(),
                }));
            }
        }
        for (message, how) in retained {
            self.shared.deliver(&self.outbox, &message, &how, true);
        }
    }

    fn unsubscribe(&mut self, id: NonZeroU16, filters: &[bytestring::ByteString]) {
        let mut status = Vec::with_capacity(filters.len());
        for filter in filters {
            let existed = self.filters.remove(&**filter) && self.shared.unsubscribe(self.number, filter);
            status.push(if existed {
                v5::UnsubscribeAckReason::Success
            } else {
                v5::UnsubscribeAckReason::NoSubscriptionExisted
            });
        }
        match self.outbox.version() {
            Version::V3 => self.outbox.packet_v3(v3::Packet::UnsubscribeAck { packet_id: id }),
            Version::V5 => self.outbox.packet_v5(v5::Packet::UnsubscribeAck(v5::UnsubscribeAck {
                packet_id: id,
                properties: Vec::new(),
                reason_string: None,
                status,
            })),
        }
    }
}

/// What a commit, or its failure, means for the publisher and the subscribers.
fn apply(shared: &Shared, outbox: &Outbox, number: ClientNumber, outcome: Outcome) {
    let Outcome { publishes, mut acknowledgements, result } = outcome;
    match result {
        Ok(()) => {
            if outbox.acknowledge(&acknowledgements) {
                let accepted = acknowledgements.iter().filter(|(_, code)| *code == 0).count();
                shared.metrics.acknowledged.inc_by(accepted as u64);
            }
            for publish in &*publishes {
                shared.retain(publish);
                if publish.qos > 0 {
                    shared.fan_out(publish, Some(number));
                }
            }
        }
        Err(refusal) => {
            let (reason, code) = match refusal {
                Refusal::NoSpace => ("no-space", 0x97),
                Refusal::Internal => ("internal", 0x80),
            };
            for _ in &*publishes {
                BrokerMetrics::count(&shared.metrics.refused, reason);
            }
            match outbox.version() {
                Version::V5 => {
                    for (_, own) in acknowledgements.iter_mut().filter(|(_, own)| *own == 0) {
                        *own = code;
                    }
                    outbox.acknowledge(&acknowledgements);
                }
                // 3.1.1 has no refusal: the connection ends, and nothing is acknowledged any more.
                Version::V3 if !acknowledgements.is_empty() => {
                    outbox.stop_acknowledging();
                    if !outbox.is_closed() {
                        BrokerMetrics::count(&shared.metrics.closed, reason);
                        outbox.close();
                    }
                }
                Version::V3 => {}
            }
        }
    }
}
