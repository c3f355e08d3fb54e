//! Changes as clients see them. What an event says is encoded once, when the first client wants it, and shared; only the
//! subscription's number and the event's place in it are written for each client.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use egiz_model::{Offset, ThingId, Timestamp};
use egiz_twin::interest::Sight;
use egiz_twin::{ChangeKind, Engine, ThingRef};
use parking_lot::RwLock;
use serde_json::json;

use super::fact::Fact;
use crate::fields::{Fields, Shown};
use crate::present;

/// A change on its way to clients, with its encoding once somebody wanted it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) fact: Arc<Fact>,
    body: OnceLock<Bytes>,
}

/// One frame of a subscription, without what differs between clients.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// The event's name.
    pub(crate) event: &'static str,
    /// What to ask for in order to go on behind this frame; `None` where that would leave something out.
    pub(crate) next: Option<Offset>,
    /// The members behind `"event":…,"subscription":…,"seq":…,`, up to and with the closing brace.
    pub(crate) rest: Bytes,
}

impl Event {
    pub(crate) fn new(fact: Arc<Fact>) -> Self {
        Self { fact, body: OnceLock::new() }
    }

    /// The frame that tells a client who sees it so; `fields` cut down Things shown as a whole.
    pub(crate) fn frame(&self, sight: Sight, fields: Option<&Fields>, engine: &RwLock<Engine>) -> Frame {
        let fact = &self.fact;
        let shows_thing = sight == Sight::Entered || fact.change.kind == ChangeKind::Created;
        let event = match sight {
            // A Thing that is new has not been anywhere else before.
            Sight::Entered if fact.change.kind != ChangeKind::Created => "ThingEntered",
            Sight::Left => "ThingLeft",
            Sight::Seen | Sight::Entered => name(&fact.change.kind),
        };
        let rest = if sight == Sight::Left {
            encode(fact, |_| {})
        } else if shows_thing && (fields.is_some() || sight == Sight::Entered) {
            encode(fact, |out| put_whole(out, fact, fields, engine))
        } else {
            self.body.get_or_init(|| encode(fact, |out| put_kind(out, fact, engine))).clone()
        };
        Frame { event, next: Some(fact.next()), rest }
    }
}

/// The feature that a change is about, if it is about one.
pub(crate) fn feature_of(kind: &ChangeKind) -> Option<&str> {
    match kind {
        ChangeKind::Feature { feature, .. }
        | ChangeKind::Desired { feature }
        | ChangeKind::Metadata { feature, .. } => Some(feature),
        _ => None,
    }
}

fn name(kind: &ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Created => "ThingCreated",
        ChangeKind::Deleted => "ThingDeleted",
        ChangeKind::Definition | ChangeKind::Attributes => "ThingModified",
        ChangeKind::Feature { .. } => "StateChanged",
        ChangeKind::Desired { .. } => "DesiredChanged",
        ChangeKind::Metadata { .. } => "MetadataChanged",
        ChangeKind::Connection(_) => "ConnectionChanged",
        ChangeKind::Discovered => "Discovered",
        ChangeKind::Template { .. } => "TemplateChanged",
    }
}

fn encode(fact: &Fact, kind: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let change = &fact.change;
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"\"thingId\":");
    present::string(&mut out, change.thing.as_str());
    kind(&mut out);
    put_number(&mut out, "revision", change.revision);
    put_number(&mut out, "offset", change.offset);
    put_number(&mut out, "next", fact.next());
    out.extend_from_slice(b",\"time\":{");
    if let Some(source) = change.source {
        out.extend_from_slice(b"\"source\":");
        present::moment(&mut out, source);
        out.push(b',');
    }
    out.extend_from_slice(b"\"received\":");
    present::moment(&mut out, change.received);
    out.extend_from_slice(b",\"durable\":");
    present::moment(&mut out, fact.durable);
    out.extend_from_slice(b",\"applied\":");
    present::moment(&mut out, fact.applied);
    out.extend_from_slice(b"},\"cause\":{\"principal\":");
    present::string(&mut out, &change.principal);
    if let Some(correlation) = &change.correlation {
        put_text(&mut out, "correlationId", correlation);
    }
    out.extend_from_slice(b"}}");
    out.into()
}

/// What the change itself says. Of the Thing's head and connection it is the newest that is said.
fn put_kind(out: &mut Vec<u8>, fact: &Fact, engine: &RwLock<Engine>) {
    match &fact.change.kind {
        ChangeKind::Feature { feature, properties, removed } => {
            put_text(out, "feature", feature);
            out.extend_from_slice(b",\"properties\":{");
            for (index, (name, value)) in properties.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                present::string(out, name);
                out.push(b':');
                match value {
                    Some(value) => present::value(out, value, &Shown::Everything),
                    None => out.extend_from_slice(b"null"),
                }
            }
            out.push(b'}');
            if *removed {
                out.extend_from_slice(b",\"removed\":true");
            }
        }
        ChangeKind::Created => put_whole(out, fact, None, engine),
        ChangeKind::Definition | ChangeKind::Attributes => {
            if let Some(thing) = engine.read().thing(fact.change.thing.as_str()) {
                put_head(out, &thing);
            }
        }
        ChangeKind::Desired { feature } => {
            put_text(out, "feature", feature);
            if let Some(thing) = engine.read().thing(fact.change.thing.as_str()) {
                put_desired(out, &thing, feature);
            }
        }
        ChangeKind::Metadata { feature, property } => {
            put_text(out, "feature", feature);
            put_text(out, "property", property);
        }
        ChangeKind::Connection(connection) => {
            put_text(out, "connection", connection.as_str());
            if let Some(seen) =
                engine.read().thing(fact.change.thing.as_str()).and_then(|thing| thing.last_seen())
            {
                put_moment(out, "lastSeen", seen);
            }
        }
        ChangeKind::Deleted | ChangeKind::Discovered | ChangeKind::Template { .. } => {}
    }
}

/// The Thing as it is now; left out where it is gone again, which a later event tells.
fn put_whole(out: &mut Vec<u8>, fact: &Fact, fields: Option<&Fields>, engine: &RwLock<Engine>) {
    if let Some(thing) = engine.read().thing(fact.change.thing.as_str()) {
        put_thing_member(out, &thing, fields);
    }
}

/// Adds `,"thing":{…}` as REST shows it, cut down to the chosen fields.
pub(crate) fn put_thing_member(out: &mut Vec<u8>, thing: &ThingRef<'_>, fields: Option<&Fields>) {
    out.extend_from_slice(b",\"thing\":");
    put_thing(out, thing, fields);
}

/// A Thing as REST shows it, cut down to the chosen fields.
pub(crate) fn put_thing(out: &mut Vec<u8>, thing: &ThingRef<'_>, fields: Option<&Fields>) {
    present::thing(out, thing, &Shown::of(fields), false);
}

/// Adds definition and attributes.
pub(crate) fn put_head(out: &mut Vec<u8>, thing: &ThingRef<'_>) {
    if let Some(definition) = thing.definition() {
        put_text(out, "definition", definition);
    }
    out.extend_from_slice(b",\"attributes\":");
    present::attributes(out, thing, &Shown::Everything);
}

/// Adds the desired properties of a feature.
pub(crate) fn put_desired(out: &mut Vec<u8>, thing: &ThingRef<'_>, feature: &str) {
    out.extend_from_slice(b",\"desiredProperties\":");
    let pointer = format!("/features/{}/desiredProperties", feature.replace('~', "~0").replace('/', "~1"));
    if !present::part(out, thing, &pointer, &Shown::Everything, false) {
        out.extend_from_slice(b"{}");
    }
}

/// Adds a feature's newest properties.
pub(crate) fn put_properties(out: &mut Vec<u8>, thing: &ThingRef<'_>, feature: &str) {
    put_text(out, "feature", feature);
    out.extend_from_slice(b",\"properties\":");
    let pointer = format!("/features/{}/properties", feature.replace('~', "~0").replace('/', "~1"));
    if !present::part(out, thing, &pointer, &Shown::Everything, false) {
        out.extend_from_slice(b"{}");
    }
}

/// Begins what is not about one change: `"offset":…`.
pub(crate) fn put_offset(out: &mut Vec<u8>, offset: Offset) {
    out.extend_from_slice(b"\"offset\":");
    out.extend_from_slice(itoa::Buffer::new().format(offset).as_bytes());
}

/// Begins what is about a Thing: `"thingId":…`.
pub(crate) fn put_thing_id(out: &mut Vec<u8>, thing: &ThingId) {
    out.extend_from_slice(b"\"thingId\":");
    present::string(out, thing.as_str());
}

/// Adds `,"name":value`.
pub(crate) fn put_member(out: &mut Vec<u8>, name: &str, value: &serde_json::Value) {
    put_name(out, name);
    // Writing into a vector cannot fail.
    let _ = serde_json::to_writer(out, value);
}

/// Adds `,"name":"text"`.
pub(crate) fn put_text(out: &mut Vec<u8>, name: &str, text: &str) {
    put_name(out, name);
    present::string(out, text);
}

/// Adds `,"name":number`.
pub(crate) fn put_number(out: &mut Vec<u8>, name: &str, number: u64) {
    put_name(out, name);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Adds `,"name":"2026-…"`.
pub(crate) fn put_moment(out: &mut Vec<u8>, name: &str, moment: Timestamp) {
    put_name(out, name);
    present::moment(out, moment);
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    present::string(out, name);
    out.push(b':');
}

/// A frame that says where the stream is, and perhaps why.
pub(crate) fn mark(event: &'static str, offset: Offset, reason: Option<&str>) -> Frame {
    let mut rest = Vec::new();
    put_offset(&mut rest, offset);
    let next = (event == "Bookmark").then_some(offset);
    if let Some(next) = next {
        put_number(&mut rest, "next", next);
    }
    if let Some(reason) = reason {
        put_member(&mut rest, "reason", &json!(reason));
    }
    rest.push(b'}');
    Frame { event, next, rest: rest.into() }
}
