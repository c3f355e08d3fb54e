//! One connection to a broker elsewhere: what external brokers and bridges have in common.
//!
//! The only place that knows the client crate (`rumqttc`). What its sources and its issue list warn of is avoided here:
//!
//! | pitfall | how |
//! |---|---|
//! | The task that polls waits for room in the request queue that only polling empties: deadlock | every request is a `try_…`; the queue holds more than can be under way |
//! | An acknowledgement queued before a reconnect goes out on the new connection | a [`Link`] is one connection: when it breaks, it is dropped with its queue, and the next one is made anew |
//! | After a lost session a stashed packet-id collision blocks for ever | the same: no state of the client crate outlives a connection |
//! | A poll that is dropped half way loses what it had taken from the queue | [`Link::next`] is dropped only with the link |
//! | 10 kB as the largest packet | set from [`LinkOptions::packet_bytes_max`] |
//! | Topic aliases are resolved after the message was handed out | none are allowed: the maximum stays 0 |
//!
//! It decides nothing: when to connect again, what to acknowledge and what to keep is the caller's.

mod address;
mod five;
mod options;
mod problem;
mod three;
mod tls;

pub use address::{AddressError, BrokerAddress};
pub use options::{Credentials, LinkOptions, Protocol};
pub use problem::{Problem, ProblemKind};
pub use tls::{TlsError, TlsRoots, tls_client};

use bytes::Bytes;

use five::Five;
use three::Three;

/// MQTT 5 properties of a message, as they came.
pub(crate) type Properties = rumqttc::v5::mqttbytes::v5::PublishProperties;

/// A message from a broker.
#[derive(Debug, Clone)]
pub struct Message {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// Quality of service that it was delivered with, 0 to 2.
    pub qos: u8,
    /// Whether it is retained.
    pub retain: bool,
    /// Its id on this connection; 0 with QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) properties: Option<Box<Properties>>,
}

impl Message {
    /// The first user property of that name, in any case of letters; empty without one.
    #[must_use]
    pub fn user_property(&self, name: &str) -> &str {
        let users = self.properties.iter().flat_map(|properties| &properties.user_properties);
        users.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// The bytes that it takes in queues.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.topic.len() + self.payload.len()
    }
}

/// What a connection tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// The broker took the connection.
    Connected { session_present: bool, packet_bytes_max: Option<u32> },
    /// A message arrived.
    Message(Message),
    /// The answer to a subscription: for each filter in its order, why it was refused if it was.
    Subscribed(Vec<Option<String>>),
    /// A publish went out with this id; publishes go out in the order in which they were asked for.
    Sent(u16),
    /// The broker answered a publish; with why, if it did not take it.
    Acknowledged { packet_id: u16, refused: Option<PublishRefusal> },
    /// The parting went out.
    Disconnected,
    /// Something that concerns the client crate alone.
    Other,
}

/// Why a broker did not take a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublishRefusal {
    /// In words.
    pub(crate) text: String,
    /// Whether it would be refused again.
    pub(crate) for_good: bool,
}

/// A subscription to ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) filters: &'a [String],
    /// Whether the broker leaves out what this connection published itself (MQTT 5).
    pub(crate) no_local: bool,
    /// Whether messages keep their retain flag (MQTT 5).
    pub(crate) retain_as_published: bool,
}

/// A message to publish.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: Option<Properties>,
}

/// The request queue is full or the connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotQueued;

/// One connection. Nothing happens before the first [`Link::next`], and only during it.
pub(crate) enum Link {
    Five(Box<Five>),
    Three(Box<Three>),
}

impl Link {
    /// Makes a connection that is still to be opened.
    pub(crate) fn new(options: &LinkOptions) -> Self {
        match options.protocol {
            Protocol::Five => Self::Five(Box::new(Five::new(options))),
            Protocol::Three => Self::Three(Box::new(Three::new(options))),
        }
    }

    /// Opens the connection if it is not, then works until there is something to tell.
    ///
    /// # Cancel safety
    /// Dropping the future may lose requests that were queued; drop the link with it.
    ///
    /// # Errors
    /// Why the connection is over. The link is of no further use.
    pub(crate) async fn next(&mut self) -> Result<Event, Problem> {
        match self {
            Self::Five(five) => five.next().await,
            Self::Three(three) => three.next().await,
        }
    }

    /// The side that asks for things, from any thread.
    pub(crate) fn requests(&self) -> Requests {
        match self {
            Self::Five(five) => Requests::Five(five.client()),
            Self::Three(three) => Requests::Three(three.client()),
        }
    }
}

/// Asks a connection to do things; never waits. Of no effect once the link is dropped.
#[derive(Clone)]
pub(crate) enum Requests {
    Five(rumqttc::v5::AsyncClient),
    Three(rumqttc::AsyncClient),
}

impl Requests {
    /// Subscribes to all filters with QoS 1, in one packet.
    pub(crate) fn subscribe(&self, wanted: Wanted<'_>) -> Result<(), NotQueued> {
        match self {
            Self::Five(client) => five::subscribe(client, wanted),
            Self::Three(client) => three::subscribe(client, wanted),
        }
    }

    /// Acknowledges a message by its id and QoS.
    pub(crate) fn acknowledge(&self, packet_id: u16, qos: u8) -> Result<(), NotQueued> {
        match self {
            Self::Five(client) => five::acknowledge(client, packet_id, qos),
            Self::Three(client) => three::acknowledge(client, packet_id, qos),
        }
    }

    /// Publishes a message.
    pub(crate) fn publish(&self, message: Outgoing) -> Result<(), NotQueued> {
        match self {
            Self::Five(client) => five::publish(client, message),
            Self::Three(client) => three::publish(client, message),
        }
    }

    /// Parts after everything that was asked for before.
    pub(crate) fn disconnect(&self) -> Result<(), NotQueued> {
        match self {
            Self::Five(client) => client.try_disconnect().map_err(|_| NotQueued),
            Self::Three(client) => client.try_disconnect().map_err(|_| NotQueued),
        }
    }
}
