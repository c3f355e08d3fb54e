//! The outgoing side held against a client, a journal and a ledger, step by step and in any order: publishes, answers,
//! lost connections, crashes. Whatever happens, QoS 1 arrives at least once, QoS 2 exactly once, both in order.

use std::collections::{HashSet, VecDeque};

use bytes::{Buf as _, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::ledger::{Ledger, Note};
use crate::outbox::Takes;
use crate::protocol::Version;

const CLIENT: &str = "c";
/// So small that sessions fall behind.
const BYTES_MAX: usize = 400;

#[derive(Debug, Clone)]
enum Step {
    Publish(u8),
    /// The client takes what was written.
    Hear,
    /// The client sends so many of its answers.
    Answer(usize),
    /// The journal's reader hands so many messages in.
    Read(usize),
    /// What has come to be noted is.
    Plan,
    Settle,
    Leave,
    Return(u16),
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1..=2_u8).prop_map(Step::Publish),
        6 => Just(Step::Hear),
        6 => (1..4_usize).prop_map(Step::Answer),
        6 => (1..6_usize).prop_map(Step::Read),
        6 => Just(Step::Plan),
        2 => Just(Step::Settle),
        1 => Just(Step::Leave),
        2 => (1..5_u16).prop_map(Step::Return),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 0..120)
}

/// What a client does that keeps to the specification.
#[derive(Default)]
struct Client {
    answers: VecDeque<(u8, NonZeroU16)>,
    received: HashSet<NonZeroU16>,
    heard: Vec<usize>,
}

impl Client {
    fn hear(&mut self, mut bytes: &[u8]) {
        while bytes.has_remaining() {
            let first = bytes.get_u8();
            let mut packet = bytes.copy_to_bytes(usize::from(bytes[0]) + 1);
            packet.advance(1);
            if first & 0xF0 != 0x30 {
                assert_eq!(first, 0x62, "only PUBREL and PUBLISH are sent");
                let id = NonZeroU16::new(packet.get_u16()).expect("not 0");
                self.received.remove(&id);
                self.answers.push_back((0x70, id));
                continue;
            }
            packet.advance(3);
            let id = NonZeroU16::new(packet.get_u16()).expect("not 0");
            let number = String::from_utf8_lossy(&packet).parse().expect("a number");
            match (first >> 1) & 3 {
                1 => {
                    self.heard.push(number);
                    self.answers.push_back((0x40, id));
                }
                _ => {
                    if self.received.insert(id) {
                        self.heard.push(number);
                    }
                    self.answers.push_back((0x50, id));
                }
            }
        }
    }
}

struct World {
    journal: Vec<Publish>,
    ledger: Ledger,
    delivery: Delivery,
    outbox: Option<Outbox>,
    client: Client,
    how: Match,
    /// Where the journal's reader is.
    at: Option<Offset>,
    plans: VecDeque<(NonZeroU16, Offset)>,
}

impl World {
    fn new() -> Self {
        let mut ledger = Ledger::default();
        note(&mut ledger, &Note::Opened { client: CLIENT.to_owned(), expiry_s: 60 });
        Self {
            journal: Vec::new(),
            ledger,
            delivery: Delivery::new(true, BYTES_MAX),
            outbox: None,
            client: Client::default(),
            how: Match { qos: 2, ..Match::default() },
            at: None,
            plans: VecDeque::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish(qos) => {
                let offset = self.journal.len() as Offset;
                let message = Publish::new("a", Bytes::from(offset.to_string()), qos, false);
                self.journal.push(message.clone());
                let offer = Offer {
                    message: &message,
                    how: &self.how,
                    retained: false,
                    offset: Some(offset),
                    shared: false,
                    now_micros: 0,
                };
                self.delivery.offer(self.outbox.as_ref(), &offer);
            }
            Step::Hear => {
                if let Some(outbox) = &self.outbox {
                    self.client.hear(&outbox.take(BytesMut::new()));
                    self.delivery.pump(outbox, 0);
                }
            }
            Step::Answer(count) => (0..count).for_each(|_| self.answer()),
            Step::Read(count) => self.read(count),
            Step::Plan => self.plan(),
            Step::Settle => {
                let head = self.journal.len() as Offset;
                let through = self.delivery.needed_from().unwrap_or_else(|| self.delivery.passed(head));
                let done = self.delivery.done_from(through);
                note(&mut self.ledger, &Note::Settled { client: CLIENT.to_owned(), through, done });
            }
            Step::Leave => self.lose_connection(),
            Step::Return(window) => {
                self.lose_connection();
                let takes = Takes { version: Version::V3, packet_bytes_max: None, topic_aliases_max: 0 };
                let outbox = Outbox::new(takes, 100, BYTES_MAX);
                for (id, offset) in self.delivery.resume(&outbox, window, 0) {
                    self.note_received(&outbox, id, offset);
                }
                self.outbox = Some(outbox);
                self.at = None;
            }
            Step::Crash => {
                self.lose_connection();
                let kept = &self.ledger.sessions[CLIENT];
                self.delivery = Delivery::restore(kept, BYTES_MAX);
            }
        }
        self.plans.extend(self.delivery.take_planned());
    }

    fn lose_connection(&mut self) {
        if self.outbox.take().is_some() {
            self.delivery.leave();
        }
        self.client.answers.clear();
        self.plans.clear();
    }

    fn plan(&mut self) {
        for (id, offset) in std::mem::take(&mut self.plans) {
            note(&mut self.ledger, &Note::Sent { client: CLIENT.to_owned(), offset, id: id.get() });
            if let Some(outbox) = &self.outbox {
                self.delivery.begin_planned(outbox, id, offset, 0);
            }
        }
    }

    fn answer(&mut self) {
        let Some(outbox) = self.outbox.take() else { return };
        if let Some((kind, id)) = self.client.answers.pop_front() {
            match kind {
                0x40 => self.delivery.acknowledged(id),
                0x50 => match self.delivery.received(id, 0) {
                    OnReceived::Note(offset) => self.note_received(&outbox, id, offset),
                    OnReceived::Release(_) => {
                        outbox.answer(&[(Answer::Released, id, 0)]);
                    }
                    OnReceived::Nothing => {}
                },
                _ => self.delivery.completed(id),
            }
            self.delivery.pump(&outbox, 0);
        }
        self.outbox = Some(outbox);
    }

    fn note_received(&mut self, outbox: &Outbox, id: NonZeroU16, offset: Offset) {
        note(&mut self.ledger, &Note::Received { client: CLIENT.to_owned(), offset, id: id.get() });
        if self.delivery.noted(id, offset) {
            outbox.answer(&[(Answer::Released, id, 0)]);
        }
    }

    fn read(&mut self, count: usize) {
        for _ in 0..count {
            let (Some(outbox), Mode::CatchingUp) = (&self.outbox, self.delivery.mode()) else {
                self.at = None;
                return;
            };
            let at = *self.at.get_or_insert_with(|| self.delivery.needed_from().unwrap_or(0));
            let Some(message) = self.journal.get(usize::try_from(at).expect("small")) else {
                assert_eq!(self.delivery.caught_up(at), CaughtUp::Live, "everything was read");
                return;
            };
            match self.delivery.offer_past(outbox, at, message, Some(self.how.clone()), 0) {
                Past::Through => self.at = Some(at + 1),
                Past::Full => return,
            }
        }
    }

    /// The client comes back and everything takes its course.
    fn settle(&mut self) {
        self.step(&Step::Return(3));
        for _ in 0..20 * (self.journal.len() + 10) {
            for step in [Step::Read(1), Step::Plan, Step::Hear, Step::Answer(1)] {
                self.step(&step);
            }
        }
    }
}

fn note(ledger: &mut Ledger, note: &Note) {
    ledger.apply(0, &note.to_bytes()).expect("a note of our own");
}

/// The first time that each message was heard, in order.
fn firsts(heard: &[usize]) -> Vec<usize> {
    let mut seen = HashSet::new();
    heard.iter().copied().filter(|number| seen.insert(*number)).collect()
}

proptest! {
    #[test]
    fn nothing_is_lost_and_qos_2_arrives_once_whatever_happens(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.settle();
        let numbers = |qos: u8| {
            let of = |(number, message): (usize, &Publish)| (message.qos == qos).then_some(number);
            world.journal.iter().enumerate().filter_map(of).collect::<Vec<_>>()
        };
        let heard = |qos: u8| {
            let own: HashSet<_> = numbers(qos).into_iter().collect();
            world.client.heard.iter().copied().filter(|number| own.contains(number)).collect::<Vec<_>>()
        };
        prop_assert_eq!(heard(2), numbers(2), "exactly once and in order");
        prop_assert_eq!(firsts(&heard(1)), numbers(1), "at least once and in order");
        prop_assert_eq!(world.delivery.mode(), Mode::Live);
        prop_assert_eq!(world.delivery.needed_from(), None);
        prop_assert_eq!(world.delivery.waiting(), (0, 0));
    }
}

#[test]
fn messages_of_a_shared_subscription_are_read_by_their_offset() {
    let mut world = World::new();
    world.step(&Step::Publish(1));
    let message = Publish::new("b", Bytes::from_static(b"7"), 1, false);
    world.journal.push(message.clone());
    let offer = Offer {
        message: &message,
        how: &world.how.clone(),
        retained: false,
        offset: Some(1),
        shared: true,
        now_micros: 0,
    };
    assert_eq!(world.delivery.offer(None, &offer), Offered::Owed);
    assert_eq!(world.delivery.looked_for(), [1]);
    world.settle();
    assert_eq!(world.client.heard, [0, 7]);
    assert_eq!(world.delivery.needed_from(), None);
}
