//! Writes Things as JSON straight from the engine's state into a buffer: no tree in between, one pass.
//!
//! The form is [`egiz_api::Thing`]; a test reads back what is written here as that type. Where only a selection is shown,
//! an object in which nothing was selected is left out with it.

mod text;

use egiz_model::{Timestamp, Value};
use egiz_twin::{AttributeRef, FeatureRef, PropertyRef, ThingRef};

use crate::fields::Shown;
use crate::target;

pub(crate) use text::string;

/// Writes the whole Thing, cut down to what is shown. `_metadata` is written if asked for, or if `shown` names it.
pub(crate) fn thing(out: &mut Vec<u8>, thing: &ThingRef<'_>, shown: &Shown<'_>, with_metadata: bool) {
    let mut object = Object::begin(out);
    if shown.member("thingId").is_some() {
        object.key("thingId");
        string(object.out, thing.id().as_str());
    }
    if let Some(definition) = thing.definition().filter(|_| shown.member("definition").is_some()) {
        object.key("definition");
        string(object.out, definition);
    }
    if let Some(below) = shown.member("attributes") {
        object.member("attributes", &below, |out| attributes(out, thing, &below));
    }
    if let Some(below) = shown.member("features") {
        object.member("features", &below, |out| features(out, thing, &below));
    }
    for name in ["_revision", "_offset", "_created", "_modified", "_connection"] {
        if let Some(below) = shown.member(name) {
            object.member(name, &below, |out| system(out, thing, name, &below));
        }
    }
    let may_show_metadata = with_metadata || !shown.is_everything();
    if let Some(below) = shown.member("_metadata").filter(|_| may_show_metadata) {
        object.member("_metadata", &below, |out| metadata(out, thing, &below));
    }
    object.end();
}

/// Writes what is at a JSON pointer into the Thing; `false` and nothing written where nothing is there.
pub(crate) fn part(
    out: &mut Vec<u8>,
    thing: &ThingRef<'_>,
    pointer: &str,
    shown: &Shown<'_>,
    with_metadata: bool,
) -> bool {
    let tokens = target::names_of(pointer);
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    match *tokens.as_slice() {
        [] => self::thing(out, thing, shown, with_metadata),
        ["thingId"] => string(out, thing.id().as_str()),
        ["definition"] => match thing.definition() {
            Some(definition) => string(out, definition),
            None => return false,
        },
        ["attributes"] => attributes(out, thing, shown),
        ["attributes", name, ref rest @ ..] => {
            let found = thing.attributes().find(|attribute| **attribute.name() == *name);
            return found.is_some_and(|found| at(out, found.value(), rest, shown));
        }
        ["features"] => features(out, thing, shown),
        ["features", name, ref rest @ ..] => {
            let Some(found) = thing.feature(name) else { return false };
            return feature_part(out, &found, rest, shown);
        }
        ["_metadata"] => metadata(out, thing, shown),
        ["_metadata", name, ref rest @ ..] => {
            let Some(found) = thing.feature(name) else { return false };
            return metadata_part(out, &found, rest, shown);
        }
        ["_connection", "state"] => string(out, thing.connection().as_str()),
        ["_connection", "lastSeen"] => match thing.last_seen() {
            Some(seen) => moment(out, seen),
            None => return false,
        },
        [name @ ("_revision" | "_offset" | "_created" | "_modified" | "_connection")] => {
            system(out, thing, name, shown);
        }
        _ => return false,
    }
    true
}

fn system(out: &mut Vec<u8>, thing: &ThingRef<'_>, name: &str, shown: &Shown<'_>) {
    match name {
        "_revision" => number(out, thing.revision()),
        "_offset" => number(out, thing.offset()),
        "_created" => moment(out, thing.created()),
        "_modified" => moment(out, thing.modified()),
        _ => {
            let mut object = Object::begin(out);
            if shown.member("state").is_some() {
                object.key("state");
                string(object.out, thing.connection().as_str());
            }
            if let Some(seen) = thing.last_seen().filter(|_| shown.member("lastSeen").is_some()) {
                object.key("lastSeen");
                moment(object.out, seen);
            }
            object.end();
        }
    }
}

/// Writes the attributes as an object.
pub(crate) fn attributes(out: &mut Vec<u8>, thing: &ThingRef<'_>, shown: &Shown<'_>) {
    members(out, thing.attributes().map(named), shown);
}

fn named<'a>(attribute: AttributeRef<'a>) -> (&'a str, &'a Value) {
    (attribute.name(), attribute.value())
}

/// Writes the features as an object.
pub(crate) fn features(out: &mut Vec<u8>, thing: &ThingRef<'_>, shown: &Shown<'_>) {
    let mut object = Object::begin(out);
    for found in thing.features() {
        if let Some(below) = shown.member(found.name()) {
            object.member(found.name(), &below, |out| feature(out, &found, &below));
        }
    }
    object.end();
}

fn feature(out: &mut Vec<u8>, feature: &FeatureRef<'_>, shown: &Shown<'_>) {
    let mut object = Object::begin(out);
    if let Some(definition) = feature.definition()
        && let Some(below) = shown.member("definition")
    {
        object.member("definition", &below, |out| value(out, definition, &below));
    }
    if let Some(below) = shown.member("properties") {
        object.member("properties", &below, |out| properties(out, feature, &below));
    }
    if let Some(below) = shown.member("desiredProperties") {
        let mut desired = feature.desired().map(named).peekable();
        if desired.peek().is_some() {
            object.member("desiredProperties", &below, |out| members(out, desired, &below));
        }
    }
    object.end();
}

fn feature_part(out: &mut Vec<u8>, found: &FeatureRef<'_>, tokens: &[&str], shown: &Shown<'_>) -> bool {
    match *tokens {
        [] => feature(out, found, shown),
        ["definition", ref rest @ ..] => {
            return found.definition().is_some_and(|definition| at(out, definition, rest, shown));
        }
        ["properties"] => properties(out, found, shown),
        ["properties", name, ref rest @ ..] => {
            return found.property(name).is_some_and(|property| at(out, property.value(), rest, shown));
        }
        ["desiredProperties"] => {
            let mut desired = found.desired().map(named).peekable();
            if desired.peek().is_none() {
                return false;
            }
            members(out, desired, shown);
        }
        ["desiredProperties", name, ref rest @ ..] => {
            let wanted = found.desired().find(|wanted| **wanted.name() == *name);
            return wanted.is_some_and(|wanted| at(out, wanted.value(), rest, shown));
        }
        _ => return false,
    }
    true
}

fn properties(out: &mut Vec<u8>, feature: &FeatureRef<'_>, shown: &Shown<'_>) {
    members(out, feature.properties().map(|property| (&**property.name(), property.value())), shown);
}

fn metadata(out: &mut Vec<u8>, thing: &ThingRef<'_>, shown: &Shown<'_>) {
    let mut object = Object::begin(out);
    for feature in thing.features() {
        if let Some(below) = shown.member(feature.name()) {
            object.member(feature.name(), &below, |out| feature_metadata(out, &feature, &below));
        }
    }
    object.end();
}

fn feature_metadata(out: &mut Vec<u8>, feature: &FeatureRef<'_>, shown: &Shown<'_>) {
    let mut object = Object::begin(out);
    for property in feature.properties() {
        if let Some(below) = shown.member(property.name()) {
            object.member(property.name(), &below, |out| property_metadata(out, &property, &below));
        }
    }
    object.end();
}

fn metadata_part(out: &mut Vec<u8>, feature: &FeatureRef<'_>, tokens: &[&str], shown: &Shown<'_>) -> bool {
    match *tokens {
        [] => feature_metadata(out, feature, shown),
        [name, ref rest @ ..] => {
            let Some(property) = feature.property(name) else { return false };
            match *rest {
                [] => property_metadata(out, &property, shown),
                [member] if METADATA.contains(&member) => return metadata_member(out, &property, member),
                ref inner => return property.metadata().is_some_and(|own| at(out, own, inner, shown)),
            }
        }
    }
    true
}

/// What the platform itself knows of a property; people may add more.
const METADATA: [&str; 6] = ["unit", "quality", "reason", "sourceTime", "receiveTime", "revision"];

fn property_metadata(out: &mut Vec<u8>, property: &PropertyRef<'_>, shown: &Shown<'_>) {
    let mut object = Object::begin(out);
    if let Some(Value::Map(own)) = property.metadata() {
        for (name, found) in own.iter().filter(|(name, _)| !METADATA.contains(&&**name)) {
            if let Some(below) = shown.member(name) {
                object.member(name, &below, |out| value(out, found, &below));
            }
        }
    }
    for name in METADATA {
        if shown.member(name).is_some() && has_metadata(property, name) {
            object.key(name);
            metadata_member(object.out, property, name);
        }
    }
    object.end();
}

fn has_metadata(property: &PropertyRef<'_>, name: &str) -> bool {
    match name {
        "unit" => property.unit().is_some(),
        "reason" => property.reason().as_str().is_some(),
        _ => true,
    }
}

fn metadata_member(out: &mut Vec<u8>, property: &PropertyRef<'_>, name: &str) -> bool {
    match name {
        "unit" => match property.unit() {
            Some(unit) => string(out, unit),
            None => return false,
        },
        "quality" => string(out, property.quality().as_str()),
        "reason" => match property.reason().as_str() {
            Some(reason) => string(out, reason),
            None => return false,
        },
        "sourceTime" => moment(out, property.source()),
        "receiveTime" => moment(out, property.received()),
        "revision" => number(out, property.revision()),
        _ => return false,
    }
    true
}

fn members<'a>(out: &mut Vec<u8>, members: impl Iterator<Item = (&'a str, &'a Value)>, shown: &Shown<'_>) {
    let mut object = Object::begin(out);
    for (name, found) in members {
        if let Some(below) = shown.member(name) {
            object.member(name, &below, |out| value(out, found, &below));
        }
    }
    object.end();
}

/// Writes a value, objects cut down to what is shown.
pub(crate) fn value(out: &mut Vec<u8>, value: &Value, shown: &Shown<'_>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
        Value::Float(number) => out.extend_from_slice(ryu::Buffer::new().format(*number).as_bytes()),
        Value::Text(text) => string(out, text),
        Value::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                self::value(out, item, &Shown::Everything);
            }
            out.push(b']');
        }
        Value::Map(entries) => members(out, entries.iter().map(|(name, value)| (&**name, value)), shown),
    }
}

/// Writes what is at `tokens` inside a value.
fn at(out: &mut Vec<u8>, found: &Value, tokens: &[&str], shown: &Shown<'_>) -> bool {
    let mut found = found;
    for token in tokens {
        let below = match found {
            Value::Map(_) => found.member(token),
            Value::List(items) => index(token).and_then(|index| items.get(index)),
            _ => None,
        };
        let Some(below) = below else { return false };
        found = below;
    }
    value(out, found, shown);
    true
}

/// An array index as RFC 6901 has it: digits without leading zeros.
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { token.parse().ok() } else { None }
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a moment as a text.
pub(crate) fn moment(out: &mut Vec<u8>, moment: Timestamp) {
    out.push(b'"');
    // Writing into a vector cannot fail.
    let _ = moment.write(&mut text::Utf8(out));
    out.push(b'"');
}

/// An object that is being written.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl<'o> Object<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    fn key(&mut self, name: &str) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        string(self.out, name);
        self.out.push(b':');
    }

    /// Writes a member, or nothing where a selection goes on below it and finds nothing there.
    fn member(&mut self, name: &str, below: &Shown<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        let (before, was_empty) = (self.out.len(), self.is_empty);
        self.key(name);
        let start = self.out.len();
        write(self.out);
        let found =
            below.is_everything() || (self.out[start..].starts_with(b"{") && self.out.len() > start + 2);
        if !found {
            self.out.truncate(before);
            self.is_empty = was_empty;
        }
    }

    fn end(self) {
        self.out.push(b'}');
    }
}
