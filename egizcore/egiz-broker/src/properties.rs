//! What MQTT 5 lets a publisher say about its message, to be passed on as it was said (3.3.2.3).
//!
//! A type of our own: the codec's does not tell a payload format of 0 from none (MQTT-3.3.2-4), and has no place for an
//! expiry of 0. What belongs to one connection only, the topic alias and the subscription identifiers, is not in it.

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize};

/// A publisher's properties. Their JSON is kept in the journal; unknown members are skipped, missing ones were not said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Properties {
    /// 0 for bytes of any kind, 1 for UTF-8. Whether the payload is what it says is for its receiver to see.
    #[serde(alias = "is_utf8_payload", deserialize_with = "payload_format")]
    pub(crate) payload_format: Option<u8>,
    /// Seconds.
    pub(crate) message_expiry_interval: Option<u32>,
    pub(crate) content_type: Option<ByteString>,
    pub(crate) response_topic: Option<ByteString>,
    pub(crate) correlation_data: Option<Bytes>,
    /// In the publisher's order; a name may come again.
    pub(crate) user_properties: Vec<(ByteString, ByteString)>,
}

impl Properties {
    /// The bytes that they take in queues and stores.
    pub(crate) fn byte_len(&self) -> usize {
        let users = self.user_properties.iter().map(|(name, value)| name.len() + value.len() + 64);
        size_of::<Self>()
            + self.content_type.as_ref().map_or(0, |text| text.len())
            + self.response_topic.as_ref().map_or(0, |text| text.len())
            + self.correlation_data.as_ref().map_or(0, Bytes::len)
            + users.sum::<usize>()
    }

    /// The same in memory of its own.
    pub(crate) fn detached(&self) -> Self {
        let text = |text: &ByteString| ByteString::from(&**text);
        Self {
            payload_format: self.payload_format,
            message_expiry_interval: self.message_expiry_interval,
            content_type: self.content_type.as_ref().map(text),
            response_topic: self.response_topic.as_ref().map(text),
            correlation_data: self.correlation_data.as_ref().map(|data| Bytes::copy_from_slice(data)),
            user_properties: self
                .user_properties
                .iter()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
        }
    }
}

/// The format, or, as older journals have it, whether it is UTF-8: what they did not hold for UTF-8 may have been said or not.
fn payload_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Kept {
        Format(Option<u8>),
        IsUtf8(bool),
    }
    Ok(match Kept::deserialize(deserializer)? {
        Kept::Format(format) => format,
        Kept::IsUtf8(is_utf8) => is_utf8.then_some(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_older_journals_hold_is_read() {
        let check = |json: &str, expected: Properties| {
            assert_eq!(serde_json::from_str::<Properties>(json).expect("it is read"), expected);
        };
        let older = r#"{"topic_alias":null,"correlation_data":[1,2],"message_expiry_interval":7,"content_type":"a",
            "user_properties":[["k","v"]],"is_utf8_payload":true,"response_topic":"b","subscription_ids":[]}"#;
        let all = Properties {
            payload_format: Some(1),
            message_expiry_interval: Some(7),
            content_type: Some("a".into()),
            response_topic: Some("b".into()),
            correlation_data: Some(Bytes::from_static(&[1, 2])),
            user_properties: vec![("k".into(), "v".into())],
        };
        check(older, all.clone());
        check(&older.replace("true", "false"), Properties { payload_format: None, ..all });
        check("{}", Properties::default());
        for payload_format in [None, Some(0), Some(1)] {
            let properties = Properties { payload_format, ..Properties::default() };
            check(&serde_json::to_string(&properties).expect("to memory"), properties);
        }
    }
}
