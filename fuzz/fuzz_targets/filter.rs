//! Attacks filters, as text and in the simple JSON form: reading neither panics nor goes deep without end, evaluating a filter
//! over Things doesn't panic, and a filter that is written out and read again is the same filter with the same answer.
//!
//! Written out, a filter may be longer than what is read; then it is only written.
#![no_main]

use std::sync::LazyLock;

use egiz_fuzz::{plant, small_limits};
use egiz_twin::interest::{Interest, Target};
use egiz_twin::{Aggregate, AggregateFunction, AggregateQuery, Engine, Filter, Path, Query, SortKey};
use libfuzzer_sys::fuzz_target;

static PLANT: LazyLock<Engine> = LazyLock::new(|| plant(small_limits()));

fuzz_target!(|text: &str| {
    if let Ok(path) = Path::parse(text) {
        assert_eq!(Path::parse(&path.to_string()).as_ref(), Ok(&path));
        search_by(path);
    }
    match Filter::parse(text) {
        Ok(filter) => check(&filter),
        Err(error) => assert!(error.position <= text.chars().count() + 1, "{error}"),
    }
    if let Ok(json) = serde_json::from_str(text)
        && let Ok(filter) = Filter::from_simple(&json)
    {
        check(&filter);
    }
});

fn check(filter: &Filter) {
    let written = filter.to_string();
    let matching: Vec<u32> =
        PLANT.things().filter(|thing| filter.matches(*thing)).map(|thing| thing.slot()).collect();
    if written.len() <= Filter::LENGTH_MAX {
        let again = Filter::parse(&written);
        assert_eq!(again.as_ref(), Ok(filter), "{written}");
        assert_eq!(again.map(|again| again.to_string()), Ok(written));
    }
    let query = Query { filter: Some(filter.clone()), limit: 10, ..Query::default() };
    let page = PLANT.search(&query).expect("there is no position");
    assert_eq!(page.slots.len(), matching.len(), "searching finds what matches");
    assert!(page.slots.iter().all(|slot| matching.contains(slot)));
    assert_eq!(PLANT.count(Some(filter)), matching.len());

    let mut interest = Interest::default();
    let group = interest.add(&PLANT, Target::Filter(filter.clone()));
    for thing in PLANT.things() {
        assert_eq!(interest.holds(&PLANT, group, thing.slot()), matching.contains(&thing.slot()));
    }
    interest.remove(group);
    assert!(interest.is_empty());
}

/// Sorts and sums by a path; turning the page loses nothing.
fn search_by(path: Path) {
    let sort = vec![SortKey { path: path.clone(), descending: false }];
    let mut query = Query { sort, limit: 1, ..Query::default() };
    let mut seen = Vec::new();
    loop {
        let page = PLANT.search(&query).expect("the position is from this query");
        seen.extend(page.slots);
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), PLANT.len(), "every Thing is on one page");
    let aggregates = vec![Aggregate { function: AggregateFunction::Avg, path: path.clone() }];
    let query = AggregateQuery { filter: None, group_by: vec![path], aggregates, groups_max: 10 };
    let groups = PLANT.aggregate(&query).expect("there are few groups");
    assert_eq!(groups.iter().map(|group| group.things).sum::<usize>(), PLANT.len());
}
