//! Changes as clients see them. What an event says is encoded once, when the first client wants it, and shared; only the
//! subscription's number and the event's place in it are written for each client.

use std::sync::OnceLock;

use bytes::Bytes;
use egiz_model::Timestamp;
use egiz_twin::interest::Sight;
use egiz_twin::{Change, ChangeKind, Engine, ThingRef};
use serde_json::json;

use crate::fields::{Fields, Shown};
use crate::present;

/// A change with the times of its way.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) change: Change,
    durable: Timestamp,
    applied: Timestamp,
    body: OnceLock<Bytes>,
}

impl Event {
    pub(crate) fn new(change: Change, durable: Timestamp, applied: Timestamp) -> Self {
        Self { change, durable, applied, body: OnceLock::new() }
    }

    /// The feature it is about, if it is about one.
    pub(crate) fn feature(&self) -> Option<&str> {
        match &self.change.kind {
            ChangeKind::Feature { feature, .. }
            | ChangeKind::Desired { feature }
            | ChangeKind::Metadata { feature, .. } => Some(feature),
            _ => None,
        }
    }

    /// The event's name.
    pub(crate) fn name(&self) -> &'static str {
        match &self.change.kind {
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

    /// Everything behind `"event":…,"subscription":…,"seq":…,` up to and with the closing brace. What is shown of the Thing
    /// itself is its newest state.
    pub(crate) fn body(&self, engine: &parking_lot::RwLock<Engine>) -> &Bytes {
        self.body.get_or_init(|| {
            let mut out = Vec::with_capacity(512);
            out.extend_from_slice(b"\"thingId\":");
            present::string(&mut out, self.change.thing.as_str());
            match &self.change.kind {
                ChangeKind::Feature { feature, properties, removed } => {
                    out.extend_from_slice(b",\"feature\":");
                    present::string(&mut out, feature);
                    out.extend_from_slice(b",\"properties\":{");
                    for (index, (name, value)) in properties.iter().enumerate() {
                        if index > 0 {
                            out.push(b',');
                        }
                        present::string(&mut out, name);
                        out.push(b':');
                        match value {
                            Some(value) => present::value(&mut out, value, &Shown::of(None)),
                            None => out.extend_from_slice(b"null"),
                        }
                    }
                    out.push(b'}');
                    if *removed {
                        out.extend_from_slice(b",\"removed\":true");
                    }
                }
                ChangeKind::Created => {
                    if let Some(thing) = engine.read().thing(self.change.thing.as_str()) {
                        out.extend_from_slice(b",\"thing\":");
                        present::thing(&mut out, &thing, &Shown::of(None), false);
                    }
                }
                ChangeKind::Definition | ChangeKind::Attributes => {
                    if let Some(thing) = engine.read().thing(self.change.thing.as_str()) {
                        put_head(&mut out, &thing);
                    }
                }
                ChangeKind::Desired { feature } => put_member(&mut out, "feature", &json!(&**feature)),
                ChangeKind::Metadata { feature, property } => {
                    put_member(&mut out, "feature", &json!(&**feature));
                    put_member(&mut out, "property", &json!(&**property));
                }
                ChangeKind::Connection(connection) => {
                    put_member(&mut out, "connection", &json!(connection.as_str()));
                    let seen =
                        engine.read().thing(self.change.thing.as_str()).and_then(|thing| thing.last_seen());
                    if let Some(seen) = seen {
                        put_member(&mut out, "lastSeen", &json!(seen));
                    }
                }
                ChangeKind::Deleted | ChangeKind::Discovered | ChangeKind::Template { .. } => {}
            }
            let change = &self.change;
            put_member(&mut out, "revision", &json!(change.revision));
            put_member(&mut out, "offset", &json!(change.offset));
            let mut times =
                json!({"received": change.received, "durable": self.durable, "applied": self.applied});
            if let Some(source) = change.source {
                times["source"] = json!(source);
            }
            put_member(&mut out, "time", &times);
            let mut cause = json!({"principal": &*change.principal});
            if let Some(correlation) = &change.correlation {
                cause["correlationId"] = json!(&**correlation);
            }
            put_member(&mut out, "cause", &cause);
            out.push(b'}');
            out.into()
        })
    }
}

/// Adds `,"name":value`.
pub(crate) fn put_member(out: &mut Vec<u8>, name: &str, value: &serde_json::Value) {
    out.push(b',');
    present::string(out, name);
    out.push(b':');
    out.extend_from_slice(value.to_string().as_bytes());
}

/// Adds definition and attributes.
pub(crate) fn put_head(out: &mut Vec<u8>, thing: &ThingRef<'_>) {
    if let Some(definition) = thing.definition() {
        put_member(out, "definition", &json!(definition));
    }
    out.extend_from_slice(b",\"attributes\":");
    present::attributes(out, thing, &Shown::of(None));
}

/// Begins a frame of a subscription: `{"event":…,"subscription":…,"seq":…,`.
pub(crate) fn begin(out: &mut Vec<u8>, event: &str, subscription: u32, seq: u64) {
    out.extend_from_slice(
        format!("{{\"event\":\"{event}\",\"subscription\":{subscription},\"seq\":{seq},").as_bytes(),
    );
}

/// How an event is called for one that sees it so.
pub(crate) fn name_for(event: &Event, sight: Sight) -> &'static str {
    match sight {
        Sight::Seen => event.name(),
        Sight::Entered => "ThingEntered",
        Sight::Left => "ThingLeft",
    }
}

/// A Thing as snapshots show it, cut down to the chosen features.
pub(crate) fn put_thing(out: &mut Vec<u8>, thing: &ThingRef<'_>, fields: Option<&Fields>) {
    present::thing(out, thing, &Shown::of(fields), false);
}
