//! From records to history, over restarts: the same rows whenever it was sealed and from whichever snapshot it goes on.

use std::path::Path;

use egiz_broker::Ledger;
use egiz_historian::Settings;
use egiz_historian::disk::Folder;
use egiz_model::record::{Body, Header, Preconditions, Record, TelemetryWriter, ThingWrite, WriteOperation};
use egiz_model::{Quality, QualityReason, Timestamp, Value};
use egiz_twin::{Engine, Limits};
use serde_json::{Value as Json, json};

use super::*;
use crate::pipeline::Place;
use crate::retained::{Kept, Retained};

const OVEN: &str = "factory:oven-001";
const BEGIN_S: i64 = 1_800_000_000;

fn header(second: i64) -> Header<'static> {
    Header { received: Timestamp::from_seconds(BEGIN_S + second), principal: "tester", correlation: "" }
}

/// A message received at a second, measured at another.
fn hear(received: i64, source: i64, features: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    let source = Timestamp::from_seconds(BEGIN_S + source);
    let mut writer = TelemetryWriter::begin(&mut out, &header(received), OVEN, source, QualityReason::None);
    for (feature, properties) in features.as_object().expect("features") {
        writer.feature(feature);
        for (property, value) in properties.as_object().expect("properties") {
            writer.sample(property, Quality::Good);
            writer.value(&Value::from_json(value));
        }
    }
    writer.finish();
    out
}

fn write(received: i64, operation: WriteOperation, path: &str, content: &Json) -> Vec<u8> {
    let content = if content.is_null() { String::new() } else { content.to_string() };
    let preconditions = Preconditions::default();
    let write = ThingWrite { thing: OVEN, operation, path, content: content.as_bytes(), preconditions };
    Record { header: header(received), body: Body::ThingWrite(write) }.to_bytes()
}

fn day_of_an_oven() -> Vec<Vec<u8>> {
    let template = json!({"features": {"thermal": {"zone": {"min": 0, "max": 400}}}}).to_string();
    let body = Body::Template { definition: "openegiz:oven:1", json: &template };
    let nothing = Json::Null;
    vec![
        Record { header: header(0), body }.to_bytes(),
        hear(1, 0, &json!({"thermal": {"zone": 1}})),
        hear(2, 2, &json!({"thermal": {"zone": 190}})),
        write(
            3,
            WriteOperation::Accept,
            "",
            &json!({"definition": "openegiz:oven:1", "features": {"set": {"properties": {"mode": "auto"}}}}),
        ),
        hear(10, 10, &json!({"thermal": {"zone": 195.5, "zones": [195, 401.5]}})),
        hear(11, 11, &json!({"thermal": {"zone": 401}, "_own": {"x": 1}})),
        hear(12, 5, &json!({"thermal": {"zone": 192}})),
        hear(13, 11, &json!({"thermal": {"zone": 401}})),
        b"not a record".to_vec(),
        Record { header: header(14), body: Body::Tick }.to_bytes(),
        write(
            20,
            WriteOperation::Merge,
            "/features",
            &json!({"thermal": {"properties": {"zone": null, "list": [1, "a"]}}}),
        ),
        write(21, WriteOperation::Delete, "/features/set", &nothing),
        write(22, WriteOperation::Put, "/features/thermal/properties/zone", &json!(7)),
        write(30, WriteOperation::Delete, "", &nothing),
        hear(40, 40, &json!({"thermal": {"zone": 1}})),
    ]
}

const EXPECTED: &[&str] = &[
    "2 thermal.zone = 190 good",
    "3 set.mode = \"auto\" good",
    "5 thermal.zone = 192 good",
    "10 thermal.zone = 195.5 good",
    "10 thermal.zones = [195,401.5] good",
    "11 thermal.zone = 401 uncertain",
    "20 thermal.list = [1,\"a\"] good",
    "20 thermal.zone gone",
    "21 set.mode gone",
    "22 thermal.zone = 7 good",
    "30 thermal.list gone",
    "30 thermal.zone gone",
    "30 thermal.zones gone",
];

fn open(path: &Path) -> Historian {
    let folder = Folder::open(path).expect("a folder");
    let (historian, recovery) = Historian::open(Arc::new(folder), Settings::default()).expect("it opens");
    assert_eq!(recovery.lost, Vec::<String>::new());
    historian
}

/// Brings records into engine and history, as the program does at its start.
fn run(engine: &mut Engine, historian: &Historian, records: &[Vec<u8>]) {
    let kept = Mutex::new(Kept { retained: Retained::new(0, 0), sessions: Ledger::default() });
    let (mut notes, mut recorder) = (Notes::default(), Recorder::default());
    let first = engine.next_offset();
    for (offset, bytes) in (0..).zip(records).skip(usize::try_from(first).expect("few")) {
        let mut changes = Vec::new();
        let mut place = Place { engine, kept: &kept, notes: Some(&mut notes) };
        let outcome = place.apply(offset, bytes, &mut changes);
        assert_eq!(outcome.is_err(), bytes == b"not a record");
        let mut notes = notes.take();
        assert!(notes.len() <= 1 && notes.iter().all(|(of, _)| *of == offset));
        let note = notes.pop().map(|(_, note)| note);
        note.iter().for_each(|note| recorder.prepare(bytes, note, Some(historian)));
        take_in(&mut historian.intake(), offset, bytes, note.as_ref(), &mut recorder);
    }
}

fn everything(historian: &Historian) -> Vec<String> {
    let far = Timestamp::from_seconds(BEGIN_S + 1_000_000);
    let rows = historian.read(OVEN, Timestamp::from_seconds(0), far, |_, _| true).expect("readable");
    let mut lines = Vec::new();
    for row in 0..rows.len() {
        let second = rows.time(row).micros_since(Timestamp::from_seconds(BEGIN_S)) / 1_000_000;
        for (feature, property) in rows.properties() {
            let Some(reading) = rows.reading(row, &feature, &property) else { continue };
            lines.push(match reading.value {
                None => format!("{second} {feature}.{property} gone"),
                Some(value) => {
                    let quality = reading.quality.as_str();
                    format!("{second} {feature}.{property} = {} {quality}", value.to_json())
                }
            });
        }
    }
    lines
}

#[test]
fn what_a_thing_took_up_is_kept_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let historian = open(folder.path());
    run(&mut Engine::new(Limits::default()), &historian, &day_of_an_oven());
    assert_eq!(everything(&historian), EXPECTED);
    historian.seal(Timestamp::from_seconds(BEGIN_S + 50)).expect("sealed");
    assert_eq!(everything(&historian), EXPECTED);
    assert_eq!(historian.sealed_before(), day_of_an_oven().len() as Offset);
}

#[test]
fn it_is_the_same_whenever_it_was_sealed_and_from_whichever_snapshot_it_goes_on() {
    let records = day_of_an_oven();
    for sealed in 0..=records.len() {
        for snapshot in [0, sealed / 2, sealed] {
            let folder = tempfile::tempdir().expect("a folder");
            let mut bytes = Vec::new();
            {
                let historian = open(folder.path());
                let mut engine = Engine::new(Limits::default());
                run(&mut engine, &historian, &records[..snapshot]);
                engine.snapshot(&mut bytes);
                run(&mut engine, &historian, &records[..sealed]);
                historian.seal(Timestamp::from_seconds(BEGIN_S + 50)).expect("sealed");
                // What comes after is lost from memory.
                run(&mut engine, &historian, &records[..(sealed + 3).min(records.len())]);
            }
            let historian = open(folder.path());
            let mut engine = Engine::restore(&bytes, Limits::default()).expect("a snapshot");
            run(&mut engine, &historian, &records);
            assert_eq!(everything(&historian), EXPECTED, "sealed before {sealed}, snapshot at {snapshot}");
        }
    }
}

#[test]
fn the_deepest_value_that_can_be_written_is_kept() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let mut kept = 0;
    for levels in [30, 31, 32, 33, 40] {
        let folder = tempfile::tempdir().expect("a folder");
        let historian = open(folder.path());
        let records = [
            write(0, WriteOperation::Create, "", &json!({"features": {"deep": {"properties": {"x": 0}}}})),
            write(1, WriteOperation::Put, "/features/deep/properties/x", &nested(levels)),
        ];
        run(&mut Engine::new(Limits::default()), &historian, &records);
        let found = everything(&historian);
        assert_eq!(found[0], "0 deep.x = 0 good");
        if let Some(line) = found.get(1) {
            assert_eq!(*line, format!("1 deep.x = {} good", nested(levels)));
            kept = levels;
        }
    }
    assert_eq!(kept, 32, "deeper ones are refused");
}

/// An oven whose template says which samples are worth keeping.
fn day_of_a_quiet_oven() -> Vec<Vec<u8>> {
    let template = json!({"features": {"thermal": {
        "zone": {"recording": {"deadband": 0.5, "max_interval_s": 60}},
        "zones": {"recording": {"deadband": 1}},
        "door": {"recording": {"deadband": 0}},
    }}});
    let template = template.to_string();
    let body = Body::Template { definition: "openegiz:oven:1", json: &template };
    let accepted = json!({"definition": "openegiz:oven:1"});
    let thermal = |second, properties: Json| hear(second, second, &json!({"thermal": properties}));
    vec![
        Record { header: header(0), body }.to_bytes(),
        write(0, WriteOperation::Create, "", &accepted),
        thermal(1, json!({"zone": 100, "zones": [1, 2], "door": "shut", "fan": 1})),
        thermal(2, json!({"zone": 100.4, "zones": [1.5, 2], "door": "shut", "fan": 1})),
        thermal(3, json!({"zone": 100.6, "zones": [1.5, 3.5], "door": "shut"})),
        thermal(4, json!({"zone": 100.2, "zones": [1.5, 3.5], "door": "open"})),
        thermal(5, json!({"zone": 100.5, "door": "open"})),
        write(6, WriteOperation::Put, "/features/thermal/properties/zone", &json!(90)),
        thermal(7, json!({"zone": 90.5})),
        thermal(8, json!({"zone": 91})),
        thermal(9, json!({"zone": null})),
        thermal(10, json!({"zone": null})),
        thermal(68, json!({"zone": 91})),
        thermal(100, json!({"zone": 91})),
        thermal(128, json!({"zone": 91})),
        write(130, WriteOperation::Delete, "/features/thermal/properties/door", &Json::Null),
        thermal(131, json!({"door": "open"})),
    ]
}

const EXPECTED_OF_THE_QUIET_OVEN: &[&str] = &[
    "1 thermal.door = \"shut\" good",
    "1 thermal.fan = 1 good",
    "1 thermal.zone = 100 good",
    "1 thermal.zones = [1,2] good",
    "2 thermal.fan = 1 good",
    "3 thermal.zone = 100.6 good",
    "3 thermal.zones = [1.5,3.5] good",
    "4 thermal.door = \"open\" good",
    "6 thermal.zone = 90 good",
    "8 thermal.zone = 91 good",
    "9 thermal.zone = null bad",
    "68 thermal.zone = 91 good",
    "128 thermal.zone = 91 good",
    "130 thermal.door gone",
    "131 thermal.door = \"open\" good",
];

#[test]
fn what_a_template_says_is_not_worth_keeping_is_not_kept_however_often_the_program_was_restarted() {
    let records = day_of_a_quiet_oven();
    for sealed in 0..=records.len() {
        let folder = tempfile::tempdir().expect("a folder");
        {
            let historian = open(folder.path());
            let mut engine = Engine::new(Limits::default());
            run(&mut engine, &historian, &records[..sealed]);
            historian.seal(Timestamp::from_seconds(BEGIN_S + 150)).expect("sealed");
            // What comes after is lost from memory.
            run(&mut engine, &historian, &records[..(sealed + 3).min(records.len())]);
        }
        let historian = open(folder.path());
        run(&mut Engine::new(Limits::default()), &historian, &records);
        assert_eq!(everything(&historian), EXPECTED_OF_THE_QUIET_OVEN, "sealed before {sealed}");
    }
}
