//! A message on its way: what was published, with what MQTT 5 lets a publisher say about it.

use bytes::Bytes;
use bytestring::ByteString;
use rmqtt_codec::v5::PublishProperties;

/// A published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    pub(crate) topic: ByteString,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: Option<Box<PublishProperties>>,
}

impl Publish {
    /// A message of our own making.
    #[must_use]
    pub fn new(topic: &str, payload: Bytes, qos: u8, retain: bool) -> Self {
        Self { topic: topic.into(), payload, qos: qos.min(1), retain, properties: None }
    }

    /// The message with properties that [`Self::encoded_properties`] gave; unreadable ones are left out.
    #[must_use]
    pub fn with_encoded_properties(mut self, encoded: &[u8]) -> Self {
        self.properties = serde_json::from_slice(encoded).ok();
        self
    }

    /// Topic name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Payload.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Quality of service, 0 or 1.
    #[must_use]
    pub fn qos(&self) -> u8 {
        self.qos
    }

    /// Whether it replaces the topic's retained message.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// The user property `correlation-id`, or empty.
    #[must_use]
    pub fn correlation(&self) -> &str {
        let users = self.properties.iter().flat_map(|properties| &properties.user_properties);
        users
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("correlation-id"))
            .map_or("", |(_, value)| value)
    }

    /// The MQTT 5 properties to pass on, encoded for keeping; empty where there are none.
    #[must_use]
    pub fn encoded_properties(&self) -> Vec<u8> {
        self.properties
            .as_ref()
            .and_then(|properties| serde_json::to_vec(properties).ok())
            .unwrap_or_default()
    }

    /// The bytes that it takes in queues.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.topic.len() + self.payload.len() + 64
    }
}
