//! Searching, counting, summing.

use egiz_model::Value;
use egiz_twin::{Aggregate, AggregateFunction, AggregateQuery, Filter, Path, Query, QueryError, SortKey};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::Plant;

fn bakery() -> Plant {
    let mut plant = Plant::new();
    for (name, kind, line, zones) in [
        ("oven-001", "oven", "1", json!([195, 192, 193])),
        ("oven-002", "oven", "2", json!([180, 181])),
        ("mixer-001", "mixer", "1", json!(null)),
        ("silo-001", "silo", "", json!("full")),
    ] {
        plant.put(
            &format!("factory:{name}"),
            "",
            json!({"attributes": {"type": kind, "line": line}, "features": {"thermal": {"properties": {"zones": zones}}}}),
        );
    }
    plant
}

#[test]
fn groups_are_summed() {
    let plant = bakery();
    let path = |text: &str| Path::parse(text).expect(text);
    let zones = path("features/thermal/properties/zones");
    let functions = [
        AggregateFunction::Count,
        AggregateFunction::Min,
        AggregateFunction::Max,
        AggregateFunction::Avg,
        AggregateFunction::Sum,
    ];
    let query = AggregateQuery {
        filter: None,
        group_by: vec![path("attributes/type")],
        aggregates: functions.map(|function| Aggregate { function, path: zones.clone() }).to_vec(),
        groups_max: 10,
    };
    let groups = plant.engine.aggregate(&query).expect("it can be answered");
    let shown: Vec<_> = groups
        .iter()
        .map(|group| (group.keys[0].as_ref().and_then(Value::as_str), group.things, group.values.clone()))
        .collect();
    assert_eq!(
        shown,
        [
            (Some("mixer"), 1, vec![Some(0.0), None, None, None, None]),
            (Some("oven"), 2, vec![Some(5.0), Some(180.0), Some(195.0), Some(188.2), Some(941.0)]),
            (Some("silo"), 1, vec![Some(0.0), None, None, None, None]),
        ]
    );
    let refused = plant.engine.aggregate(&AggregateQuery { groups_max: 2, ..query });
    assert_eq!(refused, Err(QueryError::TooManyGroups { limit: 2 }));
}

#[test]
fn a_filter_that_names_ids_pages_like_any_other() {
    let plant = bakery();
    let ids = "in(thingId,\"factory:oven-002\",\"factory:none\",\"factory:mixer-001\",\"factory:oven-002\")";
    for filter in
        [ids, "like(thingId,\"factory:oven*\")", "and(eq(thingId,\"factory:silo-001\"),exists(features))"]
    {
        let filter = Filter::parse(filter).expect(filter);
        let every: Vec<_> =
            plant.engine.things().filter(|thing| filter.matches(*thing)).map(|thing| thing.slot()).collect();
        let mut query = Query { filter: Some(filter), limit: 1, ..Query::default() };
        let mut found = Vec::new();
        loop {
            let page = plant.engine.search(&query).expect("it can be answered");
            found.extend(page.slots);
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(found, every, "{query:?}");
    }
}

#[test]
fn a_position_belongs_to_its_order() {
    let plant = bakery();
    let by = |paths: &[&str]| -> Vec<SortKey> {
        paths.iter().map(|path| SortKey { path: Path::parse(path).expect(path), descending: true }).collect()
    };
    let first = Query { sort: by(&["_created", "attributes/type"]), limit: 1, ..Query::default() };
    let next = plant.engine.search(&first).expect("it can be answered").next;
    let wrong = Query { sort: by(&["_created"]), after: next.clone(), ..first.clone() };
    assert_eq!(plant.engine.search(&wrong), Err(QueryError::WrongPosition));
    let right = Query { after: next, ..first };
    let page = plant.engine.search(&right).expect("it can be answered");
    assert_eq!(plant.engine.thing_at(page.slots[0]).map(|thing| thing.id().name()), Some("mixer-001"));
}

fn rank() -> impl Strategy<Value = Option<Json>> {
    let value = prop::sample::select(LADDER.to_vec());
    prop::option::of(value.prop_map(|text| serde_json::from_str(text).expect(text)))
}

/// Values in their order.
const LADDER: [&str; 11] =
    ["null", "false", "-1", "1.5", "2", "1e300", "\"a\"", "\"b\"", "[1,\"x\"]", "[1,\"y\"]", "{\"a\":1}"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn pages_put_together_are_the_whole_in_order(ranks in prop::collection::vec(rank(), 0..20), limit in 1..7_usize, sort in 0..3_usize) {
        let mut plant = Plant::new();
        for (number, rank) in ranks.iter().enumerate() {
            let attributes = rank.as_ref().map_or(json!({}), |rank| json!({"rank": rank}));
            plant.put(&format!("s:{number:02}"), "", json!({"attributes": attributes}));
        }
        let key = |descending| SortKey { path: Path::parse("attributes/rank").expect("a path"), descending };
        let orders: [Vec<SortKey>; 3] = [vec![], vec![key(false)], vec![key(true)]];
        let sort = orders[sort].clone();
        // The values above stand in their order; nothing comes before them.
        let ladder: Vec<_> = LADDER.iter().map(|text| serde_json::from_str::<Json>(text).expect(text)).collect();
        let place = |rank: &Option<Json>| rank.as_ref().map(|rank| ladder.iter().position(|value| value == rank));
        let mut expected: Vec<_> = ranks.iter().enumerate().map(|(number, rank)| (place(rank), format!("s:{number:02}"))).collect();
        if let Some(key) = sort.first() {
            expected.sort_by(|a, b| if key.descending { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) }.then_with(|| a.1.cmp(&b.1)));
        }
        let mut query = Query { sort, limit, ..Query::default() };
        let mut seen = Vec::new();
        loop {
            let page = plant.engine.search(&query).expect("it can be answered");
            prop_assert!(page.slots.len() <= limit);
            seen.extend(page.slots.iter().map(|slot| plant.engine.thing_at(*slot).expect("there").id().as_str().to_owned()));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        prop_assert_eq!(seen, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    }
}
