//! The engine against a naive model: maps of JSON, written down as plainly as possible.

use std::collections::BTreeMap;

use egiz_model::record::{Body, Record, WriteOperation};
use egiz_twin::{Connection, Engine, Limits, WriteOutcome};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::{Plant, telemetry};

const THINGS: [&str; 3] = ["s:a", "s:b", "s:c"];

#[derive(Debug, Clone)]
enum Step {
    Hear { thing: usize, source_s: i64, features: Vec<(usize, usize, Json)> },
    Write { operation: WriteOperation, thing: usize, path: &'static str, content: Json },
    Presence { thing: usize, online: bool },
    Wait(i64),
    Restore,
}

fn value() -> impl Strategy<Value = Json> {
    prop_oneof![
        (0..4_i64).prop_map(|number| json!(number)),
        Just(json!([1, 2])),
        Just(json!("x")),
        Just(json!(null))
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let sample = (0..2_usize, 0..2_usize, value());
    let operations = prop_oneof![
        4 => Just(WriteOperation::Put),
        2 => Just(WriteOperation::Merge),
        1 => Just(WriteOperation::Delete),
    ];
    let path = prop::sample::select(vec![
        "",
        "/attributes/n",
        "/features/f0",
        "/features/f0/properties/p0",
        "/features/f1/properties/p1",
    ]);
    prop_oneof![
        6 => (0..3_usize, 0..6_i64, prop::collection::vec(sample, 1..5)).prop_map(|(thing, source_s, features)| Step::Hear { thing, source_s, features }),
        4 => (operations, 0..3_usize, path, value()).prop_map(|(operation, thing, path, value)| {
            let content = match path {
                "" => json!({"attributes": {"n": value}}),
                "/features/f0" => json!({"properties": {"p0": value}}),
                _ => value,
            };
            Step::Write { operation, thing, path, content }
        }),
        1 => (0..3_usize, any::<bool>()).prop_map(|(thing, online)| Step::Presence { thing, online }),
        1 => (0..90_i64).prop_map(Step::Wait),
        1 => Just(Step::Restore),
    ]
}

#[derive(Debug, Clone, Default, PartialEq)]
struct ModelThing {
    document: Json,
    /// By feature and property: when it was measured, in whole seconds.
    sources: BTreeMap<(String, String), i64>,
    revision: u64,
    connection: Connection,
    last_seen: Option<i64>,
}

#[derive(Debug, Default)]
struct Model {
    things: BTreeMap<String, ModelThing>,
    unchanged: u64,
    late: u64,
    duplicate: u64,
}

impl ModelThing {
    fn properties(&self) -> BTreeMap<(String, String), Json> {
        let mut properties = BTreeMap::new();
        for (feature, body) in self.document["features"].as_object().into_iter().flatten() {
            for (property, value) in body["properties"].as_object().into_iter().flatten() {
                properties.insert((feature.clone(), property.clone()), value.clone());
            }
        }
        properties
    }
}

impl Model {
    fn hear(&mut self, thing: &str, now_s: i64, source_s: i64, features: &Json) {
        let Some(thing) = self.things.get_mut(thing) else { return };
        let mut changed = false;
        for (feature, properties) in features.as_object().expect("features") {
            for (property, value) in properties.as_object().expect("properties") {
                let key = (feature.clone(), property.clone());
                let source = thing.sources.get(&key).copied();
                let old = thing.document["features"][feature]["properties"].get(property).cloned();
                match (source, old) {
                    (Some(source), Some(_)) if source_s < source => self.late += 1,
                    (Some(source), Some(old)) if old == *value => {
                        if source == source_s {
                            self.duplicate += 1;
                        } else {
                            self.unchanged += 1;
                        }
                        thing.sources.insert(key, source_s);
                    }
                    _ => {
                        changed = true;
                        thing.sources.insert(key, source_s);
                        thing.document["features"][feature]["properties"][property] = value.clone();
                    }
                }
            }
        }
        thing.last_seen = Some(thing.last_seen.unwrap_or(i64::MIN).max(now_s));
        if changed || thing.connection != Connection::Live {
            thing.revision += 1;
        }
        thing.connection = Connection::Live;
    }

    /// What a write leaves; the outcome's word.
    fn write(
        &mut self,
        operation: WriteOperation,
        id: &str,
        now_s: i64,
        path: &str,
        content: &Json,
    ) -> &'static str {
        let Some(thing) = self.things.get_mut(id) else {
            if path.is_empty() && operation != WriteOperation::Delete {
                let mut document = json!({"attributes": {}, "features": {}});
                let mut content = content.clone();
                if operation == WriteOperation::Merge {
                    drop_nulls(&mut content);
                }
                document["attributes"] = content["attributes"].clone();
                self.things
                    .insert(id.to_owned(), ModelThing { document, revision: 1, ..ModelThing::default() });
                return "created";
            }
            return "refused";
        };
        let before = thing.clone();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match operation {
            WriteOperation::Delete if path.is_empty() => {
                self.things.remove(id);
                return "deleted";
            }
            WriteOperation::Delete => {
                let (last, parents) = segments.split_last().expect("not the whole");
                let parent = parents.iter().try_fold(&mut thing.document, |place, name| place.get_mut(name));
                if parent.and_then(|parent| parent.as_object_mut()?.remove(*last)).is_none() {
                    return "refused";
                }
            }
            WriteOperation::Put if path.is_empty() => {
                thing.document = json!({"attributes": content["attributes"], "features": {}});
            }
            WriteOperation::Put => {
                *at(&mut thing.document, &segments) = content.clone();
            }
            _ => {
                if content.is_null() {
                    let (last, parents) = segments.split_last().expect("not the whole");
                    let parent =
                        parents.iter().try_fold(&mut thing.document, |place, name| place.get_mut(name));
                    parent.and_then(|parent| parent.as_object_mut()?.remove(*last));
                } else {
                    let place = at(&mut thing.document, &segments);
                    json_patch::merge(place, content);
                }
            }
        }
        for body in thing.document["features"].as_object_mut().expect("features").values_mut() {
            if body.get("properties").is_none() {
                body["properties"] = json!({});
            }
        }
        let (old, new) = (before.properties(), thing.properties());
        thing.sources.retain(|key, _| new.contains_key(key));
        for (key, value) in &new {
            if old.get(key) != Some(value) {
                thing.sources.insert(key.clone(), now_s);
            }
        }
        if thing.document == before.document {
            return "unchanged";
        }
        thing.revision += 1;
        if operation == WriteOperation::Delete { "deleted" } else { "changed" }
    }

    fn tick(&mut self, now_s: i64) {
        for thing in self.things.values_mut() {
            if thing.connection == Connection::Live && thing.last_seen.is_some_and(|seen| seen + 60 <= now_s)
            {
                thing.connection = Connection::Stale;
                thing.revision += 1;
            }
        }
    }
}

fn at<'a>(document: &'a mut Json, segments: &[&str]) -> &'a mut Json {
    segments.iter().fold(document, |place, name| {
        if place.is_null() {
            *place = json!({});
        }
        &mut place[*name]
    })
}

fn drop_nulls(value: &mut Json) {
    if let Json::Object(members) = value {
        members.retain(|_, value| !value.is_null());
        members.values_mut().for_each(drop_nulls);
    }
}

fn word(outcome: &WriteOutcome) -> &'static str {
    match outcome {
        WriteOutcome::Created { .. } | WriteOutcome::Changed { .. } => "changed",
        WriteOutcome::Unchanged { .. } => "unchanged",
        WriteOutcome::Deleted { .. } => "deleted",
        WriteOutcome::Refused(_) => "refused",
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn the_engine_agrees_with_a_naive_model(steps in prop::collection::vec(step(), 1..60)) {
        // Without discovered devices a new Thing begins empty, as in the model.
        let limits = Limits { discovered_max: 0, ..Limits::default() };
        let mut plant = Plant::with(limits);
        let mut replica = Engine::new(limits);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Hear { thing, source_s, features } => {
                    // Device clocks run along with ours, some seconds behind.
                    let source_s = plant.now_s - source_s;
                    let mut message = json!({});
                    for (feature, property, value) in features {
                        message[format!("f{feature}")][format!("p{property}")] = value;
                    }
                    let bytes = telemetry(&plant.header(), THINGS[thing], source_s, &message);
                    let now_s = plant.now_s;
                    plant.apply(&bytes);
                    model.hear(THINGS[thing], now_s, source_s, &message);
                }
                Step::Write { operation, thing, path, content } => {
                    let now_s = plant.now_s;
                    let outcome = plant.write(operation, THINGS[thing], path, &content);
                    let expected = model.write(operation, THINGS[thing], now_s, path, &content);
                    let expected = if expected == "created" { "changed" } else { expected };
                    prop_assert_eq!(word(&outcome), expected, "{:?} {} {} {}", operation, THINGS[thing], path, content);
                }
                Step::Presence { thing, online } => {
                    let now_s = plant.now_s;
                    plant.body(Body::Presence { thing: THINGS[thing], online });
                    if let Some(thing) = model.things.get_mut(THINGS[thing]) {
                        let connection = if online { Connection::Live } else { Connection::Offline };
                        if online {
                            thing.last_seen = Some(thing.last_seen.unwrap_or(i64::MIN).max(now_s));
                        }
                        if thing.connection != connection {
                            thing.connection = connection;
                            thing.revision += 1;
                        }
                    }
                }
                Step::Wait(seconds) => {
                    plant.now_s += seconds;
                    let now_s = plant.now_s;
                    plant.body(Body::Tick);
                    model.tick(now_s);
                }
                Step::Restore => {
                    let mut bytes = Vec::new();
                    plant.engine.snapshot(&mut bytes);
                    replica = Engine::restore(&bytes, limits).expect("what was written can be read");
                    prop_assert_eq!(replica.digest(), plant.engine.digest());
                    // From here on the restored one goes on, beside one that never stopped.
                    std::mem::swap(&mut plant.engine, &mut replica);
                    continue;
                }
            }
            let record = Record::decode(&plant.last).expect("it was applied");
            let mut changes = Vec::new();
            replica.apply(plant.next_offset() - 1, &record, &mut changes);
            prop_assert_eq!(&changes, &plant.changes, "a replica sees the same changes");
            prop_assert_eq!(replica.digest(), plant.engine.digest());
            let ids: Vec<_> = plant.engine.things().map(|thing| thing.id().as_str().to_owned()).collect();
            prop_assert_eq!(ids, model.things.keys().cloned().collect::<Vec<_>>());
            for (id, expected) in &model.things {
                let thing = plant.engine.thing(id).expect("it is there");
                let document = thing.to_json();
                prop_assert_eq!(&document["attributes"], &expected.document["attributes"], "{}", id);
                prop_assert_eq!(&document["features"], &expected.document["features"], "{}", id);
                prop_assert_eq!(thing.revision(), expected.revision, "revision of {}", id);
                prop_assert_eq!(thing.connection(), expected.connection, "connection of {}", id);
            }
            let counters = plant.engine.counters();
            prop_assert_eq!(
                (counters.samples_late, counters.samples_duplicate, counters.samples_unchanged),
                (model.late, model.duplicate, model.unchanged)
            );
        }
    }
}
