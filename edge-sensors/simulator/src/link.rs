//! One MQTT connection of one device, version 3.1.1 or 5, behind one face.
//!
//! A [`Link`] lives for one connection only. `rumqttc` can reconnect by itself and re-send what it has stored,
//! but after a lost session it can lock up on a packet identifier that is taken (its issues 1014 and 1056), so
//! any error ends the link; the device makes a new one and sends again what was not acknowledged. For the same
//! reason the channel to the link is larger than the device's window: a publish is never waited for, nor refused.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::{mqttbytes, v5};

use crate::config::Protocol;
use crate::credentials::Credential;

/// Largest packet accepted from the broker, bytes: acknowledgements only are expected.
const INCOMING_BYTES: usize = 64 * 1024;
/// Largest packet sent, bytes.
const OUTGOING_BYTES: usize = 256 * 1024;
/// Control messages that may wait beside a device's window: status, meta and the last status.
const CONTROL_MESSAGES: u16 = 4;

/// Events a connection holds room for at once; it reserves 100 by itself, most of a device's memory.
const EVENTS: usize = 4;

/// What a link needs to connect.
#[derive(Debug, Clone)]
pub(crate) struct LinkOptions {
    pub(crate) protocol: Protocol,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) keep_alive_s: u16,
    pub(crate) window: u16,
    pub(crate) client_id: String,
    pub(crate) credential: Option<Credential>,
    pub(crate) will_topic: String,
    pub(crate) will: Vec<u8>,
}

/// What happened on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// The broker accepted the connection.
    Connected,
    /// The next publish in the order of hand-over got this packet identifier and went out.
    Sent(u16),
    /// The broker acknowledged a packet identifier.
    Acknowledged {
        packet_id: u16,
        /// MQTT 5 lets a broker acknowledge and refuse at once.
        is_accepted: bool,
    },
    /// Nothing of interest.
    Other,
}

/// The sending half; cheap to keep beside the device's buffer.
#[derive(Debug, Clone)]
pub(crate) enum Publisher {
    V311(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

impl Publisher {
    /// Hands a QoS 1 message over without waiting. Returns false if the link has ended.
    pub(crate) fn publish(&self, topic: &str, payload: &Bytes, retain: bool) -> bool {
        match self {
            Publisher::V311(client) => {
                client.try_publish(topic, rumqttc::QoS::AtLeastOnce, retain, payload.clone()).is_ok()
            }
            Publisher::V5(client) => {
                client.try_publish(topic, v5::mqttbytes::QoS::AtLeastOnce, retain, payload.clone()).is_ok()
            }
        }
    }

    /// Asks for a clean disconnect, so that the broker does not send the will.
    pub(crate) fn disconnect(&self) {
        // Refused only when the link has ended, which is what is wanted.
        let _ = match self {
            Publisher::V311(client) => client.try_disconnect().is_ok(),
            Publisher::V5(client) => client.try_disconnect().is_ok(),
        };
    }
}

/// The receiving half, which must be polled for anything to happen.
pub(crate) enum Link {
    V311(Box<rumqttc::EventLoop>),
    V5(Box<v5::EventLoop>),
}

impl Link {
    /// Prepares a connection; [`Link::poll`] opens it.
    pub(crate) fn new(options: &LinkOptions) -> (Publisher, Link) {
        let keep_alive = Duration::from_secs(u64::from(options.keep_alive_s));
        let capacity = usize::from(options.window + CONTROL_MESSAGES);
        // Twice the window: an identifier is then never reused while a broker that acknowledges out of order
        // still holds it.
        let identifiers = options.window * 2 + CONTROL_MESSAGES;
        match options.protocol {
            Protocol::V311 => {
                let mut mqtt = rumqttc::MqttOptions::new(&options.client_id, &options.host, options.port);
                mqtt.set_keep_alive(keep_alive)
                    .set_clean_session(true)
                    .set_inflight(identifiers)
                    .set_max_packet_size(INCOMING_BYTES, OUTGOING_BYTES)
                    .set_last_will(mqttbytes::v4::LastWill::new(
                        &options.will_topic,
                        options.will.clone(),
                        rumqttc::QoS::AtLeastOnce,
                        true,
                    ));
                if let Some(credential) = &options.credential {
                    mqtt.set_credentials(&credential.username, &credential.password);
                }
                let (client, mut events) = rumqttc::AsyncClient::new(mqtt, capacity);
                events.state.events.shrink_to(EVENTS);
                (Publisher::V311(client), Link::V311(Box::new(events)))
            }
            Protocol::V5 => {
                let mut mqtt = v5::MqttOptions::new(&options.client_id, &options.host, options.port);
                mqtt.set_keep_alive(keep_alive)
                    .set_clean_start(true)
                    .set_outgoing_inflight_upper_limit(identifiers)
                    .set_max_packet_size(Some(INCOMING_BYTES as u32))
                    .set_last_will(v5::mqttbytes::v5::LastWill::new(
                        &options.will_topic,
                        options.will.clone(),
                        v5::mqttbytes::QoS::AtLeastOnce,
                        true,
                        None,
                    ));
                if let Some(credential) = &options.credential {
                    mqtt.set_credentials(&credential.username, &credential.password);
                }
                let (client, mut events) = v5::AsyncClient::new(mqtt, capacity);
                events.state.events.shrink_to(EVENTS);
                (Publisher::V5(client), Link::V5(Box::new(events)))
            }
        }
    }

    /// Waits for the next event. An error ends the link.
    ///
    /// # Cancel safety
    /// May be dropped once connected; while connecting, a drop abandons the attempt.
    pub(crate) async fn poll(&mut self) -> Result<LinkEvent, LinkError> {
        match self {
            Link::V311(events) => match events.poll().await? {
                rumqttc::Event::Incoming(rumqttc::Packet::ConnAck(_)) => Ok(LinkEvent::Connected),
                rumqttc::Event::Incoming(rumqttc::Packet::PubAck(ack)) => {
                    Ok(LinkEvent::Acknowledged { packet_id: ack.pkid, is_accepted: true })
                }
                rumqttc::Event::Outgoing(rumqttc::Outgoing::Publish(packet_id)) => {
                    Ok(LinkEvent::Sent(packet_id))
                }
                _ => Ok(LinkEvent::Other),
            },
            Link::V5(events) => match events.poll().await? {
                v5::Event::Incoming(v5::mqttbytes::v5::Packet::ConnAck(_)) => Ok(LinkEvent::Connected),
                v5::Event::Incoming(v5::mqttbytes::v5::Packet::PubAck(ack)) => {
                    use v5::mqttbytes::v5::PubAckReason::{NoMatchingSubscribers, Success};
                    let is_accepted = matches!(ack.reason, Success | NoMatchingSubscribers);
                    Ok(LinkEvent::Acknowledged { packet_id: ack.pkid, is_accepted })
                }
                v5::Event::Outgoing(rumqttc::Outgoing::Publish(packet_id)) => Ok(LinkEvent::Sent(packet_id)),
                _ => Ok(LinkEvent::Other),
            },
        }
    }
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("MQTT 3.1.1 connection ended")]
    V311(#[source] Box<rumqttc::ConnectionError>),
    #[error("MQTT 5 connection ended")]
    V5(#[source] Box<v5::ConnectionError>),
}

impl From<rumqttc::ConnectionError> for LinkError {
    fn from(error: rumqttc::ConnectionError) -> Self {
        LinkError::V311(Box::new(error))
    }
}

impl From<v5::ConnectionError> for LinkError {
    fn from(error: v5::ConnectionError) -> Self {
        LinkError::V5(Box::new(error))
    }
}
