//! One client's side of the protocol, without a socket: bytes in, events out, the rules in between.
//!
//! ```text
//!            CONNECT, first packet only              any packet by the rules
//!  waiting ────────────────────────────► connected ──────────────────────────► event
//!     │ anything else                        │ a rule broken
//!     ▼                                      ▼
//!   fault (close)                          fault (v5: DISCONNECT with the reason; close)
//! ```
//!
//! The codec crate is known here and in `outbox` and `connection` only; what it lets pass is refused by `strict`, and PUBLISH
//! of 5.0 does without it. It knows one packet at a time: what a packet means for the session is `session`'s and `delivery`'s.

mod publish;
mod strict;
mod walk;

use std::collections::HashMap;
use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Buf as _, Bytes, BytesMut};
use bytestring::ByteString;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::RetainHandling;
use rmqtt_codec::version::{ProtocolVersion, VersionCodec};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::Decoder as _;

use crate::message::Publish;
use crate::properties::Properties;
use crate::topic;

/// A protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1 and 3.1.1
    V3,
    /// 5.0
    V5,
}

/// A broken rule: why the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    /// The word for it, in metrics and logs.
    pub reason: &'static str,
    /// The reason code for an MQTT 5 client.
    pub code: u8,
}

const MALFORMED: Fault = Fault { reason: "malformed-packet", code: 0x81 };
const PROTOCOL_ERROR: Fault = Fault { reason: "protocol-error", code: 0x82 };
const TOPIC_NAME: Fault = Fault { reason: "topic-name-invalid", code: 0x90 };
const TOPIC_ALIAS: Fault = Fault { reason: "topic-alias-invalid", code: 0x94 };
const TOO_LARGE: Fault = Fault { reason: "packet-too-large", code: 0x95 };
const CLIENT_ID: Fault = Fault { reason: "client-id-missing", code: 0x85 };
const VERSION: Fault = Fault { reason: "unsupported-version", code: 0x84 };

/// The type of a PUBLISH, in the upper half of its first byte.
const PUBLISH: u8 = 3;
/// Where the flags of a CONNECT lie behind its fixed header, the protocol's name being `MQTT`.
const CONNECT_FLAGS_AT: usize = 7;
const CLEAN_START: u8 = 2;

/// Bounds of what a client may send.
#[derive(Debug, Clone, Copy)]
pub struct ProtocolLimits {
    /// The largest packet after the login, in bytes.
    pub packet_bytes_max: usize,
    /// The largest CONNECT, in bytes.
    pub connect_bytes_max: usize,
    /// Topic aliases that a client may use.
    pub topic_aliases_max: u16,
    /// Filters in one SUBSCRIBE.
    pub filters_max: usize,
}

/// What a client asks for when it connects.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    /// Which protocol it speaks.
    pub version: Version,
    /// Whether a CONNACK can tell it that its session was there: in 3.1 those bits are reserved.
    pub knows_session_present: bool,
    /// Empty asks for one to be assigned.
    pub client_id: ByteString,
    /// Seconds; 0 is never.
    pub keep_alive_s: u16,
    /// User name.
    pub username: Option<ByteString>,
    /// Password.
    pub password: Option<Bytes>,
    /// What to publish should the connection break.
    pub will: Option<Publish>,
    /// Unacknowledged messages that it takes at once.
    pub receive_max: u16,
    /// The largest packet that it takes, in bytes.
    pub packet_bytes_max: Option<u32>,
    /// Whether it asked for an authentication method, which this server does not have.
    pub wants_authentication: bool,
    /// How long its session is to be kept after the connection, in seconds; `u32::MAX` is for good.
    pub session_expiry_s: u32,
    /// Whether a session that is there is to be thrown away.
    pub clean: bool,
    /// How long its will is to wait, in seconds.
    pub will_delay_s: u32,
    /// Topic aliases that it takes.
    pub topic_aliases_max: u16,
}

/// A filter to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The filter as sent.
    pub filter: ByteString,
    /// Asked for quality of service, 0 to 2.
    pub qos: u8,
    /// MQTT 5 option.
    pub no_local: bool,
    /// MQTT 5 option.
    pub retain_as_published: bool,
    /// Which retained messages it wants.
    pub retained: Retained,
}

/// MQTT 5's retain handling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retained {
    /// At every subscribe.
    Always,
    /// Only if the subscription is new.
    IfNew,
    /// Never.
    Never,
}

/// What a client did.
#[derive(Debug)]
pub enum Event {
    /// It connects.
    Connect(Box<ConnectRequest>),
    /// It publishes; the packet id with QoS 1 and 2. With an id, the topic may be too deep.
    Publish(Publish, Option<NonZeroU16>),
    /// PUBREL: it lets go of the id of a publish of QoS 2.
    Release(NonZeroU16),
    /// PUBACK: it acknowledges a delivery of QoS 1.
    Acknowledge(NonZeroU16),
    /// PUBREC: it has received a delivery of QoS 2, or with a code from 0x80 on it has not.
    Received(NonZeroU16, u8),
    /// PUBCOMP: it has let go of the id of a delivery of QoS 2.
    Complete(NonZeroU16),
    /// It subscribes.
    Subscribe {
        /// Packet id.
        id: NonZeroU16,
        /// Filters, at least one.
        filters: Vec<SubscribeRequest>,
        /// MQTT 5 subscription identifier.
        identifier: Option<NonZeroU32>,
    },
    /// It unsubscribes.
    Unsubscribe {
        /// Packet id.
        id: NonZeroU16,
        /// Filters, at least one.
        filters: Vec<ByteString>,
    },
    /// It asks whether we are there.
    Ping,
    /// It goes, and its will is to be published or not.
    Disconnect {
        /// Whether the will is published.
        with_will: bool,
        /// A new time for its session to be kept, in seconds.
        session_expiry_s: Option<u32>,
    },
}

/// A client's side of the protocol.
#[derive(Debug)]
pub struct Protocol {
    limits: ProtocolLimits,
    codec: Codec,
    aliases: HashMap<NonZeroU16, ByteString>,
    session_expiry_s: u32,
    /// The rule that was broken, once one was: nothing behind it is taken.
    fault: Option<Fault>,
}

#[derive(Debug)]
enum Codec {
    /// No CONNECT yet.
    Waiting,
    V3(v3::Codec),
    V5(v5::Codec),
}

impl Protocol {
    /// A client before its CONNECT.
    #[must_use]
    pub fn new(limits: ProtocolLimits) -> Self {
        Self { limits, codec: Codec::Waiting, aliases: HashMap::new(), session_expiry_s: 0, fault: None }
    }

    /// The version, once known.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        match self.codec {
            Codec::Waiting => None,
            Codec::V3(_) => Some(Version::V3),
            Codec::V5(_) => Some(Version::V5),
        }
    }

    /// Takes the next event off the front of `bytes`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The broken rule; the connection is to be closed, and every later call gives the same.
    pub fn receive(&mut self, bytes: &mut BytesMut) -> Result<Option<Event>, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        self.receive_packet(bytes).inspect_err(|fault| self.fault = Some(*fault))
    }

    fn receive_packet(&mut self, bytes: &mut BytesMut) -> Result<Option<Event>, Fault> {
        let Some(version) = self.version() else { return self.receive_connect(bytes) };
        let Some(frame) = strict::frame(bytes, self.limits.packet_bytes_max)? else { return Ok(None) };
        strict::check(version, frame.first, &bytes[frame.header..frame.total])?;
        // The codec never sees half a packet, so it always has an answer.
        let event = match &mut self.codec {
            Codec::Waiting => None,
            Codec::V5(_) if frame.first >> 4 == PUBLISH => {
                let mut packet = bytes.split_to(frame.total);
                packet.advance(frame.header);
                let sent = publish::read(frame.first, &packet.freeze())?;
                Some(published_v5(sent, &self.limits, &mut self.aliases)?)
            }
            Codec::V3(codec) => match codec.decode(bytes).map_err(fault_of)? {
                None => None,
                Some((packet, _)) => from_v3(packet, &self.limits)?,
            },
            Codec::V5(codec) => match codec.decode(bytes).map_err(fault_of)? {
                None => None,
                Some((v5::Packet::Disconnect(disconnect), _))
                    if self.session_expiry_s == 0
                        && disconnect.session_expiry_interval_secs.is_some_and(|interval| interval > 0) =>
                {
                    // What was to end with the connection cannot outlive it (3.14.2.2.2).
                    return Err(PROTOCOL_ERROR);
                }
                Some((packet, _)) => from_v5(packet, &self.limits)?,
            },
        };
        event.map(Some).ok_or(PROTOCOL_ERROR)
    }

    fn receive_connect(&mut self, bytes: &mut BytesMut) -> Result<Option<Event>, Fault> {
        // Only a CONNECT may come first (MQTT-3.1.0-1); anything else is seen by its first byte.
        if bytes.first().is_some_and(|first| *first != 0x10) {
            return Err(PROTOCOL_ERROR);
        }
        let Some(frame) = strict::frame(bytes, self.limits.connect_bytes_max)? else { return Ok(None) };
        // The codecs get this packet alone: that of the version reads on where a packet is too short for it.
        let mut packet = bytes.split_to(frame.total);
        let version = VersionCodec.decode(&mut packet).map_err(|error| match error {
            DecodeError::InvalidProtocol => VERSION,
            other => fault_of(other),
        })?;
        // The version is known from here on, so that a refusal can be said in it.
        match version {
            None => Err(MALFORMED),
            Some(ProtocolVersion::MQTT3) => {
                self.codec = Codec::V3(v3::Codec::default());
                strict::check_connect(Version::V3, &packet[frame.header..])?;
                let knows_session_present = packet[frame.header..].starts_with(b"\0\x04MQTT");
                let decoded = v3::Codec::default().decode(&mut packet).map_err(|error| match error {
                    DecodeError::InvalidClientId => CLIENT_ID,
                    other => fault_of(other),
                })?;
                let Some((v3::Packet::Connect(connect), _)) = decoded else { return Err(PROTOCOL_ERROR) };
                connect_v3(*connect, knows_session_present).map(Some)
            }
            Some(ProtocolVersion::MQTT5) => {
                self.codec = Codec::V5(v5::Codec::default());
                strict::check_connect(Version::V5, &packet[frame.header..])?;
                // The codec holds an empty id without Clean Start for an error, which it is in 3.1.1 only.
                let flags = packet.get_mut(frame.header + CONNECT_FLAGS_AT).ok_or(MALFORMED)?;
                let clean = *flags & CLEAN_START != 0;
                *flags |= CLEAN_START;
                let decoded = v5::Codec::default().decode(&mut packet).map_err(fault_of)?;
                let Some((v5::Packet::Connect(connect), _)) = decoded else { return Err(PROTOCOL_ERROR) };
                self.session_expiry_s = connect.session_expiry_interval_secs;
                connect_v5(*connect, clean).map(Some)
            }
        }
    }
}

fn fault_of(error: DecodeError) -> Fault {
    match error {
        DecodeError::MaxSizeExceeded { .. } => TOO_LARGE,
        DecodeError::InvalidTopicName => PROTOCOL_ERROR,
        DecodeError::UnsupportedProtocolLevel => VERSION,
        _ => MALFORMED,
    }
}

fn number(qos: QoS) -> u8 {
    qos.value()
}

fn will(
    topic_name: &ByteString,
    message: Bytes,
    qos: QoS,
    retain: bool,
    properties: Option<Properties>,
) -> Result<Publish, Fault> {
    check_name(topic_name)?;
    check_depth(topic_name)?;
    check_texts(properties.as_ref())?;
    Ok(Publish {
        topic: topic_name.clone(),
        payload: message,
        qos: number(qos),
        retain,
        properties: properties.map(Box::new),
        received_micros: 0,
        owed: false,
        from: None,
    })
}

/// Checks that a string holds no NUL (MQTT-1.5.4-2); that it is UTF-8 the codec has seen to.
fn check_text(text: &str) -> Result<(), Fault> {
    if text.contains('\0') { Err(MALFORMED) } else { Ok(()) }
}

/// Checks a topic name. What is no name at all is not said to be one that is not accepted.
fn check_name(name: &str) -> Result<(), Fault> {
    if topic::is_name(name) {
        Ok(())
    } else if name.is_empty() {
        Err(PROTOCOL_ERROR)
    } else {
        Err(MALFORMED)
    }
}

fn check_depth(name: &str) -> Result<(), Fault> {
    if topic::is_too_deep(name) { Err(TOPIC_NAME) } else { Ok(()) }
}

fn check_texts(properties: Option<&Properties>) -> Result<(), Fault> {
    let Some(properties) = properties else { return Ok(()) };
    if properties.response_topic.as_ref().is_some_and(|response| !topic::is_name(response)) {
        return Err(PROTOCOL_ERROR);
    }
    properties.content_type.as_deref().map_or(Ok(()), check_text)?;
    properties.user_properties.iter().try_for_each(|(name, value)| {
        check_text(name)?;
        check_text(value)
    })
}

fn connect_v3(connect: v3::Connect, knows_session_present: bool) -> Result<Event, Fault> {
    check_text(&connect.client_id)?;
    connect.username.as_deref().map_or(Ok(()), check_text)?;
    let will = connect
        .last_will
        .map(|last| will(&last.topic, last.message, last.qos, last.retain, None))
        .transpose()?;
    Ok(Event::Connect(Box::new(ConnectRequest {
        version: Version::V3,
        knows_session_present,
        client_id: connect.client_id,
        keep_alive_s: connect.keep_alive,
        username: connect.username,
        password: connect.password,
        will,
        receive_max: u16::MAX,
        packet_bytes_max: None,
        wants_authentication: false,
        session_expiry_s: if connect.clean_session { 0 } else { u32::MAX },
        clean: connect.clean_session,
        will_delay_s: 0,
        topic_aliases_max: 0,
    })))
}

fn connect_v5(connect: v5::Connect, clean: bool) -> Result<Event, Fault> {
    check_text(&connect.client_id)?;
    connect.username.as_deref().map_or(Ok(()), check_text)?;
    if connect.auth_data.is_some() && connect.auth_method.is_none() {
        return Err(PROTOCOL_ERROR);
    }
    let mut will_delay_s = 0;
    let will = connect
        .last_will
        .map(|last| {
            will_delay_s = last.will_delay_interval_sec.unwrap_or(0);
            let properties = Properties {
                payload_format: last.is_utf8_payload.map(u8::from),
                message_expiry_interval: last.message_expiry_interval.map(NonZeroU32::get),
                content_type: last.content_type,
                response_topic: last.response_topic,
                correlation_data: last.correlation_data,
                user_properties: last.user_properties,
            };
            will(&last.topic, last.message, last.qos, last.retain, Some(properties))
        })
        .transpose()?;
    Ok(Event::Connect(Box::new(ConnectRequest {
        version: Version::V5,
        knows_session_present: true,
        client_id: connect.client_id,
        keep_alive_s: connect.keep_alive,
        username: connect.username,
        password: connect.password,
        will,
        receive_max: connect.receive_max.map_or(u16::MAX, NonZeroU16::get),
        packet_bytes_max: connect.max_packet_size.map(NonZeroU32::get),
        wants_authentication: connect.auth_method.is_some(),
        session_expiry_s: connect.session_expiry_interval_secs,
        clean,
        will_delay_s,
        topic_aliases_max: connect.topic_alias_max,
    })))
}

fn check_filters<'a>(
    mut filters: impl ExactSizeIterator<Item = &'a ByteString>,
    limits: &ProtocolLimits,
) -> Result<(), Fault> {
    if filters.len() > limits.filters_max {
        return Err(Fault { reason: "too-many-filters", code: 0x97 });
    }
    filters.try_for_each(|filter| check_text(filter))
}

fn from_v3(packet: v3::Packet, limits: &ProtocolLimits) -> Result<Option<Event>, Fault> {
    Ok(Some(match packet {
        v3::Packet::Publish(publish) => {
            // DUP has no meaning with QoS 0 (MQTT-3.3.1-2).
            if publish.qos == QoS::AtMostOnce && publish.dup {
                return Err(MALFORMED);
            }
            check_depth(&publish.topic)?;
            let qos = number(publish.qos);
            published(publish.topic, publish.payload, qos, publish.retain, publish.packet_id, None)?
        }
        v3::Packet::PublishAck { packet_id } => Event::Acknowledge(packet_id),
        v3::Packet::Subscribe { packet_id, topic_filters } => {
            check_filters(topic_filters.iter().map(|(filter, _)| filter), limits)?;
            let filters = topic_filters.into_iter().map(|(filter, qos)| SubscribeRequest {
                filter,
                qos: number(qos),
                no_local: false,
                retain_as_published: false,
                retained: Retained::Always,
            });
            Event::Subscribe { id: packet_id, filters: filters.collect(), identifier: None }
        }
        v3::Packet::Unsubscribe { packet_id, topic_filters } => {
            check_filters(topic_filters.iter(), limits)?;
            Event::Unsubscribe { id: packet_id, filters: topic_filters }
        }
        v3::Packet::PingRequest => Event::Ping,
        v3::Packet::Disconnect => Event::Disconnect { with_will: false, session_expiry_s: None },
        v3::Packet::PublishReceived { packet_id } => Event::Received(packet_id, 0),
        v3::Packet::PublishRelease { packet_id } => Event::Release(packet_id),
        v3::Packet::PublishComplete { packet_id } => Event::Complete(packet_id),
        _ => return Ok(None),
    }))
}

fn from_v5(packet: v5::Packet, limits: &ProtocolLimits) -> Result<Option<Event>, Fault> {
    Ok(Some(match packet {
        v5::Packet::PublishAck(acknowledged) => Event::Acknowledge(acknowledged.packet_id),
        v5::Packet::Subscribe(subscribe) => {
            check_filters(subscribe.topic_filters.iter().map(|(filter, _)| filter), limits)?;
            let filters = subscribe.topic_filters.into_iter().map(|(filter, options)| {
                // No Local on a shared subscription is an error (MQTT-3.8.3-4).
                if options.no_local && topic::is_shared(&filter) {
                    return Err(PROTOCOL_ERROR);
                }
                Ok(SubscribeRequest {
                    filter,
                    qos: number(options.qos),
                    no_local: options.no_local,
                    retain_as_published: options.retain_as_published,
                    retained: match options.retain_handling {
                        RetainHandling::AtSubscribe => Retained::Always,
                        RetainHandling::AtSubscribeNew => Retained::IfNew,
                        RetainHandling::NoAtSubscribe => Retained::Never,
                    },
                })
            });
            let filters = filters.collect::<Result<_, Fault>>()?;
            Event::Subscribe { id: subscribe.packet_id, filters, identifier: subscribe.id }
        }
        v5::Packet::Unsubscribe(unsubscribe) => {
            check_filters(unsubscribe.topic_filters.iter(), limits)?;
            Event::Unsubscribe { id: unsubscribe.packet_id, filters: unsubscribe.topic_filters }
        }
        v5::Packet::PingRequest => Event::Ping,
        v5::Packet::Disconnect(disconnect) => Event::Disconnect {
            with_will: disconnect.reason_code != v5::DisconnectReasonCode::NormalDisconnection,
            session_expiry_s: disconnect.session_expiry_interval_secs,
        },
        v5::Packet::PublishReceived(received) => {
            Event::Received(received.packet_id, received.reason_code.into())
        }
        v5::Packet::PublishRelease(release) => Event::Release(release.packet_id),
        v5::Packet::PublishComplete(complete) => Event::Complete(complete.packet_id),
        _ => return Ok(None),
    }))
}

fn published_v5(
    sent: publish::Sent,
    limits: &ProtocolLimits,
    aliases: &mut HashMap<NonZeroU16, ByteString>,
) -> Result<Event, Fault> {
    check_texts(sent.properties.as_deref())?;
    let name = match sent.topic_alias {
        None if sent.topic.is_empty() => return Err(PROTOCOL_ERROR),
        None => sent.topic,
        Some(alias) if alias.get() > limits.topic_aliases_max => return Err(TOPIC_ALIAS),
        Some(alias) if sent.topic.is_empty() => aliases.get(&alias).cloned().ok_or(PROTOCOL_ERROR)?,
        Some(alias) => {
            // A copy: the topic itself is a part of the read buffer, which would be kept with it.
            aliases.insert(alias, ByteString::from(&*sent.topic));
            sent.topic
        }
    };
    // With an id the refusal has a place of its own, and the client does not come back with the same message for ever.
    if sent.packet_id.is_none() {
        check_depth(&name)?;
    }
    published(name, sent.payload, sent.qos, sent.retain, sent.packet_id, sent.properties)
}

fn published(
    name: ByteString,
    payload: Bytes,
    qos: u8,
    retain: bool,
    id: Option<NonZeroU16>,
    properties: Option<Box<Properties>>,
) -> Result<Event, Fault> {
    check_name(&name)?;
    let publish = Publish {
        topic: name,
        payload,
        qos,
        retain,
        properties,
        received_micros: 0,
        owed: false,
        from: None,
    };
    Ok(Event::Publish(publish, id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: ProtocolLimits = ProtocolLimits {
        packet_bytes_max: 1024,
        connect_bytes_max: 256,
        topic_aliases_max: 4,
        filters_max: 4,
    };

    /// A CONNECT of client `c`, then `packets`, fed in pieces of `piece` bytes; what came of it.
    fn run(level: u8, packets: &[u8], piece: usize) -> (Vec<String>, Option<Fault>) {
        let mut input = vec![0x10, 0, 0, 4, b'M', b'Q', b'T', b'T', level, 2, 0, 60];
        if level == 5 {
            input.push(0);
        }
        input.extend_from_slice(&[0, 1, b'c']);
        input[1] = u8::try_from(input.len() - 2).expect("short");
        input.extend_from_slice(packets);
        let mut protocol = Protocol::new(LIMITS);
        let mut buffer = BytesMut::new();
        let mut events = Vec::new();
        for part in input.chunks(piece) {
            buffer.extend_from_slice(part);
            loop {
                match protocol.receive(&mut buffer) {
                    Ok(Some(Event::Connect(_))) => events.push("connect".to_owned()),
                    Ok(Some(Event::Publish(publish, id))) => {
                        events.push(format!(
                            "publish {} {:?} {}",
                            publish.topic,
                            id,
                            String::from_utf8_lossy(&publish.payload)
                        ));
                    }
                    Ok(Some(other)) => events.push(format!("{other:?}")),
                    Ok(None) => break,
                    Err(fault) => return (events, Some(fault)),
                }
            }
        }
        (events, None)
    }

    fn check(level: u8, packets: &[u8], expected: Result<&[&str], Fault>) {
        for piece in [1, 3, 1000] {
            let (events, fault) = run(level, packets, piece);
            match expected {
                Ok(wanted) => assert_eq!(
                    (&events[1..], fault),
                    (wanted.iter().map(|event| (*event).to_owned()).collect::<Vec<_>>().as_slice(), None)
                ),
                Err(wanted) => assert_eq!(fault, Some(wanted), "{events:?}"),
            }
        }
    }

    #[test]
    fn packets_are_understood_however_they_are_cut() {
        check(4, b"\x32\x07\x00\x01a\x00\x07hi\xc0\x00", Ok(&["publish a Some(7) hi", "Ping"]));
        check(
            5,
            b"\x32\x08\x00\x01a\x00\x07\x00hi\xe0\x00",
            Ok(&["publish a Some(7) hi", "Disconnect { with_will: false, session_expiry_s: None }"]),
        );
    }

    #[test]
    fn mqtt_3_1_0_1_the_first_packet_is_a_connect() {
        let mut protocol = Protocol::new(LIMITS);
        assert_eq!(protocol.receive(&mut BytesMut::from(&b"\xc0\x00"[..])).map(|_| ()), Err(PROTOCOL_ERROR));
    }

    #[test]
    fn mqtt_3_1_0_2_a_second_connect_is_an_error() {
        check(4, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c", Err(PROTOCOL_ERROR));
    }

    #[test]
    fn nothing_behind_a_broken_rule_is_taken() {
        let mut protocol = Protocol::new(LIMITS);
        let mut bytes = BytesMut::from(&b"\xc0\x00"[..]);
        assert_eq!(protocol.receive(&mut bytes).map(|_| ()), Err(PROTOCOL_ERROR));
        let mut connect = BytesMut::from(&b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"[..]);
        assert_eq!(protocol.receive(&mut connect).map(|_| ()), Err(PROTOCOL_ERROR));
    }

    #[test]
    fn a_connect_that_is_too_short_is_not_completed_by_what_follows() {
        let input = b"\x10\x02\x00\x04MQTT\x09\x02\x00\x3c\x00\x00";
        for cut in 4..=input.len() {
            let mut protocol = Protocol::new(LIMITS);
            let mut bytes = BytesMut::from(&input[..cut]);
            assert_eq!(protocol.receive(&mut bytes).map(|_| ()), Err(MALFORMED), "{cut} bytes at once");
        }
    }

    #[test]
    fn mqtt_3_1_2_2_an_unknown_version_is_refused() {
        let mut protocol = Protocol::new(LIMITS);
        let mut bytes = BytesMut::from(&b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x3c\x00\x01c"[..]);
        assert_eq!(protocol.receive(&mut bytes).map(|_| ()), Err(VERSION));
    }

    #[test]
    fn mqtt_3_3_broken_publishes_are_refused_with_their_reason() {
        check(4, b"\x36\x07\x00\x01a\x00\x07hi", Err(MALFORMED));
        check(4, b"\x38\x05\x00\x01ahi", Err(MALFORMED));
        check(4, b"\x30\x05\x00\x01+hi", Err(MALFORMED));
        check(4, b"\x32\x07\x00\x01a\x00\x00hi", Err(MALFORMED));
        check(4, b"\x30\x05\x00\x01\xffhi", Err(MALFORMED));
    }

    #[test]
    fn mqtt_3_8_3_a_subscribe_needs_a_filter() {
        check(4, b"\x82\x02\x00\x01", Err(MALFORMED));
        check(4, b"\x80\x06\x00\x01\x00\x01a\x00", Err(MALFORMED));
    }

    #[test]
    fn mqtt_3_3_2_3_4_topic_aliases_stand_for_their_topic() {
        check(
            5,
            b"\x30\x08\x00\x01a\x03\x23\x00\x02x\x30\x07\x00\x00\x03\x23\x00\x02y",
            Ok(&["publish a None x", "publish a None y"]),
        );
        check(5, b"\x30\x07\x00\x00\x03\x23\x00\x02y", Err(PROTOCOL_ERROR));
        check(5, b"\x30\x08\x00\x01a\x03\x23\x00\x05x", Err(TOPIC_ALIAS));
    }

    #[test]
    fn packets_beyond_the_limits_are_refused_before_they_are_read() {
        check(4, b"\x30\x81\x10", Err(TOO_LARGE));
        let mut protocol = Protocol::new(LIMITS);
        assert_eq!(protocol.receive(&mut BytesMut::from(&b"\x10\xff\x7f"[..])).map(|_| ()), Err(TOO_LARGE));
    }

    proptest! {
        #[test]
        fn outside_bytes_never_panic(level in prop_oneof![Just(4_u8), Just(5)], bytes in prop::collection::vec(any::<u8>(), 0..120), piece in 1..20_usize) {
            run(level, &bytes, piece);
        }

        #[test]
        fn broken_packets_never_panic(level in prop_oneof![Just(4_u8), Just(5)], at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = b"\x32\x0b\x00\x01a\x00\x07\x03\x23\x00\x02hi\x82\x07\x00\x01\x00\x00\x01a\x00\xa2\x05\x00\x02\x00\x01a\x40\x02\x00\x05".to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            run(level, &bytes, 7);
        }
    }
}
