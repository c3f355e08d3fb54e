//! A message on its way: what was published, with what MQTT 5 lets a publisher say about it.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use crate::properties::Properties;

/// A published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    pub(crate) topic: ByteString,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: Option<Box<Properties>>,
    /// When it came, in microseconds since 1970; what its expiry counts from.
    pub(crate) received_micros: i64,
    /// Whether a subscriber is owed it.
    pub(crate) owed: bool,
    /// Whose it is, where that is to be known when it is found again: its client may not want to hear itself.
    pub(crate) from: Option<Arc<str>>,
}

/// What a message of a known client is kept with; one of nobody's has its properties alone, which are an object.
type KeptWithClient = (String, Option<Box<Properties>>);

impl Publish {
    /// A message of our own making.
    #[must_use]
    pub fn new(topic: &str, payload: Bytes, qos: u8, retain: bool) -> Self {
        Self {
            topic: topic.into(),
            payload,
            qos: qos.min(2),
            retain,
            properties: None,
            received_micros: 0,
            owed: false,
            from: None,
        }
    }

    /// The message with the moment when it came, in microseconds since 1970.
    #[must_use]
    pub fn received_at(mut self, micros: i64) -> Self {
        self.received_micros = micros;
        self
    }

    /// The message with properties that [`Self::encoded_properties`] gave; unreadable ones are left out.
    #[must_use]
    pub fn with_encoded_properties(mut self, encoded: &[u8]) -> Self {
        if encoded.starts_with(b"[") {
            let (from, properties): KeptWithClient = serde_json::from_slice(encoded).unwrap_or_default();
            self.from = Some(from.into()).filter(|from: &Arc<str>| !from.is_empty());
            self.properties = properties;
        } else {
            self.properties = serde_json::from_slice(encoded).ok();
        }
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

    /// Quality of service, 0 to 2.
    #[must_use]
    pub fn qos(&self) -> u8 {
        self.qos
    }

    /// Whether it replaces the topic's retained message.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// Whether a subscriber is owed it, so that it must be found in the journal again.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.owed
    }

    /// Seconds until it expires, if it does; `None` once it has (MQTT-3.3.2-5, -6). One that is to live for 0 seconds reaches
    /// those who are there.
    pub(crate) fn time_left_s(&self, now_micros: i64) -> Option<Option<u32>> {
        let interval = self.properties.as_ref().and_then(|properties| properties.message_expiry_interval);
        let Some(interval) = interval else { return Some(None) };
        let waited_s = u32::try_from(now_micros.saturating_sub(self.received_micros).max(0) / 1_000_000);
        let waited_s = waited_s.unwrap_or(u32::MAX);
        (waited_s < interval.max(1)).then(|| Some(interval - waited_s))
    }

    /// The first user property with a name, in whichever case, or empty.
    #[must_use]
    pub fn user_property(&self, name: &str) -> &str {
        let mut users = self.properties.iter().flat_map(|properties| &properties.user_properties);
        users.find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// The MQTT 5 properties to pass on, and whose message it is where that matters, encoded for keeping; empty where there
    /// is neither.
    #[must_use]
    pub fn encoded_properties(&self) -> Vec<u8> {
        let encoded = match (&self.from, &self.properties) {
            (None, None) => return Vec::new(),
            (None, Some(properties)) => serde_json::to_vec(properties),
            (Some(from), properties) => serde_json::to_vec(&(&**from, properties)),
        };
        encoded.unwrap_or_default()
    }

    /// Whether a client published it, as far as is known.
    pub(crate) fn is_from(&self, client_id: &str) -> bool {
        self.from.as_deref() == Some(client_id)
    }

    /// The bytes that it takes in queues and stores.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let properties = self.properties.as_deref().map_or(0, Properties::byte_len);
        self.topic.len() + self.payload.len() + properties + 64
    }

    /// The message in memory of its own. As it comes from a connection it is a part of what was read with it, tens of
    /// kilobytes, which live as long as it does; what stays is therefore copied.
    pub(crate) fn detached(&self) -> Self {
        Self {
            topic: ByteString::from(&*self.topic),
            payload: Bytes::copy_from_slice(&self.payload),
            qos: self.qos,
            retain: self.retain,
            received_micros: self.received_micros,
            owed: self.owed,
            from: self.from.clone(),
            properties: self.properties.as_deref().map(|properties| Box::new(properties.detached())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Publish {
        let read = Bytes::from(vec![b'x'; 4096]);
        let text = |at: std::ops::Range<usize>| ByteString::try_from(read.slice(at)).expect("UTF-8");
        let properties = Properties {
            content_type: Some(text(0..3)),
            correlation_data: Some(read.slice(5..9)),
            user_properties: vec![(text(10..20), text(20..40))],
            ..Properties::default()
        };
        Publish {
            topic: text(100..110),
            payload: read.slice(200..300),
            qos: 1,
            retain: true,
            properties: Some(Box::new(properties)),
            received_micros: 3,
            owed: true,
            from: Some("c".into()),
        }
    }

    #[test]
    fn mqtt_3_3_2_5_the_time_spent_waiting_is_taken_off_the_expiry() {
        let mut message = message();
        assert_eq!(message.time_left_s(i64::MAX), Some(None));
        message.properties.as_mut().expect("it has").message_expiry_interval = Some(10);
        assert_eq!(message.time_left_s(3), Some(Some(10)));
        assert_eq!(message.time_left_s(4_000_003), Some(Some(6)));
        assert_eq!(message.time_left_s(10_000_003), None);
        assert_eq!(message.time_left_s(-5), Some(Some(10)));
        message.properties.as_mut().expect("it has").message_expiry_interval = Some(0);
        assert_eq!(message.time_left_s(999_999), Some(Some(0)));
        assert_eq!(message.time_left_s(1_000_003), None);
    }

    #[test]
    fn a_detached_message_says_the_same_and_keeps_nothing_else() {
        let message = message();
        let copy = message.detached();
        assert_eq!(copy, message);
        // Only the sole owner of bytes can have them mutable.
        let payload = copy.payload.clone();
        drop(copy.payload);
        assert!(payload.try_into_mut().is_ok());
    }

    #[test]
    fn what_is_kept_with_a_message_gives_it_back() {
        let with = message();
        for (from, properties) in [
            (None, None),
            (None, with.properties.clone()),
            (with.from.clone(), None),
            (with.from.clone(), with.properties.clone()),
        ] {
            let message = Publish { from, properties, ..with.clone() };
            let encoded = message.encoded_properties();
            let bare = Publish { from: None, properties: None, ..message.clone() };
            assert_eq!(bare.with_encoded_properties(&encoded), message);
        }
        // As versions before had it: the properties alone.
        let older = serde_json::to_vec(&with.properties).expect("to memory");
        assert_eq!(
            Publish { from: None, properties: None, ..with.clone() }.with_encoded_properties(&older),
            Publish { from: None, ..with }
        );
    }

    #[test]
    fn what_a_publisher_adds_counts() {
        let with = message();
        let without = Publish { properties: None, ..with.clone() };
        assert!(with.byte_len() >= without.byte_len() + 3 + 4 + 30);
    }
}
