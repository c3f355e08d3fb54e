//! A session's outgoing side: which messages its client is owed, which are on their way, what is done with.
//!
//! ```text
//!            offer ─► live: sent, or waits for the window ─► flights ─► done
//!                        │ too much waits                      ▲
//!                        ▼                                     │
//!   offer ─► behind: only noted that there is more    offer_past, read from the journal
//!               ▲                                              │
//!               └── client gone ◄──► client back ──────────────┘ ─► live again once everything is read
//! ```
//!
//! No socket and no file: what is sent goes to an [`Outbox`], what is read comes from the caller. A message that the journal
//! has is never copied for a client that is slow or away: the session remembers how far it has come. A message without a
//! place in the journal (a retained one at subscribe) waits in memory, bounded.

mod flights;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU16;

use crate::Offset;
use crate::ledger::KeptSession;
use crate::message::Publish;
use crate::outbox::{Answer, Outbox, Outgoing};
use crate::router::Match;
use flights::{Flight, Flights, Stage};

/// Offsets of messages of shared subscriptions that may wait for one client; beyond, another has to take them.
const ASSIGNED_MAX: usize = 1 << 20;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Messages are sent as they come.
    Live,
    /// Messages are read from the journal.
    CatchingUp,
    /// The client is away.
    Away,
}

/// What became of a message that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Sent.
    Sent,
    /// It waits, or is found in the journal when it is its turn.
    Owed,
    /// The session has just fallen behind: somebody is to read the journal for it.
    FellBehind,
    /// The session had it already, or it is not for one that is away.
    Already,
    /// It has expired.
    Expired,
    /// There is no room, and it need not arrive or cannot wait.
    Dropped,
    /// It is larger than the client takes.
    TooLarge,
}

/// What became of a message that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    /// Sent, or none of this session's.
    Through,
    /// There is no room now: come back with it.
    Full,
}

/// Where a session stands when all of the journal was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CaughtUp {
    /// Live again, or not catching up at all.
    Live,
    /// There is more by now.
    More,
    /// It is to be read again from here.
    Again(Offset),
}

/// What a PUBREC asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnReceived {
    /// Nothing.
    Nothing,
    /// A PUBREL with this code.
    Release(u8),
    /// A PUBREL once it is noted that the message at this offset was received.
    Note(Offset),
}

/// A message on its way in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer<'a> {
    pub(crate) message: &'a Publish,
    pub(crate) how: &'a Match,
    /// It comes from the retained store.
    pub(crate) retained: bool,
    /// Where the journal has it.
    pub(crate) offset: Option<Offset>,
    /// It came by a shared subscription, so that the filters do not find it again.
    pub(crate) shared: bool,
    pub(crate) now_micros: i64,
}

#[derive(Debug, Clone)]
struct Waiting {
    message: Publish,
    how: Match,
    retained: bool,
    offset: Option<Offset>,
}

/// The outgoing side.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Whether the session outlives its connection, so that steps of QoS 2 are to be noted.
    outlives: bool,
    window: usize,
    bytes_max: usize,
    mode: Mode,
    flights: Flights<Waiting>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Messages from here on were not looked at.
    position: Offset,
    /// The newest message that was offered while not live.
    missed: Option<Offset>,
    /// Nothing before this was missed.
    behind: Option<Offset>,
    /// Messages of shared subscriptions that are this client's.
    assigned: BTreeMap<Offset, Match>,
    /// Deliveries of QoS 2 whose packet id is to be noted before they are sent.
    planned: Vec<(NonZeroU16, Offset)>,
    /// Flights by offset that the journal's reader will come across; `true` where one is to be sent again.
    reread: BTreeMap<Offset, (NonZeroU16, bool)>,
    /// How many of these are to be sent again; until then they are not under way on this connection.
    to_send_again: usize,
}

impl Delivery {
    /// For a session that begins now.
    pub(crate) fn new(outlives: bool, bytes_max: usize) -> Self {
        Self {
            outlives,
            window: 0,
            bytes_max,
            mode: Mode::Away,
            flights: Flights::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            position: 0,
            missed: None,
            behind: None,
            assigned: BTreeMap::new(),
            planned: Vec::new(),
            reread: BTreeMap::new(),
            to_send_again: 0,
        }
    }

    /// For a session that a restart found.
    pub(crate) fn restore(kept: &KeptSession, bytes_max: usize) -> Self {
        let mut delivery = Self::new(true, bytes_max);
        delivery.position = kept.through;
        // What came since is not known: it is to be read.
        delivery.behind = Some(kept.through);
        let at = |stage| move |(offset, id): (&Offset, &u16)| (*offset, *id, stage);
        let mut begun: Vec<_> = kept.received.iter().map(at(Stage::Received)).collect();
        begun.extend(kept.sent.iter().map(at(Stage::Sent)));
        begun.extend(kept.done.iter().map(|offset| (*offset, 1, Stage::Done)));
        begun.sort_unstable_by_key(|(offset, ..)| *offset);
        for (offset, id, stage) in begun {
            let id = NonZeroU16::new(id).unwrap_or(NonZeroU16::MIN);
            delivery.flights.push(Flight { id, qos: 2, stage, offset: Some(offset), message: None });
        }
        delivery
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn set_outlives(&mut self, outlives: bool) {
        self.outlives = outlives;
    }

    /// How many messages wait in memory, and their bytes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.waiting.len(), self.waiting_bytes)
    }

    /// Whether a message that comes now goes out at once.
    pub(crate) fn is_ready(&self) -> bool {
        self.mode == Mode::Live && self.waiting.is_empty() && self.under_way() < self.window
    }

    /// The oldest message in the journal that is not done with.
    pub(crate) fn needed_from(&self) -> Option<Offset> {
        // After a restart those of QoS 2 that go on lie before those of QoS 1 that begin anew.
        let open = self.flights.iter().filter(|flight| flight.stage != Stage::Done);
        let flight = open.filter_map(|flight| flight.offset).min();
        let waiting = self.waiting.iter().find_map(|waiting| waiting.offset);
        let assigned = self.assigned.first_key_value().map(|(offset, _)| *offset);
        [flight, waiting, assigned, self.behind].into_iter().flatten().min()
    }

    /// Nothing before this is owed, where nothing is; everything before `head` has been offered.
    pub(crate) fn passed(&self, head: Offset) -> Offset {
        head.max(self.position)
    }

    /// Deliveries of QoS 2 that are done with, from `through` on.
    pub(crate) fn done_from(&self, through: Offset) -> Vec<Offset> {
        let done = self.flights.iter().filter(|flight| flight.stage == Stage::Done && flight.qos == 2);
        done.filter_map(|flight| flight.offset).filter(|offset| *offset >= through).collect()
    }

    /// A message that the client subscribes to has come.
    pub(crate) fn offer(&mut self, outbox: Option<&Outbox>, offer: &Offer<'_>) -> Offered {
        let qos = offer.how.qos.min(offer.message.qos);
        let bytes = offer.message.byte_len();
        if qos == 0 {
            // Nobody waits for QoS 0.
            let Some(outbox) = outbox else { return Offered::Already };
            let Some(time_left_s) = offer.message.time_left_s(offer.now_micros) else {
                return Offered::Expired;
            };
            if !outbox.has_room(bytes) {
                return Offered::Dropped;
            }
            let how = Outgoing {
                retain: shows_retain(offer.message, offer.how, offer.retained),
                identifiers: &offer.how.identifiers,
                time_left_s,
                ..Outgoing::default()
            };
            return if outbox.publish(offer.message, &how) { Offered::Sent } else { Offered::TooLarge };
        }
        match (self.mode, outbox) {
            (Mode::Live, Some(outbox)) => self.offer_live(outbox, offer, qos, bytes),
            _ => self.offer_away(offer, bytes),
        }
    }

    fn offer_live(&mut self, outbox: &Outbox, offer: &Offer<'_>, qos: u8, bytes: usize) -> Offered {
        if offer.offset.is_some_and(|offset| offset < self.position) {
            return Offered::Already;
        }
        if self.waiting.is_empty() && self.has_window(outbox, bytes) {
            let sent = self.send(outbox, offer, qos);
            if sent != Offered::Owed {
                self.pass(offer.offset);
                return sent;
            }
        }
        if self.waiting_bytes + bytes <= self.bytes_max {
            self.wait(offer, bytes);
            self.pass(offer.offset);
            return Offered::Owed;
        }
        let Some(offset) = offer.offset else { return Offered::Dropped };
        self.mode = Mode::CatchingUp;
        self.position = offset;
        self.miss(offset, offer);
        Offered::FellBehind
    }

    fn offer_away(&mut self, offer: &Offer<'_>, bytes: usize) -> Offered {
        match offer.offset {
            Some(offset) if offer.shared && self.assigned.len() >= ASSIGNED_MAX => {
                tracing::error!(offset, "too many messages of shared subscriptions wait for a client");
                Offered::Dropped
            }
            Some(offset) => {
                self.miss(offset, offer);
                Offered::Owed
            }
            None if self.waiting_bytes + bytes <= self.bytes_max => {
                self.wait(offer, bytes);
                Offered::Owed
            }
            None => Offered::Dropped,
        }
    }

    fn miss(&mut self, offset: Offset, offer: &Offer<'_>) {
        self.missed = self.missed.max(Some(offset));
        self.behind = Some(self.behind.map_or(offset, |behind| behind.min(offset)));
        if offer.shared {
            self.assigned.insert(offset, offer.how.clone());
        }
    }

    fn wait(&mut self, offer: &Offer<'_>, bytes: usize) {
        self.waiting_bytes += bytes;
        self.waiting.push_back(Waiting {
            message: offer.message.detached(),
            how: offer.how.clone(),
            retained: offer.retained,
            offset: offer.offset,
        });
    }

    fn pass(&mut self, offset: Option<Offset>) {
        if let Some(offset) = offset {
            self.set_position(offset + 1);
        }
    }

    fn set_position(&mut self, offset: Offset) {
        self.position = self.position.max(offset);
        self.flights.pass(self.position);
    }

    fn under_way(&self) -> usize {
        self.flights.open().saturating_sub(self.to_send_again)
    }

    fn has_window(&self, outbox: &Outbox, bytes: usize) -> bool {
        self.under_way() < self.window
            // What is done with and waits for older ones must not gather without end.
            && self.flights.len() < 4 * self.window + 1024
            && outbox.has_room(bytes)
    }

    /// Sends a message for the first time; `Owed` where its packet id is taken.
    fn send(&mut self, outbox: &Outbox, offer: &Offer<'_>, qos: u8) -> Offered {
        let Some(time_left_s) = offer.message.time_left_s(offer.now_micros) else { return Offered::Expired };
        let Some(id) = self.flights.free_id() else { return Offered::Owed };
        let kept = || Waiting {
            message: offer.message.detached(),
            how: offer.how.clone(),
            retained: offer.retained,
            offset: offer.offset,
        };
        if let Some(offset) = offer.offset.filter(|_| qos == 2 && self.outlives) {
            let message = Some(kept());
            self.flights.push(Flight { id, qos, stage: Stage::Planned, offset: Some(offset), message });
            self.planned.push((id, offset));
            return Offered::Sent;
        }
        let how = Outgoing {
            qos,
            retain: shows_retain(offer.message, offer.how, offer.retained),
            again: false,
            id: Some(id),
            identifiers: &offer.how.identifiers,
            time_left_s,
        };
        if !outbox.publish(offer.message, &how) {
            return Offered::TooLarge;
        }
        let message = (self.outlives && offer.offset.is_none()).then(kept);
        self.flights.push(Flight { id, qos, stage: Stage::Sent, offset: offer.offset, message });
        Offered::Sent
    }

    /// Takes the deliveries whose packet ids are to be noted before they are sent.
    pub(crate) fn take_planned(&mut self) -> Vec<(NonZeroU16, Offset)> {
        std::mem::take(&mut self.planned)
    }

    /// The packet id of the delivery of the message at `offset` is noted: it is sent.
    pub(crate) fn begin_planned(&mut self, outbox: &Outbox, id: NonZeroU16, offset: Offset, now_micros: i64) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        if flight.stage != Stage::Planned || flight.offset != Some(offset) {
            return;
        }
        flight.stage = Stage::Sent;
        // The journal has it, should it have to be sent again.
        let Some(kept) = flight.message.take() else { return };
        let time_left_s = kept.message.time_left_s(now_micros).flatten();
        let how = Outgoing {
            qos: 2,
            retain: shows_retain(&kept.message, &kept.how, kept.retained),
            again: false,
            id: Some(id),
            identifiers: &kept.how.identifiers,
            time_left_s,
        };
        if !outbox.publish(&kept.message, &how) {
            self.flights.finish(id);
        }
    }

    /// Sends what waits as far as there is room. Whether the journal's reader has room now.
    pub(crate) fn pump(&mut self, outbox: &Outbox, now_micros: i64) -> bool {
        while let Some(first) = self.waiting.front() {
            let bytes = first.message.byte_len();
            if !self.has_window(outbox, bytes) {
                return false;
            }
            let Some(first) = self.waiting.pop_front() else { break };
            let offer = Offer {
                message: &first.message,
                how: &first.how,
                retained: first.retained,
                offset: first.offset,
                shared: false,
                now_micros,
            };
            if self.send(outbox, &offer, first.how.qos.min(first.message.qos)) == Offered::Owed {
                self.waiting.push_front(first);
                return false;
            }
            self.waiting_bytes -= bytes;
        }
        self.mode == Mode::CatchingUp && self.has_window(outbox, 0)
    }

    /// The journal's reader has come to a message; `how` is what the session's own filters say.
    pub(crate) fn offer_past(
        &mut self,
        outbox: &Outbox,
        offset: Offset,
        message: &Publish,
        how: Option<Match>,
        now_micros: i64,
    ) -> Past {
        let bytes = message.byte_len();
        if let Some((id, again)) = self.reread.get(&offset).copied() {
            if again {
                if !self.has_window(outbox, bytes) {
                    return Past::Full;
                }
                self.to_send_again = self.to_send_again.saturating_sub(1);
                self.send_again(outbox, (offset, id), message, &how.unwrap_or_default(), now_micros);
            }
            self.reread.remove(&offset);
            self.read_past(offset);
            return Past::Through;
        }
        if offset < self.position {
            return Past::Through;
        }
        let Some(how) = self.assigned.get(&offset).cloned().or(how) else {
            self.read_past(offset);
            return Past::Through;
        };
        let qos = how.qos.min(message.qos);
        if qos == 0 {
            // QoS 0 is sent when it comes or not at all.
            self.read_past(offset);
            return Past::Through;
        }
        if !self.waiting.is_empty() || !self.has_window(outbox, bytes) {
            return Past::Full;
        }
        let offer =
            Offer { message, how: &how, retained: false, offset: Some(offset), shared: false, now_micros };
        if self.send(outbox, &offer, qos) == Offered::Owed {
            return Past::Full;
        }
        self.read_past(offset);
        Past::Through
    }

    fn read_past(&mut self, offset: Offset) {
        self.assigned.remove(&offset);
        self.set_position(offset + 1);
        self.behind = self.behind.max(Some(offset + 1));
    }

    fn send_again(
        &mut self,
        outbox: &Outbox,
        (offset, id): (Offset, NonZeroU16),
        message: &Publish,
        how: &Match,
        now_micros: i64,
    ) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        if flight.offset != Some(offset) {
            return;
        }
        if flight.stage == Stage::Planned {
            let (message, how) = (message.detached(), how.clone());
            flight.message = Some(Waiting { message, how, retained: false, offset: Some(offset) });
            return self.planned.push((id, offset));
        }
        if flight.stage != Stage::Sent {
            return;
        }
        let how = Outgoing {
            qos: flight.qos,
            retain: shows_retain(message, how, false),
            again: true,
            id: Some(id),
            identifiers: &how.identifiers,
            time_left_s: message.time_left_s(now_micros).flatten(),
        };
        if !outbox.publish(message, &how) {
            self.flights.finish(id);
        }
    }

    /// The offsets at which the journal's reader is to look whatever the filters say.
    pub(crate) fn looked_for(&self) -> Vec<Offset> {
        let mut offsets: Vec<_> = self.reread.keys().chain(self.assigned.keys()).copied().collect();
        offsets.sort_unstable();
        offsets
    }

    /// Messages before `first` are not in the journal any more.
    pub(crate) fn forget_before(&mut self, first: Offset) {
        self.assigned = self.assigned.split_off(&first);
        let kept = self.reread.split_off(&first);
        for (offset, (id, again)) in std::mem::replace(&mut self.reread, kept) {
            self.to_send_again = self.to_send_again.saturating_sub(usize::from(again));
            if again && self.flights.get_mut(id).is_some_and(|flight| flight.offset == Some(offset)) {
                self.flights.finish(id);
            }
        }
        self.set_position(first);
        self.behind = self.behind.max(Some(first));
    }

    /// The journal was read up to, but not including, `read_to`.
    pub(crate) fn caught_up(&mut self, read_to: Offset) -> CaughtUp {
        if self.mode != Mode::CatchingUp {
            return CaughtUp::Live;
        }
        if let Some((first, _)) = self.assigned.first_key_value().filter(|(first, _)| **first < read_to) {
            // It became this client's after the reader had passed it.
            return CaughtUp::Again(*first);
        }
        if self.missed.is_some_and(|missed| missed >= read_to) {
            return CaughtUp::More;
        }
        self.forget_before(read_to);
        self.mode = Mode::Live;
        self.missed = None;
        self.behind = None;
        CaughtUp::Live
    }

    /// PUBACK: done with a delivery of QoS 1.
    pub(crate) fn acknowledged(&mut self, id: NonZeroU16) {
        if self.flights.get_mut(id).is_some_and(|flight| flight.qos == 1) {
            self.flights.finish(id);
        }
    }

    /// PUBREC.
    pub(crate) fn received(&mut self, id: NonZeroU16, code: u8) -> OnReceived {
        let outlives = self.outlives;
        let Some(flight) = self.flights.get_mut(id).filter(|flight| flight.qos == 2) else {
            return if code < 0x80 { OnReceived::Release(0x92) } else { OnReceived::Nothing };
        };
        if code >= 0x80 {
            self.flights.finish(id);
            return OnReceived::Nothing;
        }
        match (flight.stage, flight.offset) {
            (Stage::Sent, Some(offset)) if outlives => {
                flight.stage = Stage::Noting;
                OnReceived::Note(offset)
            }
            (Stage::Sent, _) => {
                flight.stage = Stage::Received;
                flight.message = None;
                OnReceived::Release(0)
            }
            (Stage::Received, _) => OnReceived::Release(0),
            (Stage::Planned | Stage::Noting | Stage::Done, _) => OnReceived::Nothing,
        }
    }

    /// It is noted that the client has received the message at `offset`; whether PUBREL is due.
    pub(crate) fn noted(&mut self, id: NonZeroU16, offset: Offset) -> bool {
        match self.flights.get_mut(id) {
            Some(flight) if flight.stage == Stage::Noting && flight.offset == Some(offset) => {
                flight.stage = Stage::Received;
                true
            }
            _ => false,
        }
    }

    /// PUBCOMP: done with a delivery of QoS 2.
    pub(crate) fn completed(&mut self, id: NonZeroU16) {
        if self.flights.get_mut(id).is_some_and(|flight| flight.qos == 2 && flight.stage == Stage::Received) {
            self.flights.finish(id);
        }
    }

    /// The client is gone.
    pub(crate) fn leave(&mut self) {
        self.mode = Mode::Away;
        self.planned.clear();
        // The journal has them.
        for flight in self.flights.iter_mut().filter(|flight| flight.stage == Stage::Planned) {
            flight.message = None;
        }
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting.offset {
                // The journal has it.
                Some(offset) => {
                    self.behind = Some(self.behind.map_or(offset, |behind| behind.min(offset)));
                    self.missed = self.missed.max(Some(offset));
                    self.position = self.position.min(offset);
                    self.waiting_bytes -= waiting.message.byte_len();
                }
                None => self.waiting.push_back(waiting),
            }
        }
    }

    /// The client is back, and takes `window` messages at once. Sends again what must be (MQTT-4.4.0-1); returns the
    /// deliveries whose reception is to be noted again. Whether the journal is to be read says [`Self::mode`].
    pub(crate) fn resume(
        &mut self,
        outbox: &Outbox,
        window: u16,
        now_micros: i64,
    ) -> Vec<(NonZeroU16, Offset)> {
        self.window = usize::from(window);
        self.reread.clear();
        let mut to_note = Vec::new();
        for flight in self.flights.iter() {
            if let Some(offset) = flight.offset {
                self.reread.insert(offset, (flight.id, matches!(flight.stage, Stage::Planned | Stage::Sent)));
            }
            match (flight.stage, &flight.message, flight.offset) {
                (Stage::Received, ..) => {
                    outbox.answer(&[(Answer::Released, flight.id, 0)]);
                }
                (Stage::Noting, _, Some(offset)) => to_note.push((flight.id, offset)),
                (Stage::Sent, Some(kept), _) => {
                    let how = Outgoing {
                        qos: flight.qos,
                        retain: shows_retain(&kept.message, &kept.how, kept.retained),
                        again: true,
                        id: Some(flight.id),
                        identifiers: &kept.how.identifiers,
                        time_left_s: kept.message.time_left_s(now_micros).flatten(),
                    };
                    outbox.publish(&kept.message, &how);
                }
                _ => {}
            }
        }
        self.to_send_again = self.reread.values().filter(|(_, again)| *again).count();
        let is_behind = self.needed_from().is_some();
        self.mode = if is_behind { Mode::CatchingUp } else { Mode::Live };
        self.pump(outbox, now_micros);
        to_note
    }
}

fn shows_retain(message: &Publish, how: &Match, retained: bool) -> bool {
    retained || (message.retain && how.retain_as_published)
}

#[cfg(test)]
mod tests;
