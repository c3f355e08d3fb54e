//! What several targets need: a small plant to attack, and the checks that hold for every engine whatever it was fed.
//!
//! The targets themselves are in `fuzz_targets`, one promise each. Nothing here knows libFuzzer.

pub mod damage;

use egiz_model::Timestamp;
use egiz_model::record::{Body, Header, Preconditions, Record, ThingWrite, WriteOperation};
use egiz_twin::{Change, Engine, Limits, Outcome};

/// When the plant was set up, in seconds since 1970.
pub const BEGIN_S: i64 = 1_800_000_000;

/// Limits low enough that an input of a few hundred bytes reaches them.
#[must_use]
pub fn small_limits() -> Limits {
    Limits {
        things_max: 4,
        discovered_max: 2,
        names_max: 32,
        thing_bytes_max: 2048,
        features_max: 4,
        properties_max: 6,
        templates_max: 2,
        stale_after_micros: Some(10_000_000),
    }
}

/// A header of the plant's `second`-th second.
#[must_use]
pub fn header(second: i64) -> Header<'static> {
    Header { received: Timestamp::from_seconds(BEGIN_S + second), principal: "fuzz", correlation: "" }
}

/// Applies one record through its bytes, as the journal would give it.
pub fn apply(engine: &mut Engine, record: &Record<'_>, changes: &mut Vec<Change>) -> Outcome {
    let bytes = record.to_bytes();
    let record = Record::decode(&bytes).expect("what was encoded can be decoded");
    engine.apply(engine.next_offset(), &record, changes)
}

/// A template, an oven by it, and a bare Thing.
#[must_use]
pub fn plant(limits: Limits) -> Engine {
    let mut engine = Engine::new(limits);
    let template = Body::Template {
        definition: "openegiz:oven:1.0.0",
        json: r#"{"stale_after_s":9,"features":{"thermal":{"zone":{"unit":"degC","min":0,"max":300}}}}"#,
    };
    let oven = r#"{"definition":"openegiz:oven:1.0.0","attributes":{"type":"oven","line":1},
        "features":{"thermal":{"properties":{"zone":190.5,"zones":[190,195.5,null],"door":"open"}}}}"#;
    let create = |thing, content: &'static str| {
        Body::ThingWrite(ThingWrite {
            thing,
            operation: WriteOperation::Create,
            path: "",
            content: content.as_bytes(),
            preconditions: Preconditions::default(),
        })
    };
    let bodies = [template, create("factory:oven-001", oven), create("factory:b", "{}")];
    for (second, body) in (0..).zip(bodies) {
        apply(&mut engine, &Record { header: header(second), body }, &mut Vec::new());
    }
    engine
}

/// The engine's snapshot.
#[must_use]
pub fn snapshot(engine: &Engine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.snapshot(&mut bytes);
    bytes
}

/// Checks what holds for every engine: it can be read wholly, and its snapshot gives back the same engine.
///
/// # Panics
/// Where it does not hold.
pub fn check_engine(engine: &Engine) {
    read_wholly(engine);
    let bytes = snapshot(engine);
    let restored = Engine::restore(&bytes, *engine.limits()).expect("what was written can be read");
    assert!(snapshot(&restored) == bytes, "a restored engine is the same");
}

/// Reads everything that an engine holds.
///
/// # Panics
/// Where it contradicts itself.
pub fn read_wholly(engine: &Engine) {
    for thing in engine.things() {
        let json = thing.to_json();
        assert_eq!(json["thingId"], thing.id().as_str());
        assert_eq!(thing.get("").as_ref(), Some(&json));
        assert!(!thing.entity_tag("").is_empty());
        for feature in thing.features() {
            for property in feature.properties() {
                let _ = (property.metadata_json(), property.unit());
            }
        }
    }
    for (id, device) in engine.discovered() {
        for feature in device.last_message(id).features() {
            feature.samples().for_each(drop);
        }
    }
}
