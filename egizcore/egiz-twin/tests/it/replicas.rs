//! Engines that apply the same records agree, however often one of them was restored in between; and whatever is applied,
//! what is said of it holds together. The limits are small, so that they are met.

use std::collections::BTreeMap;

use egiz_model::record::{Body, Preconditions, Record, ThingWrite, WriteOperation};
use egiz_twin::{Change, ChangeKind, Engine, Limits, Outcome, WriteOutcome};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::{BEGIN_S, telemetry};

const LIMITS: Limits = Limits {
    things_max: 3,
    discovered_max: 2,
    names_max: 12,
    thing_bytes_max: 400,
    features_max: 3,
    properties_max: 3,
    templates_max: 1,
    stale_after_micros: Some(20_000_000),
};

fn value() -> impl Strategy<Value = Json> {
    prop_oneof![
        (0..3_i64).prop_map(|number| json!(number)),
        Just(json!(1.0)),
        Just(json!(null)),
        Just(json!([1, 9, null])),
        prop::sample::select(vec![0, 5, 90]).prop_map(|length| json!("x".repeat(length))),
        Just(json!({"a": {"b": 1}})),
    ]
}

fn features() -> impl Strategy<Value = Json> {
    let property = prop_oneof![12 => "[pq]", 2 => "[r-t]", 1 => Just("_own".to_owned())];
    let feature = prop_oneof![12 => "[fg]", 2 => "[hi]", 1 => Just("a/b".to_owned())];
    let properties = prop::collection::btree_map(property, value(), 0..4);
    prop::collection::btree_map(feature, properties, 0..3).prop_map(|features| json!(features))
}

fn document() -> impl Strategy<Value = Json> {
    let definition = prop::option::of(prop::sample::select(vec!["d", "e"]));
    (prop::collection::btree_map("[a-c]", value(), 0..3), features(), definition).prop_map(
        |(attributes, features, definition)| {
            let mut shaped = json!({});
            for (name, properties) in features.as_object().expect("an object") {
                shaped[name] = json!({"properties": properties});
            }
            json!({"definition": definition, "attributes": attributes, "features": shaped})
        },
    )
}

fn patch() -> impl Strategy<Value = Json> {
    let path = prop::sample::select(vec![
        "/attributes/a",
        "/attributes/b",
        "/features/f",
        "/features/f/properties/p",
        "/features/f/properties/p/0",
        "/definition",
    ]);
    let operation = (path.clone(), path, value(), 0..6_usize).prop_map(|(path, from, value, kind)| {
        let op = ["add", "remove", "replace", "move", "copy", "test"][kind];
        json!({"op": op, "path": path, "from": from, "value": value})
    });
    prop::collection::vec(operation, 1..3).prop_map(Json::Array)
}

fn write() -> impl Strategy<Value = (WriteOperation, String, Json)> {
    let leaf = prop::sample::select(vec![
        "/attributes",
        "/attributes/a",
        "/attributes/a/b/c",
        "/features/f",
        "/features/g/properties",
        "/features/f/properties/p",
        "/features/f/desiredProperties/p",
        "/features/f/definition",
        "/definition",
        "/_metadata/f/p",
        "/_metadata/f/p/unit",
        "/thingId",
    ]);
    let operation = prop::sample::select(vec![
        WriteOperation::Put,
        WriteOperation::Put,
        WriteOperation::Merge,
        WriteOperation::Delete,
    ]);
    prop_oneof![
        10 => (operation, leaf, value()).prop_map(|(operation, path, value)| (operation, path.to_owned(), value)),
        6 => (
            prop::sample::select(vec![
                WriteOperation::Put,
                WriteOperation::Merge,
                WriteOperation::Create,
                WriteOperation::Accept
            ]),
            document()
        )
            .prop_map(|(operation, document)| (operation, String::new(), document)),
        4 => patch().prop_map(|patch| (WriteOperation::Patch, String::new(), patch)),
        1 => Just((WriteOperation::Delete, String::new(), json!(null))),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Hear { thing: usize, behind_s: i64, features: Json },
    Write { thing: usize, write: (WriteOperation, String, Json), preconditions: usize },
    Presence { thing: usize, online: bool },
    Tick,
    Template(&'static str, &'static str),
    Forget(usize),
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let thing = prop_oneof![9 => 0..3_usize, 1 => 3..5_usize];
    let template = prop_oneof![
        Just(""),
        Just("{\"stale_after_s\":3,\"features\":{\"f\":{\"p\":{\"max\":1,\"unit\":\"K\"}}}}"),
        Just("{\"stale_after_s\":\"never\",\"features\":7}"),
    ];
    prop_oneof![
        8 => (thing.clone(), 0..4_i64, features())
            .prop_map(|(thing, behind_s, features)| Step::Hear { thing, behind_s, features }),
        8 => (thing.clone(), write(), 0..30_usize)
            .prop_map(|(thing, write, preconditions)| Step::Write { thing, write, preconditions }),
        1 => (thing.clone(), any::<bool>()).prop_map(|(thing, online)| Step::Presence { thing, online }),
        1 => Just(Step::Tick),
        1 => (prop::sample::select(vec!["d", "e"]), template)
            .prop_map(|(definition, json)| Step::Template(definition, json)),
        1 => thing.prop_map(Step::Forget),
        1 => Just(Step::Restore),
    ]
}

fn record(step: &Step, now_s: i64) -> Vec<u8> {
    let header = egiz_model::record::Header {
        received: egiz_model::Timestamp::from_seconds(now_s),
        principal: "tester",
        correlation: "",
    };
    let id = |thing: &usize| format!("s:{thing}");
    let bytes = |body: Body<'_>| Record { header, body }.to_bytes();
    match step {
        Step::Hear { thing, behind_s, features } => {
            telemetry(&header, &id(thing), now_s - behind_s, features)
        }
        Step::Write { thing, write: (operation, path, content), preconditions } => {
            let conditions = [
                ("*", "", ""),
                ("", "*", ""),
                ("\"rev:2\"", "", ""),
                ("", "", "eq(attributes/a,1)"),
                ("", "", "ge(_revision,2)"),
                ("bad", "", "bad"),
            ];
            let (if_match, if_none_match, condition) =
                conditions.get(*preconditions).copied().unwrap_or_default();
            let content =
                if *operation == WriteOperation::Delete { String::new() } else { content.to_string() };
            bytes(Body::ThingWrite(ThingWrite {
                thing: &id(thing),
                operation: *operation,
                path,
                content: content.as_bytes(),
                preconditions: Preconditions { if_match, if_none_match, condition },
            }))
        }
        Step::Presence { thing, online } => bytes(Body::Presence { thing: &id(thing), online: *online }),
        Step::Tick | Step::Restore => bytes(Body::Tick),
        Step::Template(definition, json) => bytes(Body::Template { definition, json }),
        Step::Forget(thing) => bytes(Body::Forget { thing: &id(thing) }),
    }
}

fn restored(engine: &Engine) -> Engine {
    let mut bytes = Vec::new();
    engine.snapshot(&mut bytes);
    Engine::restore(&bytes, LIMITS).expect("what was written can be read")
}

/// Parts whose entity tags are watched.
const PARTS: [&str; 11] = [
    "",
    "/definition",
    "/attributes",
    "/attributes/a",
    "/features",
    "/features/f",
    "/features/f/definition",
    "/features/f/properties",
    "/features/f/properties/p",
    "/features/f/properties/p/1",
    "/features/f/desiredProperties",
];

/// What clients are shown of a Thing.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    revision: u64,
    /// Everything that a revision stands for.
    all: Json,
    /// What lies at each of the parts, with its tag.
    parts: Vec<Option<(Json, u64)>>,
}

fn shown(engine: &Engine) -> BTreeMap<String, Shown> {
    let things = engine.things().map(|thing| {
        let properties: Vec<_> = thing
            .features()
            .flat_map(|feature| feature.properties().collect::<Vec<_>>())
            .map(|property| json!([property.quality(), property.reason(), property.metadata()]))
            .collect();
        let parts = PARTS.map(|path| {
            let tag = thing.entity_tag(path);
            let number = tag.trim_start_matches("\"rev:").split('@').next().unwrap_or_default();
            let number = number.parse().expect("a tag");
            Some((thing.get(path)?, number))
        });
        let all = json!([thing.to_json(), thing.connection().as_str(), properties]);
        (thing.id().as_str().to_owned(), Shown { revision: thing.revision(), all, parts: parts.to_vec() })
    });
    things.collect()
}

fn check(before: &BTreeMap<String, Shown>, engine: &Engine, outcome: &Outcome, changes: &[Change]) {
    let after = shown(engine);
    for (id, now) in &after {
        let of_thing: Vec<_> = changes.iter().filter(|change| change.thing.as_str() == id).collect();
        assert!(of_thing.iter().all(|change| change.revision == now.revision), "{of_thing:?}");
        let Some(old) = before.get(id) else {
            assert!(matches!(of_thing[0].kind, ChangeKind::Created), "{of_thing:?}");
            assert!(now.parts.iter().flatten().all(|(_, tag)| *tag == now.revision), "{now:?}");
            continue;
        };
        assert_eq!(now.revision, old.revision + u64::from(!of_thing.is_empty()), "{of_thing:?}");
        assert_eq!(old == now, of_thing.is_empty(), "{old:?} {now:?} {of_thing:?}");
        for (path, (old, part)) in PARTS.iter().zip(old.parts.iter().zip(&now.parts)) {
            let (Some((content, tag)), old) = (part, old.as_ref()) else { continue };
            assert!((1..=now.revision).contains(tag), "{path} {tag}");
            if old.is_none_or(|(old, _)| old != content) {
                assert_eq!(*tag, now.revision, "{path} is different: {old:?} {content}");
            }
        }
        assert!(now.all[0].to_string().len() <= 2 * LIMITS.thing_bytes_max);
    }
    for id in before.keys().filter(|id| !after.contains_key(*id)) {
        let last = changes.last().expect("a deletion is a change");
        assert_eq!((last.thing.as_str(), &last.kind), (id.as_str(), &ChangeKind::Deleted));
    }
    if let Outcome::Write(WriteOutcome::Refused(_) | WriteOutcome::Unchanged { .. }) = outcome {
        assert!(changes.is_empty(), "{outcome:?} {changes:?}");
    }
    assert!(engine.len() <= LIMITS.things_max && engine.discovered_len() <= LIMITS.discovered_max);
    assert!(engine.names_len() <= LIMITS.names_max && engine.templates().count() <= LIMITS.templates_max);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]
    #[test]
    fn replicas_agree_and_what_they_say_holds_together(steps in prop::collection::vec(step(), 1..60)) {
        let mut engine = Engine::new(LIMITS);
        let mut replica = Engine::new(LIMITS);
        let create = |thing| {
            let document = json!({"definition": "d", "attributes": {"a": 1}, "features": {"f": {"properties": {"p": 0}}}});
            Step::Write { thing, write: (WriteOperation::Create, String::new(), document), preconditions: 99 }
        };
        for (offset, step) in (0..).zip((0..2).map(create).chain(steps)) {
            if matches!(step, Step::Restore) {
                replica = restored(&replica);
            }
            let bytes = record(&step, BEGIN_S + 2 * offset as i64);
            let record = Record::decode(&bytes).expect("it was just written");
            let before = shown(&engine);
            let (mut changes, mut others) = (Vec::new(), Vec::new());
            let outcome = engine.apply(offset, &record, &mut changes);
            prop_assert_eq!(&outcome, &replica.apply(offset, &record, &mut others));
            prop_assert_eq!(&changes, &others);
            prop_assert_eq!(engine.digest(), replica.digest());
            check(&before, &engine, &outcome, &changes);
        }
        prop_assert_eq!(restored(&engine).digest(), engine.digest());
    }
}
