//! Taking in how a Thing is now: which of its columns are new, changed, or no longer there.

use std::sync::Arc;

use egiz_model::{Quality, Value};
use egiz_twin::{Connection, FeatureRef, ThingRef};

use super::{Entry, Kind, NO_INDEX, Slot, Table};
use crate::live::event::put_head;
use crate::live::mailbox::Owed;

/// Added to a quality when the Thing is not heard.
const STALE: u8 = 4;

impl Table {
    /// Takes in how a Thing of the subscription is now; `owed` says what of it may have changed.
    pub(crate) fn note(&mut self, thing: &ThingRef<'_>, owed: &Owed) {
        let stamp = self.version + 1;
        let stale =
            if matches!(thing.connection(), Connection::Stale | Connection::Offline) { STALE } else { 0 };
        let known = self.numbers.get(thing.id()).copied();
        let number = known.unwrap_or_else(|| self.add(thing, stamp));
        let Some(Some(entry)) = self.things.get_mut(number as usize) else { return };
        if known.is_some() && (owed.head || owed.whole) {
            (entry.head, entry.head_json) = (stamp, head_of(thing));
        }
        if known.is_some() && (owed.connection || owed.whole) {
            entry.connected = stamp;
            (entry.connection, entry.last_seen) = (thing.connection(), thing.last_seen());
        }
        let all = known.is_none() || owed.whole || entry.stale != stale;
        entry.stale = stale;
        if all || owed.head || owed.connection {
            self.current.things.push(number);
        }
        self.notes += 1;
        let mut place = 0;
        for feature in thing.features() {
            let wanted = self
                .features
                .as_ref()
                .is_none_or(|wanted| wanted.iter().any(|name| **name == **feature.name()));
            if wanted && (all || owed.features.contains(feature.name())) {
                self.note_feature(number, &feature, stale, &mut place);
            }
        }
        self.clear_untouched(number, |feature| all || owed.features.contains(feature));
    }

    fn add(&mut self, thing: &ThingRef<'_>, stamp: u64) -> u32 {
        let number = self.things_len();
        let entry = Entry {
            id: thing.id().clone(),
            born: stamp,
            head: stamp,
            connected: stamp,
            slots: Vec::new(),
            head_json: head_of(thing),
            connection: thing.connection(),
            last_seen: thing.last_seen(),
            stale: 0,
        };
        self.things.push(Some(entry));
        self.numbers.insert(thing.id().clone(), number);
        number
    }

    fn note_feature(&mut self, number: u32, feature: &FeatureRef<'_>, stale: u8, place: &mut usize) {
        for property in feature.properties() {
            let name = self.names.number((Arc::clone(feature.name()), Arc::clone(property.name())));
            let unit = property.unit().map_or(0, |unit| self.units.number(unit.into()) + 1);
            let quality = property.quality() as u8 + stale;
            match property.value() {
                Value::List(items)
                    if !items.is_empty() && items.iter().all(|item| item.as_f64().is_some()) =>
                {
                    for (index, item) in (0..).zip(items) {
                        self.note_value(number, (name, index, unit), item, quality, place);
                    }
                }
                value => self.note_value(number, (name, NO_INDEX, unit), value, quality, place),
            }
        }
    }

    fn note_value(
        &mut self,
        thing: u32,
        (name, index, unit): (u32, u32, u32),
        value: &Value,
        quality: u8,
        place: &mut usize,
    ) {
        let stamp = self.version + 1;
        let (number, kind) = match value {
            Value::Bool(truth) => (f64::from(u8::from(*truth)), Some(Kind::Boolean)),
            Value::Null => (f64::NAN, None),
            other => {
                other.as_f64().map_or((f64::NAN, Some(Kind::Text)), |number| (number, Some(Kind::Number)))
            }
        };
        let Some(slot) = self.find(thing, name, index, place) else {
            if self.slots.len() - self.dead >= self.slots_max {
                self.omitted += 1;
                return;
            }
            let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
            let kind = kind.unwrap_or(Kind::Number);
            let (defined, changed, touched) = (stamp, stamp, self.notes);
            self.slots.push(Slot {
                thing,
                name,
                index,
                unit,
                kind,
                quality,
                number,
                defined,
                changed,
                touched,
            });
            if kind == Kind::Text {
                self.texts.insert(slot, value.clone());
            }
            if let Some(Some(entry)) = self.things.get_mut(thing as usize) {
                entry.slots.push(slot);
                *place = entry.slots.len();
            }
            self.current.things.push(thing);
            self.current.slots.push(slot);
            return;
        };
        let column = &mut self.slots[slot as usize];
        column.touched = self.notes;
        let kind = kind.unwrap_or(column.kind);
        if column.kind != kind || column.unit != unit {
            (column.kind, column.unit, column.defined) = (kind, unit, stamp);
            self.current.things.push(thing);
        }
        let old_text = self.texts.get(&slot);
        let new_text = (kind == Kind::Text && *value != Value::Null).then_some(value);
        if column.number.to_bits() == number.to_bits() && column.quality == quality && old_text == new_text {
            return;
        }
        if old_text != new_text {
            match new_text {
                Some(text) => self.texts.insert(slot, text.clone()),
                None => self.texts.remove(&slot),
            };
        }
        (column.number, column.quality) = (number, quality);
        if column.changed != stamp {
            column.changed = stamp;
            self.current.slots.push(slot);
        }
    }

    /// The slot of a property, looked for from where the last one was: properties come in the same order every time.
    fn find(&self, thing: u32, name: u32, index: u32, place: &mut usize) -> Option<u32> {
        let slots = &self.thing(thing)?.slots;
        let is_it = |slot: &u32| {
            let slot = &self.slots[*slot as usize];
            slot.name == name && slot.index == index
        };
        let (before, behind) = slots.split_at((*place).min(slots.len()));
        let found = match behind.iter().position(is_it) {
            Some(found) => before.len() + found,
            None => before.iter().position(is_it)?,
        };
        *place = found + 1;
        Some(slots[found])
    }

    /// Properties that are no longer there show null, of bad quality.
    fn clear_untouched(&mut self, number: u32, looked_at: impl Fn(&str) -> bool) {
        let stamp = self.version + 1;
        let Some(Some(entry)) = self.things.get(number as usize) else { return };
        for slot in &entry.slots {
            let column = &mut self.slots[*slot as usize];
            let is_clear = column.number.is_nan() && column.quality == Quality::Bad as u8;
            if column.touched == self.notes || (is_clear && !self.texts.contains_key(slot)) {
                continue;
            }
            if self.names.items.get(column.name as usize).is_some_and(|(feature, _)| looked_at(feature)) {
                (column.number, column.quality) = (f64::NAN, Quality::Bad as u8);
                self.texts.remove(slot);
                if column.changed != stamp {
                    column.changed = stamp;
                    self.current.slots.push(*slot);
                }
            }
        }
    }
}

fn head_of(thing: &ThingRef<'_>) -> Box<[u8]> {
    let mut head = Vec::new();
    put_head(&mut head, thing);
    head.into()
}
