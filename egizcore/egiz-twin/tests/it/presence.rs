//! Whether a device is heard: live, stale, offline.

use egiz_model::Timestamp;
use egiz_model::record::Body;
use egiz_twin::{Connection, Limits, Outcome, WriteOutcome};
use serde_json::json;

use crate::Plant;

const OVEN: &str = "factory:oven-001";

fn connection(plant: &Plant) -> Connection {
    plant.engine.thing(OVEN).expect("it is there").connection()
}

#[test]
fn a_silent_thing_becomes_stale_and_comes_back() {
    let mut plant = Plant::with(Limits { stale_after_micros: Some(30_000_000), ..Limits::default() });
    plant.put(OVEN, "", json!({}));
    assert_eq!(connection(&plant), Connection::Unknown);
    assert_eq!(plant.engine.next_deadline(), None, "nobody waits for what was never heard");
    plant.hear(OVEN, 1, json!({"a": {"x": 1}}));
    assert_eq!(connection(&plant), Connection::Live);
    let heard = plant.engine.thing(OVEN).and_then(|thing| thing.last_seen()).expect("heard");
    assert_eq!(plant.engine.next_deadline(), Some(heard.plus_micros(30_000_000)));

    plant.now_s += 20;
    plant.hear(OVEN, 2, json!({"a": {"x": 1}}));
    plant.now_s += 20;
    plant.body(Body::Tick);
    assert_eq!(connection(&plant), Connection::Live, "it was heard 20 s ago");
    plant.now_s += 20;
    plant.body(Body::Tick);
    assert_eq!(connection(&plant), Connection::Stale);
    assert_eq!(plant.kinds(), ["Connection(Stale)"]);
    let revision = plant.engine.thing(OVEN).map(|thing| thing.revision());
    plant.body(Body::Tick);
    assert!(plant.changes.is_empty());

    plant.hear(OVEN, 3, json!({"a": {"x": 1}}));
    assert_eq!(connection(&plant), Connection::Live);
    assert_eq!(plant.engine.thing(OVEN).map(|thing| thing.revision()), revision.map(|revision| revision + 1));
}

#[test]
fn a_template_says_how_long_silence_is_fine() {
    let mut plant = Plant::with(Limits { stale_after_micros: None, ..Limits::default() });
    plant.put(OVEN, "", json!({"definition": "d"}));
    plant.hear(OVEN, 1, json!({"a": {"x": 1}}));
    assert_eq!(plant.engine.next_deadline(), None);
    plant.body(Body::Template { definition: "d", json: "{\"stale_after_s\": 5}" });
    assert!(plant.engine.next_deadline().is_some());
    plant.now_s += 10;
    plant.body(Body::Tick);
    assert_eq!(connection(&plant), Connection::Stale);
    assert_eq!(plant.engine.template("d"), Some("{\"stale_after_s\": 5}"));
    plant.body(Body::Template { definition: "d", json: "" });
    assert_eq!(plant.engine.template("d"), None);
}

#[test]
fn a_shorter_patience_counts_at_once_and_ticks_go_by_place() {
    let mut plant = Plant::new();
    for thing in ["s:a", "s:b", "s:c"] {
        plant.put(thing, "", json!({"definition": "d"}));
    }
    for thing in ["s:c", "s:a", "s:b"] {
        plant.hear(thing, 1, json!({"a": {"x": 1}}));
    }
    plant.body(Body::Template { definition: "d", json: "{\"stale_after_s\": 5}" });
    plant.now_s += 10;
    plant.body(Body::Tick);
    let stale: Vec<_> = plant.changes.iter().map(|change| change.thing.as_str()).collect();
    assert_eq!(stale, ["s:a", "s:b", "s:c"]);
    plant.body(Body::Template { definition: "d", json: "{\"stale_after_s\": 5}" });
    assert!(plant.changes.is_empty(), "the same template again is no change");
}

#[test]
fn templates_are_bounded() {
    let mut plant = Plant::with(Limits { templates_max: 1, ..Limits::default() });
    let put = |plant: &mut Plant, definition, json| plant.body(Body::Template { definition, json });
    assert_eq!(put(&mut plant, "a", "{}"), Outcome::Done);
    assert!(matches!(put(&mut plant, "b", "{}"), Outcome::Write(WriteOutcome::Refused(_))));
    assert_eq!(put(&mut plant, "a", ""), Outcome::Done);
    assert_eq!(put(&mut plant, "b", "{}"), Outcome::Done);
    assert_eq!(plant.engine.templates().collect::<Vec<_>>(), [("b", "{}")]);
}

#[test]
fn an_unreadable_record_is_passed_over_and_counted() {
    let mut plant = Plant::new();
    plant.engine.skip(4);
    plant.engine.skip(2);
    assert_eq!((plant.next_offset(), plant.engine.counters().undecodable), (5, 1));
}

#[test]
fn a_last_will_says_offline_at_once() {
    let mut plant = Plant::new();
    plant.body(Body::Presence { thing: OVEN, online: true });
    assert!(plant.engine.is_empty(), "a status alone makes no Thing");
    plant.put(OVEN, "", json!({}));
    plant.body(Body::Presence { thing: OVEN, online: true });
    assert_eq!(connection(&plant), Connection::Live);
    plant.body(Body::Presence { thing: OVEN, online: false });
    assert_eq!(connection(&plant), Connection::Offline);
    assert_eq!(plant.changes.len(), 1);
    plant.body(Body::Presence { thing: OVEN, online: false });
    assert!(plant.changes.is_empty());
}

#[test]
fn a_deleted_thing_in_whose_place_another_lies_is_not_marked() {
    let mut plant = Plant::with(Limits { stale_after_micros: Some(5_000_000), ..Limits::default() });
    plant.put(OVEN, "", json!({}));
    plant.hear(OVEN, 1, json!({"a": {"x": 1}}));
    plant.write(egiz_model::record::WriteOperation::Delete, OVEN, "", &json!(null));
    plant.put("factory:other", "", json!({}));
    plant.now_s += 60;
    plant.body(Body::Tick);
    assert!(plant.changes.is_empty());
    assert_eq!(plant.engine.thing("factory:other").map(|thing| thing.created() > Timestamp::MIN), Some(true));
}
