//! The frames of a column table, as JSON and as bytes. Encoded once for all clients that are equally far.
//!
//! The layout of the binary frame is in docs/api/websocket.md, and a test holds the two together.

use bytes::Bytes;
use egiz_model::Value;
use serde_json::json;

use super::event::{put_member, put_moment, put_number, put_offset, put_text};
use super::table::{Delta, Entry, Kind, NO_INDEX, Slot, Table};
use crate::present;

/// Magic number of a binary frame.
pub(crate) const MAGIC: &[u8; 4] = b"EGC1";
/// Bytes of a `Slots` frame, about.
const SLOTS_BYTES: usize = 64 << 10;
/// Values of one frame: 213 kB in binary.
const VALUES_MAX: usize = 16_384;

/// A frame without what differs between clients.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// The event's name and what follows `"event":…,"subscription":…,"seq":…,`.
    Text(&'static str, Bytes),
    /// What follows magic number, subscription and sequence number.
    Binary(Bytes),
}

/// Which part of the table goes out.
pub(crate) struct Window<'w> {
    /// What the client knows.
    pub(crate) since: u64,
    /// What it knows afterwards.
    pub(crate) upto: u64,
    /// Whether it is to be told who left.
    pub(crate) with_departed: bool,
    /// Things and slots to look at.
    pub(crate) delta: &'w Delta,
    /// Whether more `Slots` frames of the same run follow.
    pub(crate) more: bool,
    pub(crate) binary: bool,
}

impl Window<'_> {
    fn has(&self, version: u64) -> bool {
        version > self.since && version <= self.upto
    }
}

/// The frames of a window.
pub(crate) fn encode(table: &Table, window: &Window<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    for gone in table.departed(window.since, window.upto).filter(|_| window.with_departed) {
        let event = if gone.deleted { "ThingDeleted" } else { "ThingLeft" };
        parts.push(text(table, event, |out| put_text(out, "thingId", gone.id.as_str())));
    }
    let entries = || window.delta.things.iter().filter_map(|number| Some((*number, table.thing(*number)?)));
    for (_, entry) in entries().filter(|(_, entry)| entry.born <= window.since) {
        if window.has(entry.head) {
            parts.push(text(table, "ThingModified", |out| {
                put_text(out, "thingId", entry.id.as_str());
                out.extend_from_slice(&entry.head_json);
            }));
        }
        if window.has(entry.connected) {
            parts.push(text(table, "ConnectionChanged", |out| {
                put_text(out, "thingId", entry.id.as_str());
                put_text(out, "connection", entry.connection.as_str());
                if let Some(seen) = entry.last_seen {
                    put_moment(out, "lastSeen", seen);
                }
            }));
        }
    }
    put_definitions(&mut parts, table, window, entries());
    put_values(&mut parts, table, window);
    parts
}

/// `Slots` frames for new Things and new or altered slots.
fn put_definitions<'t>(
    parts: &mut Vec<Part>,
    table: &'t Table,
    window: &Window<'_>,
    entries: impl Iterator<Item = (u32, &'t Entry)>,
) {
    let (mut things, mut slots) = (Vec::new(), Vec::new());
    let mut frames: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (number, entry) in entries {
        if window.has(entry.born) {
            put_thing(&mut things, number, entry);
        }
        for slot in &entry.slots {
            if let Some(column) = table.slot(*slot)
                && window.has(column.defined)
                && entry.born <= window.upto
            {
                put_slot(&mut slots, table, *slot, column);
            }
            if things.len() + slots.len() > SLOTS_BYTES {
                frames.push((std::mem::take(&mut things), std::mem::take(&mut slots)));
            }
        }
    }
    let is_first = window.since == 0 && frames.is_empty();
    if !things.is_empty() || !slots.is_empty() || is_first {
        frames.push((things, slots));
    }
    let last = frames.len().saturating_sub(1);
    for (index, (things, slots)) in frames.into_iter().enumerate() {
        parts.push(text(table, "Slots", |out| {
            put_member(out, "more", &json!(window.more || index < last));
            out.extend_from_slice(b",\"things\":[");
            out.extend_from_slice(&things);
            out.extend_from_slice(b"],\"slots\":[");
            out.extend_from_slice(&slots);
            out.push(b']');
        }));
    }
}

/// `Texts` and `Columns` frames.
fn put_values(parts: &mut Vec<Part>, table: &Table, window: &Window<'_>) {
    let mut numbers = Vec::new();
    let mut texts = Vec::new();
    for slot in &window.delta.slots {
        let Some(column) = table.slot(*slot) else { continue };
        // A value that is newer than the window comes again with its own version; that does no harm.
        let is_defined = column.defined <= window.upto;
        if !is_defined || column.changed <= window.since {
            continue;
        }
        match column.kind {
            Kind::Text => texts.push((*slot, column)),
            Kind::Number | Kind::Boolean => numbers.push((*slot, column)),
        }
    }
    for texts in texts.chunks(VALUES_MAX) {
        parts.push(text(table, "Texts", |out| {
            let texts: Vec<_> = texts
                .iter()
                .map(|(slot, column)| json!([slot, table.text(*slot).map(Value::to_json), column.quality]))
                .collect();
            put_member(out, "texts", &json!(texts));
        }));
    }
    for numbers in numbers.chunks(VALUES_MAX) {
        parts.push(if window.binary { binary(table, numbers) } else { json_columns(table, numbers) });
    }
}

fn text(table: &Table, event: &'static str, body: impl FnOnce(&mut Vec<u8>)) -> Part {
    let mut out = Vec::new();
    put_offset(&mut out, table.offset);
    body(&mut out);
    out.push(b'}');
    Part::Text(event, out.into())
}

fn put_thing(out: &mut Vec<u8>, number: u32, entry: &Entry) {
    if !out.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(b"{\"thing\":");
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    put_text(out, "thingId", entry.id.as_str());
    out.extend_from_slice(&entry.head_json);
    put_text(out, "connection", entry.connection.as_str());
    out.push(b'}');
}

fn put_slot(out: &mut Vec<u8>, table: &Table, slot: u32, column: &Slot) {
    if !out.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(b"{\"slot\":");
    out.extend_from_slice(itoa::Buffer::new().format(slot).as_bytes());
    put_number(out, "thing", column.thing.into());
    let (feature, property) = table.name(column);
    put_text(out, "feature", feature);
    put_text(out, "property", property);
    if column.index != NO_INDEX {
        put_number(out, "index", column.index.into());
    }
    if let Some(unit) = table.unit(column) {
        put_text(out, "unit", unit);
    }
    let kind = match column.kind {
        Kind::Number => "number",
        Kind::Boolean => "boolean",
        Kind::Text => "text",
    };
    put_text(out, "type", kind);
    out.push(b'}');
}

fn json_columns(table: &Table, numbers: &[(u32, &Slot)]) -> Part {
    text(table, "Columns", |out| {
        put_moment(out, "time", table.time);
        let mut list = |name: &str, item: &dyn Fn(&mut Vec<u8>, u32, &Slot)| {
            out.push(b',');
            present::string(out, name);
            out.extend_from_slice(b":[");
            for (index, (slot, column)) in numbers.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                item(out, *slot, column);
            }
            out.push(b']');
        };
        list("slot", &|out, slot, _| out.extend_from_slice(itoa::Buffer::new().format(slot).as_bytes()));
        list("value", &|out, _, column| {
            out.extend_from_slice(match column.kind {
                _ if !column.number.is_finite() => b"null",
                Kind::Boolean if column.number == 0.0 => b"false",
                Kind::Boolean => b"true",
                _ => {
                    return out.extend_from_slice(ryu::Buffer::new().format_finite(column.number).as_bytes());
                }
            });
        });
        list("quality", &|out, _, column| {
            out.extend_from_slice(itoa::Buffer::new().format(column.quality).as_bytes());
        });
    })
}

/// The binary frame; every column begins at a multiple of its item's size, counted from the frame's begin.
fn binary(table: &Table, numbers: &[(u32, &Slot)]) -> Part {
    /// Magic number, subscription and sequence number, which are the client's own.
    const BEFORE: usize = 16;
    let mut out = Vec::with_capacity(32 + numbers.len() * 13);
    out.extend_from_slice(&table.offset.to_le_bytes());
    out.extend_from_slice(&table.time.as_micros().to_le_bytes());
    out.extend_from_slice(&u32::try_from(numbers.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    numbers.iter().for_each(|(slot, _)| out.extend_from_slice(&slot.to_le_bytes()));
    out.resize((BEFORE + out.len()).next_multiple_of(8) - BEFORE, 0);
    numbers.iter().for_each(|(_, column)| out.extend_from_slice(&column.number.to_le_bytes()));
    out.extend(numbers.iter().map(|(_, column)| column.quality));
    Part::Binary(out.into())
}
