//! The frames of one subscription to events, in order, a bounded piece at a time: for WebSocket and server-sent events alike.
//!
//! ```text
//!  catching up ──► live ◄──────────── owed (newest state of what a slow client missed)
//!       │           │  └── mailbox turned to newest ──► owed
//!       ▼           ▼
//!     resync ──► snapshot ──► live
//! ```
//!
//! Each [`Feed::step`] takes locks for one piece only, so a slow client costs what its piece is large, and whatever happens
//! meanwhile goes to its mailbox.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use egiz_model::{Offset, ThingId};
use egiz_twin::{Engine, ThingRef};

use super::event::{
    Frame, mark, put_desired, put_head, put_moment, put_number, put_offset, put_properties, put_text,
    put_thing, put_thing_id, put_thing_member,
};
use super::hub::Hub;
use super::mailbox::{Mode, Owed, Taken};
use super::subscriber::Wish;
use super::ticket::{CatchUp, Ticket};
use super::walk::Walk;
use crate::fields::Fields;

/// Bytes after which a piece ends, about: a Thing more may fit in.
const PIECE_BYTES: usize = 64 << 10;

/// What a step gave.
#[derive(Debug)]
pub(crate) enum Step {
    /// Frames to send, perhaps none; more may be ready.
    Frames(Vec<Frame>),
    /// Nothing until the subscription is notified.
    Idle,
    /// A lossless subscription did not keep up.
    TooSlow,
}

/// The feed.
pub(crate) struct Feed {
    hub: Hub,
    ticket: Ticket,
    fields: Option<Fields>,
    mode: Mode,
    phase: Phase,
}

enum Phase {
    CatchingUp,
    Snapshot(Walk),
    Owed { things: VecDeque<(ThingId, Owed)>, changes: u64, next: Offset },
    Live,
}

/// How the past is told when a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Everything there is.
    Snapshot,
    /// Only what happens from now on.
    Nothing,
}

impl Feed {
    /// Begins a subscription; `beginning` counts where no offset is wished.
    pub(crate) fn new(
        hub: &Hub,
        wish: Wish,
        fields: Option<Fields>,
        beginning: Beginning,
    ) -> (Self, Option<Frame>) {
        let (mode, wants_to_resume) = (wish.mode, wish.from.is_some());
        let ticket = hub.subscribe(wish);
        let phase = match beginning {
            _ if ticket.is_catching_up() => Phase::CatchingUp,
            _ if wants_to_resume => Phase::Live,
            Beginning::Snapshot => Phase::Snapshot(Walk::new(Arc::clone(&ticket.scope))),
            Beginning::Nothing => Phase::Live,
        };
        let mut feed = Self { hub: hub.clone(), ticket, fields, mode, phase };
        let is_too_late = wants_to_resume && !feed.is_resumed();
        let first = is_too_late
            .then(|| feed.resync("the events since then are no longer kept for this subscription"));
        (feed, first)
    }

    /// Whether it goes on where the client was.
    pub(crate) fn is_resumed(&self) -> bool {
        self.ticket.is_catching_up()
    }

    /// Whether everything is told and only what happens from now on is to come, which notifies.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// From here on the stream is complete.
    pub(crate) fn offset(&self) -> Offset {
        self.ticket.offset
    }

    /// The next piece.
    pub(crate) fn step(&mut self) -> Step {
        match &mut self.phase {
            Phase::CatchingUp => self.catch_up(),
            Phase::Snapshot(_) => Step::Frames(self.snapshot().into_iter().collect()),
            Phase::Owed { .. } => Step::Frames(self.newest()),
            Phase::Live => self.live(),
        }
    }

    /// Tells the offset to a subscription that has been quiet, if everything before it was sent.
    pub(crate) fn bookmark(&self) -> Option<Frame> {
        let offset = matches!(self.phase, Phase::Live).then(|| self.ticket.bookmark()).flatten()?;
        Some(mark("Bookmark", offset, None))
    }

    fn catch_up(&mut self) -> Step {
        match self.ticket.catch_up() {
            CatchUp::Overtaken if self.mode == Mode::Lossless => Step::TooSlow,
            CatchUp::Overtaken => {
                Step::Frames(vec![self.resync("the client was slower than what it wanted to catch up with")])
            }
            CatchUp::Events(events) => {
                if !self.ticket.is_catching_up() {
                    self.phase = Phase::Live;
                }
                let frames = events
                    .iter()
                    .map(|(event, sight)| event.frame(*sight, self.fields.as_ref(), self.hub.engine()));
                Step::Frames(frames.collect())
            }
        }
    }

    fn live(&mut self) -> Step {
        match self.ticket.subscriber.take() {
            None if self.ticket.subscriber.overflowed() => Step::TooSlow,
            None => Step::Idle,
            Some(Taken::Events(events)) => {
                let frames = events
                    .iter()
                    .map(|(event, sight)| event.frame(*sight, self.fields.as_ref(), self.hub.engine()));
                Step::Frames(frames.collect())
            }
            Some(Taken::Newest { things, changes, next }) => {
                self.phase = owed(things, changes, next);
                Step::Frames(self.newest())
            }
            Some(Taken::Resync { changes }) => {
                let reason = format!("{changes} changes are more than is kept track of for a slow client");
                Step::Frames(vec![self.resync(&reason)])
            }
        }
    }

    fn resync(&mut self, reason: &str) -> Frame {
        self.hub.metrics().resyncs.inc();
        let offset = self.ticket.restart();
        self.phase = Phase::Snapshot(Walk::new(Arc::clone(&self.ticket.scope)));
        mark("Resync", offset, Some(reason))
    }

    /// The next piece of a snapshot; none where none of the Things looked at belong.
    fn snapshot(&mut self) -> Option<Frame> {
        let Phase::Snapshot(walk) = &mut self.phase else { return None };
        let mut out = Vec::with_capacity(4096);
        put_offset(&mut out, self.ticket.offset);
        out.extend_from_slice(b",\"things\":[");
        let begin = out.len();
        {
            let engine = self.hub.engine().read();
            walk.step(&engine, |thing| {
                if out.len() > begin {
                    out.push(b',');
                }
                put_thing(&mut out, &thing, self.fields.as_ref());
                out.len() < PIECE_BYTES
            });
        }
        let is_over = walk.is_over();
        if out.len() == begin && !is_over {
            return None;
        }
        out.extend_from_slice(if is_over { b"],\"more\":false" } else { b"],\"more\":true" });
        let next = is_over.then_some(self.ticket.offset);
        if let Some(next) = next {
            put_number(&mut out, "next", next);
            self.phase = Phase::Live;
        }
        out.push(b'}');
        Some(Frame { event: "Snapshot", next, rest: out.into() })
    }

    /// The next piece of the newest state that is owed.
    fn newest(&mut self) -> Vec<Frame> {
        let Phase::Owed { things, changes, next } = &mut self.phase else { return Vec::new() };
        let engine = self.hub.engine().read();
        let mut frames = Vec::new();
        let mut bytes = 0;
        while let Some((id, owed)) = things.pop_front() {
            let thing = engine.thing(id.as_str());
            let covered = thing.filter(|thing| self.ticket.scope.covers(*thing));
            for (event, body) in tell(thing.is_some(), covered, &owed, self.fields.as_ref()) {
                let mut out = Vec::with_capacity(body.len() + 128);
                put_thing_id(&mut out, &id);
                out.extend_from_slice(&body);
                put_offset_member(&mut out, &engine, covered);
                if *changes > 0 {
                    put_number(&mut out, "conflated", std::mem::take(changes));
                }
                bytes += out.len();
                frames.push((event, out));
            }
            if bytes >= PIECE_BYTES {
                break;
            }
        }
        drop(engine);
        let end = things.is_empty().then_some(*next);
        if end.is_some() {
            self.phase = Phase::Live;
        }
        let last = frames.len().saturating_sub(1);
        let finish = |(index, (event, mut out)): (usize, (&'static str, Vec<u8>))| {
            let next = end.filter(|_| index == last);
            if let Some(next) = next {
                put_number(&mut out, "next", next);
            }
            out.push(b'}');
            Frame { event, next, rest: out.into() }
        };
        frames.into_iter().enumerate().map(finish).collect()
    }
}

fn owed(things: BTreeMap<ThingId, Owed>, changes: u64, next: Offset) -> Phase {
    Phase::Owed { things: things.into_iter().collect(), changes, next }
}

/// The events that bring a client to the newest state of a Thing, each as a name and the members that only it has.
fn tell(
    exists: bool,
    covered: Option<ThingRef<'_>>,
    owed: &Owed,
    fields: Option<&Fields>,
) -> Vec<(&'static str, Vec<u8>)> {
    let mut events = Vec::new();
    let Some(thing) = covered else {
        return vec![(if exists { "ThingLeft" } else { "ThingDeleted" }, Vec::new())];
    };
    let mut put = |event: &'static str, body: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        body(&mut out);
        events.push((event, out));
    };
    if owed.whole {
        put("ThingEntered", &|out| put_thing_member(out, &thing, fields));
        return events;
    }
    if owed.head {
        put("ThingModified", &|out| put_head(out, &thing));
    }
    if owed.connection {
        put("ConnectionChanged", &|out| {
            put_text(out, "connection", thing.connection().as_str());
            if let Some(seen) = thing.last_seen() {
                put_moment(out, "lastSeen", seen);
            }
        });
    }
    for name in &owed.features {
        put("StateChanged", &|out| {
            put_properties(out, &thing, name);
            // Several changes in one: a property that is not there was removed.
            out.extend_from_slice(b",\"complete\":true");
            if thing.feature(name).is_some_and(|feature| feature.desired().next().is_some()) {
                put_desired(out, &thing, name);
            }
        });
    }
    events
}

/// Adds the Thing's revision and the offset of the newest record that is contained.
fn put_offset_member(out: &mut Vec<u8>, engine: &Engine, thing: Option<ThingRef<'_>>) {
    if let Some(thing) = thing {
        put_number(out, "revision", thing.revision());
    }
    put_number(out, "offset", thing.map_or(engine.next_offset(), |thing| thing.offset()));
}
