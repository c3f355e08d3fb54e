//! What devices send: newer replaces, older is late, the same again is a duplicate.

use egiz_model::record::{Body, TelemetryWriter, WriteOperation};
use egiz_model::{Quality, QualityReason, Timestamp, Value};
use egiz_twin::{Connection, Judged, Limits, TelemetryOutcome, WriteOutcome};
use serde_json::json;

use crate::{Plant, oven};

const OVEN: &str = "factory:oven-001";

fn plant_with_oven() -> Plant {
    let mut plant = Plant::new();
    assert_eq!(plant.put(OVEN, "", oven()), WriteOutcome::Created { revision: 1 });
    plant
}

#[test]
fn a_message_makes_one_revision_and_a_change_for_each_feature() {
    let mut plant = plant_with_oven();
    plant.hear(OVEN, 1_900_000_000, json!({"a": {"x": 1}}));
    let outcome = plant.hear(
        OVEN,
        1_900_000_001,
        json!({"thermal": {"zones": [195, 192.5]}, "electrical": {"voltage": 230, "ok": true}}),
    );
    assert_eq!(outcome, TelemetryOutcome { revision: Some(3), changed: 3, ..TelemetryOutcome::default() });
    assert_eq!(plant.changes.len(), 2);
    for change in &plant.changes {
        assert_eq!((change.revision, &*change.principal), (3, "tester"));
        assert_eq!(change.source, Some(Timestamp::from_seconds(1_900_000_001)));
    }
    assert_eq!(plant.get(OVEN, "/features/thermal/properties/zones/1"), Some(json!(192.5)));
}

#[test]
fn a_newer_message_with_the_same_values_changes_nothing_but_times() {
    let mut plant = plant_with_oven();
    plant.hear(OVEN, 1_900_000_000, json!({"a": {"x": 1}}));
    let outcome = plant.hear(OVEN, 1_900_000_005, json!({"a": {"x": 1.0}}));
    assert_eq!(outcome, TelemetryOutcome { revision: Some(2), ..TelemetryOutcome::default() });
    assert!(plant.changes.is_empty());
    let thing = plant.engine.thing(OVEN).expect("it is there");
    assert_eq!(
        thing.property("a", "x").expect("it is there").source(),
        Timestamp::from_seconds(1_900_000_005)
    );
    assert_eq!(thing.last_seen(), Some(Timestamp::from_seconds(plant.now_s - 1)));
}

#[test]
fn a_late_sample_never_overwrites_and_is_counted() {
    let mut plant = plant_with_oven();
    plant.hear(OVEN, 1_900_000_010, json!({"a": {"x": 1}}));
    let outcome = plant.hear(OVEN, 1_900_000_009, json!({"a": {"x": 2, "y": 3}}));
    assert_eq!((outcome.late, outcome.changed), (1, 1), "what is new in an old message is still news");
    assert_eq!(plant.get(OVEN, "/features/a/properties"), Some(json!({"x": 1, "y": 3})));
    assert_eq!(plant.engine.counters().samples_late, 1);
}

#[test]
fn a_message_sent_again_collapses_and_is_counted() {
    let mut plant = plant_with_oven();
    for _ in 0..2 {
        plant.hear(OVEN, 1_900_000_010, json!({"a": {"x": 1, "y": [1, 2]}}));
    }
    assert_eq!(plant.engine.counters().samples_duplicate, 2);
    assert_eq!(plant.engine.thing(OVEN).map(|thing| thing.revision()), Some(2));
    let outcome = plant.hear(OVEN, 1_900_000_010, json!({"a": {"x": 5}}));
    assert_eq!(outcome.changed, 1, "at the same time, the last message wins");
}

#[test]
fn quality_says_what_speaks_against_a_value() {
    let mut plant = Plant::new();
    let template =
        json!({"features": {"thermal": {"zone": {"unit": "°C", "min": 0, "max": 400}}}}).to_string();
    plant.body(Body::Template { definition: "openegiz:oven:1", json: &template });
    plant.put(OVEN, "", json!({"definition": "openegiz:oven:1"}));
    let quality = |plant: &Plant| {
        let property = plant
            .engine
            .thing(OVEN)
            .and_then(|thing| thing.property("thermal", "zone"))
            .expect("it is there");
        assert_eq!(property.unit(), Some("°C"));
        (property.quality(), property.reason())
    };
    plant.hear(OVEN, 1, json!({"thermal": {"zone": 195}}));
    assert_eq!(quality(&plant), (Quality::Good, QualityReason::None));
    plant.hear(OVEN, 2, json!({"thermal": {"zone": 401}}));
    assert_eq!(quality(&plant), (Quality::Uncertain, QualityReason::OutOfRange));
    plant.hear(OVEN, 3, json!({"thermal": {"zone": null}}));
    assert_eq!(quality(&plant), (Quality::Bad, QualityReason::NoValue));
    plant.hear(OVEN, 3, json!({"thermal": {"zone": [195, 401]}}));
    assert_eq!(quality(&plant), (Quality::Uncertain, QualityReason::OutOfRange), "any element counts");
    plant.hear(OVEN, 3, json!({"thermal": {"zone": 195}}));
    let before = plant.engine.thing(OVEN).map(|thing| thing.revision());

    let mut bytes = Vec::new();
    let mut writer = TelemetryWriter::begin(
        &mut bytes,
        &plant.header(),
        OVEN,
        Timestamp::from_seconds(4),
        QualityReason::ClockUnset,
    );
    writer.feature("thermal");
    writer.sample("zone", Quality::Good);
    writer.value(&Value::Int(195));
    writer.finish();
    plant.apply(&bytes);
    assert_eq!(quality(&plant), (Quality::Uncertain, QualityReason::ClockUnset));
    let after = plant.engine.thing(OVEN).map(|thing| thing.revision());
    assert_eq!(after, before.map(|before| before + 1), "another quality of the same value is a change");
    assert_eq!(plant.changes.len(), 1);
}

#[test]
fn every_sample_of_a_message_is_judged_for_who_keeps_them_all() {
    let mut plant = Plant::with(Limits { properties_max: 2, ..Limits::default() });
    let template = json!({"features": {"thermal": {"zone": {"min": 0, "max": 400}}}}).to_string();
    plant.body(Body::Template { definition: "openegiz:oven:1", json: &template });
    let good = Some((Quality::Good, QualityReason::None));
    let judged = |plant: &Plant| {
        let Judged { definition, samples, recording } = plant.judged.clone();
        assert_eq!(recording, None, "the template says nothing about it");
        (definition.map(|definition| definition.to_string()), samples)
    };
    plant.hear(OVEN, 1, json!({"thermal": {"zone": 195}}));
    assert_eq!(judged(&plant), (None, vec![]), "nobody accepted it");
    plant.put(OVEN, "", json!({"definition": "openegiz:oven:1"}));
    plant.hear(OVEN, 100, json!({"other": {"b": 1}, "thermal": {"mode": "auto", "zone": 401}}));
    let out_of_range = Some((Quality::Uncertain, QualityReason::OutOfRange));
    let of_oven = |judged| (Some("openegiz:oven:1".to_owned()), judged);
    assert_eq!(judged(&plant), of_oven(vec![good, good, out_of_range]));
    let late = plant.hear(OVEN, 50, json!({"thermal": {"zone": 402}, "other": {"b": null}}));
    assert_eq!(late.late, 2);
    let no_value = Some((Quality::Bad, QualityReason::NoValue));
    assert_eq!(judged(&plant), of_oven(vec![no_value, out_of_range]), "late ones are judged like others");
    let refused = plant.hear(OVEN, 200, json!({"_own": {"x": 1}, "thermal": {"more": 1, "zone": 5}}));
    assert_eq!(refused.refused, 2);
    assert_eq!(judged(&plant), of_oven(vec![None, None, good]), "what was not taken up is not judged");
    plant.put("factory:plain", "", json!({}));
    plant.hear("factory:plain", 1, json!({"thermal": {"zone": 401}}));
    assert_eq!(judged(&plant), (Some(String::new()), vec![good]), "without a template everything goes");
}

#[test]
fn what_breaks_the_rules_is_refused_and_leaves_no_trace() {
    let mut plant = plant_with_oven();
    plant.hear(OVEN, 1, json!({"thermal": {"zone": 1}}));
    let before = plant.engine.names_len();
    let outcome =
        plant.hear(OVEN, 2, json!({"a/b": {"x": 1}, "_own": {"x": 1}, "c": {"_x": 1}, "empty": {}}));
    assert_eq!((outcome.refused, outcome.changed), (3, 0));
    assert!(plant.changes.is_empty());
    assert_eq!(plant.get(OVEN, "/features"), Some(json!({"thermal": {"properties": {"zone": 190}}})));
    assert_eq!(plant.engine.names_len(), before);
}

#[test]
fn a_device_cannot_make_its_thing_larger_than_allowed() {
    let mut plant = Plant::with(Limits { thing_bytes_max: 500, ..Limits::default() });
    plant.put(OVEN, "", json!({}));
    let long = "x".repeat(200);
    let outcome = plant.hear(OVEN, 1, json!({"a": {"x": long, "y": long, "z": long}, "b": {"n": 1}}));
    assert_eq!((outcome.changed, outcome.refused), (3, 1));
    let outcome = plant.hear(OVEN, 2, json!({"a": {"x": "y".repeat(400)}, "b": {"n": 2}}));
    assert_eq!((outcome.changed, outcome.refused), (1, 1));
    let outcome = plant.hear(OVEN, 3, json!({"a": {"x": "short"}}));
    assert_eq!(outcome.changed, 1);
    let outcome = plant.hear(OVEN, 4, json!({"a": {"z": long}}));
    assert_eq!(outcome.changed, 1, "what got smaller makes room");
}

#[test]
fn an_unknown_device_is_discovered_and_its_values_are_there_once_accepted() {
    let mut plant = Plant::new();
    let outcome = plant.hear(OVEN, 5, json!({"thermal": {"zone": 195}}));
    assert_eq!(outcome.revision, None);
    assert_eq!(plant.kinds(), ["Discovered"]);
    plant.hear(OVEN, 6, json!({"thermal": {"zone": 196}}));
    assert!(plant.changes.is_empty(), "it is announced once");
    let (id, device) = plant.engine.discovered().next().expect("it is listed");
    assert_eq!((id, device.messages), (OVEN, 2));

    let outcome = plant.write(WriteOperation::Accept, OVEN, "", &json!({"attributes": {"type": "oven"}}));
    assert_eq!(outcome, WriteOutcome::Created { revision: 1 });
    let thing = plant.engine.thing(OVEN).expect("it is a Thing");
    assert_eq!((thing.revision(), thing.connection()), (1, Connection::Live));
    assert_eq!(thing.last_seen(), Some(Timestamp::from_seconds(plant.now_s - 2)), "when it was heard");
    let zone = thing.property("thermal", "zone").expect("it is there");
    assert_eq!((zone.source(), Some(zone.received())), (Timestamp::from_seconds(6), thing.last_seen()));
    assert_eq!(plant.get(OVEN, "/features/thermal/properties/zone"), Some(json!(196)));
    assert_eq!(plant.engine.discovered_len(), 0);
    assert!(plant.changes.iter().all(|change| change.revision == 1), "{:?}", plant.changes);
    assert!(matches!(
        plant.write(WriteOperation::Accept, "factory:other", "", &json!({})),
        WriteOutcome::Refused(_)
    ));
}

#[test]
fn discovered_devices_are_bounded_and_the_longest_silent_goes() {
    let mut plant = Plant::with(Limits { discovered_max: 2, ..Limits::default() });
    for device in ["s:a", "s:b", "s:a", "s:c"] {
        plant.hear(device, 1, json!({"x": {"y": 1}}));
    }
    let left: Vec<_> = plant.engine.discovered().map(|(id, _)| id.to_owned()).collect();
    assert_eq!(left, ["s:a", "s:c"]);
    assert_eq!(plant.engine.counters().discovered_evicted, 1);
}

#[test]
fn limits_refuse_what_is_too_much_and_keep_the_rest() {
    let limits = Limits { names_max: 6, features_max: 2, properties_max: 2, ..Limits::default() };
    let mut plant = Plant::with(limits);
    plant.put(OVEN, "", json!({}));
    let outcome = plant.hear(OVEN, 1, json!({"a": {"x": 1, "y": 2, "z": 3}, "b": {"x": 1}, "c": {"x": 1}}));
    assert_eq!((outcome.changed, outcome.refused), (3, 2));
    assert_eq!(
        plant.get(OVEN, "/features"),
        Some(json!({"a": {"properties": {"x": 1, "y": 2}}, "b": {"properties": {"x": 1}}}))
    );
}
