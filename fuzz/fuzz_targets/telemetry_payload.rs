//! Attacks what devices send: whatever stands in topic and payload, the mapping neither panics nor invents. What it takes is
//! JSON, becomes records that read back as they were written, with the very values of the payload, and the engine applies
//! them; what it does not take is counted with a reason.
//!
//! Input: a digit (1 quality of service, 2 retained, 4 owed to a subscriber), the topic, a line feed, the payload.
#![no_main]

use std::sync::LazyLock;

use egiz_fuzz::{BEGIN_S, check_engine, plant, small_limits};
use egiz_ingest::{ClockRules, Ingest, IngestConfig, IngestMetrics, Mapped, Part, PayloadLimits, Source};
use egiz_model::record::{Body, Record, Telemetry};
use egiz_model::{Timestamp, Value};
use egiz_twin::{Engine, Outcome};
use libfuzzer_sys::fuzz_target;
use serde_json::Value as Json;

static PLANT: LazyLock<Engine> = LazyLock::new(|| plant(small_limits()));

fuzz_target!(|input: &[u8]| {
    let Some((&flags, rest)) = input.split_first() else { return };
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(topic) = std::str::from_utf8(&rest[..end]) else { return };
    let source = Source {
        received: Timestamp::from_seconds(BEGIN_S + 60),
        principal: "oven-001",
        correlation: "c-1",
        topic,
        qos: flags & 1,
        retain: flags & 2 != 0,
        owed: flags & 4 != 0,
        payload: &rest[end + 1..],
        properties: b"",
    };
    let limits = PayloadLimits { properties_max: 8, depth_max: 4 };
    let config = IngestConfig { clocks: ClockRules::default(), limits, rejected_kept: 2 };
    let ingest = Ingest::new(config, IngestMetrics::default());
    let mut engine = PLANT.clone();
    let mut kinds = Vec::new();
    let mapped = ingest.map(&source, &mut Vec::new(), |part, bytes| {
        let kind = check_record(bytes, &source, &mut engine);
        assert_eq!(part == Part::Whole, kind == Kind::Message);
        kinds.push(kind);
    });
    check_kinds(mapped, &kinds, &source);
    let (rejected, kept) = ingest.rejected();
    assert_eq!((rejected, kept.len()), if mapped == Mapped::Rejected { (1, 1) } else { (0, 0) });
    if !kinds.is_empty() {
        check_engine(&engine);
    }
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Telemetry,
    Presence,
    Message,
}

fn check_record(bytes: &[u8], source: &Source<'_>, engine: &mut Engine) -> Kind {
    let record = Record::decode(bytes).expect("what ingest writes can be read");
    assert_eq!(record.to_bytes(), bytes, "and is written as the model writes it");
    assert_eq!(record.header.received, source.received);
    let kind = match &record.body {
        Body::Telemetry(telemetry) => {
            check_thing(telemetry.thing, source.topic);
            check_telemetry(telemetry, source.payload);
            Kind::Telemetry
        }
        Body::Presence { thing, .. } => {
            check_thing(thing, source.topic);
            Kind::Presence
        }
        Body::Message(message) => {
            assert_eq!((message.topic, message.payload), (source.topic, source.payload));
            Kind::Message
        }
        other => panic!("a device's message became {other:?}"),
    };
    let outcome = engine.apply(engine.next_offset(), &record, &mut Vec::new());
    assert_eq!(matches!(outcome, Outcome::Telemetry(_)), kind == Kind::Telemetry);
    kind
}

/// A Thing is fed by its own topics alone.
fn check_thing(thing: &str, topic: &str) {
    let (site, name) = thing.split_once(':').expect("an id has a site and a name");
    assert!(topic.starts_with(&format!("sensors/{site}/{name}/")), "{topic} feeds {thing}");
}

/// Every member of the payload is a sample with its value. Of a member named twice the last counts, in a JSON reader as in
/// the twin.
fn check_telemetry(telemetry: &Telemetry<'_>, payload: &[u8]) {
    let json: Json = serde_json::from_slice(payload).expect("what is taken is JSON");
    let members = json.as_object().expect("and an object");
    let samples: Vec<(&str, &str, Value)> = telemetry
        .features()
        .flat_map(|feature| {
            feature
                .samples()
                .map(move |sample| (feature.name.as_str(), sample.property.as_str(), sample.value.to_owned()))
        })
        .collect();
    let check = |feature: &str, property: &str, wanted: &Json| {
        let found = samples.iter().rev().find(|sample| (sample.0, sample.1) == (feature, property));
        let value = found.map(|sample| &sample.2).expect("every property is a sample");
        assert_eq!(*value, Value::from_json(wanted), "{feature}/{property}");
    };
    for (name, value) in members.iter().filter(|(name, _)| *name != "device_id" && *name != "timestamp") {
        match value {
            // The name of the feature that takes what lies at the top: two sources for one place.
            Json::Object(_) if name == "telemetry" => {}
            Json::Object(properties) => {
                properties.iter().for_each(|(property, value)| check(name, property, value));
            }
            value => check("telemetry", name, value),
        }
    }
}

fn check_kinds(mapped: Mapped, kinds: &[Kind], source: &Source<'_>) {
    let content = match mapped {
        Mapped::Telemetry => Some(Kind::Telemetry),
        Mapped::Status => Some(Kind::Presence),
        Mapped::Other | Mapped::Rejected => None,
    };
    let whole = source.retain || source.owed || (source.qos > 0 && content.is_none());
    let expected: Vec<Kind> = content.into_iter().chain(whole.then_some(Kind::Message)).collect();
    assert_eq!(kinds, expected);
}
