//! A column table with the task that keeps it: one for all clients that want the same Things and features.
//!
//! ```text
//!  mailbox (newest only) ─► task: read what changed, a few Things at a time ─► table, next version ─► wake the clients
//!                                                                                                   each: collect
//! ```
//!
//! The task belongs to the clients: it ends with the last of them. It works at most every 50 ms.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use egiz_model::{Offset, ThingId};
use egiz_twin::interest::{GroupId, Target};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::columns::{Part, Window, encode};
use super::hub::Hub;
use super::mailbox::{Mode, Owed, Taken};
use super::subscriber::Wish;
use super::table::{Delta, Table};
use super::ticket::Ticket;
use super::walk::Walk;
use crate::ports::Clock;

/// The shortest pause between two versions.
const TICK: Duration = Duration::from_millis(50);
/// Things taken in under one hold of the locks.
const THINGS_AT_ONCE: usize = 128;
/// Things told at once to a client that is far behind.
const WALK_THINGS: u32 = 128;
/// Encodings kept for clients that are equally far.
const ENCODINGS_MAX: usize = 8;

type BoardKey = (GroupId, Option<Vec<String>>);

/// The tables in use.
#[derive(Default)]
pub(crate) struct Boards(Mutex<HashMap<BoardKey, Weak<Board>>>);

/// A client's hold on a table; the last one ends its task.
pub(crate) struct Board {
    core: Arc<Core>,
    task: AbortHandle,
}

impl Drop for Board {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Core {
    hub: Hub,
    ticket: Ticket,
    clock: Clock,
    table: RwLock<Table>,
    encodings: Mutex<VecDeque<Encoding>>,
    listeners: Mutex<Vec<Arc<Notify>>>,
}

struct Encoding {
    key: (u64, u64, u64, bool),
    parts: Arc<[Part]>,
}

/// How far a client has been told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    epoch: u64,
    version: u64,
    walk: Option<Progress>,
}

/// A walk over all Things, for a client that is far behind.
#[derive(Debug, Clone, Copy)]
struct Progress {
    upto: u64,
    next: u32,
}

/// What a client gets.
pub(crate) enum Collected {
    /// Frames; with `more`, more are ready at once.
    Parts { parts: Arc<[Part]>, more: bool },
    /// Slots were numbered anew; forget what is known, and ask again.
    Restarted,
    /// Nothing new.
    Nothing,
}

impl Boards {
    /// The table for a target and features; begun if there is none.
    pub(crate) fn board(
        &self,
        hub: &Hub,
        target: Target,
        features: Option<Vec<String>>,
        clock: &Clock,
    ) -> Arc<Board> {
        let wish = Wish {
            target,
            features: features.clone(),
            mode: Mode::Newest,
            from: None,
            ready: Arc::new(Notify::new()),
        };
        let ticket = hub.subscribe(wish);
        let key = (ticket.group(), features.clone());
        let mut boards = self.0.lock();
        if let Some(board) = boards.get(&key).and_then(Weak::upgrade) {
            // The ticket goes after the lock.
            drop(boards);
            return board;
        }
        boards.retain(|_, board| board.strong_count() > 0);
        let core = Arc::new(Core {
            hub: hub.clone(),
            ticket,
            clock: Arc::clone(clock),
            table: RwLock::new(Table::new(features, hub.settings().slots_max)),
            encodings: Mutex::default(),
            listeners: Mutex::default(),
        });
        let task = tokio::spawn(run(Arc::clone(&core))).abort_handle();
        let board = Arc::new(Board { core, task });
        boards.insert(key, Arc::downgrade(&board));
        board
    }
}

async fn run(core: Arc<Core>) {
    core.seed().await;
    loop {
        core.ticket.subscriber.ready.notified().await;
        match core.ticket.subscriber.take() {
            None => {}
            Some(Taken::Newest { things, .. }) => core.refresh(things.into_iter().collect()).await,
            Some(Taken::Events(_) | Taken::Resync { .. }) => core.restart().await,
        }
        if core.table.read().wants_restart() {
            core.restart().await;
        }
        tokio::time::sleep(TICK).await;
    }
}

impl Core {
    /// Takes in every Thing.
    async fn seed(&self) {
        let everything = Owed { whole: true, ..Owed::default() };
        let mut walk = Walk::new(Arc::clone(&self.ticket.scope));
        while !walk.is_over() {
            {
                let engine = self.hub.engine().read();
                let mut table = self.table.write();
                let mut count = 0;
                walk.step(&engine, |thing| {
                    table.note(&thing, &everything);
                    count += 1;
                    count < THINGS_AT_ONCE
                });
            }
            tokio::task::yield_now().await;
        }
        self.finish(true);
    }

    async fn restart(&self) {
        self.hub.metrics().resyncs.inc();
        // What waits is contained in what is read now.
        drop(self.ticket.subscriber.take());
        self.table.write().restart();
        self.seed().await;
    }

    async fn refresh(&self, owed: Vec<(ThingId, Owed)>) {
        for owed in owed.chunks(THINGS_AT_ONCE) {
            {
                let engine = self.hub.engine().read();
                let mut table = self.table.write();
                for (id, owed) in owed {
                    let thing = engine.thing(id.as_str());
                    match thing.filter(|thing| self.ticket.scope.covers(*thing)) {
                        Some(thing) => table.note(&thing, owed),
                        None => table.remove(id, thing.is_none()),
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        self.finish(false);
    }

    fn finish(&self, always: bool) {
        let now = (self.clock)();
        let offset = self.hub.engine().read().next_offset();
        let omitted = self.table.write().finish(now, offset, always);
        self.hub.metrics().omitted_slots.inc_by(omitted);
        for listener in self.listeners.lock().iter() {
            listener.notify_one();
        }
    }

    /// The frames for everybody who is equally far, encoded by the first who asks.
    fn encoded(&self, table: &Table, since: u64, delta: &Delta, binary: bool) -> Arc<[Part]> {
        let key = (table.epoch, since, table.version, binary);
        // Held while encoding, so that the others wait for it instead of doing the same.
        let mut encodings = self.encodings.lock();
        if let Some(found) = encodings.iter().find(|encoding| encoding.key == key) {
            return Arc::clone(&found.parts);
        }
        let upto = table.version;
        let window = Window { since, upto, with_departed: true, delta, more: false, binary };
        let parts: Arc<[Part]> = encode(table, &window).into();
        if encodings.len() == ENCODINGS_MAX {
            encodings.pop_front();
        }
        encodings.push_back(Encoding { key, parts: Arc::clone(&parts) });
        parts
    }
}

impl Board {
    /// Wakes this client at every version, as long as the answer lives.
    pub(crate) fn listen(self: &Arc<Self>, ready: Arc<Notify>) -> Listener {
        self.core.listeners.lock().push(Arc::clone(&ready));
        // The first version may be there already.
        ready.notify_one();
        Listener { board: Arc::clone(self), ready }
    }

    /// The offset that the table has been read at, or from which on it will be.
    pub(crate) fn offset(&self) -> Offset {
        self.core.table.read().offset.max(self.core.ticket.offset)
    }

    /// What a client has not been told yet, a bounded piece of it.
    pub(crate) fn collect(&self, told: &mut Told, binary: bool) -> Collected {
        let core = &*self.core;
        let table = core.table.read();
        if table.epoch != told.epoch {
            let is_new = told.version == 0 && told.walk.is_none();
            *told = Told { epoch: table.epoch, ..Told::default() };
            if !is_new {
                return Collected::Restarted;
            }
        }
        if table.version == told.version && told.walk.is_none() {
            return Collected::Nothing;
        }
        if !table.knows_departed_since(told.version) {
            *told = Told { epoch: table.epoch, ..Told::default() };
            return Collected::Restarted;
        }
        if told.walk.is_none()
            && told.version > 0
            && let Some(delta) = table.delta(told.version)
        {
            let parts = core.encoded(&table, told.version, &delta, binary);
            told.version = table.version;
            return Collected::Parts { parts, more: false };
        }
        let progress = told.walk.get_or_insert(Progress { upto: table.version, next: 0 });
        let (begin, end) = (progress.next, table.things_len().min(progress.next + WALK_THINGS));
        let upto = progress.upto;
        let things: Vec<u32> = (begin..end).collect();
        let slots = things.iter().filter_map(|number| table.thing(*number)).flat_map(|entry| &entry.slots);
        let delta = Delta { slots: slots.copied().collect(), things };
        let more = end < table.things_len();
        progress.next = end;
        let (since, with_departed) = (told.version, begin == 0);
        let window = Window { since, upto, with_departed, delta: &delta, more, binary };
        let parts = encode(&table, &window).into();
        if !more {
            *told = Told { epoch: table.epoch, version: upto, walk: None };
        }
        Collected::Parts { parts, more }
    }
}

/// Keeps a client awake for a table.
pub(crate) struct Listener {
    pub(crate) board: Arc<Board>,
    ready: Arc<Notify>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.board.core.listeners.lock();
        if let Some(index) = listeners.iter().position(|other| Arc::ptr_eq(other, &self.ready)) {
            listeners.swap_remove(index);
        }
    }
}
