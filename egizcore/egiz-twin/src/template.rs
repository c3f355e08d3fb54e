//! What the engine reads of a template: units, physical ranges, which samples are worth keeping, and how long a Thing may be
//! silent.
//!
//! A template is JSON that people edit. Members that the engine does not know are kept for readers and otherwise ignored;
//! one that is malformed where the engine reads it gives no rule there, since a record, once in the journal, is applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use egiz_model::ThingId;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::engine::{Context, Engine};
use crate::names::{Names, Symbol};
use crate::recording::RecordingRules;
use crate::{Change, ChangeKind, Refusal};

/// A template in force.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) definition: Arc<str>,
    pub(crate) json: Box<str>,
    pub(crate) stale_after_micros: Option<i64>,
    rules: HashMap<(Symbol, Symbol), Rule, FxBuildHasher>,
    /// Which samples are worth keeping, where it says so.
    pub(crate) recording: Option<Arc<RecordingRules>>,
}

/// What it says of one property.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) unit: Option<Arc<str>>,
    min: f64,
    max: f64,
}

impl Rule {
    /// Whether a number lies outside what is physically possible.
    pub(crate) fn excludes(&self, number: f64) -> bool {
        number < self.min || number > self.max
    }
}

impl Template {
    pub(crate) fn read(definition: &str, json: &str, names: &mut Names, names_max: usize) -> Self {
        let parsed: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
        let mut rules = HashMap::with_hasher(FxBuildHasher);
        let features = parsed.get("features").and_then(serde_json::Value::as_object);
        for (feature, properties) in features.into_iter().flatten() {
            for (property, rule) in properties.as_object().into_iter().flatten() {
                let names = (names.intern(feature, names_max), names.intern(property, names_max));
                let (Some(feature), Some(property)) = names else { continue };
                let number = |key: &str| rule.get(key).and_then(serde_json::Value::as_f64);
                let rule = Rule {
                    unit: rule.get("unit").and_then(serde_json::Value::as_str).map(Arc::from),
                    min: number("min").unwrap_or(f64::NEG_INFINITY),
                    max: number("max").unwrap_or(f64::INFINITY),
                };
                rules.insert((feature, property), rule);
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "`as` holds the number within the range of i64")]
        let stale_after_micros = parsed
            .get("stale_after_s")
            .and_then(serde_json::Value::as_f64)
            .filter(|seconds| *seconds > 0.0)
            .map(|seconds| (seconds * 1e6) as i64);
        let recording = RecordingRules::read(&parsed);
        Self { definition: definition.into(), json: json.into(), stale_after_micros, rules, recording }
    }

    pub(crate) fn rule(&self, feature: Symbol, property: Symbol) -> Option<&Rule> {
        self.rules.get(&(feature, property))
    }
}

/// The templates in force; a Thing knows its own by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Templates {
    places: Vec<Option<Template>>,
    by_definition: BTreeMap<Arc<str>, u32>,
}

impl Templates {
    pub(crate) fn get(&self, number: u32) -> Option<&Template> {
        self.places.get(number as usize)?.as_ref()
    }

    pub(crate) fn number_of(&self, definition: &str) -> Option<u32> {
        self.by_definition.get(definition).copied()
    }

    pub(crate) fn find(&self, definition: &str) -> Option<&Template> {
        self.get(self.number_of(definition)?)
    }

    /// Puts a template in force in place of the one with its definition; returns its number.
    pub(crate) fn put(&mut self, template: Template) -> u32 {
        let number = self.number_of(&template.definition).unwrap_or_else(|| {
            let free = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
            u32::try_from(free).expect("templates are bounded far below 2^32")
        });
        self.by_definition.insert(Arc::clone(&template.definition), number);
        if self.places.len() == number as usize {
            self.places.push(None);
        }
        self.places[number as usize] = Some(template);
        number
    }

    pub(crate) fn withdraw(&mut self, definition: &str) {
        if let Some(number) = self.by_definition.remove(definition) {
            self.places[number as usize] = None;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_definition.len()
    }

    /// By definition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Template> {
        self.by_definition.values().filter_map(|number| self.get(*number))
    }
}

impl Engine {
    /// Puts a template in force, or withdraws it where the JSON is empty.
    pub(crate) fn apply_template(
        &mut self,
        context: Context<'_>,
        definition: &str,
        json: &str,
        changes: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        let known = self.templates.find(definition);
        if known.map_or("", |template| &*template.json) == json {
            return Ok(());
        }
        let limit = self.limits.templates_max;
        if known.is_none() && self.templates.len() >= limit {
            return Err(Refusal::LimitReached { what: "templates", limit });
        }
        let number = if json.is_empty() {
            self.templates.withdraw(definition);
            None
        } else {
            let template = Template::read(definition, json, &mut self.names, self.limits.names_max);
            Some(self.templates.put(template))
        };
        for slot in 0..self.things.len() {
            let Some(thing) = self.things[slot].as_deref_mut() else { continue };
            if thing.definition.as_deref() == Some(definition) {
                thing.template = number;
                self.watch(u32::try_from(slot).expect("Things are bounded far below 2^32"));
            }
        }
        changes.push(Change {
            thing: ThingId::new("-:-").expect("it keeps the rules"),
            slot: 0,
            revision: 0,
            offset: context.offset,
            received: context.header.received,
            source: None,
            principal: Arc::clone(context.principal),
            correlation: context.correlation(),
            kind: ChangeKind::Template { definition: definition.into() },
        });
        Ok(())
    }
}
