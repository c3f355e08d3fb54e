//! The whole of it against a naive map, over seals, merges, keyframes, restarts, late data and damage.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use egiz_model::record::format::{DEPTH_MAX, ItemReader};
use egiz_model::{Quality, QualityReason, Timestamp, Value, ValueRef};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::disk::Folder;

mod corrections;
mod play;
mod power_loss;
mod rollups;

const DAY_S: i64 = 86_400;
/// 2026-03-01T00:00:00Z.
const BEGIN_S: i64 = 1_772_323_200;

struct Plant {
    folder: tempfile::TempDir,
    historian: Historian,
    next: Offset,
}

fn open(path: &Path, settings: Settings) -> (Historian, Recovery) {
    Historian::open(Arc::new(Folder::open(path).expect("a folder")), settings).expect("it opens")
}

impl Historian {
    /// The names of the parts in force.
    fn files(&self) -> impl Iterator<Item = String> {
        let parts = self.state.lock().published.manifest.parts.clone();
        parts.into_iter().map(|entry| entry.name)
    }
}

impl Plant {
    fn new(settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (historian, recovery) = open(folder.path(), settings);
        assert_eq!(recovery, Recovery::default());
        Self { folder, historian, next: 0 }
    }

    fn say(&mut self, thing: &str, second: i64, property: &str, value: f64) {
        let time = Timestamp::from_seconds(second);
        let mut intake = self.historian.intake();
        assert!(intake.wants(self.next));
        let mut row = intake.row(thing, "family", time, time);
        row.set("f", property, &ValueRef::Float(value), Quality::Good, QualityReason::None);
        drop(row);
        intake.done(self.next);
        self.next += 1;
    }

    fn say_value(&mut self, thing: &str, second: i64, property: &str, value: &serde_json::Value) {
        let at = Timestamp::from_seconds(second);
        let mut bytes = Vec::new();
        Value::from_json(value).encode(&mut bytes);
        let mut intake = self.historian.intake();
        let value = ItemReader::new(&bytes).value(DEPTH_MAX).expect("just written");
        let mut row = intake.row(thing, "family", at, at);
        row.set("f", property, &value, Quality::Good, QualityReason::None);
        drop(row);
        intake.done(self.next);
        self.next += 1;
    }

    fn seal(&self, second: i64) {
        self.historian.seal(Timestamp::from_seconds(second)).expect("sealed");
    }

    fn maintain(&self, second: i64) {
        while self.historian.maintain(Timestamp::from_seconds(second)).expect("maintained") {}
    }

    fn reopen(&mut self, settings: Settings) -> Recovery {
        let (historian, recovery) = open(self.folder.path(), settings);
        self.historian = historian;
        recovery
    }

    fn numbers(&self, thing: &str, from: i64, to: i64, property: &str) -> Vec<(i64, f64)> {
        let (from, to) = (Timestamp::from_seconds(from), Timestamp::from_seconds(to));
        let rows = self.historian.read(thing, from, to, |_, name| name == property).expect("readable");
        let samples = rows.samples("f", property, None);
        samples.iter().map(|sample| (sample.time.as_micros() / 1_000_000, sample.value)).collect()
    }

    fn at(&self, thing: &str, second: i64) -> BTreeMap<String, (i64, f64)> {
        let state = self.historian.thing_at(thing, Timestamp::from_seconds(second)).expect("readable");
        let properties = state.into_iter().flat_map(|state| state.properties);
        properties
            .map(|state| {
                let number = state.reading.value.and_then(|value| value.as_f64()).expect("a number");
                (state.property.to_string(), (state.time.as_micros() / 1_000_000, number))
            })
            .collect()
    }
}

#[test]
fn rows_are_there_before_and_after_they_are_sealed_merged_and_reopened() {
    let mut plant = Plant::new(Settings { parts_to_merge: 3, ..Settings::default() });
    let expected: Vec<_> = (0..10).map(|step| (BEGIN_S + step * 3600 * 5, step as f64 / 10.0)).collect();
    for (second, value) in &expected {
        plant.say("a:b", *second, "x", *value);
        assert_eq!(plant.numbers("a:b", BEGIN_S, *second + 1, "x").last(), Some(&(*second, *value)));
        plant.seal(*second);
        plant.maintain(*second);
    }
    let all = |plant: &Plant| plant.numbers("a:b", 0, BEGIN_S * 2, "x");
    assert_eq!(all(&plant), expected);
    assert_eq!(plant.historian.sealed_before(), 10);
    let later = BEGIN_S + 3 * DAY_S + 7200;
    plant.maintain(later);
    assert_eq!(all(&plant), expected);
    let status = plant.historian.status();
    assert_eq!(
        (status.rows, status.head_rows),
        (10 + 3, 0),
        "ten rows, and a keyframe of one row for each day after"
    );
    let recovery = plant.reopen(Settings::default());
    assert_eq!((recovery.lost, recovery.removed), (vec![], vec![]));
    assert_eq!(all(&plant), expected);
    assert!(!plant.historian.intake().wants(9));
    assert!(plant.historian.intake().wants(10));
}

#[test]
fn a_series_of_an_item_ends_where_its_list_is_shorter_gone_or_no_list() {
    let mut plant = Plant::new(Settings::default());
    let said = [
        json!([1, 2]),
        json!([3]),
        json!([4, 5]),
        json!(6),
        json!([7, 8]),
        json!(null),
        json!("off"),
        json!([9, 10]),
    ];
    for (second, value) in (0..).zip(&said) {
        plant.say_value("a:b", second, "zones", value);
    }
    let gone = i64::try_from(said.len()).expect("few");
    {
        let mut intake = plant.historian.intake();
        let at = Timestamp::from_seconds(gone);
        intake.row("a:b", "family", at, at).remove("f", "zones");
        intake.done(plant.next);
    }
    let series = |plant: &Plant, item| -> Vec<Option<f64>> {
        let (from, to) = (Timestamp::from_seconds(0), Timestamp::from_seconds(100));
        let rows = plant.historian.read("a:b", from, to, |_, _| true).expect("readable");
        let samples = rows.samples("f", "zones", item);
        samples.iter().map(|sample| (sample.quality == Quality::Good).then_some(sample.value)).collect()
    };
    for is_sealed in [false, true] {
        if is_sealed {
            plant.seal(20);
        }
        let second = [Some(2.0), None, Some(5.0), None, Some(8.0), None, None, Some(10.0), None];
        assert_eq!(series(&plant, Some(1)), second, "sealed: {is_sealed}");
        let whole = [None, None, None, Some(6.0), None, None, None, None, None];
        assert_eq!(series(&plant, None), whole);
        assert_eq!(series(&plant, Some(5)), []);
    }
}

#[test]
fn how_everything_stood_is_known_also_of_things_that_fell_silent_and_of_what_came_late() {
    let mut plant = Plant::new(Settings::default());
    plant.say("a:silent", BEGIN_S + 10, "x", 1.0);
    plant.say("a:b", BEGIN_S + 20, "x", 2.0);
    plant.seal(BEGIN_S + 30);
    for day in 1..4 {
        plant.say("a:b", BEGIN_S + day * DAY_S + 20, "x", day as f64 * 10.0);
        plant.seal(BEGIN_S + day * DAY_S + 30);
        plant.maintain(BEGIN_S + day * DAY_S + 7200);
    }
    assert_eq!(plant.at("a:silent", BEGIN_S + 9), BTreeMap::new());
    assert_eq!(plant.at("a:silent", BEGIN_S + 10), BTreeMap::from([("x".into(), (BEGIN_S + 10, 1.0))]));
    assert_eq!(
        plant.at("a:silent", BEGIN_S + 3 * DAY_S),
        BTreeMap::from([("x".into(), (BEGIN_S + 10, 1.0))])
    );
    let late = BEGIN_S + DAY_S / 2;
    plant.say("a:silent", late, "x", 5.0);
    for _ in 0..2 {
        assert_eq!(plant.at("a:silent", BEGIN_S + 3 * DAY_S), BTreeMap::from([("x".into(), (late, 5.0))]));
        assert_eq!(plant.at("a:silent", late - 1), BTreeMap::from([("x".into(), (BEGIN_S + 10, 1.0))]));
        plant.seal(BEGIN_S + 3 * DAY_S + 8000);
        plant.maintain(BEGIN_S + 3 * DAY_S + 8000);
    }
    let all = plant.historian.states_at(Timestamp::from_seconds(BEGIN_S + 2 * DAY_S), None);
    let all: Vec<ThingState> = all.collect::<Result<_, _>>().expect("readable");
    assert_eq!(all.iter().map(|state| state.thing.as_str()).collect::<Vec<_>>(), ["a:b", "a:silent"]);
}

#[test]
fn days_beyond_retention_go_and_what_is_older_when_it_comes_is_counted() {
    let mut plant = Plant::new(Settings { retention_days: 2, ..Settings::default() });
    for day in 0..5 {
        plant.say("a:b", BEGIN_S + day * DAY_S, "x", day as f64);
        plant.seal(BEGIN_S + day * DAY_S + 10);
    }
    let now = BEGIN_S + 4 * DAY_S + 20;
    plant.maintain(now);
    assert_eq!(plant.numbers("a:b", 0, now, "x").len(), 3);
    assert!(plant.historian.status().counts.rows_dropped >= 2);
    plant.say("a:b", 0, "x", 1970.0);
    plant.say("a:b", now, "x", 2026.0);
    plant.seal(now);
    assert_eq!(plant.historian.status().counts.rows_expired, 1);
    assert_eq!(plant.numbers("a:b", 0, now + 1, "x").last(), Some(&(now, 2026.0)));
}

#[test]
fn where_the_files_take_too_much_the_oldest_days_go_and_what_was_said_last_stays() {
    let mut plant = Plant::new(Settings::default());
    plant.say("a:silent", BEGIN_S, "x", 7.0);
    for day in 0..5 {
        plant.say("a:b", BEGIN_S + day * DAY_S, "x", day as f64);
        plant.seal(BEGIN_S + day * DAY_S + 10);
    }
    let now = BEGIN_S + 4 * DAY_S + 7200;
    plant.maintain(now);
    let status = plant.historian.status();
    assert_eq!(status.counts.rows_dropped_for_space, 0);

    let budget = status.disk_bytes * 2 / 3;
    plant.reopen(Settings { disk_budget: Some(budget), ..Settings::default() });
    plant.maintain(now);
    let status = plant.historian.status();
    assert!(status.disk_bytes <= budget, "{status:?}");
    assert!(status.counts.rows_dropped_for_space > 0, "{status:?}");
    let left = plant.numbers("a:b", 0, now, "x");
    assert!(!left.is_empty() && left.len() < 5, "{left:?}");
    assert_eq!(left.last(), Some(&(BEGIN_S + 4 * DAY_S, 4.0)));
    let silent = plant.historian.thing_at("a:silent", Timestamp::from_seconds(now)).expect("readable");
    let silent = silent.expect("it is known still");
    assert_eq!(silent.properties[0].time, Timestamp::from_seconds(BEGIN_S));
    assert_eq!(silent.properties[0].reading.value, Some(egiz_model::Value::Int(7)));
}

#[test]
fn files_that_were_not_finished_go_and_lost_or_damaged_parts_are_named_while_the_rest_is_served() {
    let mut plant = Plant::new(Settings::default());
    for day in 0..3 {
        plant.say("a:b", BEGIN_S + day * DAY_S, "x", day as f64);
        plant.seal(BEGIN_S + day * DAY_S + 10);
    }
    let parts = |plant: &Plant| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(plant.folder.path()).expect("readable");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
        paths.sort();
        paths
    };
    std::fs::write(plant.folder.path().join("part-7.under-way"), "half").expect("written");
    let paths = parts(&plant);
    assert_eq!(paths.len(), 3);
    std::fs::remove_file(&paths[0]).expect("removed");
    let mut bytes = std::fs::read(&paths[1]).expect("readable");
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    std::fs::write(&paths[1], bytes).expect("written");
    let recovery = plant.reopen(Settings::default());
    assert_eq!(recovery.removed, ["part-7.under-way"]);
    assert_eq!(recovery.lost.len(), 2, "{:?}", recovery.lost);
    assert!(recovery.lost[0].contains("2026-03-01"), "{:?}", recovery.lost);
    assert_eq!(plant.numbers("a:b", 0, BEGIN_S * 2, "x"), [(BEGIN_S + 2 * DAY_S, 2.0)]);
    plant.say("a:b", BEGIN_S + 3 * DAY_S, "x", 3.0);
    plant.seal(BEGIN_S + 3 * DAY_S);
    plant.maintain(BEGIN_S + 4 * DAY_S + 7200);
    assert_eq!(plant.numbers("a:b", 0, BEGIN_S * 2, "x").len(), 2);
}

#[derive(Debug, Clone)]
enum Step {
    Say { thing: usize, property: usize, second: i64, value: i32 },
    Seal,
    Maintain { hours: i64 },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let say = (0_usize..3, 0_usize..3, 0_i64..4 * DAY_S, -50_i32..50).prop_map(
        |(thing, property, second, value)| Step::Say { thing, property, second: second / 600 * 600, value },
    );
    let step = prop_oneof![
        12 => say,
        2 => Just(Step::Seal),
        1 => (0_i64..120).prop_map(|hours| Step::Maintain { hours }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is said in whatever order, sealed, merged and reopened whenever: a map of maps says the same.
    #[test]
    fn history_agrees_with_a_map(steps in steps(), moments in prop::collection::vec(0_i64..5 * DAY_S, 4)) {
        const THINGS: [&str; 3] = ["a:one", "a:three", "a:two"];
        const PROPERTIES: [&str; 3] = ["x", "y", "z"];
        let settings = Settings { parts_to_merge: 2, ..Settings::default() };
        let mut plant = Plant::new(settings.clone());
        let mut naive: BTreeMap<(&str, &str), BTreeMap<i64, f64>> = BTreeMap::new();
        let mut unsealed: Vec<(usize, usize, i64, f64)> = Vec::new();
        for step in steps {
            match step {
                Step::Say { thing, property, second, value } => {
                    let value = f64::from(value) / 10.0;
                    plant.say(THINGS[thing], BEGIN_S + second, PROPERTIES[property], value);
                    unsealed.push((thing, property, second, value));
                    naive.entry((THINGS[thing], PROPERTIES[property])).or_default().insert(BEGIN_S + second, value);
                }
                Step::Seal => {
                    plant.seal(BEGIN_S + 4 * DAY_S);
                    unsealed.clear();
                }
                Step::Maintain { hours } => plant.maintain(BEGIN_S + hours * 3600),
                Step::Reopen => {
                    // The journal hands over again what was not sealed.
                    let recovery = plant.reopen(settings.clone());
                    prop_assert!(recovery.lost.is_empty());
                    plant.next = plant.historian.sealed_before();
                    for (thing, property, second, value) in unsealed.clone() {
                        plant.say(THINGS[thing], BEGIN_S + second, PROPERTIES[property], value);
                    }
                }
            }
        }
        for ((thing, property), samples) in &naive {
            let samples: Vec<_> = samples.iter().map(|(second, value)| (*second, *value)).collect();
            prop_assert_eq!(&plant.numbers(thing, 0, BEGIN_S * 2, property), &samples);
        }
        for moment in moments {
            let moment = BEGIN_S + moment;
            for thing in THINGS {
                let expected: BTreeMap<String, (i64, f64)> = naive
                    .iter()
                    .filter(|((of, _), _)| *of == thing)
                    .filter_map(|((_, property), samples)| {
                        let (second, value) = samples.range(..=moment).next_back()?;
                        Some(((*property).to_owned(), (*second, *value)))
                    })
                    .collect();
                prop_assert_eq!(plant.at(thing, moment), expected, "{} at {}", thing, moment - BEGIN_S);
            }
        }
    }
}

/// What is told is a history of its own, whatever is merged and dropped meanwhile.
#[test]
fn a_copy_made_while_files_are_merged_is_whole() {
    let mut plant = Plant::new(Settings { parts_to_merge: 2, ..Settings::default() });
    let copies = tempfile::tempdir().expect("a folder");
    for second in 0..40 {
        plant.say("oven", BEGIN_S + second, "zone", second as f64);
        plant.seal(BEGIN_S + second);
        let to = copies.path().join(second.to_string());
        std::fs::create_dir(&to).expect("made");
        std::thread::scope(|scope| {
            let historian = &plant.historian;
            scope.spawn(move || {
                while historian.maintain(Timestamp::from_seconds(BEGIN_S + second)).expect("merged") {}
            });
            let next = historian.files_in_force(|file| {
                assert!(file.is_usable);
                std::fs::hard_link(plant.folder.path().join(file.name), to.join(file.name))
            });
            assert_eq!(next.expect("each is there"), plant.next);
        });
        let (copied, recovery) = open(&to, Settings::default());
        assert_eq!((recovery.lost.len(), recovery.removed.len()), (0, 0));
        let rows =
            copied.read("oven", Timestamp::from_seconds(0), Timestamp::from_micros(i64::MAX), |_, _| true);
        assert_eq!(rows.expect("readable").len() as i64, second + 1);
    }
}
