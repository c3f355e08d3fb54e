//! Rows of history as lines: the same measurements, tags and fields that the program's own `/query` shows (docs/influx.md), so
//! that a dashboard reads either.
//!
//! One line for each feature of a row. Of a sample that is of bad quality, or has no value, there is no field, as `/query` shows
//! none; that a property was taken away has no form in InfluxDB. A number is a float, a list a field for each item, an object its
//! text. It refuses to judge: what is passed in was judged.

use std::collections::{BTreeMap, HashMap};

use egiz_historian::ITEMS_MAX;
use egiz_influx::THING_TAG;
use egiz_influx::line::FieldValue;
use egiz_influx::series::Series;
use egiz_influx::write::{LineBuffer, series_key};
use egiz_model::{Quality, QualityReason, Timestamp, ValueRef};

use crate::history::{Row, Rows};

/// Things whose series' names are kept ready; beyond it all are forgotten and made anew.
const THINGS_MAX: usize = 50_000;
const DEFINITION_TAG: &str = "definition";
/// What InfluxDB drops without a word when a field has this name.
const FORBIDDEN_FIELD: &str = "time";

/// How devices are named.
#[derive(Debug, Clone)]
pub(super) struct NamingRules {
    /// The site whose devices are named without it.
    pub(super) site: String,
    /// The tags that name a device.
    pub(super) device_tags: Vec<String>,
}

/// Makes lines.
#[derive(Debug)]
pub(super) struct Naming {
    rules: NamingRules,
    /// Keys of series, by Thing and feature.
    keys: HashMap<Box<str>, OfThing>,
    lines: LineBuffer,
    unnameable: u64,
}

#[derive(Debug, Default)]
struct OfThing {
    definition: Box<str>,
    keys: HashMap<Box<str>, Box<str>>,
}

impl Naming {
    pub(super) fn new(rules: NamingRules) -> Self {
        Self { rules, keys: HashMap::new(), lines: LineBuffer::default(), unnameable: 0 }
    }

    /// The lines so far.
    pub(super) fn lines(&self) -> &LineBuffer {
        &self.lines
    }

    /// Takes the lines out.
    pub(super) fn take(&mut self) -> LineBuffer {
        std::mem::take(&mut self.lines)
    }

    /// How many values had a name that InfluxDB knows no field by, since the last time.
    pub(super) fn take_unnameable(&mut self) -> u64 {
        std::mem::take(&mut self.unnameable)
    }
}

impl NamingRules {
    fn key(&self, thing: &str, definition: &str, feature: &str) -> String {
        let series = Series::of_feature(feature);
        let shown = match thing.split_once(':') {
            Some((site, name)) if site == self.site => name,
            _ => thing,
        };
        let device =
            self.device_tags.iter().map(|tag| (tag.as_str(), if tag == THING_TAG { thing } else { shown }));
        let mut tags: BTreeMap<&str, &str> = device.collect();
        tags.insert(DEFINITION_TAG, definition);
        tags.extend(series.tags.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut key = String::new();
        series_key(&mut key, &series.measurement, tags);
        key
    }
}

impl Rows for Naming {
    type Row<'a> = LineRow<'a>;

    fn row(&mut self, thing: &str, definition: &str, source: Timestamp, _received: Timestamp) -> LineRow<'_> {
        if self.keys.len() >= THINGS_MAX && !self.keys.contains_key(thing) {
            self.keys.clear();
        }
        if !self.keys.contains_key(thing) {
            self.keys.insert(thing.into(), OfThing::default());
        }
        let of_thing = self.keys.get_mut(thing).expect("it was just put there");
        if *of_thing.definition != *definition {
            *of_thing = OfThing { definition: definition.into(), keys: HashMap::new() };
        }
        LineRow {
            rules: &self.rules,
            thing: thing.to_owned(),
            of_thing,
            lines: &mut self.lines,
            unnameable: &mut self.unnameable,
            feature: None,
            time: source.as_micros(),
        }
    }
}

/// A row on its way into lines.
pub(super) struct LineRow<'a> {
    rules: &'a NamingRules,
    thing: String,
    of_thing: &'a mut OfThing,
    lines: &'a mut LineBuffer,
    unnameable: &'a mut u64,
    feature: Option<String>,
    time: i64,
}

impl LineRow<'_> {
    fn begin(&mut self, feature: &str) {
        if self.feature.as_deref() == Some(feature) {
            return;
        }
        self.end();
        if !self.of_thing.keys.contains_key(feature) {
            let key = self.rules.key(&self.thing, &self.of_thing.definition, feature);
            self.of_thing.keys.insert(feature.into(), key.into());
        }
        self.lines.begin(&self.of_thing.keys[feature]);
        self.feature = Some(feature.to_owned());
    }

    fn end(&mut self) {
        if self.feature.take().is_some() {
            self.lines.end(self.time);
        }
    }

    fn field(&mut self, name: &str, value: &ValueRef<'_>) {
        let nested;
        let value = match value {
            ValueRef::Null => return,
            ValueRef::Bool(truth) => FieldValue::Boolean(*truth),
            ValueRef::Int(_) | ValueRef::Float(_) => FieldValue::Float(value.as_f64().unwrap_or_default()),
            ValueRef::Text(text) => FieldValue::Text((*text).into()),
            ValueRef::List(_) | ValueRef::Map(_) => {
                nested = value.to_owned().to_json().to_string();
                FieldValue::Text(nested.as_str().into())
            }
        };
        if name == FORBIDDEN_FIELD {
            *self.unnameable += 1;
            return;
        }
        self.lines.field(name, &value);
    }
}

impl Row for LineRow<'_> {
    fn set(
        &mut self,
        feature: &str,
        property: &str,
        value: &ValueRef<'_>,
        quality: Quality,
        _reason: QualityReason,
    ) {
        if quality == Quality::Bad {
            return;
        }
        self.begin(feature);
        match value {
            ValueRef::List(items) => {
                for (number, item) in (0..ITEMS_MAX).zip(items.iter()) {
                    self.field(&format!("{property}_{number}"), &item);
                }
            }
            value => self.field(property, value),
        }
    }

    fn remove(&mut self, _feature: &str, _property: &str) {}
}

impl Drop for LineRow<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egiz_model::Value;
    use egiz_model::record::format::{DEPTH_MAX, ItemReader};
    use serde_json::{Value as Json, json};

    fn naming() -> Naming {
        let device_tags = ["thing_id", "device_id", "host"].map(str::to_owned).to_vec();
        Naming::new(NamingRules { site: "factory".to_owned(), device_tags })
    }

    fn set(row: &mut LineRow<'_>, feature: &str, property: &str, value: &Json, quality: Quality) {
        let mut bytes = Vec::new();
        Value::from_json(value).encode(&mut bytes);
        let value = ItemReader::new(&bytes).value(DEPTH_MAX).expect("a value");
        row.set(feature, property, &value, quality, QualityReason::None);
    }

    #[test]
    fn a_row_becomes_a_line_for_each_feature_with_the_names_of_query() {
        let mut naming = naming();
        {
            let mut row = naming.row(
                "factory:oven-001",
                "egiz:oven:1",
                Timestamp::from_micros(1_700_000_000_000_001),
                Timestamp::from_micros(1),
            );
            set(&mut row, "thermal", "zone", &json!(195), Quality::Good);
            set(&mut row, "thermal", "zones", &json!([1, 2.5, [true]]), Quality::Uncertain);
            set(&mut row, "thermal", "broken", &json!(5), Quality::Bad);
            set(&mut row, "thermal", "none", &Json::Null, Quality::Good);
            set(&mut row, "cpu,cpu=cpu0,host=inner", "mode", &json!("a b"), Quality::Good);
            set(&mut row, "dead", "x", &json!(1), Quality::Bad);
            row.remove("gone", "x");
            set(&mut row, "clock", "time", &json!(1), Quality::Good);
            set(&mut row, "clock", "on", &json!(true), Quality::Good);
        }
        naming.row("plant-2:a", "", Timestamp::from_micros(2), Timestamp::from_micros(2));
        {
            let mut row = naming.row("plant-2:a", "", Timestamp::from_micros(2), Timestamp::from_micros(2));
            set(&mut row, "m", "v", &json!(1), Quality::Good);
        }
        let tags = "definition=egiz:oven:1,device_id=oven-001,host=oven-001,thing_id=factory:oven-001";
        let cpu = "cpu=cpu0,definition=egiz:oven:1,device_id=oven-001,host=inner,thing_id=factory:oven-001";
        let expected = format!(
            "thermal,{tags} zone=195.0,zones_0=1.0,zones_1=2.5,zones_2=\"[true]\" 1700000000000001\n\
             cpu,{cpu} mode=\"a b\" 1700000000000001\n\
             clock,{tags} on=true 1700000000000001\n\
             m,device_id=plant-2:a,host=plant-2:a,thing_id=plant-2:a v=1.0 2\n"
        );
        assert_eq!(naming.lines().text(0..naming.lines().len()), expected);
        assert_eq!(naming.take().fields(), 7);
        assert_eq!((naming.take_unnameable(), naming.take_unnameable()), (1, 0));
    }

    #[test]
    fn another_definition_is_another_series() {
        let mut naming = naming();
        for definition in ["a", "b"] {
            let mut row =
                naming.row("factory:x", definition, Timestamp::from_micros(1), Timestamp::from_micros(1));
            set(&mut row, "m", "v", &json!(1), Quality::Good);
        }
        let lines = naming.take();
        assert!(lines.text(0..1).contains("definition=a,") && lines.text(1..2).contains("definition=b,"));
    }
}
