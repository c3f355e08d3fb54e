//! Every example in `docs/rql.md` is true.

use egiz_twin::{Engine, Filter, Query};
use serde_json::Value as Json;

use crate::Plant;

const PAGE: &str = include_str!("../../../../docs/rql.md");

fn plant() -> Plant {
    let mut plant = Plant::new();
    let begin = PAGE.find("```json\n").expect("the Things") + "```json\n".len();
    let things = &PAGE[begin..begin + PAGE[begin..].find("```").expect("its end")];
    let things: Vec<Json> = serde_json::from_str(things).expect("the Things are JSON");
    for thing in things {
        let id = thing["thingId"].as_str().expect("an id").to_owned();
        plant.put(&id, "", thing);
    }
    plant
}

/// The rows of the table with this head: what stands in code in the first cell, and the second cell.
fn rows(head: &str) -> Vec<(&'static str, &'static str)> {
    let table = PAGE.split(head).nth(1).expect("the table is there");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = rows
        .map(|line| {
            let (first, second) = line.trim_matches('|').rsplit_once(" |").expect("two cells");
            (first.trim().trim_matches('`'), second.trim())
        })
        .collect();
    assert!(rows.len() > 5);
    rows
}

fn find(engine: &Engine, filter: Filter) -> String {
    let count = engine.count(Some(&filter));
    let page = engine.search(&Query { filter: Some(filter), limit: 100, ..Query::default() });
    let slots = page.expect("it can be answered").slots;
    assert_eq!(slots.len(), count);
    let names = slots.iter().map(|slot| engine.thing_at(*slot).expect("it is there").id().name());
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn filters_mean_what_the_documentation_says() {
    let plant = plant();
    for (text, expected) in rows("| Filter | Things |") {
        let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(find(&plant.engine, filter.clone()), expected, "{text}");
        assert_eq!(Filter::parse(&filter.to_string()), Ok(filter), "{text}");
    }
}

#[test]
fn the_simple_form_means_what_the_documentation_says() {
    for (json, expected) in rows("| Simple form | Filter |") {
        let json: Json = serde_json::from_str(json).expect(json);
        let filter = Filter::from_simple(&json).map(|filter| format!("`{filter}`"));
        assert_eq!(filter, Ok(expected.to_owned()), "{json}");
    }
}
