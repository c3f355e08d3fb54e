//! MQTT 3.1.1 by the client crate, for brokers that speak nothing else.

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event as TheirEvent, EventLoop, MqttOptions,
    NetworkOptions, Outgoing as Sent, Packet, Publish, QoS, StateError, SubscribeFilter, SubscribeReasonCode,
    TlsConfiguration, Transport,
};

use super::five::spaced;
use super::options::{CONNECT_TIMEOUT_S, KEEP_ALIVE};
use super::problem::chain;
use super::{Event, LinkOptions, Message, NotQueued, Outgoing, Problem, Wanted};

/// The protocol's own limit. A 3.1.1 broker cannot be told another, and a packet that the client crate refuses would come
/// again with every connection: too large ones are passed over by the caller instead.
const PACKET_BYTES_MAX: usize = 256 << 20;

/// One connection.
pub(crate) struct Three {
    client: AsyncClient,
    polled: EventLoop,
}

impl Three {
    pub(super) fn new(options: &LinkOptions) -> Self {
        let address = &options.address;
        let mut theirs = MqttOptions::new(&options.client_id, &address.host, address.port);
        theirs
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_session(false)
            .set_manual_acks(true)
            .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX)
            .set_inflight(options.publishes_max());
        if let Some(credentials) = &options.credentials {
            theirs.set_credentials(&credentials.username, &credentials.password);
        }
        if let Some(tls) = &options.tls {
            theirs.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls.clone())));
        }
        let (client, mut polled) = AsyncClient::new(theirs, options.request_places());
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIMEOUT_S);
        polled.set_network_options(network);
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
        Packet::ConnAck(answer) => {
            Event::Connected { session_present: answer.session_present, packet_bytes_max: None }
        }
        Packet::Publish(publish) => Event::Message(Message {
            topic: publish.topic,
            payload: publish.payload,
            qos: publish.qos as u8,
            retain: publish.retain,
            packet_id: publish.pkid,
            properties: None,
        }),
        Packet::SubAck(answer) => Event::Subscribed(
            answer
                .return_codes
                .iter()
                .map(|code| match code {
                    SubscribeReasonCode::Success(_) => None,
                    SubscribeReasonCode::Failure => Some("refused".to_owned()),
                })
                .collect(),
        ),
        Packet::PubAck(answer) => Event::Acknowledged { packet_id: answer.pkid, refused: None },
        _ => Event::Other,
    }
}

fn problem(error: ConnectionError) -> Problem {
    match error {
        ConnectionError::ConnectionRefused(code) => {
            let text = format!("the broker refuses the connection: {}", spaced(&format!("{code:?}")));
            match code {
                ConnectReturnCode::ServiceUnavailable => Problem::unreachable(text),
                ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
                    Problem::refused(format!("{text}; check username and password"))
                }
                _ => Problem::refused(text),
            }
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => Problem::unreachable(
            "the broker closed the connection; if at once and again, it may refuse us, or another client uses the same client id",
        ),
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            Problem::unreachable("the broker does not answer any more")
        }
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            Problem::unreachable(format!("the broker does not answer within {CONNECT_TIMEOUT_S} s"))
        }
        ConnectionError::Tls(error) => Problem::refused(format!("TLS: {}", chain(&error))),
        ConnectionError::Io(error) => Problem::unreachable(chain(&error)),
        other => Problem::unreachable(chain(&other)),
    }
}

pub(super) fn subscribe(client: &AsyncClient, wanted: Wanted<'_>) -> Result<(), NotQueued> {
    let filters = wanted.filters.iter().map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce));
    client.try_subscribe_many(filters).map_err(|_| NotQueued)
}

pub(super) fn acknowledge(client: &AsyncClient, packet_id: u16, qos: u8) -> Result<(), NotQueued> {
    let qos = if qos == 2 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
    let mut publish = Publish::new("", qos, Vec::new());
    publish.pkid = packet_id;
    client.try_ack(&publish).map_err(|_| NotQueued)
}

pub(super) fn publish(client: &AsyncClient, message: Outgoing) -> Result<(), NotQueued> {
    let qos = if message.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
    client.try_publish(message.topic, qos, message.retain, message.payload).map_err(|_| NotQueued)
}
