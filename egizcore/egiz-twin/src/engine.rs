//! The engine: all Things, and one record after another.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use egiz_model::record::{Body, Header, Record};
use egiz_model::{Offset, ThingId, Timestamp};
use hashbrown::HashTable;
use rustc_hash::FxHasher;

use crate::deadlines::Deadlines;
use crate::discovered::{Discovered, DiscoveredDevices};
use crate::judge::Judged;
use crate::names::Names;
use crate::principals::Principals;
use crate::template::{Template, Templates};
use crate::thing::Thing;
use crate::view::ThingRef;
use crate::{Change, ChangeKind, Counters, Limits, Outcome, WriteOutcome};

/// The live state of every Thing.
#[derive(Clone)]
pub struct Engine {
    pub(crate) limits: Limits,
    pub(crate) next_offset: Offset,
    pub(crate) names: Names,
    pub(crate) things: Vec<Option<Box<Thing>>>,
    /// Lowest first, whatever the order of deletions, so that an engine restored from a snapshot goes on the same.
    pub(crate) free_slots: BinaryHeap<Reverse<u32>>,
    by_id: HashTable<u32>,
    pub(crate) order: BTreeMap<ThingId, u32>,
    pub(crate) discovered: DiscoveredDevices,
    pub(crate) templates: Templates,
    pub(crate) principals: Principals,
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
    /// The header's principal, to be shared among changes.
    pub(crate) principal: &'a Arc<str>,
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
            free_slots: BinaryHeap::new(),
            by_id: HashTable::new(),
            order: BTreeMap::new(),
            discovered: DiscoveredDevices::default(),
            templates: Templates::default(),
            principals: Principals::default(),
            deadlines: Deadlines::default(),
            counters: Counters::default(),
        }
    }

    /// Applies a record and appends what became different to `changes`. A record before [`Self::next_offset`] was applied
    /// already and is ignored; a gap is allowed.
    pub fn apply(&mut self, offset: Offset, record: &Record<'_>, changes: &mut Vec<Change>) -> Outcome {
        self.apply_noting(offset, record, changes, None)
    }

    /// As [`Self::apply`]; says in `judged`, in place of what is there, what it made of the samples of a message.
    pub fn apply_judging(
        &mut self,
        offset: Offset,
        record: &Record<'_>,
        changes: &mut Vec<Change>,
        judged: &mut Judged,
    ) -> Outcome {
        judged.clear();
        self.apply_noting(offset, record, changes, Some(judged))
    }

    fn apply_noting(
        &mut self,
        offset: Offset,
        record: &Record<'_>,
        changes: &mut Vec<Change>,
        judged: Option<&mut Judged>,
    ) -> Outcome {
        if offset < self.next_offset {
            return Outcome::Ignored;
        }
        self.next_offset = offset + 1;
        self.counters.records += 1;
        let context = Context {
            offset,
            header: record.header,
            principal: &self.principals.share(record.header.principal),
        };
        match &record.body {
            Body::Telemetry(telemetry) => {
                Outcome::Telemetry(self.apply_telemetry(context, telemetry, changes, judged))
            }
            Body::ThingWrite(write) => {
                let outcome = match self.apply_write(context, write, changes) {
                    Ok(outcome) => outcome,
                    Err(refusal) => WriteOutcome::Refused(refusal),
                };
                match &outcome {
                    WriteOutcome::Refused(refusal) => self.counters.refuse(refusal),
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
                match self.apply_template(context, definition, json, changes) {
                    Ok(()) => Outcome::Done,
                    Err(refusal) => {
                        self.counters.refuse(&refusal);
                        Outcome::Write(WriteOutcome::Refused(refusal))
                    }
                }
            }
            Body::Forget { thing } => {
                self.discovered.forget(thing);
                Outcome::Done
            }
            Body::Message(_) | Body::Broker(_) => Outcome::Ignored,
        }
    }

    /// Passes over a record whose bytes cannot be read: it was applied as far as it can be, and is counted.
    pub fn skip(&mut self, offset: Offset) {
        if offset >= self.next_offset {
            self.next_offset = offset + 1;
            self.counters.records += 1;
            self.counters.undecodable += 1;
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
        Some(&*self.templates.find(definition)?.json)
    }

    /// The templates in force, by definition.
    pub fn templates(&self) -> impl Iterator<Item = (&str, &str)> {
        self.templates.iter().map(|template| (&*template.definition, &*template.json))
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
        self.templates.get(thing.template?)
    }

    /// A definition's text, shared with the template where there is one.
    pub(crate) fn shared_definition(&self, definition: &str) -> Arc<str> {
        self.templates
            .find(definition)
            .map_or_else(|| definition.into(), |template| Arc::clone(&template.definition))
    }

    /// Puts a Thing into a free slot.
    pub(crate) fn insert(&mut self, thing: Thing) -> u32 {
        let slot = self.free_slots.pop().map_or_else(
            || {
                self.things.push(None);
                u32::try_from(self.things.len() - 1).expect("Things are bounded far below 2^32")
            },
            |Reverse(slot)| slot,
        );
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
        self.free_slots.push(Reverse(slot));
        Some(thing)
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
            principal: Arc::clone(self.principal),
            correlation: self.correlation(),
            kind,
        }
    }
}

pub(crate) fn hash(id: &str) -> u64 {
    use std::hash::Hasher as _;
    let mut hasher = FxHasher::default();
    hasher.write(id.as_bytes());
    // FxHash leaves the low bits weak, and the table looks at the high ones for tags.
    hasher.finish().wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
