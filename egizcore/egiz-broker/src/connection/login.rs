//! From the first byte to CONNACK: who calls, whether it may come in, and what it is told.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rmqtt_codec::types::QoS;
use rmqtt_codec::{v3, v5};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{CLOSING_GRACE, linger};
use crate::broker::Shared;
use crate::gate::{ClientInfo, Denied, Login};
use crate::listener::Arrival;
use crate::metrics::BrokerMetrics;
use crate::outbox::Outbox;
use crate::protocol::{ConnectRequest, Event, Fault, Protocol, ProtocolLimits, Version};

/// A client that may come in.
pub(super) struct Guest {
    pub(super) request: ConnectRequest,
    pub(super) client: Arc<ClientInfo>,
    pub(super) protocol: Protocol,
    /// What came behind its CONNECT.
    pub(super) buffer: BytesMut,
    /// How long its session is kept.
    pub(super) session_expiry_s: u32,
    keep_alive_s: u16,
}

/// Why a client is not let in.
struct Refusal {
    reason: &'static str,
    v3_code: u8,
    v5_code: u8,
}

impl Guest {
    /// How long it may be silent: one and a half times its keep-alive (MQTT-3.1.2-24).
    pub(super) fn silence_max(&self) -> Option<Duration> {
        (self.keep_alive_s > 0).then(|| Duration::from_millis(u64::from(self.keep_alive_s) * 1500))
    }
}

/// Reads the CONNECT and checks the login; answers a refusal.
pub(super) async fn welcome(
    shared: &Shared,
    arrival: &mut Arrival,
    stop: &CancellationToken,
) -> Option<Guest> {
    let limits = ProtocolLimits { connect_bytes_max: arrival.connect_bytes_max, ..shared.limits() };
    let mut protocol = Protocol::new(limits);
    let mut buffer = BytesMut::with_capacity(4096);
    let request = loop {
        match protocol.receive(&mut buffer) {
            Ok(Some(Event::Connect(request))) => break *request,
            Ok(Some(_)) => return None,
            Ok(None) => {}
            Err(fault) => {
                BrokerMetrics::count(&shared.metrics.refused_connects, fault.reason);
                refuse_fault(arrival, protocol.version(), fault).await;
                return None;
            }
        }
        let read = tokio::select! {
            read = timeout_at(arrival.deadline, arrival.reader.read_buf(&mut buffer)) => read,
            () = stop.cancelled() => return None,
        };
        match read {
            Ok(Ok(1..)) => {}
            Ok(_) => return None,
            Err(_) => {
                BrokerMetrics::count(&shared.metrics.refused_connects, "connect-timeout");
                return None;
            }
        }
    };
    let (principal, rights) = match authenticate(shared, &request, arrival).await {
        Ok(found) => found,
        Err(refusal) => {
            refuse(shared, arrival, &request, &refusal).await;
            return None;
        }
    };
    let client_id = if request.client_id.is_empty() {
        shared.assigned_client_id()
    } else {
        request.client_id.to_string()
    };
    let keep_alive_max_s = shared.config.keep_alive_max_s;
    let is_too_long = keep_alive_max_s > 0
        && request.version == Version::V5
        && (request.keep_alive_s == 0 || request.keep_alive_s > keep_alive_max_s);
    Some(Guest {
        client: Arc::new(ClientInfo { client_id, principal, rights }),
        session_expiry_s: request.session_expiry_s.min(shared.config.session_expiry_max_s),
        keep_alive_s: if is_too_long { keep_alive_max_s } else { request.keep_alive_s },
        request,
        protocol,
        buffer,
    })
}

/// Tells a client that there is no place for its session.
pub(super) async fn refuse_session(shared: &Shared, arrival: &mut Arrival, request: &ConnectRequest) {
    let refusal = Refusal { reason: "too-many-sessions", v3_code: 3, v5_code: 0x97 };
    refuse(shared, arrival, request, &refusal).await;
}

/// Answers a CONNECT whose new session cannot be kept.
pub(super) async fn refuse_unkept(
    shared: &Shared,
    arrival: &mut Arrival,
    request: &ConnectRequest,
    refusal: crate::gate::Refusal,
) {
    let refusal = match refusal {
        crate::gate::Refusal::NoSpace => Refusal { reason: "no-space", v3_code: 3, v5_code: 0x97 },
        crate::gate::Refusal::Internal => Refusal { reason: "internal", v3_code: 3, v5_code: 0x88 },
    };
    refuse(shared, arrival, request, &refusal).await;
}

async fn authenticate(
    shared: &Shared,
    request: &ConnectRequest,
    arrival: &mut Arrival,
) -> Result<(String, Arc<dyn crate::gate::TopicRights>), Refusal> {
    if request.wants_authentication {
        return Err(Refusal { reason: "authentication-method", v3_code: 5, v5_code: 0x8C });
    }
    let login = Login {
        client_id: &request.client_id,
        username: request.username.as_deref(),
        password: request.password.as_deref(),
        peer: arrival.peer,
        certificate: arrival.certificate.as_deref(),
    };
    let checked = timeout_at(arrival.deadline, shared.surroundings.gatekeeper.authenticate(login)).await;
    checked.unwrap_or(Err(Denied::Busy)).map_err(|denied| match denied {
        Denied::BadCredentials => Refusal { reason: "bad-credentials", v3_code: 4, v5_code: 0x86 },
        Denied::NotAuthorized => Refusal { reason: "not-authorized", v3_code: 5, v5_code: 0x87 },
        Denied::Busy => Refusal { reason: "busy", v3_code: 3, v5_code: 0x89 },
    })
}

async fn refuse(shared: &Shared, arrival: &mut Arrival, request: &ConnectRequest, refusal: &Refusal) {
    BrokerMetrics::count(&shared.metrics.refused_connects, refusal.reason);
    tracing::info!(
        client.id = &*request.client_id,
        peer = %arrival.peer,
        reason = refusal.reason,
        "a client was not let in"
    );
    let answer: &[u8] = match request.version {
        Version::V5 => &[0x20, 3, 0, refusal.v5_code, 0],
        Version::V3 => &[0x20, 2, 0, refusal.v3_code],
    };
    last_words(arrival, answer).await;
}

/// Answers a CONNECT that breaks a rule, as far as the version allows.
async fn refuse_fault(arrival: &mut Arrival, version: Option<Version>, fault: Fault) {
    let answer: &[u8] = match (version, fault.code) {
        (Some(Version::V5), code) => &[0x20, 3, 0, code, 0],
        // Without an id there is no session to come back to (MQTT-3.1.3-8).
        (Some(Version::V3), 0x85) => &[0x20, 2, 0, 2],
        // An unknown version is answered as 3.1.1 has it (MQTT-3.1.2-2).
        (_, 0x84) => &[0x20, 2, 0, 1],
        _ => return,
    };
    last_words(arrival, answer).await;
}

/// Writes the last packet of a connection that is closed either way.
async fn last_words(arrival: &mut Arrival, packet: &[u8]) {
    let writer = &mut arrival.writer;
    let write = async {
        writer.write_all(packet).await?;
        writer.shutdown().await
    };
    if let Ok(Ok(())) = timeout(CLOSING_GRACE, write).await {
        linger::until_heard(&mut arrival.reader, CLOSING_GRACE, &CancellationToken::new()).await;
    }
}

/// Sends CONNACK.
pub(super) fn accept(shared: &Shared, outbox: &Outbox, guest: &Guest, session_present: bool) {
    let request = &guest.request;
    if request.version == Version::V3 {
        outbox.packet_v3(v3::Packet::ConnectAck(v3::ConnectAck {
            return_code: v3::ConnectAckReason::ConnectionAccepted,
            session_present: session_present && request.knows_session_present,
        }));
        return;
    }
    let expiry_s = guest.session_expiry_s;
    outbox.packet_v5(v5::Packet::ConnectAck(Box::new(v5::ConnectAck {
        session_present,
        reason_code: v5::ConnectAckReason::Success,
        session_expiry_interval_secs: (expiry_s != request.session_expiry_s).then_some(expiry_s),
        receive_max: NonZeroU16::new(shared.config.receive_max).unwrap_or(NonZeroU16::MIN),
        max_qos: QoS::ExactlyOnce,
        max_packet_size: u32::try_from(shared.config.packet_bytes_max).ok(),
        assigned_client_id: request.client_id.is_empty().then(|| guest.client.client_id.as_str().into()),
        topic_alias_max: shared.config.topic_aliases_max,
        retain_available: true,
        wildcard_subscription_available: true,
        subscription_identifiers_available: true,
        shared_subscription_available: true,
        server_keepalive_sec: (guest.keep_alive_s != request.keep_alive_s).then_some(guest.keep_alive_s),
        response_info: None,
        server_reference: None,
        auth_method: None,
        auth_data: None,
        reason_string: None,
        user_properties: Vec::new(),
    })));
}
