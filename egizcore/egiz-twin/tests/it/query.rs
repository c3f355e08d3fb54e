//! Searching, counting, summing.

use egiz_model::Value;
use egiz_twin::{
    Aggregate, AggregateFunction, AggregateQuery, Engine, Filter, Path, Query, QueryError, SortKey,
};
use proptest::prelude::*;
use serde_json::json;

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

fn find(engine: &Engine, filter: &str) -> Vec<String> {
    let query = Query { filter: Some(Filter::parse(filter).expect(filter)), limit: 100, ..Query::default() };
    let page = engine.search(&query).expect("it can be answered");
    assert_eq!(engine.count(query.filter.as_ref()), page.slots.len());
    page.slots
        .iter()
        .map(|slot| engine.thing_at(*slot).expect("it is there").id().name().to_owned())
        .collect()
}

#[test]
fn filters_mean_what_the_documentation_says() {
    let plant = bakery();
    let check =
        |filter: &str, expected: &[&str]| assert_eq!(find(&plant.engine, filter), expected, "{filter}");
    check("eq(attributes/type,\"oven\")", &["oven-001", "oven-002"]);
    check("ne(attributes/type,\"oven\")", &["mixer-001", "silo-001"]);
    check("ne(attributes/none,1)", &["mixer-001", "oven-001", "oven-002", "silo-001"]);
    check("in(attributes/type,\"silo\",\"mixer\")", &["mixer-001", "silo-001"]);
    check("gt(features/thermal/properties/zones,194)", &["oven-001"]);
    check(
        "and(ge(features/thermal/properties/zones,180),lt(features/thermal/properties/zones,181))",
        &["oven-002"],
    );
    check("eq(features/thermal/properties/zones/1,181.0)", &["oven-002"]);
    check("gt(features/*/properties/zones,100)", &["oven-001", "oven-002"]);
    check("like(thingId,\"factory:*-00?\")", &["mixer-001", "oven-001", "oven-002", "silo-001"]);
    check("like(thingId,\"*OVEN*\")", &[]);
    check("ilike(thingId,\"*OVEN*1\")", &["oven-001"]);
    check("exists(features/thermal/properties/zones)", &["mixer-001", "oven-001", "oven-002", "silo-001"]);
    check("exists(features/none)", &[]);
    check("empty(features/thermal/properties/zones)", &["mixer-001"]);
    check("empty(attributes/line)", &["silo-001"]);
    check("eq(features/thermal/properties/zones,null)", &["mixer-001"]);
    check("gt(attributes/type,\"mixer\")", &["oven-001", "oven-002", "silo-001"]);
    check("gt(attributes/type,5)", &[]);
    check("eq(thingId,\"factory:oven-002\")", &["oven-002"]);
    check("and(eq(thingId,\"factory:oven-002\"),eq(attributes/type,\"mixer\"))", &[]);
    check("not(or(eq(attributes/line,\"1\"),eq(attributes/line,\"2\")))", &["silo-001"]);
    check("eq(_connection,\"unknown\")", &["mixer-001", "oven-001", "oven-002", "silo-001"]);
    check("ge(_created,\"2027-01-15T08:00:02Z\")", &["mixer-001", "silo-001"]);
    check("and()", &["mixer-001", "oven-001", "oven-002", "silo-001"]);
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn pages_put_together_are_the_whole_in_order(ranks in prop::collection::vec(prop::option::of(0..4_i64), 0..20), limit in 1..7_usize, sort in 0..3_usize) {
        let mut plant = Plant::new();
        for (number, rank) in ranks.iter().enumerate() {
            let attributes = rank.map_or(json!({}), |rank| json!({"rank": rank}));
            plant.put(&format!("s:{number:02}"), "", json!({"attributes": attributes}));
        }
        let key = |descending| SortKey { path: Path::parse("attributes/rank").expect("a path"), descending };
        let orders: [Vec<SortKey>; 3] = [vec![], vec![key(false)], vec![key(true)]];
        let sort = orders[sort].clone();
        let mut expected: Vec<_> = ranks.iter().enumerate().map(|(number, rank)| (*rank, format!("s:{number:02}"))).collect();
        if let Some(key) = sort.first() {
            // None sorts before every number.
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
