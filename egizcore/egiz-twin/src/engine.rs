//! The engine: all Things, and one record after another.

use std::collections::BTreeMap;
use std::sync::Arc;

use egiz_model::record::{Body, Header, Record};
use egiz_model::{Offset, ThingId, Timestamp};
use hashbrown::{HashMap, HashTable};
use rustc_hash::{FxBuildHasher, FxHasher};

use crate::deadlines::Deadlines;
use crate::discovered::{Discovered, DiscoveredDevices};
use crate::names::Names;
use crate::template::Template;
use crate::thing::{Connection, Thing};
use crate::view::ThingRef;
use crate::{Change, ChangeKind, Counters, Limits, Outcome, WriteOutcome};

/// The live state of every Thing.
#[derive(Clone)]
pub struct Engine {
    pub(crate) limits: Limits,
    pub(crate) next_offset: Offset,
    pub(crate) names: Names,
    pub(crate) things: Vec<Option<Box<Thing>>>,
    pub(crate) free_slots: Vec<u32>,
    by_id: HashTable<u32>,
    pub(crate) order: BTreeMap<ThingId, u32>,
    pub(crate) discovered: DiscoveredDevices,
    pub(crate) templates: Vec<Template>,
    pub(crate) template_index: HashMap<Arc<str>, u32, FxBuildHasher>,
    pub(crate) deadlines: Deadlines,
    pub(crate) counters: Counters,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("things", &self.len())
            .field("next_offset", &self.next_offset)
            .finish_non_exhaustive()
    }
}

/// A record's context while it is applied.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) offset: Offset,
    pub(crate) header: Header<'a>,
}

impl Engine {
    /// An engine without Things.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            next_offset: 0,
            names: Names::default(),
            things: Vec::new(),
            free_slots: Vec::new(),
            by_id: HashTable::new(),
            order: BTreeMap::new(),
            discovered: DiscoveredDevices::default(),
            templates: Vec::new(),
            template_index: HashMap::with_hasher(FxBuildHasher),
            deadlines: Deadlines::default(),
            counters: Counters::default(),
        }
    }

    /// Applies a record and appends what became different to `changes`. A record before [`Self::next_offset`] was applied
    /// already and is ignored; a gap is allowed.
    pub fn apply(&mut self, offset: Offset, record: &Record<'_>, changes: &mut Vec<Change>) -> Outcome {
        if offset < self.next_offset {
            return Outcome::Ignored;
        }
        self.next_offset = offset + 1;
        self.counters.records += 1;
        let context = Context { offset, header: record.header };
        match &record.body {
            Body::Telemetry(telemetry) => {
                Outcome::Telemetry(self.apply_telemetry(context, telemetry, changes))
            }
            Body::ThingWrite(write) => {
                let outcome = match self.apply_write(context, write, changes) {
                    Ok(outcome) => outcome,
                    Err(refusal) => WriteOutcome::Refused(refusal),
                };
                match outcome {
                    WriteOutcome::Refused(_) => self.counters.writes_refused += 1,
                    WriteOutcome::Unchanged { .. } => self.counters.writes_unchanged += 1,
                    _ => self.counters.writes_applied += 1,
                }
                Outcome::Write(outcome)
            }
            Body::Presence { thing, online } => {
                self.apply_presence(context, thing, *online, changes);
                Outcome::Done
            }
            Body::Tick => {
                self.apply_tick(context, changes);
                Outcome::Done
            }
            Body::Template { definition, json } => {
                self.apply_template(context, definition, json, changes);
                Outcome::Done
            }
            Body::Forget { thing } => {
                self.discovered.forget(thing);
                Outcome::Done
            }
            Body::Message(_) => Outcome::Ignored,
        }
    }

    /// The offset of the next record to apply.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many Things there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The Thing with this id.
    #[must_use]
    pub fn thing(&self, id: &str) -> Option<ThingRef<'_>> {
        self.thing_at(self.slot_of(id)?)
    }

    /// The Thing in a slot.
    #[must_use]
    pub fn thing_at(&self, slot: u32) -> Option<ThingRef<'_>> {
        let thing = self.things.get(slot as usize)?.as_deref()?;
        Some(ThingRef { engine: self, thing, slot })
    }

    /// All Things by id.
    pub fn things(&self) -> impl Iterator<Item = ThingRef<'_>> {
        self.order.values().filter_map(|slot| self.thing_at(*slot))
    }

    /// Devices that were heard and are no Things yet, by the id that they would have.
    pub fn discovered(&self) -> impl Iterator<Item = (&str, &Discovered)> {
        self.discovered.iter()
    }

    /// The discovered device that would have this id.
    #[must_use]
    pub fn discovered_device(&self, id: &str) -> Option<&Discovered> {
        self.discovered.get(id)
    }

    /// How many discovered devices there are.
    #[must_use]
    pub fn discovered_len(&self) -> usize {
        self.discovered.len()
    }

    /// The template in force for a definition, as the JSON that was put.
    #[must_use]
    pub fn template(&self, definition: &str) -> Option<&str> {
        let template = &self.templates[*self.template_index.get(definition)? as usize];
        (!template.json.is_empty()).then_some(&*template.json)
    }

    /// The templates in force, by definition.
    pub fn templates(&self) -> impl Iterator<Item = (&str, &str)> {
        let in_force = self.templates.iter().filter(|template| !template.json.is_empty());
        in_force.map(|template| (&*template.definition, &*template.json))
    }

    /// The earliest time at which a tick may find something stale.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.next()
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Distinct names in use.
    #[must_use]
    pub fn names_len(&self) -> usize {
        self.names.len()
    }

    /// A number that is equal on engines with equal state.
    #[must_use]
    pub fn digest(&self) -> u64 {
        use std::hash::Hasher as _;
        let mut bytes = Vec::new();
        self.snapshot(&mut bytes);
        let mut hasher = FxHasher::default();
        hasher.write(&bytes);
        hasher.finish()
    }

    pub(crate) fn slot_of(&self, id: &str) -> Option<u32> {
        let is_it =
            |slot: &u32| self.things[*slot as usize].as_ref().is_some_and(|thing| thing.id.as_str() == id);
        self.by_id.find(hash(id), is_it).copied()
    }

    pub(crate) fn thing_mut(&mut self, slot: u32) -> &mut Thing {
        self.things[slot as usize].as_deref_mut().expect("the slot was looked up by id")
    }

    pub(crate) fn template_of(&self, thing: &Thing) -> Option<&Template> {
        self.templates.get(thing.template? as usize)
    }

    /// Puts a Thing into a free slot.
    pub(crate) fn insert(&mut self, thing: Thing) -> u32 {
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.things.push(None);
            u32::try_from(self.things.len() - 1).expect("Things are bounded far below 2^32")
        });
        self.insert_at(slot, thing);
        slot
    }

    pub(crate) fn insert_at(&mut self, slot: u32, thing: Thing) {
        let id = thing.id.clone();
        self.things[slot as usize] = Some(Box::new(thing));
        let things = &self.things;
        let rehash = |slot: &u32| things[*slot as usize].as_ref().map_or(0, |thing| hash(thing.id.as_str()));
        self.by_id.insert_unique(hash(id.as_str()), slot, rehash);
        self.order.insert(id, slot);
    }

    pub(crate) fn take_out(&mut self, slot: u32) -> Option<Box<Thing>> {
        let thing = self.things[slot as usize].take()?;
        if let Ok(entry) = self.by_id.find_entry(hash(thing.id.as_str()), |other| *other == slot) {
            entry.remove();
        }
        self.order.remove(&thing.id);
        self.free_slots.push(slot);
        Some(thing)
    }

    /// Has the Thing's silence watched from now on.
    pub(crate) fn watch(&mut self, slot: u32) {
        let Some(thing) = self.things[slot as usize].as_deref() else { return };
        if let (Connection::Live, Some(last_seen), Some(patience)) =
            (thing.connection, thing.last_seen, self.stale_after(thing))
        {
            self.deadlines.watch(slot, last_seen.plus_micros(patience));
        }
    }

    fn stale_after(&self, thing: &Thing) -> Option<i64> {
        self.template_of(thing)
            .and_then(|template| template.stale_after_micros)
            .or(self.limits.stale_after_micros)
    }

    fn apply_presence(&mut self, context: Context<'_>, id: &str, online: bool, changes: &mut Vec<Change>) {
        let Some(slot) = self.slot_of(id) else { return };
        let now = context.header.received;
        let thing = self.thing_mut(slot);
        thing.offset = context.offset;
        let connection = if online {
            thing.last_seen = Some(thing.last_seen.map_or(now, |seen| seen.max(now)));
            Connection::Live
        } else {
            Connection::Offline
        };
        if thing.connection != connection {
            thing.connection = connection;
            thing.revision += 1;
            thing.modified = now;
            changes.push(context.change(thing, slot, ChangeKind::Connection(connection)));
        }
        self.watch(slot);
    }

    fn apply_tick(&mut self, context: Context<'_>, changes: &mut Vec<Change>) {
        let now = context.header.received;
        // A Thing put back into the heap is due later than now, so this ends.
        while let Some(slot) = self.deadlines.take_due(now) {
            let Some(thing) = self.things.get(slot as usize).and_then(Option::as_deref) else { continue };
            let patience = self.stale_after(thing);
            let (Connection::Live, Some(last_seen), Some(patience)) =
                (thing.connection, thing.last_seen, patience)
            else {
                continue;
            };
            let due = last_seen.plus_micros(patience);
            if due > now {
                self.deadlines.watch(slot, due);
                continue;
            }
            self.counters.stale += 1;
            let thing = self.thing_mut(slot);
            thing.connection = Connection::Stale;
            thing.revision += 1;
            thing.modified = now;
            thing.offset = context.offset;
            changes.push(context.change(thing, slot, ChangeKind::Connection(Connection::Stale)));
        }
    }

    fn apply_template(
        &mut self,
        context: Context<'_>,
        definition: &str,
        json: &str,
        changes: &mut Vec<Change>,
    ) {
        let template = Template::read(definition, json, &mut self.names, self.limits.names_max);
        let definition = Arc::clone(&template.definition);
        let index = match self.template_index.get(&definition) {
            Some(index) => {
                self.templates[*index as usize] = template;
                *index
            }
            None => {
                let index = u32::try_from(self.templates.len()).expect("templates are few");
                self.templates.push(template);
                self.template_index.insert(Arc::clone(&definition), index);
                index
            }
        };
        let slots: Vec<u32> = self.order.values().copied().collect();
        for slot in slots {
            let thing = self.thing_mut(slot);
            if thing.definition.as_ref() == Some(&definition) {
                thing.template = Some(index);
                self.watch(slot);
            }
        }
        let none = ThingId::new("-:-").expect("it keeps the rules");
        changes.push(Change {
            thing: none,
            slot: 0,
            revision: 0,
            offset: context.offset,
            received: context.header.received,
            source: None,
            principal: context.header.principal.into(),
            correlation: context.correlation(),
            kind: ChangeKind::Template { definition },
        });
    }
}

impl Context<'_> {
    pub(crate) fn correlation(&self) -> Option<Arc<str>> {
        (!self.header.correlation.is_empty()).then(|| self.header.correlation.into())
    }

    /// A change of a Thing that has its new revision.
    pub(crate) fn change(&self, thing: &Thing, slot: u32, kind: ChangeKind) -> Change {
        Change {
            thing: thing.id.clone(),
            slot,
            revision: thing.revision,
            offset: self.offset,
            received: self.header.received,
            source: None,
            principal: self.header.principal.into(),
            correlation: self.correlation(),
            kind,
        }
    }
}

fn hash(id: &str) -> u64 {
    use std::hash::Hasher as _;
    let mut hasher = FxHasher::default();
    hasher.write(id.as_bytes());
    // FxHash leaves the low bits weak, and the table looks at the high ones for tags.
    hasher.finish().wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
