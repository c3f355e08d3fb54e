//! What was rolled comes back from its columns, but for the rounding that is promised.

use proptest::prelude::*;

use super::*;
use crate::column::Place;
use crate::series::{Piece, Sample, roll};

const QUARTER: i64 = 900_000_000;

fn key(property: &str) -> ColumnKey {
    ColumnKey { feature: "f".into(), property: property.into(), place: Place::Whole }
}

/// Values in tenths, some of them bad, at any millisecond of two hours.
fn any_samples() -> impl Strategy<Value = Vec<Sample>> {
    let quality =
        prop_oneof![8 => Just(Quality::Good), 1 => Just(Quality::Uncertain), 1 => Just(Quality::Bad)];
    let sample = (1_i64..400_000, -5000_i32..5000, quality);
    prop::collection::vec(sample, 1..200).prop_map(|steps| {
        let mut micros = 0;
        let samples = steps.into_iter().map(|(step, tenths, quality)| {
            micros += step * 1000;
            Sample { time: Timestamp::from_micros(micros), value: f64::from(tenths) / 10.0, quality }
        });
        samples.collect()
    })
}

fn rolled(samples: &[Sample]) -> Vec<Rollup> {
    roll(samples.iter().copied().map(Piece::from), QUARTER)
}

fn there_and_back(rollups: &[Rollup], divisor: Option<f64>) -> Vec<Rollup> {
    let by_column = ByColumn::from([(key("x"), rollups.to_vec())]);
    rollups_of(&table_of(&by_column, |_| divisor), QUARTER).remove(&key("x")).unwrap_or_default()
}

fn is_near(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * (1.0 + b.abs())
}

proptest! {
    #[test]
    fn rollups_come_back(samples in any_samples(), has_steps in any::<bool>()) {
        let expected = rolled(&samples);
        let got = there_and_back(&expected, has_steps.then_some(10.0));
        prop_assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(&expected) {
            prop_assert_eq!((got.span, got.begins, got.held), (expected.span, expected.begins, expected.held));
            let (a, b) = (got.summary, expected.summary);
            prop_assert_eq!(
                (a.count, a.excluded, a.good, a.first, a.last, a.covered_micros, a.held_uncertain),
                (b.count, b.excluded, b.good, b.first, b.last, b.covered_micros, b.held_uncertain)
            );
            prop_assert!(is_near(a.sum, b.sum, 1e-12), "{} {}", a.sum, b.sum);
            prop_assert!(is_near(a.increase, b.increase, 1e-9), "{} {}", a.increase, b.increase);
            prop_assert!(is_near(a.integral, b.integral, 1e-5), "{} {}", a.integral, b.integral);
            prop_assert!(is_near(a.squared_deviations, b.squared_deviations, 1e-5));
            for (a, b) in [(a.min, b.min), (a.max, b.max)] {
                prop_assert_eq!(a.map(|at| at.value), b.map(|at| at.value));
                let apart = a.zip(b).map_or(0, |(a, b)| a.time.micros_since(b.time).abs());
                prop_assert!(apart < 1_000_000, "an extreme is {apart} µs off");
            }
        }
        // What was written once is written again without a change.
        prop_assert_eq!(there_and_back(&got, has_steps.then_some(10.0)), got);
    }
}

#[test]
fn things_have_only_the_columns_that_they_need() {
    let at = |second: i64, value| Sample::good(Timestamp::from_seconds(second), value);
    let steady: Vec<Sample> = (0..180).map(|step| at(step * 5, 21.5)).collect();
    let by_column = ByColumn::from([(key("x"), rolled(&steady))]);
    let table = table_of(&by_column, |_| Some(2.0));
    let names: Vec<String> = table.columns.iter().map(|column| column.key.to_string()).collect();
    let expected = [
        "count", "min", "max", "first", "last", "sum", "first_at", "last_at", "min_at", "max_at", "integral",
    ];
    assert_eq!(names, expected.map(|stat| format!("f.x.{stat}")));
    assert_eq!(rollups_of(&table, QUARTER), by_column);
}

#[test]
fn an_item_of_a_list_has_its_own_and_what_is_no_rollup_is_passed_over() {
    let item = ColumnKey { place: Place::Item(3), ..key("zones.min") };
    let rollups = rolled(&[Sample::good(Timestamp::from_seconds(1), 4.0)]);
    let by_column = ByColumn::from([(item.clone(), rollups)]);
    let mut table = table_of(&by_column, |_| None);
    assert_eq!(table.columns[1].key.to_string(), "f.zones.min.min[3]");
    table.columns.push(Column { key: key("stray"), cells: vec![Cell::int(1)] });
    table.columns.push(Column { key: key("stray.mean"), cells: vec![Cell::int(1)] });
    assert_eq!(rollups_of(&table, QUARTER), by_column);
    assert_eq!(column_of_values(&table.columns[1].key), Some(item));
    assert_eq!(column_of_values(&table.columns[0].key), None);
}

/// Sums that overflowed are no numbers, and stay none.
#[test]
fn what_was_no_number_is_none_afterwards() {
    let huge: Vec<Sample> =
        (0..3).map(|second| Sample::good(Timestamp::from_seconds(second), f64::MAX)).collect();
    let [got] = there_and_back(&rolled(&huge), None)[..] else { panic!("one") };
    assert_eq!((got.summary.count, got.summary.max.map(|at| at.value)), (3, Some(f64::MAX)));
    assert!(got.summary.sum.is_nan());
}
