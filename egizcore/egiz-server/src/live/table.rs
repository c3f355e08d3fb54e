//! Columns: numeric slots instead of names, with the newest value of each. Pure.
//!
//! A table is shared by all clients that want the same Things and features. Everything in it carries the *version* at which
//! it last changed, and a client is one number: the version up to which it has been told. So a client that falls behind,
//! even for an hour, costs no memory and afterwards gets each changed slot once.
//!
//! ```text
//!  note, note, … ─► finish: version + 1 ─► delta(since, version): what changed, from the list of recent versions
//!                                      └─► walk(since): where the list does not reach back, a piece of all Things at a time
//! ```
//!
//! Numbers of Things and slots count up and are not given out again; when more are dead than alive, the table is to be
//! [restarted](Table::restart), and clients begin anew. Encoding is `columns`.

mod note;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use egiz_model::{Offset, ThingId, Timestamp, Value};
use egiz_twin::Connection;

/// Versions of which it is known what changed.
const RECENT_VERSIONS: usize = 64;
/// Slots and Things that the list of recent versions names at most.
const RECENT_ENTRIES: usize = 65_536;
/// Departures that are remembered; a client that missed an older one begins anew.
const DEPARTED_MAX: usize = 4096;
/// Dead slots below which no table is restarted.
const DEAD_MIN: usize = 4096;
/// The index of what is no element of an array.
pub(crate) const NO_INDEX: u32 = u32::MAX;

/// What a slot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Boolean,
    Text,
}

/// A Thing of the table.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: ThingId,
    pub(crate) born: u64,
    /// When definition or attributes changed.
    pub(crate) head: u64,
    /// When the connection changed.
    pub(crate) connected: u64,
    pub(crate) slots: Vec<u32>,
    /// `,"definition":…,"attributes":{…}`, so that whoever encodes needs no engine.
    pub(crate) head_json: Box<[u8]>,
    pub(crate) connection: Connection,
    pub(crate) last_seen: Option<Timestamp>,
    stale: u8,
}

/// A column.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) thing: u32,
    /// Feature and property, see [`Table::name`].
    name: u32,
    pub(crate) index: u32,
    unit: u32,
    pub(crate) kind: Kind,
    pub(crate) quality: u8,
    /// NaN for null and for text.
    pub(crate) number: f64,
    pub(crate) defined: u64,
    pub(crate) changed: u64,
    /// The last note that found its property.
    touched: u64,
}

/// A Thing that left.
#[derive(Debug)]
pub(crate) struct Departed {
    version: u64,
    pub(crate) id: ThingId,
    /// Whether it is gone and not just out of the filter.
    pub(crate) deleted: bool,
}

#[derive(Debug, Default)]
struct Recent {
    version: u64,
    things: Vec<u32>,
    slots: Vec<u32>,
}

/// What changed since a version: numbers of Things and slots, ascending.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) things: Vec<u32>,
    pub(crate) slots: Vec<u32>,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Table {
    features: Option<Vec<String>>,
    slots_max: usize,
    /// Counts restarts.
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    /// When the values were read, and up to which offset.
    pub(crate) time: Timestamp,
    pub(crate) offset: Offset,
    numbers: HashMap<ThingId, u32>,
    things: Vec<Option<Entry>>,
    slots: Vec<Slot>,
    dead: usize,
    texts: HashMap<u32, Value>,
    names: Interned<(Arc<str>, Arc<str>)>,
    units: Interned<Arc<str>>,
    departed: VecDeque<Departed>,
    /// Departures up to this version are forgotten.
    forgotten: u64,
    recent: VecDeque<Recent>,
    current: Recent,
    notes: u64,
    /// Properties left out for want of slots since the last [`Table::finish`].
    omitted: u64,
}

impl Table {
    pub(crate) fn new(features: Option<Vec<String>>, slots_max: usize) -> Self {
        Self {
            features,
            slots_max,
            epoch: 0,
            version: 0,
            time: Timestamp::default(),
            offset: 0,
            numbers: HashMap::new(),
            things: Vec::new(),
            slots: Vec::new(),
            dead: 0,
            texts: HashMap::new(),
            names: Interned::default(),
            units: Interned::default(),
            departed: VecDeque::new(),
            forgotten: 0,
            recent: VecDeque::new(),
            current: Recent::default(),
            notes: 0,
            omitted: 0,
        }
    }

    /// Forgets everything; clients begin anew.
    pub(crate) fn restart(&mut self) {
        let epoch = self.epoch + 1;
        *self = Self { epoch, ..Self::new(self.features.take(), self.slots_max) };
    }

    /// Whether more is dead than alive.
    pub(crate) fn wants_restart(&self) -> bool {
        self.dead > DEAD_MIN.max(self.slots.len() / 2)
    }

    pub(crate) fn thing(&self, number: u32) -> Option<&Entry> {
        self.things.get(number as usize)?.as_ref()
    }

    /// How many numbers of Things were given out.
    pub(crate) fn things_len(&self) -> u32 {
        u32::try_from(self.things.len()).unwrap_or(u32::MAX)
    }

    /// A slot of a Thing that is there.
    pub(crate) fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot as usize).filter(|slot| self.thing(slot.thing).is_some())
    }

    /// The feature and property that a slot shows.
    pub(crate) fn name(&self, slot: &Slot) -> (&str, &str) {
        self.names.items.get(slot.name as usize).map_or(("", ""), |(feature, property)| (feature, property))
    }

    pub(crate) fn unit(&self, slot: &Slot) -> Option<&str> {
        Some(self.units.items.get(slot.unit.checked_sub(1)? as usize)?)
    }

    pub(crate) fn text(&self, slot: u32) -> Option<&Value> {
        self.texts.get(&slot)
    }

    /// Takes a Thing out, if it is there.
    pub(crate) fn remove(&mut self, id: &ThingId, deleted: bool) {
        let Some(number) = self.numbers.remove(id) else { return };
        let Some(entry) = self.things.get_mut(number as usize).and_then(Option::take) else { return };
        self.dead += entry.slots.len();
        for slot in &entry.slots {
            self.texts.remove(slot);
        }
        self.departed.push_back(Departed { version: self.version + 1, id: entry.id, deleted });
        if self.departed.len() > DEPARTED_MAX
            && let Some(oldest) = self.departed.pop_front()
        {
            self.forgotten = oldest.version;
        }
        self.current.things.push(number);
    }

    /// Makes what was noted a version that clients can be told; `always` even if nothing changed. Returns what was left
    /// out.
    pub(crate) fn finish(&mut self, time: Timestamp, offset: Offset, always: bool) -> u64 {
        (self.time, self.offset) = (time, offset);
        let mut current = std::mem::take(&mut self.current);
        if always || !current.things.is_empty() || !current.slots.is_empty() {
            self.version += 1;
            current.version = self.version;
            self.recent.push_back(current);
            let entries = |recent: &Recent| recent.things.len() + recent.slots.len();
            let mut total: usize = self.recent.iter().map(entries).sum();
            while total > RECENT_ENTRIES || self.recent.len() > RECENT_VERSIONS {
                let Some(oldest) = self.recent.pop_front() else { break };
                total -= entries(&oldest);
            }
        }
        std::mem::take(&mut self.omitted)
    }

    /// Whether all Things that left since a version are known; a client that knows nothing misses none.
    pub(crate) fn knows_departed_since(&self, since: u64) -> bool {
        since == 0 || since >= self.forgotten
    }

    /// Things that left behind one version, up to another.
    pub(crate) fn departed(&self, since: u64, upto: u64) -> impl Iterator<Item = &Departed> {
        self.departed.iter().filter(move |gone| since > 0 && gone.version > since && gone.version <= upto)
    }

    /// What changed since a version; `None` where the list does not reach back so far.
    pub(crate) fn delta(&self, since: u64) -> Option<Delta> {
        let mut delta = Delta::default();
        if since < self.version {
            let first = self.recent.front()?.version;
            if since + 1 < first {
                return None;
            }
            for recent in self.recent.iter().filter(|recent| recent.version > since) {
                delta.things.extend_from_slice(&recent.things);
                delta.slots.extend_from_slice(&recent.slots);
            }
            for numbers in [&mut delta.things, &mut delta.slots] {
                numbers.sort_unstable();
                numbers.dedup();
            }
        }
        Some(delta)
    }
}

/// Values that many share, by number.
#[derive(Debug)]
struct Interned<T> {
    items: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { items: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Interned<T> {
    fn number(&mut self, item: T) -> u32 {
        if let Some(number) = self.numbers.get(&item) {
            return *number;
        }
        let number = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        self.items.push(item.clone());
        self.numbers.insert(item, number);
        number
    }
}
