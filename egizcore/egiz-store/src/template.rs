//! Templates: what Things of one type have in common — definition, attributes, features and their properties with
//! units and limits, and which devices they fit. The engine does not need them; people, discovery and the screen do.
//!
//! JSON form: `{"name", "definition", "title", "devices": [glob], "attributes": {}, "features": {feature: {property:
//! {"unit", "title", "type", "min", "max", "warning_low", "warning_high", "critical_low", "critical_high",
//! "decimals", "recording": {"deadband", "min_interval_s", "max_interval_s"}}}}, "stale_after_s"}`; a file of templates is `{"templates": [...]}`.

mod parse;
mod repository;

use std::collections::BTreeMap;
use std::fmt;

use egiz_model::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

pub use parse::parse_templates;
pub(crate) use repository::{stored_row, upsert};

/// A type of Thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Template {
    /// Its name: 1 to 128 letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// The definition that its Things carry, `namespace:name:version`.
    pub definition: String,
    /// A title for people, 1 to 256 characters.
    pub title: String,
    /// Which device names it fits: patterns with `*` (any characters) and `?` (one character).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Attributes that its Things start with.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
    /// Properties by feature.
    pub features: BTreeMap<String, BTreeMap<String, PropertyTemplate>>,
    /// After how many seconds without a message its Things are stale, 1 to 604,800; the platform's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_after_s: Option<u64>,
}

/// What is known of a property. Limits apply to each element of an array.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PropertyTemplate {
    /// The unit as shown: `°C`, `kW`, `mm/s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// A title for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The type of its values.
    #[serde(rename = "type")]
    pub value_type: PropertyType,
    /// The smallest plausible value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest plausible value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Below this someone should look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning_low: Option<f64>,
    /// Above this someone should look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning_high: Option<f64>,
    /// Below this someone must act.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical_low: Option<f64>,
    /// Above this someone must act.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical_high: Option<f64>,
    /// How many decimals to show, 0 to 9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
    /// Which of its samples are kept; all of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<Recording>,
}

/// Which samples of a property are kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Recording {
    /// A value is kept when it is further than this from the one kept before; 0 is any change. At least 0, in the property's
    /// unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadband: Option<f64>,
    /// No value is kept sooner than this after another, in seconds, above 0 to 86,400.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_interval_s: Option<f64>,
    /// A value is kept at least so often, as far as there are any, in seconds, above 0 to 86,400.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_interval_s: Option<f64>,
}

/// The type of a property's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PropertyType {
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A string.
    Text,
    /// An array of numbers.
    Array,
}

/// A template with its place in the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTemplate {
    /// The template.
    pub template: Template,
    /// 1 when created, +1 with each change.
    pub version: u64,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub modified: Timestamp,
}

/// What a writer expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Anything or nothing.
    Anything,
    /// Nothing: create, do not replace.
    Absent,
    /// Exactly this version.
    Version(u64),
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong and what is allowed.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() { "the document" } else { &self.pointer };
        write!(f, "{pointer} {}", self.reason)
    }
}

/// How many faults are named where they share a line.
const FAULTS_IN_A_LINE: usize = 3;

/// The first faults, and how many more there are.
fn listed(faults: &[Fault], shown: usize, separator: &str) -> String {
    let mut text: Vec<String> = faults.iter().take(shown).map(Fault::to_string).collect();
    if faults.len() > shown {
        text.push(format!("and {} more", faults.len() - shown));
    }
    text.join(separator)
}

/// A template breaks its rules. In one line the first faults are named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(.faults, FAULTS_IN_A_LINE, "; "))]
pub struct TemplateError {
    /// The faults, in the order of the document; never empty.
    pub faults: Vec<Fault>,
}

impl TemplateError {
    /// The first `shown` faults, one a line, and how many more there are; for a person at a terminal.
    pub fn lines(&self, shown: usize) -> String {
        listed(&self.faults, shown, "\n")
    }
}

impl Template {
    /// Reads and checks a template's JSON.
    ///
    /// # Errors
    /// Every broken rule with its JSON pointer.
    pub fn from_json(value: &Value) -> Result<Template, TemplateError> {
        let mut faults = Vec::new();
        let template = parse::template(value, "", &mut faults);
        match template {
            Some(template) if faults.is_empty() => Ok(template),
            _ => Err(TemplateError { faults }),
        }
    }

    /// Writes the JSON form; [`Template::from_json`] reads it back.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("maps with text keys and finite numbers always have a JSON form")
    }

    /// Tells whether the template fits a device of this name.
    pub fn fits_device(&self, name: &str) -> bool {
        self.devices.iter().any(|pattern| glob_matches(pattern, name))
    }

    /// The number of literal characters of the most specific pattern that fits.
    fn fit(&self, name: &str) -> Option<usize> {
        let literal = |pattern: &&String| pattern.chars().filter(|c| !matches!(c, '*' | '?')).count();
        self.devices.iter().filter(|pattern| glob_matches(pattern, name)).map(|p| literal(&p)).max()
    }
}

/// Finds the template that fits a device best: the one with the most literal characters in its pattern, then the
/// first by name.
pub fn best_match<'a>(
    templates: impl IntoIterator<Item = &'a Template>,
    device: &str,
) -> Option<&'a Template> {
    templates
        .into_iter()
        .filter_map(|template| Some((template.fit(device)?, template)))
        .max_by(|(a_fit, a), (b_fit, b)| a_fit.cmp(b_fit).then_with(|| b.name.cmp(&a.name)))
        .map(|(_, template)| template)
}

/// Matches `*` and `?`; linear in the text for each star, so no pattern is expensive.
fn glob_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            // The star before takes one character more.
            _ => match retry {
                Some((after_star, taken)) => {
                    retry = Some((after_star, taken + 1));
                    (p, t) = (after_star, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests;
