//! A Thing as a JSON document, and back: how writes to any path are carried out.
//!
//! A write edits the document and the result is checked and compared with what is there, part by part; so every
//! operation and path works the same way, and a part that comes out as it was gets no new revision.

use egiz_model::record::format::DEPTH_MAX;
use egiz_model::{Name, Value};
use serde_json::{Map, Value as Json};

use crate::Refusal;
use crate::engine::Engine;
use crate::thing::{Attribute, Thing};

/// The document: `thingId`, `definition`, `attributes`, `features`.
pub(crate) fn of_thing(engine: &Engine, thing: &Thing) -> Json {
    let mut document = Map::new();
    document.insert("thingId".into(), thing.id.as_str().into());
    if let Some(definition) = &thing.definition {
        document.insert("definition".into(), (**definition).into());
    }
    document.insert("attributes".into(), members(engine, &thing.attributes));
    let features = thing.features.iter().map(|feature| {
        let mut body = Map::new();
        if let Some(definition) = &feature.definition {
            body.insert("definition".into(), definition.value.to_json());
        }
        let properties =
            feature.properties.iter().map(|property| (text(engine, property.name), property.value.to_json()));
        body.insert("properties".into(), Json::Object(properties.collect()));
        if !feature.desired.is_empty() {
            body.insert("desiredProperties".into(), members(engine, &feature.desired));
        }
        (text(engine, feature.name), Json::Object(body))
    });
    document.insert("features".into(), Json::Object(features.collect()));
    Json::Object(document)
}

fn text(engine: &Engine, name: crate::names::Symbol) -> String {
    engine.names.text(name).to_string()
}

fn members(engine: &Engine, list: &[Attribute]) -> Json {
    Json::Object(list.iter().map(|member| (text(engine, member.name), member.value.to_json())).collect())
}

/// One step from a value to what lies inside it.
pub(crate) fn step<'a>(value: &'a Value, segment: &str) -> Option<&'a Value> {
    match value {
        Value::Map(_) => value.member(segment),
        Value::List(items) => items.get(array_index(segment)?),
        _ => None,
    }
}

/// An index as RFC 6901 writes it: no sign, no leading zero.
pub(crate) fn array_index(segment: &str) -> Option<usize> {
    let canonical =
        segment == "0" || (!segment.starts_with('0') && segment.bytes().all(|byte| byte.is_ascii_digit()));
    if canonical { segment.parse().ok() } else { None }
}

/// A document that keeps the rules of a Thing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checked {
    pub(crate) definition: Option<String>,
    pub(crate) attributes: Vec<(String, Value)>,
    pub(crate) features: Vec<CheckedFeature>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckedFeature {
    pub(crate) name: String,
    pub(crate) definition: Option<Value>,
    pub(crate) properties: Vec<(String, Value)>,
    pub(crate) desired: Vec<(String, Value)>,
}

/// Takes a document apart. Members beginning with `_` are the platform's own: they are shown, and ignored when they come
/// back, so that what was read can be written.
pub(crate) fn check(thing: &str, document: Json) -> Result<Checked, Refusal> {
    let mut checked = Checked { definition: None, attributes: Vec::new(), features: Vec::new() };
    for (name, value) in sorted(object("", document)?) {
        match name.as_str() {
            "thingId" if value == thing => {}
            "thingId" => {
                return Err(invalid("/thingId", format!("it is {value}, yet the Thing is \"{thing}\"")));
            }
            "definition" => {
                checked.definition = match value {
                    Json::Null => None,
                    Json::String(definition) if (1..=256).contains(&definition.len()) => Some(definition),
                    other => {
                        return Err(invalid(
                            "/definition",
                            format!("{} is no text of 1 to 256 bytes", shown(&other)),
                        ));
                    }
                }
            }
            "attributes" => checked.attributes = named_values("/attributes", value)?,
            "features" => {
                for (name, feature) in sorted(object("/features", value)?) {
                    let pointer = format!("/features/{}", escaped(&name));
                    Name::check(&name).map_err(|error| invalid(&pointer, error.to_string()))?;
                    checked.features.push(check_feature(&pointer, name, feature)?);
                }
            }
            own if own.starts_with('_') => {}
            _ => {
                let pointer = format!("/{}", escaped(&name));
                return Err(invalid(
                    &pointer,
                    "it is not a member of a Thing; allowed are thingId, definition, attributes and features"
                        .into(),
                ));
            }
        }
    }
    Ok(checked)
}

fn check_feature(pointer: &str, name: String, feature: Json) -> Result<CheckedFeature, Refusal> {
    let mut checked = CheckedFeature { name, definition: None, properties: Vec::new(), desired: Vec::new() };
    for (member, value) in sorted(object(pointer, feature)?) {
        let below = format!("{pointer}/{}", escaped(&member));
        match member.as_str() {
            "definition" if value.is_null() => {}
            "definition" => checked.definition = Some(value_of(&below, &value)?),
            "properties" => checked.properties = named_values(&below, value)?,
            "desiredProperties" => checked.desired = named_values(&below, value)?,
            _ => {
                return Err(invalid(
                    &below,
                    "it is not a member of a feature; allowed are definition, properties and desiredProperties".into(),
                ));
            }
        }
    }
    Ok(checked)
}

fn object(pointer: &str, value: Json) -> Result<Map<String, Json>, Refusal> {
    match value {
        Json::Object(members) => Ok(members),
        other => Err(invalid(pointer, format!("{} is no object", shown(&other)))),
    }
}

/// By name, whatever order the JSON library keeps: the order in which new names are met becomes part of the state.
fn sorted(members: Map<String, Json>) -> Vec<(String, Json)> {
    let mut members: Vec<(String, Json)> = members.into_iter().collect();
    members.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    members
}

fn named_values(pointer: &str, value: Json) -> Result<Vec<(String, Value)>, Refusal> {
    let members = sorted(object(pointer, value)?).into_iter().map(|(name, value)| {
        let below = format!("{pointer}/{}", escaped(&name));
        Name::check(&name).map_err(|error| invalid(&below, error.to_string()))?;
        let value = value_of(&below, &value)?;
        Ok((name, value))
    });
    members.collect()
}

/// Takes a value over, no deeper than records and snapshots can hold.
pub(crate) fn value_of(pointer: &str, value: &Json) -> Result<Value, Refusal> {
    if depth(value) > DEPTH_MAX {
        return Err(invalid(pointer, format!("it is nested deeper than {DEPTH_MAX} levels")));
    }
    Ok(Value::from_json(value))
}

/// How many arrays and objects lie inside each other.
pub(crate) fn depth(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Bytes of a value as JSON, without writing them anywhere.
pub(crate) fn byte_length(value: &Json) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("a JSON value is written and counting never fails");
    count.0
}

pub(crate) fn invalid(pointer: &str, reason: String) -> Refusal {
    Refusal::Invalid { pointer: pointer.to_owned(), reason }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn shown(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Puts `value` at `segments`, making objects on the way. Returns whether something was there before.
pub(crate) fn put(document: &mut Json, segments: &[String], value: Json) -> Result<bool, Refusal> {
    let Some((last, parents)) = segments.split_last() else {
        *document = value;
        return Ok(true);
    };
    let mut place = document;
    for (depth, segment) in parents.iter().enumerate() {
        place = enter(place, segment, || pointer_to(&segments[..=depth]))?;
    }
    match place {
        Json::Object(members) => Ok(members.insert(last.clone(), value).is_some()),
        Json::Array(items) => match array_index(last) {
            Some(index) if index < items.len() => {
                items[index] = value;
                Ok(true)
            }
            Some(index) if index == items.len() => {
                items.push(value);
                Ok(false)
            }
            _ if last == "-" => {
                items.push(value);
                Ok(false)
            }
            _ => Err(invalid(&pointer_to(segments), format!("the array has {} items", items.len()))),
        },
        other => Err(invalid(&pointer_to(parents), format!("{} has no members", shown(other)))),
    }
}

fn enter<'a>(
    place: &'a mut Json,
    segment: &str,
    pointer: impl Fn() -> String,
) -> Result<&'a mut Json, Refusal> {
    match place {
        Json::Object(members) => {
            let next = members.entry(segment).or_insert_with(|| Json::Object(Map::new()));
            if next.is_null() {
                *next = Json::Object(Map::new());
            }
            Ok(next)
        }
        Json::Array(items) => {
            let length = items.len();
            array_index(segment)
                .and_then(|index| items.get_mut(index))
                .ok_or_else(|| invalid(&pointer(), format!("the array has {length} items")))
        }
        other => Err(invalid(&pointer(), format!("{} has no members", shown(other)))),
    }
}

/// Removes what lies at `segments`; `false` if nothing does.
pub(crate) fn remove(document: &mut Json, segments: &[String]) -> bool {
    let Some((last, parents)) = segments.split_last() else { return false };
    let parent = parents.iter().try_fold(document, |place, segment| match place {
        Json::Object(members) => members.get_mut(segment),
        Json::Array(items) => items.get_mut(array_index(segment)?),
        _ => None,
    });
    match parent {
        Some(Json::Object(members)) => members.remove(last).is_some(),
        Some(Json::Array(items)) => match array_index(last) {
            Some(index) if index < items.len() => {
                items.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

pub(crate) fn pointer_to(segments: &[String]) -> String {
    segments.iter().fold(String::new(), |pointer, segment| pointer + "/" + &escaped(segment))
}
