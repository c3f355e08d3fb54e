//! Attacks the engine with sequences of well-formed records that say anything: puts, merges (RFC 7396), patches (RFC 6902) and
//! deletions anywhere in a Thing, telemetry, templates, ticks back and forth in time. Nothing panics or exceeds a limit, a
//! refused write changes nothing, and two replicas agree, also when one was restored from a snapshot half way.
#![no_main]

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use egiz_fuzz::{check_engine, plant, small_limits, snapshot};
use egiz_model::record::{Body, Header, Preconditions, Record, TelemetryWriter, ThingWrite, WriteOperation};
use egiz_model::{Quality, QualityReason, Timestamp, Value};
use egiz_twin::{Engine, Outcome, WriteOutcome};
use libfuzzer_sys::fuzz_target;

static PLANT: LazyLock<Engine> = LazyLock::new(|| plant(small_limits()));

const THINGS: [&str; 6] =
    ["factory:oven-001", "factory:b", "factory:new", "factory:heard", "other:x", "no id"];
const PATHS: [&str; 16] = [
    "",
    "/attributes",
    "/attributes/type",
    "/attributes/deep/er",
    "/definition",
    "/features",
    "/features/thermal",
    "/features/thermal/properties",
    "/features/thermal/properties/zones/1",
    "/features/thermal/properties/zones/-",
    "/features/thermal/desiredProperties/zone",
    "/features/new/properties/a",
    "/_metadata/thermal/zone/note",
    "/_metadata/thermal/zone",
    "/thingId",
    "/_revision",
];
const NAMES: [&str; 6] = ["thermal", "zone", "zones", "new", "", "_own"];

/// A record to be made.
#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Write {
        thing: u8,
        operation: u8,
        path: u8,
        any_path: Option<&'a str>,
        content: Content<'a>,
        conditions: Conditions<'a>,
    },
    Telemetry {
        thing: u8,
        clock: u8,
        source_s: i32,
        samples: Vec<(u8, u8, u8, Content<'a>)>,
    },
    Presence {
        thing: u8,
        online: bool,
    },
    Tick,
    Template {
        json: &'a str,
    },
    Forget {
        thing: u8,
    },
    Wait {
        seconds: i16,
    },
    Restore,
}

#[derive(Debug, Arbitrary)]
enum Content<'a> {
    Text(&'a str),
    Number(f64),
    Whole(i64),
    Null,
    Feature { name: u8, property: u8, value: i8 },
    Patch(Vec<(u8, u8, u8, &'a str)>),
}

#[derive(Debug, Arbitrary)]
enum Conditions<'a> {
    None,
    Match(&'a str),
    NoneMatch(&'a str),
    Filter(&'a str),
}

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let (mut engine, mut replica) = (PLANT.clone(), PLANT.clone());
    let mut now_s = egiz_fuzz::BEGIN_S;
    for _ in 0..24 {
        let Ok(step) = Step::arbitrary(&mut input) else { break };
        match &step {
            Step::Wait { seconds } => now_s += i64::from(*seconds),
            Step::Restore => {
                replica = Engine::restore(&snapshot(&replica), small_limits()).expect("it was just written");
            }
            step => {
                let header =
                    Header { received: Timestamp::from_seconds(now_s), principal: "p", correlation: "" };
                apply(&mut engine, &mut replica, &encode(&header, step));
            }
        }
        if input.is_empty() {
            break;
        }
    }
    check_engine(&engine);
    let limits = small_limits();
    assert!(engine.len() <= limits.things_max && engine.names_len() <= limits.names_max);
    assert!(engine.discovered_len() <= limits.discovered_max);
    for thing in engine.things() {
        assert!(thing.features().count() <= limits.features_max);
        assert!(thing.features().all(|feature| feature.properties().count() <= limits.properties_max));
        assert!(thing.attributes().count() <= limits.properties_max);
    }
});

fn apply(engine: &mut Engine, replica: &mut Engine, bytes: &[u8]) {
    let record = Record::decode(bytes).expect("it was written here");
    let things = |engine: &Engine| -> Vec<serde_json::Value> {
        engine.things().map(|thing| thing.to_json()).collect()
    };
    let before = things(engine);
    let (mut changes, mut replica_changes) = (Vec::new(), Vec::new());
    let offset = engine.next_offset();
    let outcome = engine.apply(offset, &record, &mut changes);
    let replica_outcome = replica.apply(offset, &record, &mut replica_changes);
    assert_eq!((&outcome, &changes), (&replica_outcome, &replica_changes), "replicas agree");
    assert_eq!(engine.digest(), replica.digest(), "replicas agree");
    if matches!(outcome, Outcome::Write(WriteOutcome::Refused(_) | WriteOutcome::Unchanged { .. })) {
        assert!(changes.is_empty(), "{outcome:?}: {changes:?}");
        assert_eq!(things(engine), before, "{outcome:?} changed something");
    }
}

fn encode(header: &Header<'_>, step: &Step<'_>) -> Vec<u8> {
    let thing_of = |number: u8| THINGS[usize::from(number) % THINGS.len()];
    let record = |body| Record { header: *header, body }.to_bytes();
    match step {
        Step::Write { thing, operation, path, any_path, content, conditions } => {
            let operations = [
                WriteOperation::Put,
                WriteOperation::Merge,
                WriteOperation::Patch,
                WriteOperation::Delete,
                WriteOperation::Create,
                WriteOperation::Accept,
            ];
            let operation = operations[usize::from(*operation) % operations.len()];
            let content = if operation == WriteOperation::Delete { String::new() } else { text_of(content) };
            let mut preconditions = Preconditions::default();
            match conditions {
                Conditions::None => {}
                Conditions::Match(tags) => preconditions.if_match = tags,
                Conditions::NoneMatch(tags) => preconditions.if_none_match = tags,
                Conditions::Filter(filter) => preconditions.condition = filter,
            }
            record(Body::ThingWrite(ThingWrite {
                thing: thing_of(*thing),
                operation,
                path: any_path.unwrap_or(PATHS[usize::from(*path) % PATHS.len()]),
                content: content.as_bytes(),
                preconditions,
            }))
        }
        Step::Telemetry { thing, clock, source_s, samples } => {
            let mut out = Vec::new();
            let source = Timestamp::from_seconds(egiz_fuzz::BEGIN_S + i64::from(*source_s));
            let clock = [QualityReason::None, QualityReason::ClockUnset, QualityReason::ClockAhead]
                [usize::from(*clock) % 3];
            let mut writer = TelemetryWriter::begin(&mut out, header, thing_of(*thing), source, clock);
            for (feature, property, quality, content) in samples.iter().take(12) {
                writer.feature(name_of(*feature));
                let quality = Quality::from_u8(quality % 3).unwrap_or_default();
                writer.sample(name_of(*property), quality);
                let json = serde_json::from_str(&text_of(content)).unwrap_or_default();
                writer.value(&Value::from_json(&json));
            }
            writer.finish();
            out
        }
        Step::Presence { thing, online } => {
            record(Body::Presence { thing: thing_of(*thing), online: *online })
        }
        Step::Template { json } => record(Body::Template { definition: "openegiz:oven:1.0.0", json }),
        Step::Forget { thing } => record(Body::Forget { thing: thing_of(*thing) }),
        Step::Tick | Step::Wait { .. } | Step::Restore => record(Body::Tick),
    }
}

fn name_of(number: u8) -> &'static str {
    NAMES[usize::from(number) % NAMES.len()]
}

fn text_of(content: &Content<'_>) -> String {
    match content {
        Content::Text(text) => (*text).to_owned(),
        Content::Number(number) => number.to_string(),
        Content::Whole(number) => number.to_string(),
        Content::Null => "null".to_owned(),
        Content::Feature { name, property, value } => {
            let (name, property) = (name_of(*name), name_of(*property));
            serde_json::json!({"features": {name: {"properties": {property: value}}}}).to_string()
        }
        Content::Patch(operations) => {
            let operations = operations.iter().take(6).map(|(operation, from, path, value)| {
                let operation =
                    ["add", "remove", "replace", "move", "copy", "test"][usize::from(*operation) % 6];
                let place = |number: &u8| PATHS[usize::from(*number) % PATHS.len()];
                let value = serde_json::from_str(value).unwrap_or(serde_json::Value::Null);
                serde_json::json!({"op": operation, "from": place(from), "path": place(path), "value": value})
            });
            serde_json::Value::from_iter(operations).to_string()
        }
    }
}
