//! Deliveries of QoS 1 and 2 that have begun and are not done with, in the order in which they began.
//!
//! Packet ids go up one by one and step over those that are in use (2.2.1).

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU16;

use crate::Offset;

/// How far a delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its packet id is being noted (QoS 2), so that it is the same after a crash; then it is sent.
    Planned,
    /// Sent; the client has not answered.
    Sent,
    /// The client has received it (QoS 2), and that is being noted.
    Noting,
    /// The client has received it (QoS 2), and is told to let go of the id.
    Received,
    /// Done with; only its place in the order is left.
    Done,
}

/// A delivery.
#[derive(Debug)]
pub(super) struct Flight<M> {
    pub(super) id: NonZeroU16,
    pub(super) qos: u8,
    pub(super) stage: Stage,
    /// Where the journal has the message, if it does.
    pub(super) offset: Option<Offset>,
    /// The message, where it cannot be had from the journal again.
    pub(super) message: Option<M>,
}

/// The deliveries.
#[derive(Debug)]
pub(super) struct Flights<M> {
    queue: VecDeque<Flight<M>>,
    /// The place of the queue's front since the beginning.
    front: u64,
    /// What is done with leaves the queue only where its offset is before this one; until then it says that it is done.
    passed: Offset,
    by_id: HashMap<NonZeroU16, u64>,
    next_id: NonZeroU16,
}

impl<M> Flights<M> {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new(), front: 0, passed: 0, by_id: HashMap::new(), next_id: NonZeroU16::MIN }
    }

    /// Deliveries that are not done with.
    pub(super) fn open(&self) -> usize {
        self.by_id.len()
    }

    /// Places in the order, those that are done with and wait for older ones included.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Flight<M>> {
        self.queue.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Flight<M>> {
        self.queue.iter_mut()
    }

    /// A packet id that is not in use; `None` when all are.
    pub(super) fn free_id(&mut self) -> Option<NonZeroU16> {
        if self.by_id.len() >= usize::from(u16::MAX) {
            return None;
        }
        while self.by_id.contains_key(&self.next_id) {
            self.next_id = following(self.next_id);
        }
        let id = self.next_id;
        self.next_id = following(id);
        Some(id)
    }

    /// Takes in a delivery; its id is free, unless it is done with.
    pub(super) fn push(&mut self, flight: Flight<M>) {
        if flight.stage != Stage::Done {
            self.by_id.insert(flight.id, self.front + self.queue.len() as u64);
        }
        self.queue.push_back(flight);
    }

    /// The delivery with this id, if one is not done with.
    pub(super) fn get_mut(&mut self, id: NonZeroU16) -> Option<&mut Flight<M>> {
        let place = self.by_id.get(&id)?.checked_sub(self.front)?;
        self.queue.get_mut(usize::try_from(place).ok()?)
    }

    /// Done with a delivery.
    pub(super) fn finish(&mut self, id: NonZeroU16) {
        if let Some(flight) = self.get_mut(id) {
            flight.stage = Stage::Done;
            flight.message = None;
        }
        self.by_id.remove(&id);
        self.trim();
    }

    /// Messages before this offset are not looked at again.
    pub(super) fn pass(&mut self, offset: Offset) {
        self.passed = self.passed.max(offset);
        self.trim();
    }

    fn trim(&mut self) {
        let is_over = |flight: &Flight<M>| {
            flight.stage == Stage::Done && flight.offset.is_none_or(|offset| offset < self.passed)
        };
        while self.queue.front().is_some_and(is_over) {
            self.queue.pop_front();
            self.front += 1;
        }
    }
}

fn following(id: NonZeroU16) -> NonZeroU16 {
    id.checked_add(1).unwrap_or(NonZeroU16::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).expect("not 0")
    }

    fn flight(number: u16, qos: u8, offset: Offset) -> Flight<()> {
        Flight { id: id(number), qos, stage: Stage::Sent, offset: Some(offset), message: None }
    }

    #[test]
    fn mqtt_2_2_1_ids_go_up_and_step_over_those_in_use() {
        let mut flights = Flights::new();
        flights.push(flight(2, 1, 0));
        assert_eq!(flights.free_id(), Some(id(1)));
        assert_eq!(flights.free_id(), Some(id(3)));
        flights.finish(id(2));
        for next in 4..=u16::MAX {
            assert_eq!(flights.free_id(), Some(id(next)));
        }
        assert_eq!(flights.free_id(), Some(id(1)));
        assert_eq!(flights.free_id(), Some(id(2)));
    }

    #[test]
    fn what_is_done_keeps_its_place_until_what_is_older_is_done() {
        let mut flights = Flights::new();
        flights.pass(12);
        flights.push(flight(1, 1, 10));
        flights.push(flight(2, 2, 11));
        flights.finish(id(2));
        assert_eq!((flights.open(), flights.len()), (1, 2));
        assert!(flights.get_mut(id(2)).is_none());
        flights.finish(id(1));
        assert_eq!((flights.open(), flights.len()), (0, 0));
        flights.push(flight(2, 2, 12));
        assert_eq!(flights.get_mut(id(2)).map(|flight| flight.offset), Some(Some(12)));
        flights.finish(id(2));
        assert_eq!((flights.open(), flights.len()), (0, 1), "it has not been passed");
        flights.pass(13);
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn when_all_ids_are_taken_a_delivery_waits() {
        let mut flights = Flights::new();
        for number in 1..=u16::MAX {
            flights.push(flight(number, 1, u64::from(number)));
        }
        assert_eq!(flights.free_id(), None);
        flights.finish(id(500));
        assert_eq!(flights.free_id(), Some(id(500)));
    }
}
