//! What the broker must know of sessions after a restart, as the journal tells it.
//!
//! A note is written for each step that a crash must not undo; the ledger is what all notes come to. It is a pure
//! function of them: the program hands it every note in the journal's order, keeps it with its snapshots, and gives it
//! to the broker when it starts.
//!
//! | step | note | before |
//! |---|---|---|
//! | a session that outlives its connection begins | `Opened` | CONNACK |
//! | it ends, is left, is taken up again | `Ended`, `Left`, `Returned` | |
//! | SUBSCRIBE, UNSUBSCRIBE | `Subscribed`, `Unsubscribed` | SUBACK, UNSUBACK |
//! | PUBLISH of QoS 2 from the client | `Taken`, in one commit with the message | PUBREC |
//! | PUBREL from the client | `Freed` | PUBCOMP |
//! | a delivery of QoS 2 begins | `Sent` | PUBLISH |
//! | PUBREC from the client | `Received` | PUBREL |
//! | deliveries are done with | `Settled`, now and then | |
//! | a client connects with a will; the will is published or no longer wanted | `Willed`, `Unwilled` | |
//!
//! Messages are not copied: a session is its filters and how far it has come in the journal. After a crash, deliveries of
//! QoS 1 that were under way begin anew, with new packet ids; those of QoS 2 go on with the ids that they had.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::Offset;
use crate::wills::KeptWill;

/// The layout of [`Ledger::encode`].
const VERSION: u8 = 3;

/// A step, as it is kept. Variants are numbered by their order: new ones go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Note {
    Opened { client: String, expiry_s: u32 },
    Ended { client: String },
    Left { client: String, at_micros: i64, expiry_s: u32 },
    Returned { client: String, expiry_s: u32 },
    Subscribed { client: String, filter: String, options: KeptSubscription },
    Unsubscribed { client: String, filter: String },
    Taken { client: String, id: u16 },
    Freed { client: String, id: u16 },
    Received { client: String, offset: Offset, id: u16 },
    Settled { client: String, through: Offset, done: Vec<Offset> },
    Sent { client: String, offset: Offset, id: u16 },
    Willed { client: String, will: KeptWill },
    Unwilled { client: String, number: u64 },
}

/// How a client subscribes, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptSubscription {
    pub(crate) qos: u8,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) identifier: Option<NonZeroU32>,
}

/// A subscription as the ledger knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptFilter {
    pub(crate) options: KeptSubscription,
    /// Messages before this offset are older than the subscription.
    pub(crate) since: Offset,
}

/// A session as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptSession {
    pub(crate) expiry_s: u32,
    /// When its client left, if it is known to have.
    pub(crate) left_at_micros: Option<i64>,
    pub(crate) filters: BTreeMap<String, KeptFilter>,
    /// Packet ids of the client's own QoS 2 messages that it has not released.
    pub(crate) taken: BTreeSet<u16>,
    /// Everything before this offset is done with.
    pub(crate) through: Offset,
    /// Deliveries of QoS 2 that the client may have received: offset and packet id.
    pub(crate) sent: BTreeMap<Offset, u16>,
    /// Deliveries of QoS 2 that the client has received and not completed: offset and packet id.
    pub(crate) received: BTreeMap<Offset, u16>,
    /// Deliveries of QoS 2 from `through` on that are done with.
    pub(crate) done: BTreeSet<Offset>,
}

/// All sessions that outlive their connection, and the wills of all that are connected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    pub(crate) sessions: BTreeMap<String, KeptSession>,
    pub(crate) wills: BTreeMap<String, KeptWill>,
}

/// As snapshots of version 2 have it: it was not kept since when a subscription is.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct LedgerOfVersion2 {
    sessions: BTreeMap<String, SessionOfVersion2>,
    wills: BTreeMap<String, KeptWill>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct SessionOfVersion2 {
    expiry_s: u32,
    left_at_micros: Option<i64>,
    filters: BTreeMap<String, KeptSubscription>,
    taken: BTreeSet<u16>,
    through: Offset,
    sent: BTreeMap<Offset, u16>,
    received: BTreeMap<Offset, u16>,
    done: BTreeSet<Offset>,
}

impl From<SessionOfVersion2> for KeptSession {
    fn from(own: SessionOfVersion2) -> Self {
        let SessionOfVersion2 { expiry_s, left_at_micros, filters, taken, through, sent, received, done } =
            own;
        let filters =
            filters.into_iter().map(|(filter, options)| (filter, KeptFilter { options, since: 0 })).collect();
        Self { expiry_s, left_at_micros, filters, taken, through, sent, received, done }
    }
}

impl From<LedgerOfVersion2> for Ledger {
    fn from(LedgerOfVersion2 { sessions, wills }: LedgerOfVersion2) -> Self {
        Self { sessions: sessions.into_iter().map(|(client, own)| (client, own.into())).collect(), wills }
    }
}

/// Why a note or a kept ledger cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The bytes are not what the broker writes.
    #[error("the broker's notes are malformed")]
    Malformed(#[source] postcard::Error),
    /// It was written by another version.
    #[error("the broker's notes are of version {0}, which this program does not know")]
    Version(u8),
}

impl Note {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_else(|error| {
            // Serialising to memory has nothing to fail on.
            tracing::error!(%error, "a note on a session could not be written");
            Vec::new()
        })
    }
}

impl Ledger {
    /// Takes in a note that the journal has at `offset`.
    ///
    /// # Errors
    /// Where the bytes are no note; the ledger is as it was.
    pub fn apply(&mut self, offset: Offset, note: &[u8]) -> Result<(), LedgerError> {
        let note = postcard::from_bytes(note).map_err(LedgerError::Malformed)?;
        match note {
            Note::Opened { client, expiry_s } => {
                let session = KeptSession {
                    expiry_s,
                    left_at_micros: None,
                    filters: BTreeMap::new(),
                    taken: BTreeSet::new(),
                    through: offset,
                    sent: BTreeMap::new(),
                    received: BTreeMap::new(),
                    done: BTreeSet::new(),
                };
                self.sessions.insert(client, session);
            }
            Note::Ended { client } => {
                self.sessions.remove(&client);
            }
            Note::Left { client, at_micros, expiry_s } => self.with(&client, |session| {
                session.left_at_micros = Some(at_micros);
                session.expiry_s = expiry_s;
            }),
            Note::Returned { client, expiry_s } => self.with(&client, |session| {
                session.left_at_micros = None;
                session.expiry_s = expiry_s;
            }),
            Note::Subscribed { client, filter, options } => self.with(&client, |session| {
                // What takes the place of an older subscription to the same filter goes on from where that began.
                session
                    .filters
                    .entry(filter)
                    .and_modify(|held| held.options = options)
                    .or_insert(KeptFilter { options, since: offset });
            }),
            Note::Unsubscribed { client, filter } => self.with(&client, |session| {
                session.filters.remove(&filter);
            }),
            Note::Taken { client, id } => self.with(&client, |session| {
                session.taken.insert(id);
            }),
            Note::Freed { client, id } => self.with(&client, |session| {
                session.taken.remove(&id);
            }),
            Note::Sent { client, offset, id } => self.with(&client, |session| {
                let is_over = offset < session.through || session.done.contains(&offset);
                if !is_over && !session.received.contains_key(&offset) {
                    // An id is used again only when the delivery that had it is done with.
                    let KeptSession { sent, received, done, .. } = session;
                    done.extend(sent.extract_if(.., |_, own| *own == id).map(|(older, _)| older));
                    done.extend(received.extract_if(.., |_, own| *own == id).map(|(older, _)| older));
                    session.sent.insert(offset, id);
                }
            }),
            Note::Received { client, offset, id } => self.with(&client, |session| {
                session.sent.remove(&offset);
                if offset >= session.through && !session.done.contains(&offset) {
                    session.received.insert(offset, id);
                }
            }),
            Note::Settled { client, through, done } => self.with(&client, |session| {
                session.through = session.through.max(through);
                session.done.extend(done);
                let (through, done) = (session.through, &mut session.done);
                done.retain(|offset| *offset >= through);
                session.sent.retain(|offset, _| *offset >= through && !done.contains(offset));
                session.received.retain(|offset, _| *offset >= through && !done.contains(offset));
            }),
            Note::Willed { client, will } => {
                self.wills.insert(client, will);
            }
            Note::Unwilled { client, number } => {
                if self.wills.get(&client).is_some_and(|will| will.number() == number) {
                    self.wills.remove(&client);
                }
            }
        }
        Ok(())
    }

    fn with(&mut self, client: &str, change: impl FnOnce(&mut KeptSession)) {
        if let Some(session) = self.sessions.get_mut(client) {
            change(session);
        }
    }

    /// The oldest offset that a session still needs, if there is a session.
    #[must_use]
    pub fn needed_from(&self) -> Option<Offset> {
        self.sessions.values().map(|session| session.through).min()
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Appends the ledger to a snapshot.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match postcard::to_allocvec(self) {
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(error) => tracing::error!(%error, "the sessions could not be written to the snapshot"),
        }
    }

    /// Reads a ledger from a snapshot; nothing at all is an empty one.
    ///
    /// # Errors
    /// Where the bytes are not what [`Self::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LedgerError> {
        match bytes.split_first() {
            None => Ok(Self::default()),
            // Version 1 ends behind the sessions: there were no wills.
            Some((1, rest)) => postcard::from_bytes::<BTreeMap<String, SessionOfVersion2>>(rest)
                .map(|sessions| LedgerOfVersion2 { sessions, wills: BTreeMap::new() }.into())
                .map_err(LedgerError::Malformed),
            Some((2, rest)) => {
                postcard::from_bytes::<LedgerOfVersion2>(rest).map(Self::from).map_err(LedgerError::Malformed)
            }
            Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(LedgerError::Malformed),
            Some((other, _)) => Err(LedgerError::Version(*other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: KeptSubscription =
        KeptSubscription { qos: 1, no_local: false, retain_as_published: false, identifier: None };

    fn ledger(notes: &[Note]) -> Ledger {
        let mut ledger = Ledger::default();
        for (offset, note) in (10..).zip(notes) {
            ledger.apply(offset, &note.to_bytes()).expect("a note of our own");
        }
        ledger
    }

    fn client() -> String {
        "c".to_owned()
    }

    #[test]
    fn a_session_is_what_its_notes_come_to() {
        let ledger = ledger(&[
            Note::Opened { client: client(), expiry_s: 60 },
            Note::Subscribed { client: client(), filter: "a/#".to_owned(), options: PLAIN },
            Note::Subscribed { client: client(), filter: "b".to_owned(), options: PLAIN },
            Note::Unsubscribed { client: client(), filter: "b".to_owned() },
            Note::Taken { client: client(), id: 7 },
            Note::Taken { client: client(), id: 8 },
            Note::Freed { client: client(), id: 7 },
            Note::Sent { client: client(), offset: 14, id: 2 },
            Note::Sent { client: client(), offset: 16, id: 3 },
            Note::Received { client: client(), offset: 12, id: 1 },
            Note::Received { client: client(), offset: 14, id: 2 },
            Note::Settled { client: client(), through: 13, done: vec![15] },
            Note::Left { client: client(), at_micros: 5, expiry_s: 30 },
        ]);
        let session = &ledger.sessions["c"];
        assert_eq!(session.filters.keys().collect::<Vec<_>>(), ["a/#"]);
        assert_eq!((session.expiry_s, session.left_at_micros, session.through), (30, Some(5), 13));
        assert!(session.taken.iter().eq(&[8]));
        assert_eq!(session.received, BTreeMap::from([(14, 2)]));
        assert_eq!(session.sent, BTreeMap::from([(16, 3)]));
        assert_eq!(session.done, BTreeSet::from([15]));
        assert_eq!(ledger.needed_from(), Some(13));
    }

    #[test]
    fn a_packet_id_that_is_used_again_was_let_go_of() {
        let sent = |offset| Note::Sent { client: client(), offset, id: 1 };
        let received = Note::Received { client: client(), offset: 11, id: 1 };
        let ledger = ledger(&[Note::Opened { client: client(), expiry_s: 60 }, sent(11), received, sent(12)]);
        let session = &ledger.sessions["c"];
        assert!(session.received.is_empty() && session.done.contains(&11));
        assert_eq!(session.sent, BTreeMap::from([(12, 1)]));
    }

    #[test]
    fn an_ended_session_leaves_nothing_and_notes_on_it_are_passed_over() {
        let ended = Note::Ended { client: client() };
        let late = Note::Taken { client: client(), id: 1 };
        let ledger = ledger(&[Note::Opened { client: client(), expiry_s: 60 }, ended, late]);
        assert!(ledger.is_empty());
        assert_eq!(ledger.needed_from(), None);
    }

    #[test]
    fn a_snapshot_gives_it_back_and_a_broken_one_is_refused() {
        let whole = ledger(&[
            Note::Opened { client: client(), expiry_s: 60 },
            Note::Subscribed { client: client(), filter: "a/#".to_owned(), options: PLAIN },
        ]);
        let mut bytes = Vec::new();
        whole.encode(&mut bytes);
        assert_eq!(Ledger::decode(&bytes).expect("what was written can be read"), whole);
        for end in 1..bytes.len() {
            assert!(Ledger::decode(&bytes[..end]).is_err());
        }
        bytes[0] = 9;
        assert!(matches!(Ledger::decode(&bytes), Err(LedgerError::Version(9))));
        assert!(Ledger::decode(&[]).expect("nothing is an empty ledger").is_empty());
    }

    #[test]
    fn a_will_stays_until_its_own_connection_strikes_it_out() {
        let info = crate::ClientInfo {
            client_id: client(),
            principal: "p".to_owned(),
            rights: std::sync::Arc::new(crate::NothingRights),
        };
        let message = crate::Publish::new("status", bytes::Bytes::from_static(b"offline"), 1, true);
        let will = |number| KeptWill::note(&info, number, &message, 5, None);
        let struck_out = |number| Note::Unwilled { client: client(), number };
        let kept = ledger(&[will(7), will(8), struck_out(7)]);
        assert_eq!(kept.wills["c"].number(), 8);
        assert!(ledger(&[will(7), struck_out(7)]).wills.is_empty());
        let mut bytes = Vec::new();
        kept.encode(&mut bytes);
        assert_eq!(Ledger::decode(&bytes).expect("what was written can be read"), kept);
    }

    fn older(expiry_s: u32) -> SessionOfVersion2 {
        SessionOfVersion2 {
            expiry_s,
            left_at_micros: Some(5),
            filters: BTreeMap::from([("a".to_owned(), PLAIN)]),
            taken: BTreeSet::from([7]),
            through: 12,
            sent: BTreeMap::from([(14, 2)]),
            received: BTreeMap::from([(13, 1)]),
            done: BTreeSet::from([15]),
        }
    }

    #[test]
    fn snapshots_of_earlier_versions_can_be_read() {
        let expected = KeptSession {
            expiry_s: 60,
            left_at_micros: Some(5),
            filters: BTreeMap::from([("a".to_owned(), KeptFilter { options: PLAIN, since: 0 })]),
            taken: BTreeSet::from([7]),
            through: 12,
            sent: BTreeMap::from([(14, 2)]),
            received: BTreeMap::from([(13, 1)]),
            done: BTreeSet::from([15]),
        };
        let sessions = BTreeMap::from([(client(), older(60))]);
        let mut bytes = vec![1];
        bytes.extend(postcard::to_allocvec(&sessions).expect("to memory"));
        let kept = Ledger::decode(&bytes).expect("it can be read");
        assert_eq!((&kept.sessions["c"], kept.wills.len()), (&expected, 0));
        let mut bytes = vec![2];
        let whole = LedgerOfVersion2 { sessions, wills: BTreeMap::new() };
        bytes.extend(postcard::to_allocvec(&whole).expect("to memory"));
        assert_eq!(Ledger::decode(&bytes).expect("it can be read"), kept);
    }

    #[test]
    fn a_subscription_counts_from_where_it_began_also_when_it_is_renewed() {
        let subscribed = |qos| Note::Subscribed {
            client: client(),
            filter: "a".to_owned(),
            options: KeptSubscription { qos, ..PLAIN },
        };
        let opened = Note::Opened { client: client(), expiry_s: 60 };
        let held = |notes: &[Note]| {
            let held = ledger(notes).sessions["c"].filters["a"];
            (held.options.qos, held.since)
        };
        assert_eq!(held(&[opened.clone(), subscribed(1), subscribed(2)]), (2, 11));
        let left_off = Note::Unsubscribed { client: client(), filter: "a".to_owned() };
        assert_eq!(held(&[opened, subscribed(1), left_off, subscribed(2)]), (2, 13));
    }

    /// The journal of today must be read by the program of tomorrow.
    #[test]
    fn notes_of_version_1_stay_readable() {
        let golden: [(&[u8], Note); 5] = [
            (b"\x00\x01c\x3c", Note::Opened { client: client(), expiry_s: 60 }),
            (
                b"\x04\x01c\x01a\x01\x00\x01\x01\x05",
                Note::Subscribed {
                    client: client(),
                    filter: "a".to_owned(),
                    options: KeptSubscription {
                        retain_as_published: true,
                        identifier: NonZeroU32::new(5),
                        ..PLAIN
                    },
                },
            ),
            (b"\x08\x01c\x0e\x02", Note::Received { client: client(), offset: 14, id: 2 }),
            (b"\x0a\x01c\x0e\x02", Note::Sent { client: client(), offset: 14, id: 2 }),
            (b"\x09\x01c\x0d\x01\x0f", Note::Settled { client: client(), through: 13, done: vec![15] }),
        ];
        for (bytes, note) in golden {
            assert_eq!(note.to_bytes(), bytes);
        }
    }
}
