//! What people and services ask for: every operation, every path, every condition.

use egiz_model::record::{Body, Preconditions, WriteOperation};
use egiz_twin::{Limits, Refusal, WriteOutcome};
use serde_json::{Value as Json, json};

use crate::{Plant, oven};

const OVEN: &str = "factory:oven-001";

fn plant_with_oven() -> Plant {
    let mut plant = Plant::new();
    plant.put(OVEN, "", oven());
    plant
}

/// The entity tag's short form.
fn etag(plant: &Plant, path: &str) -> String {
    let tag = plant.engine.thing(OVEN).expect("it is there").entity_tag(path);
    format!("{}\"", tag.split('@').next().expect("a tag"))
}

#[test]
fn put_creates_replaces_and_leaves_alone() {
    let mut plant = plant_with_oven();
    let check = |plant: &mut Plant, path: &str, content: Json, expected: WriteOutcome, changes: usize| {
        assert_eq!(plant.put(OVEN, path, content), expected, "{path}");
        assert_eq!(plant.changes.len(), changes, "{path}: {:?}", plant.changes);
    };
    check(&mut plant, "/attributes/line", json!("1"), WriteOutcome::Created { revision: 2 }, 1);
    check(&mut plant, "/attributes/line", json!("2"), WriteOutcome::Changed { revision: 3 }, 1);
    check(&mut plant, "/attributes/line", json!("2"), WriteOutcome::Unchanged { revision: 3 }, 0);
    check(
        &mut plant,
        "/features/status",
        json!({"properties": {"anomaly": true}}),
        WriteOutcome::Created { revision: 4 },
        1,
    );
    check(
        &mut plant,
        "/features/status/properties/score",
        json!(0.5),
        WriteOutcome::Created { revision: 5 },
        1,
    );
    check(
        &mut plant,
        "/features/status/properties/top/0",
        json!("x"),
        WriteOutcome::Created { revision: 6 },
        1,
    );
    check(
        &mut plant,
        "/features/new/properties/deep",
        json!({"a": null}),
        WriteOutcome::Created { revision: 7 },
        1,
    );
    check(
        &mut plant,
        "/features/status/desiredProperties/mode",
        json!("auto"),
        WriteOutcome::Created { revision: 8 },
        1,
    );
    check(&mut plant, "/features/empty", json!({}), WriteOutcome::Created { revision: 9 }, 1);
    check(&mut plant, "/definition", json!("openegiz:oven:1"), WriteOutcome::Created { revision: 10 }, 1);
    assert_eq!(
        plant.get(OVEN, ""),
        Some(json!({
            "thingId": OVEN,
            "definition": "openegiz:oven:1",
            "attributes": {"type": "oven", "line": "2"},
            "features": {
                "thermal": {"properties": {"zone": 190}},
                "status": {"properties": {"anomaly": true, "score": 0.5, "top": {"0": "x"}}, "desiredProperties": {"mode": "auto"}},
                "new": {"properties": {"deep": {"a": null}}},
                "empty": {"properties": {}},
            }
        }))
    );
    check(&mut plant, "", oven(), WriteOutcome::Changed { revision: 11 }, 5);
    assert_eq!(plant.get(OVEN, "/features"), Some(json!({"thermal": {"properties": {"zone": 190}}})));
}

#[test]
fn merge_and_patch_follow_their_standards() {
    let mut plant = plant_with_oven();
    let merged =
        plant.write(WriteOperation::Merge, OVEN, "", &json!({"attributes": {"type": null, "line": "1"}}));
    assert_eq!(merged, WriteOutcome::Changed { revision: 2 });
    assert_eq!(plant.get(OVEN, "/attributes"), Some(json!({"line": "1"})));
    let merged = plant.write(WriteOperation::Merge, OVEN, "/features/thermal/properties/zone", &json!(null));
    assert_eq!(merged, WriteOutcome::Changed { revision: 3 });
    assert_eq!(plant.get(OVEN, "/features/thermal"), Some(json!({"properties": {}})));
    let created =
        plant.write(WriteOperation::Merge, "factory:new", "", &json!({"attributes": {"a": 1, "b": null}}));
    assert_eq!(created, WriteOutcome::Created { revision: 1 });
    assert_eq!(plant.get("factory:new", "/attributes"), Some(json!({"a": 1})));

    let patch = json!([
        {"op": "test", "path": "/attributes/line", "value": "1"},
        {"op": "add", "path": "/attributes/tags", "value": ["a"]},
        {"op": "add", "path": "/attributes/tags/-", "value": "b"},
        {"op": "remove", "path": "/attributes/line"},
    ]);
    assert_eq!(plant.write(WriteOperation::Patch, OVEN, "", &patch), WriteOutcome::Changed { revision: 4 });
    assert_eq!(plant.get(OVEN, "/attributes"), Some(json!({"tags": ["a", "b"]})));
    let refused = plant.write(WriteOperation::Patch, OVEN, "", &patch);
    assert_eq!(
        refused,
        WriteOutcome::Refused(Refusal::PatchTestFailed { pointer: "/attributes/line".into() })
    );
    for (operation, at, missing) in [
        (json!({"op": "remove", "path": "/attributes/line"}), "/attributes/line", "nothing here"),
        (
            json!({"op": "replace", "path": "/attributes/line", "value": 1}),
            "/attributes/line",
            "nothing here",
        ),
        (
            json!({"op": "add", "path": "/attributes/a/b", "value": 1}),
            "/attributes/a/b",
            "nothing to put it into",
        ),
        (
            json!({"op": "add", "path": "/attributes/tags/9", "value": 1}),
            "/attributes/tags/9",
            "to put it into",
        ),
        (json!({"op": "copy", "path": "/attributes/a", "from": "/attributes/b"}), "/attributes/a", "`from`"),
        (json!({"op": "move", "path": "/attributes/a", "from": "/attributes/b"}), "/attributes/a", "`from`"),
    ] {
        let refused = plant.write(WriteOperation::Patch, OVEN, "", &json!([operation]));
        let WriteOutcome::Refused(Refusal::PatchConflict { pointer, operation: 0, reason }) = refused else {
            panic!("{operation}: {refused:?}");
        };
        assert!(pointer == at && reason.contains(missing), "{operation}: {pointer}: {reason}");
    }
    let refused = plant.write(WriteOperation::Patch, OVEN, "", &json!([{"op": "fly"}]));
    assert!(matches!(refused, WriteOutcome::Refused(Refusal::Invalid { .. })), "{refused:?}");
}

/// The examples of RFC 7396, appendix A, whose target is anything but the whole Thing.
#[test]
fn merge_patches_do_what_their_standard_shows() {
    let check = |target: Json, patch: Json, expected: Json| {
        let mut plant = plant_with_oven();
        plant.put(OVEN, "/attributes/x", target.clone());
        plant.write(WriteOperation::Merge, OVEN, "/attributes/x", &patch);
        assert_eq!(plant.get(OVEN, "/attributes/x"), Some(expected), "{target} {patch}");
    };
    check(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}));
    check(json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"}));
    check(json!({"a": "b"}), json!({"a": null}), json!({}));
    check(json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"}));
    check(json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"}));
    check(json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]}));
    check(json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}}));
    check(json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]}));
    check(json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"]));
    check(json!({"a": "b"}), json!(["c"]), json!(["c"]));
    check(json!({"a": "foo"}), json!("bar"), json!("bar"));
    check(json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1}));
    check(json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"}));
    check(json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}}));
}

#[test]
fn delete_takes_away_what_is_there() {
    let mut plant = plant_with_oven();
    let delete =
        |plant: &mut Plant, path: &str| plant.write(WriteOperation::Delete, OVEN, path, &json!(null));
    assert_eq!(
        delete(&mut plant, "/features/thermal/properties/zone"),
        WriteOutcome::Deleted { revision: 2 }
    );
    assert!(plant.kinds()[0].contains("None"), "{:?}", plant.kinds());
    assert!(matches!(
        delete(&mut plant, "/features/thermal/properties/zone"),
        WriteOutcome::Refused(Refusal::NotFound { .. })
    ));
    assert_eq!(delete(&mut plant, "/features/thermal"), WriteOutcome::Deleted { revision: 3 });
    assert!(plant.kinds()[0].contains("removed: true"), "{:?}", plant.kinds());
    assert_eq!(delete(&mut plant, ""), WriteOutcome::Deleted { revision: 4 });
    assert_eq!(plant.kinds(), ["Deleted"]);
    assert!(matches!(delete(&mut plant, ""), WriteOutcome::Refused(Refusal::NotFound { .. })));
    assert!(plant.engine.is_empty());
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    let mut plant = plant_with_oven();
    let check = |plant: &mut Plant, path: &str, content: Json, pointer: &str| {
        match plant.put(OVEN, path, content) {
            WriteOutcome::Refused(Refusal::Invalid { pointer: found, .. }) => assert_eq!(found, pointer),
            other => panic!("{path}: {other:?}"),
        }
        assert!(plant.changes.is_empty());
    };
    check(&mut plant, "", json!(null), "");
    check(&mut plant, "", json!([1]), "");
    check(&mut plant, "", json!({"thingId": "factory:other"}), "/thingId");
    check(&mut plant, "", json!({"surprise": 1}), "/surprise");
    check(&mut plant, "/definition", json!(5), "/definition");
    check(&mut plant, "/attributes", json!("x"), "/attributes");
    check(&mut plant, "/attributes/_own", json!("x"), "/attributes/_own");
    check(&mut plant, "/features/a~1b", json!({}), "/features/a~1b");
    check(&mut plant, "/features/a/surprise", json!(1), "/features/a/surprise");
    check(&mut plant, "/attributes/type/x", json!(1), "/attributes/type");
    check(&mut plant, "/surprise/x", json!(1), "/surprise");
    check(&mut plant, "/attributes", json!(null), "/attributes");
    check(&mut plant, "/features/thermal", json!(null), "/features/thermal");
    check(&mut plant, "/_revision", json!(7), "/_revision");
    check(&mut plant, "/thingId", json!("factory:other"), "/thingId");
    let deep = (0..33).fold(json!(1), |inner, _| json!([inner]));
    check(&mut plant, "/attributes/deep", deep.clone(), "/attributes/deep");
    check(&mut plant, "/features/thermal/definition", deep, "/features/thermal/definition");
    check(&mut plant, &format!("/attributes{}", "/a".repeat(40)), json!(1), "/attributes/a");
    let endless = "/a".repeat(20_000);
    check(&mut plant, &endless, json!(1), &endless);
    for operation in [WriteOperation::Delete, WriteOperation::Merge] {
        let refused = plant.write(operation, OVEN, "/thingId", &json!(null));
        assert!(matches!(refused, WriteOutcome::Refused(Refusal::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(plant.engine.thing(OVEN).map(|thing| thing.revision()), Some(1));
    let read = plant.get(OVEN, "").expect("it is there");
    let mut shown = read.clone();
    shown["_revision"] = json!(1);
    assert_eq!(
        plant.put(OVEN, "", shown),
        WriteOutcome::Unchanged { revision: 1 },
        "what was read can be written back"
    );
}

#[test]
fn limits_refuse_and_name_themselves() {
    let limits = Limits { things_max: 1, thing_bytes_max: 200, ..Limits::default() };
    let mut plant = Plant::with(limits);
    plant.put(OVEN, "", oven());
    let refused = plant.put("factory:two", "", json!({}));
    assert_eq!(refused, WriteOutcome::Refused(Refusal::LimitReached { what: "Things", limit: 1 }));
    let refused = plant.put(OVEN, "/attributes/long", json!("x".repeat(300)));
    assert!(
        matches!(refused, WriteOutcome::Refused(Refusal::TooLarge { limit_bytes: 200, .. })),
        "{refused:?}"
    );
    assert_eq!(plant.get(OVEN, "/attributes/long"), None);
    assert_eq!(plant.engine.counters().writes_refused, 2);
    let reasons: Vec<_> = plant.engine.counters().refusals().filter(|(_, count)| *count > 0).collect();
    assert_eq!(reasons, [("too-large", 1), ("limit-reached", 1)]);
}

#[test]
fn a_refused_write_leaves_nothing_behind() {
    let limits = Limits { names_max: 5, properties_max: 2, ..Limits::default() };
    let mut plant = Plant::with(limits);
    plant.put(OVEN, "", oven());
    assert_eq!(plant.engine.names_len(), 3);
    let check = |plant: &mut Plant, path: &str, content: Json, what: &str, limit: usize| {
        match plant.put(OVEN, path, content) {
            WriteOutcome::Refused(Refusal::LimitReached { what: found, limit: at }) => {
                assert_eq!((found, at), (what, limit), "{path}");
            }
            other => panic!("{path}: {other:?}"),
        }
        assert_eq!(plant.engine.names_len(), 3, "{path}");
    };
    check(&mut plant, "/attributes", json!({"a": 1, "b": 1, "c": 1}), "attributes", 2);
    check(&mut plant, "/features/a", json!({"properties": {"a": 1, "b": 1, "c": 1}}), "properties", 2);
    check(&mut plant, "/features/a", json!({"properties": {"b": 1, "c": 1}}), "distinct names", 5);
    assert_eq!(plant.put(OVEN, "/attributes/b", json!(1)), WriteOutcome::Created { revision: 2 });
}

#[test]
fn a_small_patch_cannot_make_a_large_thing() {
    let mut plant = plant_with_oven();
    plant.put(OVEN, "/attributes/a", json!(["x".repeat(1000)]));
    let doubling = json!({"op": "copy", "from": "/attributes/a", "path": "/attributes/a/0"});
    let refused = plant.write(WriteOperation::Patch, OVEN, "", &json!(vec![doubling; 30]));
    assert!(matches!(refused, WriteOutcome::Refused(Refusal::TooLarge { .. })), "{refused:?}");
    let deepening = json!({"op": "copy", "from": "/attributes", "path": "/attributes/a"});
    let refused = plant.write(WriteOperation::Patch, OVEN, "", &json!(vec![deepening; 60]));
    assert!(matches!(refused, WriteOutcome::Refused(Refusal::Invalid { .. })), "{refused:?}");
    let many = vec![json!({"op": "test", "path": "/attributes/type", "value": "oven"}); 1025];
    let refused = plant.write(WriteOperation::Patch, OVEN, "", &json!(many));
    assert!(matches!(refused, WriteOutcome::Refused(Refusal::Invalid { .. })), "{refused:?}");
    let worth = json!([{"op": "test", "path": "/features/thermal/properties/zone", "value": 190.0}]);
    assert_eq!(
        plant.write(WriteOperation::Patch, OVEN, "", &worth),
        WriteOutcome::Unchanged { revision: 2 },
        "numbers are compared by what they are worth"
    );
}

#[test]
fn what_is_written_is_judged_by_the_template() {
    let mut plant = Plant::new();
    plant.body(Body::Template { definition: "d", json: "{\"features\":{\"t\":{\"x\":{\"max\":5}}}}" });
    plant.put(OVEN, "", json!({"definition": "d"}));
    for (value, expected) in
        [(json!(5), "good"), (json!(6), "uncertain"), (json!([1, 6]), "uncertain"), (json!(null), "bad")]
    {
        plant.put(OVEN, "/features/t/properties/x", value.clone());
        assert_eq!(plant.get(OVEN, "/_metadata/t/x/quality"), Some(json!(expected)), "{value}");
    }
}

#[test]
fn conditions_are_decided_when_the_write_is_applied() {
    let mut plant = plant_with_oven();
    let put = |plant: &mut Plant, path: &str, preconditions: Preconditions<'_>| {
        let number = plant.now_s;
        plant.write_if(WriteOperation::Put, OVEN, path, &json!(number), preconditions)
    };
    let tag = etag(&plant, "/attributes/n");
    assert_eq!(tag, "\"rev:1\"");
    let if_none_match = Preconditions { if_none_match: "*", ..Preconditions::default() };
    assert_eq!(put(&mut plant, "/attributes/n", if_none_match), WriteOutcome::Created { revision: 2 });
    assert!(matches!(
        put(&mut plant, "/attributes/n", if_none_match),
        WriteOutcome::Refused(Refusal::IfNoneMatch { .. })
    ));
    let tag = etag(&plant, "/attributes/n");
    let if_match = Preconditions { if_match: &tag, ..Preconditions::default() };
    assert_eq!(put(&mut plant, "/attributes/n", if_match), WriteOutcome::Changed { revision: 3 });
    let current = plant.engine.thing(OVEN).map(|thing| thing.entity_tag("/attributes/n"));
    assert_eq!(
        put(&mut plant, "/attributes/n", if_match),
        WriteOutcome::Refused(Refusal::IfMatch { current })
    );
    let exists = Preconditions { if_match: "*", ..Preconditions::default() };
    assert!(matches!(
        put(&mut plant, "/attributes/missing", exists),
        WriteOutcome::Refused(Refusal::IfMatch { current: None })
    ));
    let malformed = Preconditions { if_match: "rev:3", ..Preconditions::default() };
    assert!(matches!(
        put(&mut plant, "/attributes/n", malformed),
        WriteOutcome::Refused(Refusal::MalformedEntityTag { .. })
    ));

    let holds = Preconditions { condition: "eq(attributes/type,\"oven\")", ..Preconditions::default() };
    assert_eq!(put(&mut plant, "/attributes/n", holds), WriteOutcome::Changed { revision: 4 });
    let fails = Preconditions { condition: "eq(attributes/type,\"mixer\")", ..Preconditions::default() };
    assert_eq!(put(&mut plant, "/attributes/n", fails), WriteOutcome::Refused(Refusal::Condition));
    let malformed = Preconditions { condition: "eq(", ..Preconditions::default() };
    assert!(matches!(
        put(&mut plant, "/attributes/n", malformed),
        WriteOutcome::Refused(Refusal::MalformedFilter(_))
    ));

    // Where the plain answer would be "not found", conditions do not count; where it would be "created", they do.
    for (operation, path) in [
        (WriteOperation::Delete, ""),
        (WriteOperation::Patch, ""),
        (WriteOperation::Put, "/attributes/x"),
        (WriteOperation::Merge, "/attributes"),
    ] {
        for preconditions in [exists, holds] {
            let missing = plant.write_if(operation, "factory:none", path, &json!([]), preconditions);
            assert!(matches!(missing, WriteOutcome::Refused(Refusal::NotFound { .. })), "{missing:?}");
        }
    }
    for operation in [WriteOperation::Put, WriteOperation::Merge, WriteOperation::Create] {
        let refused = plant.write_if(operation, "factory:none", "", &json!({}), exists);
        assert_eq!(refused, WriteOutcome::Refused(Refusal::IfMatch { current: None }));
        let refused = plant.write_if(operation, "factory:none", "", &json!({}), holds);
        assert_eq!(refused, WriteOutcome::Refused(Refusal::Condition));
    }
}

#[test]
fn an_entity_tag_does_not_come_again_with_a_thing_of_the_same_id() {
    let mut plant = plant_with_oven();
    let tags = |plant: &Plant| {
        let thing = plant.engine.thing(OVEN).expect("it is there");
        ["", "/attributes", "/features/thermal"].map(|path| thing.entity_tag(path))
    };
    let before = tags(&plant);
    plant.write(WriteOperation::Delete, OVEN, "", &json!(null));
    plant.put(OVEN, "", json!({"attributes": {"type": "other"}, "features": {"thermal": {}}}));
    for (before, after) in before.iter().zip(tags(&plant)) {
        assert_ne!(*before, after);
        assert_eq!(before.split('@').next(), after.split('@').next(), "the revision begins anew");
        let old = Preconditions { if_match: before, ..Preconditions::default() };
        let outcome = plant.write_if(WriteOperation::Put, OVEN, "/attributes/n", &json!(1), old);
        assert!(matches!(outcome, WriteOutcome::Refused(Refusal::IfMatch { .. })), "{outcome:?}");
    }
}

#[test]
fn an_entity_tag_changes_only_with_what_it_names() {
    let mut plant = plant_with_oven();
    plant.put(OVEN, "/attributes/line", json!("1"));
    plant.put(OVEN, "/features/status/properties/anomaly", json!(false));
    let tags: Vec<_> = [
        "",
        "/attributes",
        "/attributes/type",
        "/attributes/line",
        "/features",
        "/features/thermal",
        "/features/thermal/properties/zone",
        "/features/status",
        "/features/status/properties",
        "/features/status/properties/anomaly",
    ]
    .map(|path| format!("{path} {}", etag(&plant, path)))
    .into_iter()
    .collect();
    assert_eq!(
        tags,
        [
            " \"rev:3\"",
            "/attributes \"rev:2\"",
            "/attributes/type \"rev:1\"",
            "/attributes/line \"rev:2\"",
            "/features \"rev:3\"",
            "/features/thermal \"rev:1\"",
            "/features/thermal/properties/zone \"rev:1\"",
            "/features/status \"rev:3\"",
            "/features/status/properties \"rev:3\"",
            "/features/status/properties/anomaly \"rev:3\"",
        ]
    );
}

#[test]
fn a_removal_changes_the_tag_of_what_it_was_removed_from() {
    let mut plant = plant_with_oven();
    plant.put(OVEN, "/features/empty", json!({}));
    assert_eq!(etag(&plant, "/features/empty/properties"), "\"rev:2\"");
    plant.put(OVEN, "/features/thermal/definition", json!(["a:b:1"]));
    assert_eq!(etag(&plant, "/features/thermal/definition"), "\"rev:3\"");
    assert_eq!(etag(&plant, "/features/thermal/properties"), "\"rev:1\"");
    plant.put(OVEN, "/_metadata/thermal/zone/note", json!("probe 2"));
    assert_eq!(etag(&plant, "/_metadata/thermal/zone"), "\"rev:4\"");
    assert_eq!(etag(&plant, "/features/thermal/properties/zone"), "\"rev:1\"", "the value is the same");
    plant.write(WriteOperation::Delete, OVEN, "/features/thermal/properties/zone", &json!(null));
    for path in ["/features/thermal/properties", "/features/thermal", "/features", ""] {
        assert_eq!(etag(&plant, path), "\"rev:5\"", "{path}");
    }
    assert_eq!(etag(&plant, "/features/thermal/definition"), "\"rev:3\"");
    plant.write(WriteOperation::Delete, OVEN, "/attributes/type", &json!(null));
    assert_eq!(
        (etag(&plant, "/attributes"), etag(&plant, "/features")),
        ("\"rev:6\"".into(), "\"rev:5\"".into())
    );
}

#[test]
fn metadata_of_a_property_can_be_set_and_read() {
    let mut plant = plant_with_oven();
    let path = "/_metadata/thermal/zone";
    assert_eq!(
        plant.put(OVEN, "/_metadata/thermal/zone/unit", json!("K")),
        WriteOutcome::Created { revision: 2 }
    );
    let metadata = plant.get(OVEN, path).expect("it is there");
    assert_eq!((&metadata["unit"], &metadata["quality"]), (&json!("K"), &json!("good")));
    assert!(metadata["sourceTime"].is_string());
    assert_eq!(
        plant.put(OVEN, path, metadata),
        WriteOutcome::Unchanged { revision: 2 },
        "what was read can be written back"
    );
    let refused = plant.put(OVEN, "/_metadata/thermal/zone/quality", json!("bad"));
    assert!(matches!(refused, WriteOutcome::Refused(Refusal::Invalid { .. })), "{refused:?}");
    let refused = plant.put(OVEN, "/_metadata/thermal/none/unit", json!("K"));
    assert!(matches!(refused, WriteOutcome::Refused(Refusal::NotFound { .. })), "{refused:?}");
    assert_eq!(
        plant.write(WriteOperation::Delete, OVEN, path, &json!(null)),
        WriteOutcome::Refused(Refusal::NotFound { what: format!("{OVEN}{path}") })
    );
    assert_eq!(
        plant.write(WriteOperation::Delete, OVEN, "/_metadata/thermal/zone/unit", &json!(null)),
        WriteOutcome::Deleted { revision: 3 }
    );
}
