//! Which series there are: every feature of every Thing, as a measurement with tags and fields.
//!
//! | of the twin | is |
//! |---|---|
//! | the feature `cpu,cpu=cpu0` | the measurement `cpu` with the tag `cpu` |
//! | the Thing `factory:oven-001` | the device tags: `thing_id` with the whole id, the others with the name, of another site with the whole id |
//! | its definition | the tag `definition`, where the feature has none of that name |
//! | the property `zone` | the field `zone` |
//! | the property `zones`, a list | the fields `zones_0`, `zones_1`, …, as Telegraf names what JSON lists hold |
//!
//! Things that are no more are there as long as history has something of them; of these, so many are looked at as
//! [`GONE_MAX`] says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use egiz_historian::{Historian, ITEMS_MAX};
use egiz_influx::THING_TAG;
use egiz_influx::influxql::{Filter, Test};
use egiz_influx::series::Series as Name;
use egiz_model::{Timestamp, Value};

use crate::app::App;
use crate::error::ApiError;

/// Things that are no more and are looked up in history for one statement; the rest is passed over.
const GONE_MAX: usize = 1_000;
const DEFINITION_TAG: &str = "definition";

/// A series.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) thing: Arc<str>,
    pub(super) feature: Arc<str>,
    pub(super) measurement: Arc<str>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) fields: BTreeMap<String, Field>,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) property: Arc<str>,
    pub(super) item: Option<u8>,
    /// What it is now, in InfluxDB's words.
    pub(super) kind: &'static str,
}

impl Series {
    /// The value of a tag, empty where it has none.
    pub(super) fn tag(&self, key: &str) -> &str {
        self.tags.get(key).map_or("", String::as_str)
    }
}

/// The rule for names of devices.
pub(super) struct Devices<'a> {
    tags: &'a [String],
    /// The site of names that have none.
    site: Option<&'a str>,
}

impl<'a> Devices<'a> {
    pub(super) fn of(app: &'a App) -> Self {
        let settings = &app.ports.settings;
        Self { tags: &settings.influx.device_tags, site: settings.sites.first().map(String::as_str) }
    }

    /// Whether a series passes a filter. A device's name stands for its Thing, with or without the site.
    pub(super) fn pass(&self, series: &Series, filter: &Filter) -> bool {
        filter.holds(&|key, test| {
            let names_device = self.tags.iter().any(|tag| tag == key);
            match test {
                Test::Equal(text) if names_device => self.is_thing(&series.thing, key, text),
                Test::NotEqual(text) if names_device => !self.is_thing(&series.thing, key, text),
                test => test.passes(series.tag(key)),
            }
        })
    }

    fn is_thing(&self, thing: &str, key: &str, text: &str) -> bool {
        if key == THING_TAG && text.contains(':') {
            return thing == text;
        }
        self.shown(thing) == text
    }

    /// The device's name as tags other than `thing_id` have it.
    fn shown<'t>(&self, thing: &'t str) -> &'t str {
        match (thing.split_once(':'), self.site) {
            (Some((site, name)), Some(own)) if site == own => name,
            _ => thing,
        }
    }

    fn tags_of(&self, thing: &str, definition: Option<&str>) -> BTreeMap<String, String> {
        let device = self.tags.iter().map(|tag| {
            let value = if tag == THING_TAG { thing } else { self.shown(thing) };
            (tag.clone(), value.to_owned())
        });
        device.chain(definition.map(|text| (DEFINITION_TAG.to_owned(), text.to_owned()))).collect()
    }
}

/// The series of the measurements that `wanted` says, in the order of Things and features.
///
/// # Errors
/// `unavailable` where history cannot be read.
pub(super) fn series(
    app: &App,
    historian: Option<&Historian>,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Series>, ApiError> {
    let devices = Devices::of(app);
    let mut names = Names { known: HashMap::new(), wanted };
    let mut found = Vec::new();
    let mut gone: BTreeSet<String> = historian.map(Historian::things).unwrap_or_default();
    {
        let engine = app.ports.engine.read();
        for thing in engine.things() {
            let id = thing.id().as_str();
            gone.remove(id);
            let mut of_thing = OfThing { devices: &devices, id: id.into(), definition: thing.definition() };
            for feature in thing.features() {
                let Some(name) = names.of(feature.name()) else { continue };
                let fields =
                    feature.properties().flat_map(|property| fields_of(property.name(), property.value()));
                found.extend(of_thing.series(feature.name(), &name, fields.collect()));
            }
        }
    }
    for id in gone.iter().take(GONE_MAX) {
        let Some(state) = historian.map(|past| past.thing_at(id, Timestamp::MAX)).transpose()?.flatten()
        else {
            continue;
        };
        let mut of_thing = OfThing { devices: &devices, id: id.as_str().into(), definition: None };
        for properties in state.properties.chunk_by(|a, b| a.feature == b.feature) {
            let feature = &properties[0].feature;
            let Some(name) = names.of(feature) else { continue };
            let fields = properties.iter().flat_map(|state| {
                fields_of(&state.property, state.reading.value.as_ref().unwrap_or(&Value::Null))
            });
            found.extend(of_thing.series(feature, &name, fields.collect()));
        }
    }
    found.sort_by(|a, b| (&a.measurement, &a.thing, &a.feature).cmp(&(&b.measurement, &b.thing, &b.feature)));
    Ok(found)
}

struct OfThing<'a> {
    devices: &'a Devices<'a>,
    id: Arc<str>,
    definition: Option<&'a str>,
}

impl OfThing<'_> {
    fn series(&mut self, feature: &Arc<str>, name: &Read, fields: BTreeMap<String, Field>) -> Option<Series> {
        if fields.is_empty() {
            return None;
        }
        let mut tags = self.devices.tags_of(&self.id, self.definition);
        tags.extend(name.1.tags.iter().cloned());
        Some(Series {
            thing: Arc::clone(&self.id),
            feature: Arc::clone(feature),
            measurement: Arc::clone(&name.0),
            tags,
            fields,
        })
    }
}

/// A measurement, and the whole name.
type Read = (Arc<str>, Arc<Name>);

/// Names of features, each read once.
struct Names<'a> {
    known: HashMap<Arc<str>, Option<Read>>,
    wanted: &'a dyn Fn(&str) -> bool,
}

impl Names<'_> {
    fn of(&mut self, feature: &Arc<str>) -> Option<Read> {
        if let Some(known) = self.known.get(feature) {
            return known.clone();
        }
        let name = Name::of_feature(feature);
        let entry =
            (self.wanted)(&name.measurement).then(|| (Arc::from(name.measurement.as_str()), Arc::new(name)));
        self.known.insert(Arc::clone(feature), entry.clone());
        entry
    }
}

fn fields_of(property: &Arc<str>, value: &Value) -> Vec<(String, Field)> {
    let field = |item, value: &Value| Field { property: Arc::clone(property), item, kind: kind_of(value) };
    match value {
        Value::List(items) => (0..ITEMS_MAX)
            .zip(items.iter())
            .map(|(item, value)| (format!("{property}_{item}"), field(Some(item), value)))
            .collect(),
        value => vec![(property.to_string(), field(None, value))],
    }
}

/// A number is a `float`, whether it is whole at the moment or not.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "boolean",
        Value::Text(_) | Value::Map(_) | Value::List(_) => "string",
        Value::Int(_) | Value::Float(_) | Value::Null => "float",
    }
}
