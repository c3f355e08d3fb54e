//! Corrections, held against a map of values that are corrected one by one.

use super::*;
use crate::{Correction, Reading, View};

const HOURS: i64 = 72;
const LATER: i64 = BEGIN_S + 10 * DAY_S;

#[derive(Debug, Clone)]
enum Step {
    /// Hour, whether it is the list, what it says (nothing: it is taken away), how far to trust it.
    Say(i64, bool, Option<Value>, Quality),
    Correct(Correction),
    /// Which of those there are is taken back.
    TakeBack(prop::sample::Index),
    Seal,
    Merge,
    Restart,
}

fn any_value() -> impl Strategy<Value = Value> {
    let list =
        prop::collection::vec(0_i64..5, 0..4).prop_map(|items| items.into_iter().map(Value::Int).collect());
    prop_oneof![
        4 => (0_i64..9).prop_map(Value::Int),
        1 => Just(Value::Float(0.5)),
        1 => Just(Value::Null),
        1 => Just(Value::text("on")),
        4 => list.prop_map(Value::List),
    ]
}

fn any_quality() -> impl Strategy<Value = Quality> {
    prop_oneof![4 => Just(Quality::Good), 1 => Just(Quality::Uncertain), 1 => Just(Quality::Bad)]
}

fn property(is_list: bool) -> &'static str {
    if is_list { "zones" } else { "x" }
}

fn hour(hour: i64) -> Timestamp {
    Timestamp::from_seconds(BEGIN_S + hour * 3600)
}

fn any_correction() -> impl Strategy<Value = Correction> {
    let value = prop::option::of(any_value().prop_filter("a value", |value| *value != Value::Null));
    let item = prop_oneof![2 => Just(None), 1 => (0_u8..3).prop_map(Some)];
    (any::<bool>(), item, 0..HOURS, 1..20_i64, value, any_quality()).prop_map(
        |(is_list, item, from, length, value, quality)| Correction {
            id: 0,
            thing: "a:b".into(),
            feature: "f".into(),
            property: property(is_list).into(),
            item,
            from: hour(from),
            to: hour(from + length),
            // An item is no list.
            value: value.filter(|value| item.is_none() || !matches!(value, Value::List(_))),
            quality,
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    let said = prop_oneof![12 => any_value().prop_map(Some), 1 => Just(None)];
    prop_oneof![
        20 => (0..HOURS, any::<bool>(), said, any_quality()).prop_map(|(at, is_list, value, quality)| Step::Say(at, is_list, value, quality)),
        4 => any_correction().prop_map(Step::Correct),
        1 => any::<prop::sample::Index>().prop_map(Step::TakeBack),
        2 => Just(Step::Seal),
        1 => Just(Step::Merge),
        1 => Just(Step::Restart),
    ]
}

/// What is read of one sample, by the words of the documentation alone.
fn corrected(mut reading: Reading, name: &str, time: i64, corrections: &[Correction]) -> Reading {
    for known in corrections {
        let is_about = *known.property == *name && (known.from..known.to).contains(&hour(time));
        let Some(said) = reading.value.clone().filter(|_| is_about) else { continue };
        match (known.item, said) {
            (None, said) => {
                if known.value.is_some() || said != Value::Null || known.quality == Quality::Bad {
                    (reading.quality, reading.reason) = (known.quality, QualityReason::Corrected);
                }
                reading.value = known.value.clone().or(reading.value);
            }
            (Some(item), Value::List(items)) if usize::from(item) < items.len() => {
                let mut items = items.to_vec();
                match (&known.value, known.quality) {
                    (_, Quality::Bad) => items[usize::from(item)] = Value::Null,
                    (Some(value), _) => items[usize::from(item)] = value.clone(),
                    (None, _) => {}
                }
                reading.value = Some(Value::List(items.into()));
                reading.reason = QualityReason::Corrected;
            }
            _ => {}
        }
    }
    reading
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_read_is_corrected_and_the_original_is_there(
        steps in prop::collection::vec(any_step(), 1..80),
        at in 0..HOURS,
    ) {
        let mut plant = Plant::new(Settings { parts_to_merge: 2, ..Settings::default() });
        let mut said: BTreeMap<(&str, i64), Reading> = BTreeMap::new();
        let mut corrections: Vec<Correction> = Vec::new();
        for (number, step) in (1..).zip(steps) {
            match step {
                Step::Say(time, is_list, value, quality) => {
                    let name = property(is_list);
                    let mut intake = plant.historian.intake();
                    let mut row = intake.row("a:b", "family", hour(time), hour(time));
                    match &value {
                        None => row.remove("f", name),
                        Some(value) => {
                            let mut bytes = Vec::new();
                            value.encode(&mut bytes);
                            let value = ItemReader::new(&bytes).value(DEPTH_MAX).expect("just written");
                            row.set("f", name, &value, quality, QualityReason::None);
                        }
                    }
                    drop(row);
                    intake.done(plant.next);
                    plant.next += 1;
                    let quality = if value.is_some() { quality } else { Quality::Good };
                    let reading = Reading { value, quality, reason: QualityReason::None };
                    said.insert((name, time), reading);
                }
                Step::Correct(correction) => {
                    let correction = Correction { id: number, ..correction };
                    plant.historian.corrections().add(correction.clone());
                    corrections.push(correction);
                }
                Step::TakeBack(which) if !corrections.is_empty() => {
                    let gone = corrections.remove(which.index(corrections.len()));
                    plant.historian.corrections().remove("a:b", gone.id);
                }
                Step::TakeBack(_) => {}
                Step::Seal => plant.seal(LATER),
                Step::Merge => plant.maintain(LATER),
                Step::Restart => {
                    plant.seal(LATER);
                    plant.reopen(Settings { parts_to_merge: 2, ..Settings::default() });
                    plant.historian.corrections().set(corrections.iter().rev().cloned());
                }
            }
        }
        let range = (hour(0), hour(HOURS));
        for view in [View::Corrected, View::Original] {
            let own: &[Correction] = if view == View::Corrected { &corrections } else { &[] };
            let rows = plant.historian.read_as(view, "a:b", range, |_, _| true).expect("readable");
            let mut found = BTreeMap::new();
            for row in 0..rows.len() {
                let time = (rows.time(row).as_micros() / 1_000_000 - BEGIN_S) / 3600;
                for name in ["x", "zones"] {
                    found.extend(rows.reading(row, "f", name).map(|reading| ((name, time), reading)));
                }
            }
            let expected: BTreeMap<_, _> = said
                .iter()
                .map(|((name, time), reading)| ((*name, *time), corrected(reading.clone(), name, *time, own)))
                .collect();
            prop_assert_eq!(&found, &expected, "{:?}", view);

            let state = plant.historian.thing_at_as(view, "a:b", hour(at)).expect("readable");
            for name in ["x", "zones"] {
                let last = expected.range((name, 0)..=(name, at)).next_back();
                let last = last.map(|((_, time), reading)| (hour(*time), reading.clone()));
                let last = last.filter(|(_, reading)| reading.value.is_some());
                let of_state = state.iter().flat_map(|state| &state.properties).find(|state| *state.property == *name);
                prop_assert_eq!(of_state.map(|state| (state.time, state.reading.clone())), last);
            }
        }
        for name in ["x", "zones"] {
            let about = |known: &&Correction| *known.property == *name;
            let is_touched = corrections.iter().filter(about).any(|known| known.from < hour(at + 5) && hour(at) < known.to);
            let touch = plant.historian.corrections().touch("a:b", "f", name, hour(at), hour(at + 5));
            prop_assert_eq!(touch, is_touched);
        }
        prop_assert_eq!(plant.historian.corrections().len(), corrections.len());
    }
}

#[test]
fn rollups_do_not_stand_for_a_day_that_was_corrected() {
    let mut plant = Plant::new(Settings::default());
    for step in 0..4 * 24 {
        plant.say("a:b", BEGIN_S + step * 3600, "x", 1.0);
    }
    plant.seal(LATER);
    plant.maintain(LATER);
    let rolled = |plant: &Plant| -> Vec<bool> {
        let stretches = plant.historian.stretches("a:b", hour(0), hour(96), false);
        let is_rolled =
            |at: i64| stretches.iter().any(|stretch| stretch.is_rolled && stretch.span.contains(hour(at)));
        (0..4).map(|day| is_rolled(day * 24 + 1)).collect()
    };
    assert_eq!(rolled(&plant), [true; 4]);
    let correction = Correction {
        id: 1,
        thing: "a:b".into(),
        feature: "f".into(),
        property: "x".into(),
        item: None,
        from: hour(30),
        to: hour(31),
        value: Some(Value::Int(5)),
        quality: Quality::Good,
    };
    plant.historian.corrections().add(correction);
    assert_eq!(rolled(&plant), [true, false, true, true]);
    plant.historian.corrections().remove("a:b", 1);
    assert_eq!(rolled(&plant), [true; 4]);
}
