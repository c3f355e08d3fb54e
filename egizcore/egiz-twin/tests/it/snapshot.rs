//! A snapshot gives back the same engine; damaged bytes give an error.

use egiz_model::record::{Body, WriteOperation};
use egiz_twin::{Engine, Judged, Limits};
use proptest::prelude::*;
use serde_json::json;

use crate::{Plant, oven};

fn plant() -> Plant {
    let mut plant = Plant::new();
    plant.body(Body::Template {
        definition: "d",
        json: "{\"stale_after_s\":9,\"features\":{\"thermal\":{\"zone\":{\"unit\":\"K\"}}}}",
    });
    plant.put("factory:oven-001", "", oven());
    plant.put("factory:gone", "", json!({"definition": "d"}));
    plant.put(
        "factory:oven-002",
        "",
        json!({"definition": "d", "attributes": {"address": {"city": "Almaty"}}}),
    );
    plant.hear(
        "factory:oven-002",
        5,
        json!({"thermal": {"zone": 195.5, "ok": true, "list": [1, null, "x"]}, "status": {"word": "on"}}),
    );
    plant.put("factory:oven-002", "/_metadata/thermal/zone/note", json!("probe 2"));
    plant.put("factory:oven-002", "/features/thermal/desiredProperties/zone", json!(200));
    plant.put("factory:oven-002", "/features/thermal/definition", json!(["a:b:1"]));
    plant.write(WriteOperation::Delete, "factory:gone", "", &json!(null));
    plant.hear("factory:unknown", 6, json!({"a": {"b": 1}}));
    plant.body(Body::Presence { thing: "factory:oven-001", online: false });
    plant
}

fn bytes(engine: &Engine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.snapshot(&mut bytes);
    bytes
}

#[test]
fn a_restored_engine_is_the_same_and_goes_on_the_same() {
    let mut plant = plant();
    let written = bytes(&plant.engine);
    let engine = Engine::restore(&written, Limits::default()).expect("what was written can be read");
    assert_eq!(bytes(&engine), written);
    assert_eq!(engine.digest(), plant.engine.digest());
    assert_eq!(engine.next_deadline().is_some(), plant.engine.next_deadline().is_some());

    let mut other = Plant {
        engine,
        changes: Vec::new(),
        now_s: plant.now_s,
        last: Vec::new(),
        judged: Judged::default(),
    };
    for plant in [&mut plant, &mut other] {
        plant.hear("factory:oven-002", 7, json!({"thermal": {"zone": 196}}));
        plant.put("factory:new", "", json!({"attributes": {"x": 1}}));
        plant.now_s += 100;
        plant.body(Body::Tick);
    }
    assert_eq!(plant.changes, other.changes);
    assert_eq!(plant.engine.digest(), other.engine.digest());
}

/// Run with `EGIZ_BLESS=1` only with a new version of the format; what is there must stay readable.
#[test]
fn snapshots_of_this_version_stay_as_they_are() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/snapshot-v2.bin");
    if std::env::var_os("EGIZ_BLESS").is_some() {
        std::fs::write(golden, bytes(&plant().engine)).expect("the golden file can be written");
    }
    let kept = std::fs::read(golden).expect("the golden file is there");
    assert_eq!(kept, bytes(&plant().engine));
    let engine = Engine::restore(&kept, Limits::default()).expect("it can be read");
    assert_eq!(kept, bytes(&engine));
}

#[test]
fn snapshots_of_version_1_stay_readable() {
    let kept = include_bytes!("../golden/snapshot-v1.bin");
    let engine = Engine::restore(kept, Limits::default()).expect("old snapshots can be read");
    let thing = engine.thing("factory:oven-002").expect("it was there");
    assert_eq!(thing.get("/features/thermal/properties/list"), Some(json!([1, null, "x"])));
    assert_eq!(thing.created_offset(), 0);
}

#[test]
fn a_snapshot_cut_anywhere_is_refused() {
    let written = bytes(&plant().engine);
    for end in 0..written.len() {
        assert!(Engine::restore(&written[..end], Limits::default()).is_err(), "cut at {end}");
    }
}

/// A revision that cannot go up any more would stop the engine at the next change.
#[test]
fn a_number_at_the_end_of_its_range_is_refused() {
    let mut plant = Plant::new();
    plant.put("a:b", "", json!({}));
    let written = bytes(&plant.engine);
    let id_at = written.windows(3).position(|window| window == b"a:b").expect("the Thing is there");
    let revision_at = id_at + 3;
    assert_eq!(written[revision_at], 1);
    let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let damaged = [&written[..revision_at], &largest, &written[revision_at + 1..]].concat();
    let error = Engine::restore(&damaged, Limits::default()).expect_err("it is damaged");
    assert!(error.to_string().contains("a number is larger than any that is written"), "{error}");
}

/// Two of a kind under one name would be written once and read twice, or the reverse.
#[test]
fn what_is_there_twice_is_refused() {
    let mut plant = Plant::new();
    for definition in ["template-1", "template-2"] {
        plant.body(Body::Template { definition, json: "{}" });
    }
    plant.put("a:thing-1", "", json!({"attributes": {"name-1": 1, "name-2": 2}}));
    plant.put("a:thing-2", "", json!({}));
    plant.hear("a:device-1", 1, json!({"a": {"b": 1}}));
    plant.hear("a:device-2", 2, json!({"a": {"b": 1}}));
    let written = bytes(&plant.engine);
    for (second, reason) in [
        ("template-2", "a template is there twice"),
        ("thing-2", "a Thing is there twice"),
        ("device-2", "a device is there twice"),
        ("name-2", "a name is there twice"),
    ] {
        let end = written.windows(second.len()).position(|window| window == second.as_bytes());
        let last = end.expect("it is written") + second.len() - 1;
        let mut damaged = written.clone();
        damaged[last] = b'1';
        let error = Engine::restore(&damaged, Limits::default()).expect_err("it is damaged");
        assert!(error.to_string().ends_with(reason), "{second}: {error}");
    }
}

proptest! {
    #[test]
    fn damaged_snapshots_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut written = bytes(&plant().engine);
        let at = at.index(written.len());
        written[at] = byte;
        if let Ok(engine) = Engine::restore(&written, Limits::default()) {
            for thing in engine.things() {
                let _ = thing.to_json();
            }
        }
    }
}
