//! The most recent changes, kept for clients that come back. Pure; bounded by number and by bytes.
//!
//! At either bound the oldest go. A place in the ring is a number that counts up for ever, so a reader that was overtaken
//! learns it. Beside each change stand the filters that saw it and how: which Things satisfied a filter back then cannot be
//! found out afterwards.

use std::collections::VecDeque;
use std::sync::Arc;

use egiz_model::{Offset, Value};
use egiz_twin::interest::{GroupId, Sight};
use egiz_twin::{Change, ChangeKind};

use super::fact::Fact;

/// Bytes of a change without its properties: the structure itself and its shared parts, about.
const CHANGE_BYTES: usize = 240;
/// Bytes of a property in a change without its text, about.
const PROPERTY_BYTES: usize = 48;

/// The filters that saw a change.
pub(crate) type SeenBy = Box<[(GroupId, Sight)]>;

/// The ring.
#[derive(Debug)]
pub(crate) struct Ring {
    entries: VecDeque<Entry>,
    events_max: usize,
    bytes_max: usize,
    bytes: usize,
    /// The place of the first entry.
    first: u64,
    /// All changes from this offset on are here.
    from: Offset,
}

#[derive(Debug)]
struct Entry {
    fact: Arc<Fact>,
    seen_by: SeenBy,
    bytes: usize,
}

impl Ring {
    pub(crate) fn new(events_max: usize, bytes_max: usize, next_offset: Offset) -> Self {
        Self { entries: VecDeque::new(), events_max, bytes_max, bytes: 0, first: 0, from: next_offset }
    }

    /// Whether nothing is ever kept.
    pub(crate) fn keeps_nothing(&self) -> bool {
        self.events_max == 0 || self.bytes_max == 0
    }

    /// All changes from this offset on are here.
    pub(crate) fn from(&self) -> Offset {
        self.from
    }

    /// Estimated bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a change.
    pub(crate) fn push(&mut self, fact: Arc<Fact>, seen_by: SeenBy) {
        let bytes = size_of_change(&fact.change) + std::mem::size_of_val(&*seen_by);
        self.bytes += bytes;
        self.entries.push_back(Entry { fact, seen_by, bytes });
        while self.entries.len() > self.events_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.bytes;
            self.first += 1;
            // Others of the same record may still be there, but no longer all of it.
            self.from = oldest.fact.change.offset + 1;
        }
    }

    /// The place of the first change at or behind an offset; `None` if some of them are gone.
    pub(crate) fn place_of(&self, offset: Offset) -> Option<u64> {
        (offset >= self.from).then(|| {
            let index = self.entries.partition_point(|entry| entry.fact.change.offset < offset);
            self.first + index as u64
        })
    }

    /// The changes from a place on; `None` if it was overtaken.
    pub(crate) fn since(&self, place: u64) -> Option<impl Iterator<Item = (&Arc<Fact>, &SeenBy)>> {
        let skip = usize::try_from(place.checked_sub(self.first)?).ok()?;
        Some(self.entries.range(skip.min(self.entries.len())..).map(|entry| (&entry.fact, &entry.seen_by)))
    }
}

fn size_of_change(change: &Change) -> usize {
    let properties = match &change.kind {
        ChangeKind::Feature { properties, .. } => {
            properties.iter().map(|(_, value)| PROPERTY_BYTES + value.as_ref().map_or(0, size_of_value)).sum()
        }
        _ => 0,
    };
    CHANGE_BYTES + properties + change.correlation.as_ref().map_or(0, |text| text.len())
}

fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.iter().map(|item| 24 + size_of_value(item)).sum(),
        Value::Map(members) => {
            members.iter().map(|(name, value)| 40 + name.len() + size_of_value(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::fact::tests::fact;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_said_to_be_there_is_there(records in prop::collection::vec(1..4_u64, 0..60), events_max in 0..20_usize, bytes_max in prop_oneof![Just(usize::MAX), 0..4000_usize]) {
            let mut ring = Ring::new(events_max, bytes_max, 0);
            let mut all = Vec::new();
            for (offset, changes) in (0..).zip(records) {
                for part in 0..changes {
                    let fact = fact("s:a", None, offset, part + 1 < changes);
                    all.push(Arc::clone(&fact));
                    ring.push(fact, Box::default());
                }
            }
            prop_assert!(ring.entries.len() <= events_max && ring.bytes() <= bytes_max);
            for from in 0..=all.last().map_or(0, |fact| fact.change.offset + 1) {
                let Some(place) = ring.place_of(from) else {
                    prop_assert!(from < ring.from());
                    continue;
                };
                let found: Vec<_> = ring.since(place).expect("not overtaken").map(|(fact, _)| Arc::as_ptr(fact)).collect();
                let wanted: Vec<_> = all.iter().filter(|fact| fact.change.offset >= from).map(Arc::as_ptr).collect();
                prop_assert_eq!(found, wanted);
            }
            prop_assert!(ring.first == 0 || ring.since(ring.first - 1).is_none());
        }
    }
}
