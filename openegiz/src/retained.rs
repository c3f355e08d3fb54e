//! The broker's retained messages as the records have left them, so that a restart can give them back.
//!
//! Bounded as the broker's own store is: beyond the bounds a new topic is not kept and counted there.

use std::collections::BTreeMap;

use egiz_broker::Ledger;
use egiz_model::record::DecodeError;
use egiz_model::record::Message;
use egiz_model::record::format::{ItemReader, ItemWriter};

/// A retained message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetainedMessage {
    pub(crate) qos: u8,
    pub(crate) payload: Box<[u8]>,
    pub(crate) properties: Box<[u8]>,
}

/// What the broker must find again after a restart.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) retained: Retained,
    pub(crate) sessions: Ledger,
}

/// Retained messages by topic.
#[derive(Debug)]
pub(crate) struct Retained {
    messages: BTreeMap<Box<str>, RetainedMessage>,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
}

impl Retained {
    pub(crate) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { messages: BTreeMap::new(), bytes: 0, messages_max, bytes_max }
    }

    /// Replaces the topic's message; an empty payload removes it.
    pub(crate) fn keep(&mut self, message: &Message<'_>) {
        if let Some(old) = self.messages.remove(message.topic) {
            self.bytes -= size(message.topic, &old);
        }
        if message.payload.is_empty() {
            return;
        }
        let new = RetainedMessage {
            qos: message.qos,
            payload: message.payload.into(),
            properties: message.properties.into(),
        };
        let size = size(message.topic, &new);
        if self.messages.len() < self.messages_max && self.bytes + size <= self.bytes_max {
            self.bytes += size;
            self.messages.insert(message.topic.into(), new);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &RetainedMessage)> {
        self.messages.iter().map(|(topic, message)| (&**topic, message))
    }

    /// Appends all messages to a snapshot.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = ItemWriter::new(out);
        writer.varint(self.messages.len() as u64);
        for (topic, message) in &self.messages {
            writer.str(topic);
            writer.byte(message.qos);
            writer.bytes(&message.payload);
            writer.bytes(&message.properties);
        }
    }

    /// Takes the messages of a snapshot in.
    ///
    /// # Errors
    /// Where the bytes are not what [`Self::encode`] writes.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = ItemReader::new(bytes);
        for _ in 0..reader.varint()? {
            let message = Message {
                topic: reader.str()?,
                qos: reader.byte()?,
                retain: true,
                payload: reader.bytes()?,
                properties: reader.bytes()?,
            };
            self.keep(&message);
        }
        if reader.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

fn size(topic: &str, message: &RetainedMessage) -> usize {
    topic.len() + message.payload.len() + message.properties.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<'a>(topic: &'a str, payload: &'a [u8]) -> Message<'a> {
        Message { topic, qos: 1, retain: true, payload, properties: &[7] }
    }

    fn topics(retained: &Retained) -> Vec<&str> {
        retained.iter().map(|(topic, _)| topic).collect()
    }

    #[test]
    fn the_last_message_of_a_topic_is_kept_until_an_empty_one_comes() {
        let mut retained = Retained::new(10, 1000);
        retained.keep(&message("a", b"1"));
        retained.keep(&message("b", b"1"));
        retained.keep(&message("a", b"2"));
        assert_eq!(retained.iter().next().map(|(_, message)| &*message.payload), Some(&b"2"[..]));
        retained.keep(&message("a", b""));
        assert_eq!(topics(&retained), ["b"]);
    }

    #[test]
    fn the_bounds_hold_and_make_room_again() {
        let mut retained = Retained::new(2, 1000);
        for topic in ["a", "b", "c"] {
            retained.keep(&message(topic, b"1"));
        }
        assert_eq!(topics(&retained), ["a", "b"]);
        retained.keep(&message("a", b""));
        retained.keep(&message("c", b"1"));
        assert_eq!(topics(&retained), ["b", "c"]);
        retained.keep(&message("b", &[0; 2000]));
        assert_eq!(topics(&retained), ["c"]);
    }

    #[test]
    fn a_snapshot_gives_them_back_and_a_torn_one_is_refused() {
        let mut retained = Retained::new(10, 1000);
        retained.keep(&message("a", b"1"));
        retained.keep(&message("b/c", b"{}"));
        let mut bytes = Vec::new();
        retained.encode(&mut bytes);
        let mut again = Retained::new(10, 1000);
        again.decode(&bytes).expect("what was written can be read");
        assert!(again.iter().eq(retained.iter()));
        for end in 0..bytes.len() {
            assert!(Retained::new(10, 1000).decode(&bytes[..end]).is_err());
        }
    }
}
