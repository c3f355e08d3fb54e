//! Which messages of a connection are under way, and whose acknowledgement may go out now. Pure.
//!
//! ```text
//!  arrive ─► [ settled │ settled │ open │ settled │ open ]      order of arrival
//!               └── go out ──┘    └── wait for the open one
//! ```
//!
//! The specification wants acknowledgements in the order of arrival (MQTT-4.6.0-2), whatever the order in which messages are
//! settled. A ticket belongs to one connection, its epoch: what is settled after the connection broke goes nowhere, because
//! the broker delivers the message again and the same packet id may by then mean another one.

use std::collections::VecDeque;

/// A message that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    epoch: u64,
    number: u64,
}

/// What an acknowledgement needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) packet_id: u16,
    pub(crate) qos: u8,
}

/// The messages under way.
#[derive(Debug, Default)]
pub(crate) struct Window {
    epoch: u64,
    /// The number of the first slot.
    first: u64,
    slots: VecDeque<(Delivery, bool)>,
}

impl Window {
    /// Forgets everything: another connection begins.
    pub(crate) fn restart(&mut self) {
        self.epoch += 1;
        self.first = 0;
        self.slots.clear();
    }

    /// Takes note of a message.
    pub(crate) fn arrive(&mut self, delivery: Delivery) -> Ticket {
        let number = self.first + self.slots.len() as u64;
        self.slots.push_back((delivery, false));
        Ticket { epoch: self.epoch, number }
    }

    /// Settles a message and passes on all whose turn has come. False if the ticket is of another connection or used up.
    pub(crate) fn settle(&mut self, ticket: Ticket, mut ready: impl FnMut(Delivery)) -> bool {
        if ticket.epoch != self.epoch {
            return false;
        }
        let index = ticket.number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some((_, settled)) = index.and_then(|index| self.slots.get_mut(index)) else { return false };
        if std::mem::replace(settled, true) {
            return false;
        }
        while let Some((delivery, true)) = self.slots.front() {
            ready(*delivery);
            self.slots.pop_front();
            self.first += 1;
        }
        true
    }

    /// How many have not been passed on.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Arrive,
        /// Settles one of all tickets ever given, old and used ones included.
        Settle(prop::sample::Index),
        Restart,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => Just(Step::Arrive),
            6 => any::<prop::sample::Index>().prop_map(Step::Settle),
            1 => Just(Step::Restart),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// A message as the naive model sees it.
    struct Seen {
        ticket: Ticket,
        delivery: Delivery,
        settled: bool,
    }

    proptest! {
        /// Against lists that nothing is ever removed from.
        #[test]
        fn acknowledgements_go_out_once_in_order_and_on_their_own_connection_only(steps in steps()) {
            let mut window = Window::default();
            let mut old: Vec<Ticket> = Vec::new();
            let mut current: Vec<Seen> = Vec::new();
            let mut out: Vec<Delivery> = Vec::new();
            let mut next_id = 0_u16;
            for step in steps {
                match step {
                    Step::Arrive => {
                        next_id = next_id % 7 + 1; // Packet ids are used again, on purpose.
                        let delivery = Delivery { packet_id: next_id, qos: 1 };
                        let ticket = window.arrive(delivery);
                        current.push(Seen { ticket, delivery, settled: false });
                    }
                    Step::Settle(which) if !old.is_empty() || !current.is_empty() => {
                        let at = which.index(old.len() + current.len());
                        if at < old.len() {
                            prop_assert!(!window.settle(old[at], |delivery| out.push(delivery)));
                        } else {
                            let seen = &mut current[at - old.len()];
                            let first_time = !std::mem::replace(&mut seen.settled, true);
                            prop_assert_eq!(
                                window.settle(seen.ticket, |delivery| out.push(delivery)),
                                first_time
                            );
                        }
                    }
                    Step::Settle(_) => {}
                    Step::Restart => {
                        window.restart();
                        old.extend(current.drain(..).map(|seen| seen.ticket));
                        out.clear();
                    }
                }
                let expected: Vec<_> =
                    current.iter().take_while(|seen| seen.settled).map(|seen| seen.delivery).collect();
                prop_assert_eq!(&out, &expected);
                prop_assert_eq!(window.len(), current.len() - expected.len());
            }
        }
    }
}
