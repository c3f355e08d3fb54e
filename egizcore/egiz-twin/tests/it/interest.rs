//! The index of subscriptions says the same as asking every filter about every change.

use std::collections::BTreeSet;

use egiz_model::ThingId;
use egiz_model::record::WriteOperation;
use egiz_twin::Filter;
use egiz_twin::interest::{Interest, Sight, Target};
use proptest::prelude::*;
use serde_json::json;

use crate::Plant;

fn sights(interest: &mut Interest, plant: &Plant, groups: &[egiz_twin::interest::GroupId]) -> Vec<String> {
    let mut seen = Vec::new();
    for change in &plant.changes {
        interest.route(&plant.engine, change, |group, sight| {
            let name = groups.iter().position(|known| *known == group).expect("a known group");
            seen.push(format!("{name} {sight:?} {}", change.thing.name()));
        });
    }
    seen.sort();
    seen
}

#[test]
fn things_enter_and_leave_as_their_state_changes() {
    let mut plant = Plant::new();
    plant.put("s:a", "", json!({"attributes": {"type": "oven"}}));
    let mut interest = Interest::default();
    let hot = Filter::parse("gt(features/t/properties/x,100)").expect("a filter");
    let groups = [
        interest.add(&plant.engine, Target::All),
        interest.add(&plant.engine, Target::Things(vec![ThingId::new("s:a").expect("an id")])),
        interest.add(&plant.engine, Target::Filter(hot.clone())),
    ];
    assert_eq!(interest.add(&plant.engine, Target::Filter(hot)), groups[2], "equal interests share a group");
    plant.hear("s:a", 1, json!({"t": {"x": 50}}));
    assert_eq!(sights(&mut interest, &plant, &groups), ["0 Seen a", "0 Seen a", "1 Seen a", "1 Seen a"]);
    plant.hear("s:a", 2, json!({"t": {"x": 150}}));
    assert_eq!(sights(&mut interest, &plant, &groups), ["0 Seen a", "1 Seen a", "2 Entered a"]);
    plant.hear("s:a", 3, json!({"u": {"y": 1}}));
    assert_eq!(sights(&mut interest, &plant, &groups), ["0 Seen a", "1 Seen a", "2 Seen a"]);
    plant.hear("s:a", 4, json!({"t": {"x": 10}}));
    assert_eq!(sights(&mut interest, &plant, &groups), ["0 Seen a", "1 Seen a", "2 Left a"]);
    plant.put("s:b", "", json!({"features": {"t": {"properties": {"x": 200}}}}));
    assert_eq!(sights(&mut interest, &plant, &groups), ["0 Entered b", "2 Entered b"]);
    plant.write(WriteOperation::Delete, "s:b", "", &json!(null));
    assert_eq!(sights(&mut interest, &plant, &groups), ["0 Seen b", "2 Seen b"]);
    interest.remove(groups[2]);
    assert_eq!(interest.len(), 3);
    interest.remove(groups[2]);
    interest.remove(groups[0]);
    interest.remove(groups[1]);
    assert!(interest.is_empty());
}

/// More than fit a word of the matrix, some of which mention nothing that changes often.
fn filters() -> Vec<String> {
    let few = [
        "eq(attributes/n,1)",
        "gt(features/f/properties/n,0)",
        "exists(features/*/properties/n)",
        "eq(_connection,\"live\")",
        "eq(_metadata/f/n/quality,\"bad\")",
        "not(like(thingId,\"*:1\"))",
    ];
    few.into_iter()
        .map(str::to_owned)
        .chain((0..70).map(|number| format!("ge(_revision,{number})")))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn membership_equals_asking_anew(steps in prop::collection::vec((0..3_usize, 0..5_usize, 0..3_i64), 1..30)) {
        let filters: Vec<Filter> = filters().iter().map(|text| Filter::parse(text).expect(text)).collect();
        let mut plant = Plant::new();
        let mut interest = Interest::default();
        let mut groups = Vec::new();
        let mut members: Vec<BTreeSet<String>> = Vec::new();
        for (step, (thing, action, number)) in steps.into_iter().enumerate() {
            let id = format!("s:{thing}");
            match action {
                0 => { plant.put(&id, "", json!({"attributes": {"n": number}})); }
                1 => { plant.put(&id, "/attributes/n", json!(number)); }
                2 => { plant.hear(&id, step as i64, json!({"f": {"n": if number == 2 { json!(null) } else { json!(number) }}})); }
                3 => { plant.write(WriteOperation::Delete, &id, "", &json!(null)); }
                _ => { plant.changes.clear(); }
            }
            for change in plant.changes.clone() {
                let deleted = change.kind == egiz_twin::ChangeKind::Deleted;
                interest.route(&plant.engine, &change, |group, sight| {
                    let index = groups.iter().position(|known| *known == group).expect("known");
                    let id = change.thing.as_str().to_owned();
                    match sight {
                        Sight::Entered => assert!(members[index].insert(id), "entered twice"),
                        Sight::Left => assert!(members[index].remove(&id), "left without being there"),
                        Sight::Seen if deleted => assert!(members[index].remove(&id), "deleted without being there"),
                        Sight::Seen => assert!(members[index].contains(&id), "seen without being there"),
                    }
                });
            }
            // Subscriptions come while the plant runs; one of them goes and comes again.
            let asked = |filter: &Filter| -> BTreeSet<String> {
                plant.engine.things().filter(|thing| filter.matches(*thing)).map(|thing| thing.id().as_str().to_owned()).collect()
            };
            if step % 7 == 3 && !groups.is_empty() {
                interest.remove(groups[0]);
                groups[0] = interest.add(&plant.engine, Target::Filter(filters[0].clone()));
            }
            for filter in filters.iter().skip(groups.len()).take(10) {
                groups.push(interest.add(&plant.engine, Target::Filter(filter.clone())));
                members.push(asked(filter));
            }
            for (members, filter) in members.iter().zip(&filters) {
                prop_assert_eq!(members, &asked(filter), "{} after step {}", filter, step);
            }
        }
    }
}
