//! MQTT 5 by the client crate.

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, Filter, Packet, PubAckReason, Publish, RetainForwardRule,
    SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event as TheirEvent, EventLoop, MqttOptions, StateError};
use rumqttc::{Outgoing as Sent, TlsConfiguration, Transport};

use super::options::{CONNECT_TIMEOUT_S, KEEP_ALIVE};
use super::problem::chain;
use super::{Event, LinkOptions, Message, NotQueued, Outgoing, Problem, PublishRefusal, Wanted};

/// One connection.
pub(crate) struct Five {
    client: AsyncClient,
    polled: EventLoop,
}

impl Five {
    pub(super) fn new(options: &LinkOptions) -> Self {
        let address = &options.address;
        let mut theirs = MqttOptions::new(&options.client_id, &address.host, address.port);
        theirs
            .set_keep_alive(KEEP_ALIVE)
            .set_connection_timeout(CONNECT_TIMEOUT_S)
            .set_clean_start(false)
            .set_manual_acks(true)
            .set_session_expiry_interval(Some(options.session_expiry_s))
            .set_receive_maximum(Some(options.receive_maximum))
            .set_max_packet_size(Some(options.packet_bytes_max))
            .set_outgoing_inflight_upper_limit(options.publishes_max());
        let mut network = theirs.network_options();
        network.set_tcp_nodelay(true);
        theirs.set_network_options(network);
        if let Some(credentials) = &options.credentials {
            theirs.set_credentials(&credentials.username, &credentials.password);
        }
        if let Some(tls) = &options.tls {
            theirs.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls.clone())));
        }
        let (client, polled) = AsyncClient::new(theirs, options.request_places());
        Self { client, polled }
    }

    pub(super) fn client(&self) -> AsyncClient {
        self.client.clone()
    }

    pub(super) async fn next(&mut self) -> Result<Event, Problem> {
        Ok(match self.polled.poll().await.map_err(problem)? {
            TheirEvent::Incoming(packet) => incoming(packet),
            TheirEvent::Outgoing(Sent::Publish(packet_id)) => Event::Sent(packet_id),
            TheirEvent::Outgoing(Sent::Disconnect) => Event::Disconnected,
            TheirEvent::Outgoing(_) => Event::Other,
        })
    }
}

fn incoming(packet: Packet) -> Event {
    match packet {
        Packet::ConnAck(answer) => Event::Connected {
            session_present: answer.session_present,
            packet_bytes_max: answer.properties.and_then(|properties| properties.max_packet_size),
        },
        Packet::Publish(publish) => Event::Message(Message {
            // A topic is UTF-8; from a broker that breaks this, something readable.
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload,
            qos: publish.qos as u8,
            retain: publish.retain,
            packet_id: publish.pkid,
            properties: publish.properties.map(Box::new),
        }),
        Packet::SubAck(answer) => Event::Subscribed(
            answer
                .return_codes
                .iter()
                .map(|code| match code {
                    SubscribeReasonCode::Success(_) => None,
                    other => Some(spaced(&format!("{other:?}"))),
                })
                .collect(),
        ),
        Packet::PubAck(answer) => Event::Acknowledged {
            packet_id: answer.pkid,
            refused: match answer.reason {
                PubAckReason::Success | PubAckReason::NoMatchingSubscribers => None,
                reason => Some(PublishRefusal {
                    text: spaced(&format!("{reason:?}")),
                    for_good: matches!(
                        reason,
                        PubAckReason::NotAuthorized
                            | PubAckReason::TopicNameInvalid
                            | PubAckReason::PayloadFormatInvalid
                    ),
                }),
            },
        },
        _ => Event::Other,
    }
}

fn problem(error: ConnectionError) -> Problem {
    match error {
        ConnectionError::ConnectionRefused(code) => {
            let text = format!("the broker refuses the connection: {}", spaced(&format!("{code:?}")));
            match code {
                ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
                    Problem::refused(format!("{text}; check username and password"))
                }
                ConnectReturnCode::RefusedProtocolVersion | ConnectReturnCode::UnsupportedProtocolVersion => {
                    Problem::refused(format!("{text}; protocol = \"3.1.1\" may suit it"))
                }
                ConnectReturnCode::BadClientId
                | ConnectReturnCode::ClientIdentifierNotValid
                | ConnectReturnCode::Banned
                | ConnectReturnCode::BadAuthenticationMethod
                | ConnectReturnCode::UseAnotherServer
                | ConnectReturnCode::ServerMoved => Problem::refused(text),
                _ => Problem::unreachable(text),
            }
        }
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            let mut text =
                format!("the broker ended the connection: {}", spaced(&format!("{reason_code:?}")));
            if let Some(reason) = reason_string {
                text = format!("{text} ({reason})");
            }
            match reason_code {
                DisconnectReasonCode::SessionTakenOver => {
                    Problem::refused(format!("{text}; another client uses the same client id"))
                }
                DisconnectReasonCode::NotAuthorized
                | DisconnectReasonCode::UseAnotherServer
                | DisconnectReasonCode::ServerMoved => Problem::refused(text),
                _ => Problem::unreachable(text),
            }
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            Problem::unreachable("the broker closed the connection")
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            Problem::unreachable("the broker does not answer any more")
        }
        ConnectionError::Timeout(_) => {
            Problem::unreachable(format!("the broker does not answer within {CONNECT_TIMEOUT_S} s"))
        }
        ConnectionError::Tls(error) => Problem::refused(format!("TLS: {}", chain(&error))),
        ConnectionError::Io(error) => Problem::unreachable(chain(&error)),
        other => Problem::unreachable(chain(&other)),
    }
}

/// `NotAuthorized` as `not authorized`.
pub(super) fn spaced(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

pub(super) fn subscribe(client: &AsyncClient, wanted: Wanted<'_>) -> Result<(), NotQueued> {
    let filters = wanted.filters.iter().map(|filter| {
        let shared = filter.starts_with("$share/");
        Filter {
            path: filter.clone(),
            qos: QoS::AtLeastOnce,
            // Forbidden with shared subscriptions.
            nolocal: wanted.no_local && !shared,
            preserve_retain: wanted.retain_as_published,
            // Not again with every program start.
            retain_forward_rule: RetainForwardRule::OnNewSubscribe,
        }
    });
    client.try_subscribe_many(filters).map_err(|_| NotQueued)
}

pub(super) fn acknowledge(client: &AsyncClient, packet_id: u16, qos: u8) -> Result<(), NotQueued> {
    let qos = if qos == 2 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
    // The crate wants the whole message and looks at these two only.
    client.try_ack(&Publish { pkid: packet_id, qos, ..Publish::default() }).map_err(|_| NotQueued)
}

pub(super) fn publish(client: &AsyncClient, message: Outgoing) -> Result<(), NotQueued> {
    let qos = if message.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
    let properties = message.properties.unwrap_or_default();
    client
        .try_publish_with_properties(message.topic, qos, message.retain, message.payload, properties)
        .map_err(|_| NotQueued)
}
