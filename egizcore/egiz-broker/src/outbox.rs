//! What goes out to one client: control packets and acknowledgements in order, deliveries as far as the client keeps up.
//!
//! Everything is encoded into one buffer that the writer empties with one write. Deliveries of QoS 1 wait while the client has
//! as many unacknowledged as it takes (its receive maximum). The bytes waiting are bounded: at the bound a QoS 0 delivery
//! is dropped and counted; a QoS 1 delivery closes the connection, counted, because in this cut there is no session
//! that could keep it, and a subscriber that misses acknowledged messages without knowing would be worse. Answers are not
//! bounded here but at their source: while half the bytes wait for the client, the client is not read
//! ([`Outbox::room`]).

use std::collections::{HashSet, VecDeque};
use std::num::NonZeroU16;

use bytes::{BufMut as _, BytesMut};
use parking_lot::Mutex;
use rmqtt_codec::v3;
use rmqtt_codec::v5::{self, PublishProperties};
use tokio::sync::Notify;
use tokio_util::codec::Encoder as _;
use tokio_util::sync::CancellationToken;

use crate::message::Publish;
use crate::router::Match;
use crate::session::Version;

/// The largest buffer that is used again.
const KEPT_BUFFER_BYTES: usize = 64 << 10;

/// A client's outgoing side.
#[derive(Debug)]
pub(crate) struct Outbox {
    version: Version,
    bytes_max: usize,
    packet_bytes_max: usize,
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
    /// Deliveries of QoS 1 that wait for an acknowledgement of others.
    waiting: VecDeque<(Publish, Match, bool)>,
    waiting_bytes: usize,
    under_way: HashSet<NonZeroU16>,
    under_way_max: usize,
    next_id: NonZeroU16,
    /// Whether PUBACKs still go out.
    acknowledges: bool,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// On its way.
    Sent,
    /// Not sent: there is no room and it need not arrive.
    Dropped,
    /// Larger than the client takes.
    TooLarge,
    /// The client does not keep up with messages that must arrive: it is to be closed.
    Overflow,
}

impl Outbox {
    pub(crate) fn new(
        version: Version,
        receive_max: u16,
        packet_bytes_max: Option<u32>,
        bytes_max: usize,
    ) -> Self {
        Self {
            version,
            bytes_max,
            packet_bytes_max: packet_bytes_max.map_or(usize::MAX, |max| max as usize),
            state: Mutex::new(State {
                buffer: BytesMut::new(),
                waiting: VecDeque::new(),
                waiting_bytes: 0,
                under_way: HashSet::new(),
                under_way_max: usize::from(receive_max),
                next_id: NonZeroU16::MIN,
                acknowledges: true,
            }),
            changed: Notify::new(),
            taken: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
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
            self.taken.notify_one();
        }
        bytes
    }

    /// Waits until the client has taken enough of its answers to be read on.
    ///
    /// # Cancel safety
    /// May be dropped while waiting. One caller at a time.
    pub(crate) async fn room(&self) {
        while self.state.lock().buffer.len() > self.bytes_max / 2 {
            self.taken.notified().await;
        }
    }

    /// From here on no PUBACK is sent: one before it is missing.
    pub(crate) fn stop_acknowledging(&self) {
        self.state.lock().acknowledges = false;
    }

    /// PUBACKs in packet order; code 0 is success. Whether they are sent.
    pub(crate) fn acknowledge(&self, acknowledgements: &[(NonZeroU16, u8)]) -> bool {
        if acknowledgements.is_empty() {
            return true;
        }
        let mut state = self.state.lock();
        if !state.acknowledges {
            return false;
        }
        for (id, code) in acknowledgements {
            let id = id.get();
            if *code == 0 || self.version == Version::V3 {
                state.buffer.put_slice(&[0x40, 2]);
                state.buffer.put_u16(id);
            } else {
                state.buffer.put_slice(&[0x40, 3]);
                state.buffer.put_u16(id);
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
        if self.version == Version::V5 {
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

    /// Delivers a message; `retained` says that it comes from the retained store.
    pub(crate) fn deliver(&self, message: &Publish, how: &Match, retained: bool) -> Delivery {
        let mut state = self.state.lock();
        let qos = how.qos.min(message.qos);
        if state.buffer.len() + state.waiting_bytes + message.byte_len() > self.bytes_max {
            return if qos == 0 { Delivery::Dropped } else { Delivery::Overflow };
        }
        if qos > 0 && state.under_way.len() >= state.under_way_max {
            state.waiting_bytes += message.byte_len();
            state.waiting.push_back((message.detached(), how.clone(), retained));
            return Delivery::Sent;
        }
        let sent = self.encode(&mut state, message, how, retained);
        drop(state);
        self.changed.notify_one();
        if sent { Delivery::Sent } else { Delivery::TooLarge }
    }

    /// The client acknowledged a delivery: another may go.
    pub(crate) fn acknowledged(&self, id: NonZeroU16) {
        let mut state = self.state.lock();
        state.under_way.remove(&id);
        while state.under_way.len() < state.under_way_max {
            let Some((message, how, retained)) = state.waiting.pop_front() else { break };
            state.waiting_bytes -= message.byte_len();
            self.encode(&mut state, &message, &how, retained);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Appends a PUBLISH to the buffer; `false` if it is larger than the client takes.
    fn encode(&self, state: &mut State, message: &Publish, how: &Match, retained: bool) -> bool {
        let qos = how.qos.min(message.qos);
        let retain = retained || (message.retain && how.retain_as_published);
        let start = state.buffer.len();
        let id = (qos > 0).then(|| state.take_id());
        match self.version {
            Version::V3 => put_publish(&mut state.buffer, message, qos, retain, id, None),
            Version::V5 => {
                let mut properties = PublishProperties::default();
                if let Some(own) = &message.properties {
                    properties.clone_from(own);
                }
                properties.subscription_ids.clone_from(&how.identifiers);
                put_publish(&mut state.buffer, message, qos, retain, id, Some(properties));
            }
        }
        if state.buffer.len() - start > self.packet_bytes_max {
            // The specification has the server discard it (MQTT-3.1.2-25).
            state.buffer.truncate(start);
            if let Some(id) = id {
                state.under_way.remove(&id);
            }
            return false;
        }
        true
    }
}

impl State {
    /// A packet id that is not in use; there are 65,535, and fewer may be under way.
    fn take_id(&mut self) -> NonZeroU16 {
        loop {
            let id = self.next_id;
            self.next_id = id.checked_add(1).unwrap_or(NonZeroU16::MIN);
            if self.under_way.insert(id) {
                return id;
            }
        }
    }
}

fn put_publish(
    buffer: &mut BytesMut,
    message: &Publish,
    qos: u8,
    retain: bool,
    id: Option<NonZeroU16>,
    properties: Option<PublishProperties>,
) {
    let is_plain = properties.as_ref().is_none_or(|properties| *properties == PublishProperties::default());
    if !is_plain {
        let packet = v5::Packet::Publish(Box::new(rmqtt_codec::types::Publish {
            dup: false,
            retain,
            qos: if qos == 0 {
                rmqtt_codec::types::QoS::AtMostOnce
            } else {
                rmqtt_codec::types::QoS::AtLeastOnce
            },
            topic: message.topic.clone(),
            packet_id: id,
            payload: message.payload.clone(),
            properties,
        }));
        let before = buffer.len();
        if v5::Codec::default().encode(packet, buffer).is_err() {
            tracing::error!(topic = &*message.topic, "a message's properties could not be encoded");
            buffer.truncate(before);
        }
        return;
    }
    let no_properties = usize::from(properties.is_some());
    let length =
        2 + message.topic.len() + if id.is_some() { 2 } else { 0 } + no_properties + message.payload.len();
    buffer.reserve(length + 5);
    buffer.put_u8(0x30 | (qos << 1) | u8::from(retain));
    let mut rest = length;
    loop {
        let octet = (rest % 128) as u8;
        rest /= 128;
        buffer.put_u8(if rest > 0 { octet | 0x80 } else { octet });
        if rest == 0 {
            break;
        }
    }
    buffer.put_u16(u16::try_from(message.topic.len()).unwrap_or(u16::MAX));
    buffer.put_slice(message.topic.as_bytes());
    if let Some(id) = id {
        buffer.put_u16(id.get());
    }
    if no_properties > 0 {
        buffer.put_u8(0);
    }
    buffer.put_slice(&message.payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(qos: u8) -> Publish {
        Publish::new("a", Bytes::from_static(b"hi"), qos, false)
    }

    fn how(qos: u8) -> Match {
        Match { qos, ..Match::default() }
    }

    #[test]
    fn a_delivery_is_encoded_for_the_clients_version() {
        let outbox = Outbox::new(Version::V3, 10, None, 1000);
        assert_eq!(outbox.deliver(&message(1), &how(1), false), Delivery::Sent);
        assert_eq!(&outbox.take(BytesMut::new())[..], b"\x32\x07\x00\x01a\x00\x01hi");
        let outbox = Outbox::new(Version::V5, 10, None, 1000);
        outbox.deliver(&message(1), &how(0), true);
        assert_eq!(&outbox.take(BytesMut::new())[..], b"\x31\x06\x00\x01a\x00hi");
    }

    #[test]
    fn mqtt_3_1_2_11_3_no_more_are_under_way_than_the_client_takes() {
        let outbox = Outbox::new(Version::V3, 1, None, 1000);
        outbox.deliver(&message(1), &how(1), false);
        outbox.deliver(&message(1), &how(1), false);
        assert_eq!(outbox.take(BytesMut::new()).len(), 9);
        outbox.acknowledged(NonZeroU16::MIN);
        assert_eq!(&outbox.take(BytesMut::new())[..], b"\x32\x07\x00\x01a\x00\x02hi");
    }

    #[test]
    fn at_the_bound_what_need_not_arrive_is_dropped_and_what_must_closes() {
        let outbox = Outbox::new(Version::V3, 10, None, 100);
        assert_eq!(outbox.deliver(&message(1), &how(1), false), Delivery::Sent);
        assert_eq!(outbox.deliver(&message(0), &how(1), false), Delivery::Sent);
        assert_eq!(outbox.deliver(&message(1), &how(0), false), Delivery::Sent);
        let long = Publish::new("a", Bytes::from(vec![0; 100]), 1, false);
        assert_eq!(outbox.deliver(&long, &how(0), false), Delivery::Dropped);
        assert_eq!(outbox.deliver(&long, &how(1), false), Delivery::Overflow);
    }

    #[test]
    fn mqtt_3_1_2_25_a_packet_larger_than_the_client_takes_is_not_sent() {
        let outbox = Outbox::new(Version::V5, 10, Some(5), 1000);
        assert_eq!(outbox.deliver(&message(0), &how(0), false), Delivery::TooLarge);
        assert!(outbox.take(BytesMut::new()).is_empty());
    }
}
