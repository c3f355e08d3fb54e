//! What goes out on one connection, encoded: answers in order, and deliveries as the session hands them in.
//!
//! Everything gathers in one buffer that the writer empties with one write. It is not bounded here but at its sources: a
//! session hands deliveries in only while there is room ([`Outbox::has_room`]), and while half the bytes wait for the
//! client, the client is not read ([`Outbox::room`]), so that it asks for no more answers.

mod encode;

use std::collections::HashMap;
use std::num::{NonZeroU16, NonZeroU32};

use bytes::{BufMut as _, BytesMut};
use bytestring::ByteString;
use parking_lot::Mutex;
use rmqtt_codec::v3;
use rmqtt_codec::v5;
use tokio::sync::Notify;
use tokio_util::codec::Encoder as _;
use tokio_util::sync::CancellationToken;

use crate::message::Publish;
use crate::protocol::Version;

/// The largest buffer that is used again.
const KEPT_BUFFER_BYTES: usize = 64 << 10;

/// What a client takes, as it said when it connected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Takes {
    pub(crate) version: Version,
    pub(crate) packet_bytes_max: Option<u32>,
    pub(crate) topic_aliases_max: u16,
}

/// A connection's outgoing side.
#[derive(Debug)]
pub(crate) struct Outbox {
    takes: Takes,
    bytes_max: usize,
    packet_bytes_max: usize,
    /// Messages of QoS 1 and 2 that the client may have under way.
    receive_max: u32,
    state: Mutex<State>,
    /// Told when there is something to write or the outbox is closed.
    pub(crate) changed: Notify,
    /// Told when the writer has taken what there was.
    taken: Notify,
    /// Cancelled once no more is to be written than what is there.
    pub(crate) closed: CancellationToken,
}

#[derive(Debug)]
struct State {
    buffer: BytesMut,
    /// Whether answers to publishes still go out.
    answers: bool,
    /// Messages of the client's that are not answered for good.
    under_way: u32,
    aliases: HashMap<ByteString, NonZeroU16>,
}

/// The packets that answer a publish, by their first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Answer {
    Acknowledged = 0x40,
    Received = 0x50,
    Released = 0x62,
    Completed = 0x70,
}

/// How a message is to be sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outgoing<'a> {
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) again: bool,
    pub(crate) id: Option<NonZeroU16>,
    pub(crate) identifiers: &'a [NonZeroU32],
    /// Seconds until it expires.
    pub(crate) time_left_s: Option<u32>,
}

impl Outbox {
    pub(crate) fn new(takes: Takes, receive_max: u32, bytes_max: usize) -> Self {
        Self {
            takes,
            bytes_max,
            packet_bytes_max: takes.packet_bytes_max.map_or(usize::MAX, |max| max as usize),
            receive_max,
            state: Mutex::new(State {
                buffer: BytesMut::new(),
                answers: true,
                under_way: 0,
                aliases: HashMap::new(),
            }),
            changed: Notify::new(),
            taken: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    pub(crate) fn version(&self) -> Version {
        self.takes.version
    }

    /// No more is to be written than what is there; the writer ends.
    pub(crate) fn close(&self) {
        self.closed.cancel();
        self.changed.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Takes what is to be written now, and leaves `written`, cleared, for what comes next.
    pub(crate) fn take(&self, mut written: BytesMut) -> BytesMut {
        // A buffer that had to be large once is not kept.
        if written.capacity() > KEPT_BUFFER_BYTES {
            written = BytesMut::new();
        }
        written.clear();
        let bytes = std::mem::replace(&mut self.state.lock().buffer, written);
        if !bytes.is_empty() {
            self.taken.notify_waiters();
        }
        bytes
    }

    /// Waits until the client has taken enough to be read on, or sent more.
    ///
    /// # Cancel safety
    /// May be dropped while waiting.
    pub(crate) async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            if self.state.lock().buffer.len() <= self.bytes_max / 2 {
                return;
            }
            taken.await;
        }
    }

    /// Whether a delivery of so many bytes may be handed in.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.state.lock().buffer.len() + bytes <= self.bytes_max
    }

    /// Counts a publish of QoS 1 or 2 in; whether the client may have as many under way (MQTT-3.3.4-9).
    pub(crate) fn take_in(&self) -> bool {
        let mut state = self.state.lock();
        state.under_way += 1;
        state.under_way <= self.receive_max
    }

    /// From here on no publish is answered: one before it is missing.
    pub(crate) fn stop_answering(&self) {
        self.state.lock().answers = false;
    }

    /// Answers publishes, in packet order; code 0 is success. Whether they are sent.
    pub(crate) fn answer(&self, answers: &[(Answer, NonZeroU16, u8)]) -> bool {
        if answers.is_empty() {
            return true;
        }
        let mut state = self.state.lock();
        if !state.answers {
            return false;
        }
        for (kind, id, code) in answers {
            let is_final = match kind {
                Answer::Acknowledged | Answer::Completed => true,
                Answer::Received => *code >= 0x80,
                Answer::Released => false,
            };
            if is_final {
                state.under_way = state.under_way.saturating_sub(1);
            }
            if *code == 0 || self.takes.version == Version::V3 {
                state.buffer.put_slice(&[*kind as u8, 2]);
                state.buffer.put_u16(id.get());
            } else {
                state.buffer.put_slice(&[*kind as u8, 3]);
                state.buffer.put_u16(id.get());
                state.buffer.put_u8(*code);
            }
        }
        drop(state);
        self.changed.notify_one();
        true
    }

    pub(crate) fn packet_v3(&self, packet: v3::Packet) {
        self.write(|buffer| v3::Codec::default().encode(packet, buffer).is_ok());
    }

    pub(crate) fn packet_v5(&self, packet: v5::Packet) {
        self.write(|buffer| v5::Codec::default().encode(packet, buffer).is_ok());
    }

    pub(crate) fn ping_response(&self) {
        self.write(|buffer| {
            buffer.put_slice(&[0xD0, 0]);
            true
        });
    }

    /// A DISCONNECT with a reason, for clients that know it.
    pub(crate) fn disconnect(&self, code: u8) {
        if self.takes.version == Version::V5 {
            self.write(|buffer| {
                buffer.put_slice(&[0xE0, 1, code]);
                true
            });
        }
    }

    fn write(&self, encode: impl FnOnce(&mut BytesMut) -> bool) {
        let mut state = self.state.lock();
        let before = state.buffer.len();
        if !encode(&mut state.buffer) {
            tracing::error!("a packet of our own could not be encoded");
            state.buffer.truncate(before);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Appends a PUBLISH; `false` if it is larger than the client takes, which the specification has the server discard
    /// (MQTT-3.1.2-25).
    pub(crate) fn publish(&self, message: &Publish, how: &Outgoing<'_>) -> bool {
        let mut state = self.state.lock();
        let State { buffer, aliases, .. } = &mut *state;
        let start = buffer.len();
        match self.takes.version {
            Version::V3 => encode::publish_v3(buffer, message, how),
            Version::V5 => {
                let known = aliases.get(&message.topic).copied();
                let free = u16::try_from(aliases.len() + 1)
                    .ok()
                    .filter(|next| *next <= self.takes.topic_aliases_max);
                let alias = known.or_else(|| free.and_then(NonZeroU16::new));
                encode::publish_v5(buffer, message, how, alias, known.is_some());
                if let (Some(alias), None) = (alias, known)
                    && buffer.len() - start <= self.packet_bytes_max
                {
                    aliases.insert(ByteString::from(&*message.topic), alias);
                }
            }
        }
        let fits = buffer.len() - start <= self.packet_bytes_max;
        if !fits {
            buffer.truncate(start);
        }
        drop(state);
        self.changed.notify_one();
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn outbox(version: Version, packet_bytes_max: Option<u32>) -> Outbox {
        Outbox::new(Takes { version, packet_bytes_max, topic_aliases_max: 1 }, 2, 1000)
    }

    fn message(topic: &str) -> Publish {
        Publish::new(topic, Bytes::from_static(b"hi"), 1, false)
    }

    fn written(outbox: &Outbox) -> Vec<u8> {
        outbox.take(BytesMut::new()).to_vec()
    }

    #[test]
    fn a_delivery_is_encoded_for_the_clients_version() {
        let how = Outgoing { qos: 1, id: NonZeroU16::new(7), again: true, ..Outgoing::default() };
        let v3 = outbox(Version::V3, None);
        assert!(v3.publish(&message("a"), &how));
        assert_eq!(written(&v3), b"\x3a\x07\x00\x01a\x00\x07hi");
        let v5 = Outbox::new(
            Takes { version: Version::V5, packet_bytes_max: None, topic_aliases_max: 0 },
            2,
            1000,
        );
        v5.publish(&message("a"), &Outgoing { retain: true, ..Outgoing::default() });
        assert_eq!(written(&v5), b"\x31\x06\x00\x01a\x00hi");
    }

    #[test]
    fn mqtt5_3_3_2_3_4_a_topic_is_said_once_and_then_by_its_alias() {
        let outbox = outbox(Version::V5, None);
        for topic in ["a", "b", "a"] {
            assert!(outbox.publish(&message(topic), &Outgoing::default()));
        }
        assert_eq!(
            written(&outbox),
            b"\x30\x09\x00\x01a\x03\x23\x00\x01hi\x30\x06\x00\x01b\x00hi\x30\x08\x00\x00\x03\x23\x00\x01hi"
        );
    }

    #[test]
    fn mqtt_3_1_2_25_a_packet_larger_than_the_client_takes_is_not_sent() {
        let outbox = outbox(Version::V5, Some(5));
        assert!(!outbox.publish(&message("a"), &Outgoing::default()));
        assert!(written(&outbox).is_empty());
    }

    #[test]
    fn mqtt5_3_3_4_9_a_client_has_no_more_under_way_than_it_may() {
        let outbox = outbox(Version::V5, None);
        assert!(outbox.take_in() && outbox.take_in() && !outbox.take_in());
        let id = NonZeroU16::MIN;
        outbox.answer(&[
            (Answer::Received, id, 0),
            (Answer::Acknowledged, id, 0),
            (Answer::Received, id, 0x97),
        ]);
        assert!(outbox.take_in());
        assert_eq!(written(&outbox), b"\x50\x02\x00\x01\x40\x02\x00\x01\x50\x03\x00\x01\x97");
    }

    #[test]
    fn after_a_missing_answer_there_are_no_more() {
        let outbox = outbox(Version::V3, None);
        outbox.stop_answering();
        assert!(!outbox.answer(&[(Answer::Acknowledged, NonZeroU16::MIN, 0)]));
        assert!(written(&outbox).is_empty());
    }
}
