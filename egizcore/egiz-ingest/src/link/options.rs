//! What a connection is told once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::BrokerAddress;

/// The version of MQTT to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT 5: the broker keeps to the receive maximum.
    Five,
    /// MQTT 3.1.1: how many messages come before they are acknowledged is the broker's setting alone.
    Three,
}

/// A user name with its password. Hidden in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &"hidden")
            .finish()
    }
}

/// What a connection is told.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// Where the broker is.
    pub address: BrokerAddress,
    /// How certificates are checked; needed where the address says TLS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The version of MQTT.
    pub protocol: Protocol,
    /// The session's name at the broker: the same for every connection, another for every program.
    pub client_id: String,
    /// How to sign in.
    pub credentials: Option<Credentials>,
    /// Messages that the broker may send before the first of them is acknowledged, at least 1 (MQTT 5).
    pub receive_maximum: u16,
    /// The largest packet that the broker may send, in bytes (MQTT 5).
    pub packet_bytes_max: u32,
    /// Publishes that may wait for the broker's answer, at least 1.
    pub publish_window: u16,
    /// How long the broker keeps the session while nobody is connected (MQTT 5).
    pub session_expiry_s: u32,
}

/// How often a silent connection is tried: a dead peer is noticed after twice this.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long TCP, TLS and CONNACK may take together.
pub(super) const CONNECT_TIMEOUT_S: u64 = 5;

impl LinkOptions {
    /// Places in the queue of requests: an acknowledgement for each message that can be under way, twice, since MQTT 3.1.1
    /// knows no receive maximum, and some for the rest. Full means that the broker is not keeping to the protocol.
    pub(super) fn request_places(&self) -> usize {
        2 * usize::from(self.receive_maximum.max(self.publish_window)) + 64
    }

    /// The client crate's limit of publishes under way. Its packet ids go round at this number, and two that meet stop
    /// everything until a time-out: well above what is used.
    pub(super) fn publishes_max(&self) -> u16 {
        self.publish_window.saturating_mul(2).clamp(16, u16::MAX - 1)
    }
}
