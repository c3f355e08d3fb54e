//! The index of subscriptions says the same as asking every filter about every change.

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn membership_equals_asking_anew(steps in prop::collection::vec((0..3_usize, 0..4_usize, 0..3_i64), 1..40)) {
        let filters = ["eq(attributes/n,1)", "gt(features/f/properties/n,0)", "exists(features/*/properties/n)", "ge(_revision,3)", "eq(_connection,\"live\")"];
        let mut plant = Plant::new();
        let mut interest = Interest::default();
        let groups: Vec<_> = filters.iter().map(|text| interest.add(&plant.engine, Target::Filter(Filter::parse(text).expect(text)))).collect();
        let mut members = vec![std::collections::BTreeSet::new(); filters.len()];
        for (step, (thing, action, number)) in steps.into_iter().enumerate() {
            let id = format!("s:{thing}");
            match action {
                0 => { plant.put(&id, "", json!({"attributes": {"n": number}})); }
                1 => { plant.put(&id, "/attributes/n", json!(number)); }
                2 => { plant.hear(&id, step as i64, json!({"f": {"n": number}})); }
                _ => { plant.write(WriteOperation::Delete, &id, "", &json!(null)); }
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
            for (index, text) in filters.iter().enumerate() {
                let filter = Filter::parse(text).expect(text);
                let expected: std::collections::BTreeSet<_> = plant.engine.things().filter(|thing| filter.matches(*thing)).map(|thing| thing.id().as_str().to_owned()).collect();
                prop_assert_eq!(&members[index], &expected, "{} after step {}", text, step);
            }
        }
    }
}
