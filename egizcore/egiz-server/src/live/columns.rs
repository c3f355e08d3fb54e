//! Columns: numeric slots instead of names, one frame a tick with the newest value of each slot that changed.
//!
//! Ten thousand changes cost a browser ten milliseconds as single events and a fiftieth of one as a binary column. The layout
//! of the binary frame is in docs/api/websocket.md. Slots belong to one subscription and count up from 0; a property that
//! appears gets the next, an array of numbers one for each element.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use egiz_model::{Offset, Quality, ThingId, Timestamp, Value};
use egiz_twin::{Connection, Engine, ThingRef};
use serde_json::json;

use super::event::{begin, put_head, put_member};
use super::hub::LiveMetrics;
use super::mailbox::Owed;
use crate::present;

/// Magic number of a binary frame.
const MAGIC: &[u8; 4] = b"EGC1";
/// Added to a quality when the Thing is not live.
const STALE: u8 = 4;

/// What a slot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Boolean,
    Text,
}

/// What was sent last, to send only what is different.
#[derive(Debug, Clone, PartialEq)]
enum Sent {
    Nothing,
    Number(u64, u8),
    Text(Value, u8),
}

/// A Thing's number, a feature, a property, and an index into an array.
type SlotKey = (u32, Arc<str>, Arc<str>, Option<u32>);

/// The slots of one subscription.
#[derive(Debug)]
pub(crate) struct Columns {
    binary: bool,
    features: Option<Vec<String>>,
    slots_max: usize,
    things: HashMap<ThingId, u32>,
    slots: HashMap<SlotKey, u32>,
    sent: Vec<Sent>,
}

/// Frames that are ready to go out.
#[derive(Debug)]
pub(crate) enum Frame {
    Text(Vec<u8>),
    Binary(Vec<u8>),
}

/// What of one tick goes out.
#[derive(Debug, Default)]
struct Tick {
    new_things: Vec<u8>,
    new_slots: Vec<u8>,
    heads: Vec<(ThingId, Vec<u8>)>,
    gone: Vec<ThingId>,
    connections: Vec<(ThingId, Connection, Option<Timestamp>)>,
    numbers: Vec<(u32, f64, u8, Kind)>,
    texts: Vec<(u32, Value, u8)>,
}

/// Where in its sequence a subscription is.
pub(crate) struct Place<'p> {
    pub(crate) subscription: u32,
    pub(crate) seq: &'p mut u64,
    pub(crate) offset: Offset,
    pub(crate) now: Timestamp,
}

impl Columns {
    pub(crate) fn new(binary: bool, features: Option<Vec<String>>, slots_max: usize) -> Self {
        Self { binary, features, slots_max, things: HashMap::new(), slots: HashMap::new(), sent: Vec::new() }
    }

    /// The frames that bring a client to the newest state of these Things. `belongs` says which are part of the
    /// subscription; the others, known before, are gone.
    pub(crate) fn frames(
        &mut self,
        engine: &Engine,
        owed: &BTreeMap<ThingId, Owed>,
        belongs: impl Fn(&ThingId) -> bool,
        place: &mut Place<'_>,
        metrics: &LiveMetrics,
    ) -> Vec<Frame> {
        let mut tick = Tick::default();
        for (id, owed) in owed {
            match engine.thing(id.as_str()).filter(|_| belongs(id)) {
                Some(thing) => self.note_thing(&thing, owed, &mut tick, metrics),
                None => {
                    if let Some(number) = self.things.remove(id) {
                        self.slots.retain(|(thing, ..), _| *thing != number);
                        tick.gone.push(id.clone());
                    }
                }
            }
        }
        self.encode(tick, place)
    }

    fn note_thing(&mut self, thing: &ThingRef<'_>, owed: &Owed, tick: &mut Tick, metrics: &LiveMetrics) {
        let known = self.things.get(thing.id()).copied();
        let number = known.unwrap_or_else(|| {
            let number = u32::try_from(self.things.len()).unwrap_or(u32::MAX);
            let number = self.things.values().max().map_or(number, |max| max + 1);
            self.things.insert(thing.id().clone(), number);
            if !tick.new_things.is_empty() {
                tick.new_things.push(b',');
            }
            tick.new_things.extend_from_slice(format!("{{\"thing\":{number},\"thingId\":").as_bytes());
            present::string(&mut tick.new_things, thing.id().as_str());
            put_head(&mut tick.new_things, thing);
            put_member(&mut tick.new_things, "connection", &json!(thing.connection().as_str()));
            tick.new_things.push(b'}');
            number
        });
        if known.is_some() && owed.whole {
            let mut head = Vec::new();
            put_head(&mut head, thing);
            tick.heads.push((thing.id().clone(), head));
            tick.connections.push((thing.id().clone(), thing.connection(), thing.last_seen()));
        }
        let stale =
            if matches!(thing.connection(), Connection::Stale | Connection::Offline) { STALE } else { 0 };
        for feature in thing.features() {
            let wanted = self
                .features
                .as_ref()
                .is_none_or(|wanted| wanted.iter().any(|name| **name == **feature.name()));
            let changed = known.is_none() || owed.whole || owed.features.contains(feature.name());
            if !wanted || !changed {
                continue;
            }
            for property in feature.properties() {
                let quality = quality_number(property.quality()) + stale;
                let place = |index: Option<u32>, value: &Value, columns: &mut Self, tick: &mut Tick| {
                    let key = (number, Arc::clone(feature.name()), Arc::clone(property.name()), index);
                    columns.note_value(key, value, quality, property.unit(), tick, metrics);
                };
                match property.value() {
                    Value::List(items)
                        if !items.is_empty() && items.iter().all(|item| item.as_f64().is_some()) =>
                    {
                        for (index, item) in (0..).zip(items) {
                            place(Some(index), item, self, tick);
                        }
                    }
                    value => place(None, value, self, tick),
                }
            }
        }
    }

    fn note_value(
        &mut self,
        key: SlotKey,
        value: &Value,
        quality: u8,
        unit: Option<&str>,
        tick: &mut Tick,
        metrics: &LiveMetrics,
    ) {
        let (number, kind) = match value {
            Value::Bool(truth) => (f64::from(u8::from(*truth)), Kind::Boolean),
            Value::Null => (f64::NAN, Kind::Number),
            other => other.as_f64().map_or((f64::NAN, Kind::Text), |number| (number, Kind::Number)),
        };
        let slot = match self.slots.get(&key) {
            Some(slot) => *slot,
            None if self.sent.len() >= self.slots_max => {
                metrics.omitted_slots.inc();
                return;
            }
            None => {
                let slot = u32::try_from(self.sent.len()).unwrap_or(u32::MAX);
                self.sent.push(Sent::Nothing);
                put_slot(&mut tick.new_slots, slot, &key, kind, unit);
                self.slots.insert(key, slot);
                slot
            }
        };
        let sent = &mut self.sent[slot as usize];
        let now = match kind {
            Kind::Text => Sent::Text(value.clone(), quality),
            Kind::Number | Kind::Boolean => Sent::Number(number.to_bits(), quality),
        };
        if *sent == now {
            return;
        }
        *sent = now;
        match kind {
            Kind::Text => tick.texts.push((slot, value.clone(), quality)),
            Kind::Number | Kind::Boolean => tick.numbers.push((slot, number, quality, kind)),
        }
    }

    fn encode(&self, tick: Tick, place: &mut Place<'_>) -> Vec<Frame> {
        let mut frames = Vec::new();
        let now = place.now;
        let mut text = |event: &str, place: &mut Place<'_>, body: &dyn Fn(&mut Vec<u8>)| {
            *place.seq += 1;
            let mut out = Vec::new();
            begin(&mut out, event, place.subscription, *place.seq);
            out.extend_from_slice(format!("\"offset\":{}", place.offset).as_bytes());
            body(&mut out);
            out.push(b'}');
            frames.push(Frame::Text(out));
        };
        for thing in &tick.gone {
            text("ThingDeleted", place, &|out| put_member(out, "thingId", &json!(thing)));
        }
        for (thing, head) in &tick.heads {
            text("ThingModified", place, &|out| {
                put_member(out, "thingId", &json!(thing));
                out.extend_from_slice(head);
            });
        }
        for (thing, connection, last_seen) in &tick.connections {
            text("ConnectionChanged", place, &|out| {
                put_member(out, "thingId", &json!(thing));
                put_member(out, "connection", &json!(connection.as_str()));
                if let Some(seen) = last_seen {
                    put_member(out, "lastSeen", &json!(seen));
                }
            });
        }
        if !tick.new_things.is_empty() || !tick.new_slots.is_empty() {
            text("Slots", place, &|out| {
                out.extend_from_slice(b",\"more\":false,\"things\":[");
                out.extend_from_slice(&tick.new_things);
                out.extend_from_slice(b"],\"slots\":[");
                out.extend_from_slice(&tick.new_slots);
                out.push(b']');
            });
        }
        if !tick.texts.is_empty() {
            let texts: Vec<_> = tick
                .texts
                .iter()
                .map(|(slot, value, quality)| json!([slot, value.to_json(), quality]))
                .collect();
            text("Texts", place, &|out| put_member(out, "texts", &json!(texts)));
        }
        if !tick.numbers.is_empty() && !self.binary {
            text("Columns", place, &|out| {
                put_member(out, "time", &json!(now));
                let slots: Vec<u32> = tick.numbers.iter().map(|(slot, ..)| *slot).collect();
                let values: Vec<_> =
                    tick.numbers.iter().map(|(_, number, _, kind)| shown(*number, *kind)).collect();
                let quality: Vec<u8> = tick.numbers.iter().map(|(_, _, quality, _)| *quality).collect();
                put_member(out, "slot", &json!(slots));
                put_member(out, "value", &json!(values));
                put_member(out, "quality", &json!(quality));
            });
        }
        if !tick.numbers.is_empty() && self.binary {
            *place.seq += 1;
            frames.push(Frame::Binary(binary(&tick.numbers, place)));
        }
        frames
    }
}

fn put_slot(out: &mut Vec<u8>, slot: u32, key: &SlotKey, kind: Kind, unit: Option<&str>) {
    let (thing, feature, property, index) = key;
    if !out.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(format!("{{\"slot\":{slot},\"thing\":{thing}").as_bytes());
    put_member(out, "feature", &json!(&**feature));
    put_member(out, "property", &json!(&**property));
    if let Some(index) = index {
        put_member(out, "index", &json!(index));
    }
    if let Some(unit) = unit {
        put_member(out, "unit", &json!(unit));
    }
    let kind = match kind {
        Kind::Number => "number",
        Kind::Boolean => "boolean",
        Kind::Text => "text",
    };
    put_member(out, "type", &json!(kind));
    out.push(b'}');
}

fn shown(number: f64, kind: Kind) -> serde_json::Value {
    match kind {
        Kind::Boolean => json!(number != 0.0),
        _ if number.is_nan() => serde_json::Value::Null,
        _ => json!(number),
    }
}

fn quality_number(quality: Quality) -> u8 {
    quality as u8
}

/// The binary frame; every column begins at a multiple of its item's size.
fn binary(numbers: &[(u32, f64, u8, Kind)], place: &Place<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(48 + numbers.len() * 13);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&place.subscription.to_le_bytes());
    out.extend_from_slice(&place.seq.to_le_bytes());
    out.extend_from_slice(&place.offset.to_le_bytes());
    out.extend_from_slice(&place.now.as_micros().to_le_bytes());
    out.extend_from_slice(&u32::try_from(numbers.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    numbers.iter().for_each(|(slot, ..)| out.extend_from_slice(&slot.to_le_bytes()));
    out.resize(out.len().next_multiple_of(8), 0);
    numbers.iter().for_each(|(_, number, ..)| out.extend_from_slice(&number.to_le_bytes()));
    out.extend(numbers.iter().map(|(_, _, quality, _)| *quality));
    out
}
