//! Reads templates from JSON and checks them, collecting every fault instead of stopping at the first. Unknown
//! members are faults: a misspelt limit must not be silently no limit.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use super::{Fault, PropertyTemplate, PropertyType, Recording, Template, TemplateError};
use crate::store::is_name;

const MAX_TEMPLATES: usize = 1_000;
const MAX_FEATURES: usize = 100;
const MAX_PROPERTIES: usize = 500;
const MAX_PATTERNS: usize = 100;
const MAX_STALE_AFTER_S: u64 = 604_800;
const TEMPLATE_MEMBERS: [&str; 7] =
    ["name", "definition", "title", "devices", "attributes", "features", "stale_after_s"];
const PROPERTY_MEMBERS: [&str; 11] = [
    "unit",
    "title",
    "type",
    "min",
    "max",
    "warning_low",
    "warning_high",
    "critical_low",
    "critical_high",
    "decimals",
    "recording",
];
const RECORDING_MEMBERS: [&str; 3] = ["deadband", "min_interval_s", "max_interval_s"];
const MAX_RECORDING_INTERVAL_S: f64 = 86_400.0;

/// Reads a file of templates: `{"templates": [...]}`.
///
/// # Errors
/// Every broken rule with its JSON pointer, or where the text stops being JSON.
pub fn parse_templates(text: &str) -> Result<Vec<Template>, TemplateError> {
    let mut faults = Vec::new();
    let templates = templates(text, &mut faults);
    if faults.is_empty() { Ok(templates) } else { Err(TemplateError { faults }) }
}

fn templates(text: &str, faults: &mut Vec<Fault>) -> Vec<Template> {
    let document: Value = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(error) => {
            fault(faults, "", format!("is not JSON: {error}"));
            return Vec::new();
        }
    };
    let Some(document) = object(&document, "", faults) else { return Vec::new() };
    unknown_members(document, &["templates"], "", faults);
    let Some(Value::Array(items)) = document.get("templates") else {
        fault(faults, "/templates", "must be an array of templates");
        return Vec::new();
    };
    if items.len() > MAX_TEMPLATES {
        fault(faults, "/templates", format!("must have at most {MAX_TEMPLATES} items"));
        return Vec::new();
    }
    let mut names = HashSet::new();
    let mut found = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = format!("/templates/{index}");
        if let Some(template) = template(item, &at, faults) {
            if !names.insert(template.name.clone()) {
                fault(faults, format!("{at}/name"), "is used by an earlier template");
            }
            found.push(template);
        }
    }
    found
}

/// Reads one template; `None` when it is not even an object. With faults recorded the result is not to be used.
pub(super) fn template(value: &Value, at: &str, faults: &mut Vec<Fault>) -> Option<Template> {
    let members = object(value, at, faults)?;
    unknown_members(members, &TEMPLATE_MEMBERS, at, faults);
    let name = text(members, "name", at, faults).unwrap_or_default();
    if members.contains_key("name") && !is_name(&name) {
        let reason =
            "must be 1 to 128 characters of A-Z, a-z, 0-9, '-', '_', '.', and start with a letter or digit";
        fault(faults, format!("{at}/name"), reason);
    }
    let definition = text(members, "definition", at, faults).unwrap_or_default();
    if members.contains_key("definition") && !is_definition(&definition) {
        fault(faults, format!("{at}/definition"), "must read namespace:name:version, at most 256 characters");
    }
    let title = match members.get("title") {
        Some(_) => text(members, "title", at, faults).unwrap_or_default(),
        None => name.clone(),
    };
    Some(Template {
        definition,
        title,
        devices: patterns(members, at, faults),
        attributes: optional_object(members, "attributes", at, faults).cloned().unwrap_or_default(),
        features: features(members, at, faults),
        stale_after_s: whole(members, "stale_after_s", 1..=MAX_STALE_AFTER_S, at, faults),
        name,
    })
}

fn patterns(members: &Map<String, Value>, at: &str, faults: &mut Vec<Fault>) -> Vec<String> {
    let at = format!("{at}/devices");
    match members.get("devices") {
        None => Vec::new(),
        Some(Value::Array(items)) if items.len() <= MAX_PATTERNS => {
            let mut patterns = Vec::new();
            for (index, item) in items.iter().enumerate() {
                match item.as_str() {
                    Some(pattern) if (1..=128).contains(&pattern.chars().count()) => {
                        patterns.push(pattern.to_owned());
                    }
                    _ => fault(faults, format!("{at}/{index}"), "must be a text of 1 to 128 characters"),
                }
            }
            patterns
        }
        Some(_) => {
            fault(faults, at, format!("must be an array of at most {MAX_PATTERNS} device name patterns"));
            Vec::new()
        }
    }
}

fn features(
    members: &Map<String, Value>,
    at: &str,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, BTreeMap<String, PropertyTemplate>> {
    let mut found = BTreeMap::new();
    let Some(features) = optional_object(members, "features", at, faults) else { return found };
    if features.len() > MAX_FEATURES {
        fault(faults, format!("{at}/features"), format!("must have at most {MAX_FEATURES} members"));
        return found;
    }
    for (feature, value) in features {
        let at = format!("{at}/features/{}", escape(feature));
        let Some(properties) = object(value, &at, faults) else { continue };
        if properties.len() > MAX_PROPERTIES {
            fault(faults, at, format!("must have at most {MAX_PROPERTIES} members"));
            continue;
        }
        let properties = properties
            .iter()
            .filter_map(|(name, value)| {
                let at = format!("{at}/{}", escape(name));
                Some((name.clone(), property(value, &at, faults)?))
            })
            .collect();
        found.insert(feature.clone(), properties);
    }
    found
}

fn property(value: &Value, at: &str, faults: &mut Vec<Fault>) -> Option<PropertyTemplate> {
    let members = object(value, at, faults)?;
    unknown_members(members, &PROPERTY_MEMBERS, at, faults);
    let value_type = match members.get("type").map(Value::as_str) {
        None | Some(Some("number")) => PropertyType::Number,
        Some(Some("boolean")) => PropertyType::Boolean,
        Some(Some("text")) => PropertyType::Text,
        Some(Some("array")) => PropertyType::Array,
        Some(_) => {
            fault(faults, format!("{at}/type"), "must be one of number, boolean, text, array");
            PropertyType::Number
        }
    };
    let optional_text = |name: &str, faults: &mut Vec<Fault>| {
        members.contains_key(name).then(|| text(members, name, at, faults)).flatten()
    };
    let property = PropertyTemplate {
        unit: optional_text("unit", faults),
        title: optional_text("title", faults),
        value_type,
        min: number(members, "min", at, faults),
        max: number(members, "max", at, faults),
        warning_low: number(members, "warning_low", at, faults),
        warning_high: number(members, "warning_high", at, faults),
        critical_low: number(members, "critical_low", at, faults),
        critical_high: number(members, "critical_high", at, faults),
        decimals: whole(members, "decimals", 0..=9, at, faults).and_then(|n| u8::try_from(n).ok()),
        recording: recording(members, at, faults),
    };
    check_limits(&property, at, faults);
    Some(property)
}

fn recording(members: &Map<String, Value>, at: &str, faults: &mut Vec<Fault>) -> Option<Recording> {
    let described = optional_object(members, "recording", at, faults)?;
    let at = format!("{at}/recording");
    unknown_members(described, &RECORDING_MEMBERS, &at, faults);
    let deadband = number(described, "deadband", &at, faults);
    if deadband.is_some_and(|deadband| deadband < 0.0) {
        fault(faults, format!("{at}/deadband"), "must not be below 0");
    }
    let mut interval = |name: &str| {
        let seconds = number(described, name, &at, faults);
        if seconds.is_some_and(|seconds| seconds <= 0.0 || seconds > MAX_RECORDING_INTERVAL_S) {
            let reason = format!("must be above 0 and at most {MAX_RECORDING_INTERVAL_S} seconds");
            fault(faults, format!("{at}/{name}"), reason);
        }
        seconds
    };
    let (min_interval_s, max_interval_s) = (interval("min_interval_s"), interval("max_interval_s"));
    if min_interval_s.zip(max_interval_s).is_some_and(|(least, most)| least > most) {
        fault(faults, format!("{at}/max_interval_s"), "must not be below min_interval_s");
    }
    Some(Recording { deadband, min_interval_s, max_interval_s })
}

/// The limits must rise in this order, each at most the next that is given.
fn check_limits(property: &PropertyTemplate, at: &str, faults: &mut Vec<Fault>) {
    let rising = |names: &[(&str, Option<f64>)], faults: &mut Vec<Fault>| {
        let given: Vec<_> = names.iter().filter_map(|(name, limit)| Some((*name, (*limit)?))).collect();
        for pair in given.windows(2) {
            if pair[0].1 > pair[1].1 {
                fault(faults, format!("{at}/{}", pair[1].0), format!("must not be below {}", pair[0].0));
            }
        }
    };
    let limits = [
        ("critical_low", property.critical_low),
        ("warning_low", property.warning_low),
        ("warning_high", property.warning_high),
        ("critical_high", property.critical_high),
    ];
    let range = [("min", property.min), ("max", property.max)];
    rising(&limits, faults);
    rising(&range, faults);
    let numeric = matches!(property.value_type, PropertyType::Number | PropertyType::Array);
    for (name, limit) in limits.iter().chain(&range) {
        if limit.is_some() && !numeric {
            fault(faults, format!("{at}/{name}"), "is only for the types number and array");
        }
    }
}

fn is_definition(text: &str) -> bool {
    let parts: Vec<_> = text.split(':').collect();
    text.chars().count() <= 256
        && parts.len() == 3
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.chars().all(|c| !c.is_control() && !c.is_whitespace()))
}

fn object<'a>(value: &'a Value, at: &str, faults: &mut Vec<Fault>) -> Option<&'a Map<String, Value>> {
    let members = value.as_object();
    if members.is_none() {
        fault(faults, at, "must be an object");
    }
    members
}

fn optional_object<'a>(
    members: &'a Map<String, Value>,
    name: &str,
    at: &str,
    faults: &mut Vec<Fault>,
) -> Option<&'a Map<String, Value>> {
    members.get(name).and_then(|value| object(value, &format!("{at}/{name}"), faults))
}

/// Reads a required text of 1 to 256 characters.
fn text(members: &Map<String, Value>, name: &str, at: &str, faults: &mut Vec<Fault>) -> Option<String> {
    match members.get(name).map(Value::as_str) {
        Some(Some(text)) if (1..=256).contains(&text.chars().count()) => Some(text.to_owned()),
        Some(_) => {
            fault(faults, format!("{at}/{name}"), "must be a text of 1 to 256 characters");
            None
        }
        None => {
            fault(faults, format!("{at}/{name}"), "is missing");
            None
        }
    }
}

fn number(members: &Map<String, Value>, name: &str, at: &str, faults: &mut Vec<Fault>) -> Option<f64> {
    let value = members.get(name)?;
    let number = value.as_f64();
    if number.is_none() {
        fault(faults, format!("{at}/{name}"), "must be a number");
    }
    number
}

fn whole(
    members: &Map<String, Value>,
    name: &str,
    allowed: std::ops::RangeInclusive<u64>,
    at: &str,
    faults: &mut Vec<Fault>,
) -> Option<u64> {
    let value = members.get(name)?;
    match value.as_u64() {
        Some(number) if allowed.contains(&number) => Some(number),
        _ => {
            let reason = format!("must be a whole number from {} to {}", allowed.start(), allowed.end());
            fault(faults, format!("{at}/{name}"), reason);
            None
        }
    }
}

fn unknown_members(members: &Map<String, Value>, known: &[&str], at: &str, faults: &mut Vec<Fault>) {
    for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
        fault(
            faults,
            format!("{at}/{}", escape(name)),
            format!("is unknown; known are {}", known.join(", ")),
        );
    }
}

fn fault(faults: &mut Vec<Fault>, pointer: impl Into<String>, reason: impl Into<String>) {
    faults.push(Fault { pointer: pointer.into(), reason: reason.into() });
}

/// Escapes a member name for a JSON pointer (RFC 6901, section 3).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
