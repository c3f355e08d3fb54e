//! A device's messages between the sensor and the acknowledgement.
//!
//! Bound: `capacity` telemetry messages, waiting and unacknowledged together, as in an ESP32's memory; then the
//! oldest *waiting* one is dropped and counted. What is already on its way stays until it is acknowledged, or
//! until the connection ends, when it waits again in its old order.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::link::Publisher;

/// A telemetry message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) payload: Bytes,
    pub(crate) sequence: u64,
    pub(crate) timestamp_ms: i64,
}

#[derive(Debug)]
struct InFlight {
    /// 0 until the link has given one.
    packet_id: u16,
    /// `None` for status and meta.
    message: Option<Message>,
}

/// The messages of one device.
#[derive(Debug)]
pub(crate) struct Outbox {
    capacity: usize,
    window: usize,
    waiting: VecDeque<Message>,
    in_flight: VecDeque<InFlight>,
    publisher: Option<Publisher>,
}

impl Outbox {
    pub(crate) fn new(capacity: usize, window: u16) -> Self {
        Outbox {
            capacity,
            window: usize::from(window),
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            publisher: None,
        }
    }

    /// Takes a message and sends what the window allows. Returns how many messages were dropped, and sent.
    pub(crate) fn push(&mut self, message: Message, topic: &str) -> (u64, u64) {
        self.waiting.push_back(message);
        let mut dropped = 0;
        while self.waiting.len() > 1 && self.waiting.len() + self.in_flight.len() > self.capacity {
            self.waiting.pop_front();
            dropped += 1;
        }
        (dropped, self.send(topic))
    }

    /// Sends waiting messages while the window is open, and returns how many.
    pub(crate) fn send(&mut self, topic: &str) -> u64 {
        let mut sent = 0;
        let Some(publisher) = &self.publisher else { return sent };
        while self.in_flight.len() < self.window {
            let Some(message) = self.waiting.pop_front() else { break };
            if !publisher.publish(topic, &message.payload, false) {
                // The link has ended; the device will notice and connect again.
                self.waiting.push_front(message);
                break;
            }
            self.in_flight.push_back(InFlight { packet_id: 0, message: Some(message) });
            sent += 1;
        }
        sent
    }

    /// Opens the outbox on a new connection.
    pub(crate) fn connect(&mut self, publisher: Publisher) {
        self.publisher = Some(publisher);
    }

    /// Sends a retained control message beside the window.
    pub(crate) fn control(&mut self, topic: &str, payload: &Bytes) {
        if let Some(publisher) = &self.publisher
            && publisher.publish(topic, payload, true)
        {
            self.in_flight.push_back(InFlight { packet_id: 0, message: None });
        }
    }

    /// The connection ended: what was not acknowledged waits again, before everything newer.
    pub(crate) fn disconnect(&mut self) {
        self.publisher = None;
        while let Some(entry) = self.in_flight.pop_back() {
            if let Some(message) = entry.message {
                self.waiting.push_front(message);
            }
        }
    }

    /// The link gave the oldest entry without a packet identifier this one.
    pub(crate) fn sent(&mut self, packet_id: u16) {
        if let Some(entry) = self.in_flight.iter_mut().find(|entry| entry.packet_id == 0) {
            entry.packet_id = packet_id;
        }
    }

    /// Removes what was acknowledged; returns its telemetry message, if it was one.
    pub(crate) fn acknowledged(&mut self, packet_id: u16) -> Option<Message> {
        let position = self.in_flight.iter().position(|entry| entry.packet_id == packet_id)?;
        self.in_flight.remove(position)?.message
    }

    /// Reports whether everything was acknowledged, control messages included.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty() && self.waiting.is_empty()
    }

    /// Number of telemetry messages that were neither acknowledged nor dropped.
    pub(crate) fn outstanding(&self) -> u64 {
        let in_flight = self.in_flight.iter().filter(|entry| entry.message.is_some()).count();
        (self.waiting.len() + in_flight) as u64
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{InFlight, Message, Outbox};

    fn message(sequence: u64) -> Message {
        Message { payload: Bytes::new(), sequence, timestamp_ms: 0 }
    }

    fn waiting(outbox: &Outbox) -> Vec<u64> {
        outbox.waiting.iter().map(|message| message.sequence).collect()
    }

    #[test]
    fn a_full_outbox_drops_the_oldest() {
        let mut outbox = Outbox::new(3, 10);
        let dropped: u64 = (0..5).map(|sequence| outbox.push(message(sequence), "t").0).sum();
        assert_eq!(dropped, 2);
        assert_eq!(waiting(&outbox), [2, 3, 4]);
    }

    #[test]
    fn a_lost_connection_puts_unacknowledged_messages_back_in_order() {
        let mut outbox = Outbox::new(10, 10);
        for sequence in [1, 2, 3] {
            outbox.in_flight.push_back(InFlight { packet_id: 0, message: Some(message(sequence)) });
        }
        outbox.in_flight.push_back(InFlight { packet_id: 0, message: None });
        outbox.push(message(4), "t");
        for packet_id in [7, 8, 9] {
            outbox.sent(packet_id);
        }
        assert_eq!(outbox.acknowledged(8).unwrap().sequence, 2);
        assert_eq!(outbox.acknowledged(8), None);
        assert_eq!(outbox.outstanding(), 3);
        outbox.disconnect();
        assert_eq!(waiting(&outbox), [1, 3, 4]);
        assert!(outbox.in_flight.is_empty());
    }

    #[test]
    fn messages_on_their_way_count_towards_the_bound_but_are_not_dropped() {
        let mut outbox = Outbox::new(3, 10);
        for sequence in [1, 2] {
            outbox.in_flight.push_back(InFlight { packet_id: 0, message: Some(message(sequence)) });
        }
        let dropped: u64 = (3..6).map(|sequence| outbox.push(message(sequence), "t").0).sum();
        assert_eq!((dropped, waiting(&outbox)), (2, vec![5]));
        assert_eq!(outbox.in_flight.len(), 2);
    }
}
