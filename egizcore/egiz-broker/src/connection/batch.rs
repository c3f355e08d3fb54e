//! What one read of a connection comes to: publishes and notes to be committed together, and what is said once they are.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rmqtt_codec::{v3, v5};

use crate::Offset;
use crate::broker::Shared;
use crate::gate::{Placed, Refusal};
use crate::ledger::Note;
use crate::message::Publish;
use crate::metrics::BrokerMetrics;
use crate::outbox::{Answer, Outbox};
use crate::protocol::{SubscribeRequest, Version};
use crate::router::Subscription;
use crate::routes::Route;
use crate::session::Session;

/// Publishes and notes of one read, with what is said once they are committed, in order.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) publishes: Vec<(Publish, Arc<Route>)>,
    pub(super) notes: Vec<Note>,
    pub(super) replies: Vec<Reply>,
    pub(super) bytes: usize,
    /// Whether messages of QoS 0 are to wait for the commit, in their order: a subscription takes effect with it, which they
    /// may be for, or one of them is retained, which must not be heard of before it can be found.
    pub(super) holds: bool,
}

/// What is said, or done, once a batch is committed.
pub(super) enum Reply {
    /// Answers a publish, or a step of one.
    Publish { answer: Answer, id: NonZeroU16, code: u8, fresh: bool },
    /// The subscriptions take effect, then SUBACK; or UNSUBACK.
    Subscribed { packet: Packet, subscriptions: Vec<(SubscribeRequest, Subscription)> },
    /// PUBREL, now that the reception is noted.
    Noted { id: NonZeroU16, offset: Offset },
}

/// A packet in the client's version.
pub(super) enum Packet {
    V3(v3::Packet),
    V5(v5::Packet),
}

impl Packet {
    pub(super) fn send(self, outbox: &Outbox) {
        match self {
            Self::V3(packet) => outbox.packet_v3(packet),
            Self::V5(packet) => outbox.packet_v5(packet),
        }
    }
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.publishes.is_empty() && self.notes.is_empty() && self.replies.is_empty()
    }

    /// Adds a note; it counts towards the room that the batch needs.
    pub(super) fn note(&mut self, note: Note) {
        self.bytes += 256;
        self.notes.push(note);
    }
}

/// What became of a batch.
pub(super) struct Outcome {
    pub(super) publishes: Arc<[Publish]>,
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) replies: Vec<Reply>,
    /// Whether its messages of QoS 0 have waited.
    pub(super) held: bool,
    /// Where the journal has it, or why nothing of the batch is kept.
    pub(super) result: Result<Kept, Refusal>,
}

/// Where the journal has a batch.
pub(super) struct Kept {
    pub(super) first: Offset,
    /// The places of the messages, where they have one; empty where there was nothing to commit.
    pub(super) messages: Vec<Option<Offset>>,
}

impl From<Placed<'_>> for Kept {
    fn from(placed: Placed<'_>) -> Self {
        Self { first: placed.first, messages: placed.messages.to_vec() }
    }
}

/// How many of the replies come before the messages of their batch: those up to the last subscription.
fn behind_subscriptions(replies: &[Reply]) -> usize {
    let subscribes =
        |reply: &Reply| matches!(reply, Reply::Subscribed { subscriptions, .. } if !subscriptions.is_empty());
    replies.iter().rposition(subscribes).map_or(0, |last| last + 1)
}

/// Who sent a batch.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) shared: Arc<Shared>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) session: Arc<Session>,
    /// Batches under way whose messages of QoS 0 wait.
    pub(super) held: Arc<AtomicUsize>,
}

impl Sender {
    /// What a commit, or its failure, means for the publisher and the subscribers.
    pub(super) fn apply(&self, outcome: Outcome) {
        let Outcome { publishes, routes, mut replies, held, result } = outcome;
        let from = Some(self.session.number);
        match result {
            Ok(Kept { first, messages }) => {
                // Subscriptions come before the messages of their batch, and a message can be found before anybody hears of it.
                let answers = replies.split_off(behind_subscriptions(&replies));
                self.reply(replies, first);
                publishes.iter().for_each(|publish| self.shared.retain(publish));
                self.reply(answers, first);
                let offsets = messages.into_iter().chain(std::iter::repeat(None));
                for ((publish, route), offset) in publishes.iter().zip(&routes).zip(offsets) {
                    if held || publish.qos > 0 {
                        self.shared.distribute(publish, route, from, offset);
                    }
                }
            }
            Err(refusal) => {
                // The session has them, whatever its client is told.
                for reply in &replies {
                    if let Reply::Subscribed { subscriptions, .. } = reply {
                        self.shared.subscribe(&self.session, subscriptions, 0, || {});
                    }
                }
                let waited = publishes.iter().zip(&routes).filter(|(publish, _)| held && publish.qos == 0);
                for (publish, route) in waited {
                    self.shared.distribute(publish, route, from, None);
                }
                self.refuse(&publishes, replies, refusal);
            }
        }
        if held {
            self.held.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Says what is to be said; `first` is where the journal has the batch.
    fn reply(&self, replies: Vec<Reply>, first: Offset) {
        let mut answers = Vec::with_capacity(replies.len());
        let mut accepted = 0;
        for reply in replies {
            match reply {
                Reply::Publish { answer, id, code, .. } => {
                    if code == 0 && matches!(answer, Answer::Acknowledged | Answer::Received) {
                        accepted += 1;
                    }
                    if answer == Answer::Completed {
                        self.session.lock().taken.remove(&id);
                    }
                    answers.push((answer, id, code));
                }
                Reply::Subscribed { packet, subscriptions } => {
                    self.outbox.answer(&std::mem::take(&mut answers));
                    self.shared.subscribe(&self.session, &subscriptions, first, || packet.send(&self.outbox));
                }
                Reply::Noted { id, offset } => {
                    if self.session.lock().delivery.noted(id, offset) {
                        answers.push((Answer::Released, id, 0));
                    }
                }
            }
        }
        if self.outbox.answer(&answers) {
            self.shared.metrics.acknowledged.inc_by(accepted);
        }
    }

    fn refuse(&self, publishes: &[Publish], mut replies: Vec<Reply>, refusal: Refusal) {
        let (reason, refused) = match refusal {
            Refusal::NoSpace => ("no-space", 0x97),
            Refusal::Internal => ("internal", 0x80),
        };
        for _ in publishes {
            BrokerMetrics::count(&self.shared.metrics.refused, reason);
        }
        let mut can_be_said = self.outbox.version() == Version::V5;
        for reply in &mut replies {
            match reply {
                Reply::Publish { answer, id, code, fresh: true } => {
                    if *answer == Answer::Received {
                        self.session.lock().taken.remove(id);
                    }
                    if *code == 0 {
                        *code = refused;
                    }
                }
                Reply::Publish { code: 0x80.., .. } => {}
                _ => can_be_said = false,
            }
        }
        if can_be_said {
            self.reply(replies, 0);
        } else if !replies.is_empty() {
            // There is no word for it: the connection ends, and nothing is acknowledged any more.
            self.outbox.stop_answering();
            if !self.outbox.is_closed() {
                BrokerMetrics::count(&self.shared.metrics.closed, reason);
                self.outbox.disconnect(refused);
                self.outbox.close();
            }
        }
    }
}
