//! The sessions by client id: taken up, left, ended.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::Offset;
use crate::broker::Shared;
use crate::gate::ClientInfo;
use crate::ledger::Note;
use crate::message::Publish;
use crate::outbox::Outbox;
use crate::protocol::ConnectRequest;
use crate::session::{Online, Session};
use crate::wills::DelayedWill;

/// The sessions.
pub(crate) struct Sessions {
    by_client: Mutex<HashMap<String, Arc<Session>>>,
    most: usize,
}

/// A session that a connection has taken up.
pub(crate) struct TakenUp {
    pub(crate) session: Arc<Session>,
    /// Which connection it is.
    pub(crate) connection: u64,
    /// Cancelled when another connection takes the session over.
    pub(crate) takeover: CancellationToken,
    /// To be cancelled when everything the connection had begun is settled, or will never be.
    pub(crate) gone: CancellationToken,
    /// The same of the connection that had the session.
    pub(crate) older: Option<CancellationToken>,
    /// Whether the session was there before.
    pub(crate) present: bool,
    /// What is to be committed.
    pub(crate) notes: Vec<Note>,
    /// A will of the session that was thrown away: its time has come.
    pub(crate) due_will: Option<DelayedWill>,
}

/// What is to be done when a connection has left its session.
#[derive(Default)]
pub(crate) struct Left {
    pub(crate) notes: Vec<Note>,
    /// The will to publish now, if any.
    pub(crate) will: Option<Publish>,
    /// Whether the will waits for its time.
    pub(crate) will_waits: bool,
}

impl Sessions {
    pub(crate) fn new(most: usize) -> Self {
        Self { by_client: Mutex::new(HashMap::new()), most }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_client.lock().len()
    }

    /// All sessions as they are now.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.by_client.lock().values().cloned().collect()
    }

    pub(crate) fn put(&self, session: Arc<Session>) {
        self.by_client.lock().insert(session.client_id.clone(), session);
    }
}

impl Shared {
    /// Tells the connection that the client has, if any, to go; it is gone when this is cancelled.
    pub(crate) fn tell_to_go(&self, client_id: &str) -> Option<CancellationToken> {
        let session = self.sessions.by_client.lock().get(client_id).cloned()?;
        let state = session.lock();
        let online = state.online.as_ref()?;
        online.takeover.cancel();
        Some(online.gone.clone())
    }

    /// Takes the client's session up, or makes one (3.1.2-4 to -6); a connection that has it is told to go (3.1.4-3).
    /// `None` where there are too many sessions.
    pub(crate) fn take_up(
        &self,
        client: &ClientInfo,
        request: &ConnectRequest,
        expiry_s: u32,
        outbox: &Arc<Outbox>,
    ) -> Option<TakenUp> {
        let mut by_client = self.sessions.by_client.lock();
        let now_micros = self.now_micros();
        let client_id = &client.client_id;
        let mut notes = Vec::new();
        // The broker was away, not the client.
        notes.extend(self.orphans.take(client_id).map(|will| will.struck_out()));
        let mut due_will = None;
        let kept = by_client.get(client_id).cloned();
        let kept = kept.filter(|session| {
            let mut state = session.lock();
            let expired = state.expires_at_micros().is_some_and(|at| at <= now_micros);
            // A session that was to end with its connection ends with it, also when it is taken over.
            let ends = request.clean || expired || !state.outlives();
            if ends {
                due_will = state.will.take();
            }
            drop(state);
            if ends {
                notes.extend(self.end(session));
            }
            !ends
        });
        let present = kept.is_some();
        let session = match kept {
            Some(session) => session,
            None => {
                by_client.remove(client_id);
                if by_client.len() >= self.sessions.most {
                    return None;
                }
                let bytes_max = self.config.outbox_bytes_max;
                let (number, planner) = (self.next_number(), self.planner.clone());
                let session = Arc::new(Session::new(number, client_id, expiry_s, bytes_max, planner));
                by_client.insert(client_id.clone(), Arc::clone(&session));
                session
            }
        };
        let connection = self.next_number();
        let takeover = CancellationToken::new();
        let gone = CancellationToken::new();
        let mut older = None;
        {
            let mut state = session.lock();
            state.expiry_s = expiry_s;
            state.delivery.set_outlives(expiry_s > 0);
            state.left_at_micros = None;
            notes.extend(state.will.take().map(|will| will.struck_out()));
            if let Some(online) = state.online.take() {
                state.delivery.leave();
                online.takeover.cancel();
                older = Some(online.gone);
            }
            let online = Online {
                rights: Arc::clone(&client.rights),
                outbox: Arc::clone(outbox),
                connection,
                accepted: false,
                takeover: takeover.clone(),
                gone: gone.clone(),
            };
            state.online = Some(online);
            let client = client_id.clone();
            notes.extend(match (std::mem::replace(&mut state.persisted, expiry_s > 0), expiry_s > 0) {
                (true, true) => Some(Note::Returned { client, expiry_s }),
                (true, false) => Some(Note::Ended { client }),
                (false, true) => Some(Note::Opened { client, expiry_s }),
                (false, false) => None,
            });
        }
        drop(by_client);
        session.room.notify_waiters();
        self.note_counts();
        Some(TakenUp { session, connection, takeover, gone, older, present, notes, due_will })
    }

    /// Lets deliveries go on after the CONNACK. Returns notes to commit, and for which connection somebody is to read the journal.
    pub(crate) fn resume(
        &self,
        session: &Arc<Session>,
        connection: u64,
        window: u16,
    ) -> (Vec<(NonZeroU16, Offset)>, Option<u64>) {
        let mut state = session.lock();
        let online = state.online.as_ref().filter(|online| online.connection == connection);
        let Some(outbox) = online.map(|online| Arc::clone(&online.outbox)) else {
            return (Vec::new(), None);
        };
        let to_note = state.delivery.resume(&outbox, window, self.now_micros());
        session.pump_locked(&mut state, self.now_micros());
        (to_note, state.begin_reading())
    }

    /// A connection leaves its session. `will` is the client's, unless it said good-bye.
    pub(crate) fn leave(
        &self,
        session: &Arc<Session>,
        connection: u64,
        client: &Arc<ClientInfo>,
        will: Option<(Publish, u32)>,
        expiry_s: Option<u32>,
    ) -> Left {
        let mut left = Left::default();
        let mut state = session.lock();
        if !state.is_served_by(connection) {
            // Taken over. A will that need not wait is due because the connection is closed; one that may wait is so only
            // where the session has ended (3.1.3-9).
            let is_due = |delay_s: u32| delay_s == 0 || state.ended;
            left.will = will.filter(|(_, delay_s)| is_due(*delay_s)).map(|(message, _)| message);
            return left;
        }
        state.online = None;
        state.delivery.leave();
        session.room.notify_waiters();
        let now_micros = self.now_micros();
        state.left_at_micros = Some(now_micros);
        state.expiry_s = expiry_s.unwrap_or(state.expiry_s);
        if state.outlives() {
            let (client_id, expiry_s) = (client.client_id.clone(), state.expiry_s);
            left.notes.push(Note::Left { client: client_id, at_micros: now_micros, expiry_s });
            match will {
                Some((message, 0)) => left.will = Some(message),
                Some((message, delay_s)) => {
                    let due_micros = now_micros.saturating_add(i64::from(delay_s) * 1_000_000);
                    let (client, number) = (Arc::clone(client), connection);
                    state.will = Some(DelayedWill { client, message, due_micros, number });
                    left.will_waits = true;
                }
                None => {}
            }
            drop(state);
        } else {
            left.will = will.map(|(message, _)| message);
            drop(state);
            let mut by_client = self.sessions.by_client.lock();
            if by_client.get(&session.client_id).is_some_and(|current| Arc::ptr_eq(current, session)) {
                by_client.remove(&session.client_id);
            }
            drop(by_client);
            left.notes.extend(self.end(session));
        }
        self.note_counts();
        left
    }

    /// Ends sessions whose clients did not come back in time; the notes, and the wills that are due.
    pub(crate) fn expire(&self, now_micros: i64) -> (Vec<Note>, Vec<DelayedWill>) {
        let mut notes = Vec::new();
        let mut wills = self.orphans.due(now_micros);
        for session in self.sessions.all() {
            let mut by_client = self.sessions.by_client.lock();
            let mut state = session.lock();
            let expired = state.expires_at_micros().is_some_and(|at| at <= now_micros);
            if state.will.as_ref().is_some_and(|will| expired || will.due_micros <= now_micros) {
                wills.extend(state.will.take());
            }
            drop(state);
            if expired {
                if by_client.get(&session.client_id).is_some_and(|current| Arc::ptr_eq(current, &session)) {
                    by_client.remove(&session.client_id);
                }
                drop(by_client);
                notes.extend(self.end(&session));
            }
        }
        if !notes.is_empty() {
            self.note_counts();
        }
        (notes, wills)
    }

    /// Ends a session that nobody finds any more.
    fn end(&self, session: &Session) -> Option<Note> {
        let mut state = session.lock();
        if std::mem::replace(&mut state.ended, true) {
            return None;
        }
        if let Some(online) = state.online.take() {
            online.takeover.cancel();
        }
        let filters = std::mem::take(&mut state.filters);
        let persisted = std::mem::replace(&mut state.persisted, false);
        drop(state);
        session.room.notify_waiters();
        self.routes.forget(session.number, filters.keys());
        persisted.then(|| Note::Ended { client: session.client_id.clone() })
    }
}
