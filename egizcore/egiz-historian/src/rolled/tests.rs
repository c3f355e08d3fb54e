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
            prop_assert_eq!((got.span, got.held), (expected.span, expected.held));
            let (a, b) = (got.summary, expected.summary);
            let values = |summary: Summary| {
                [summary.first, summary.last, summary.min, summary.max].map(|at| at.map(|at| at.value))
            };
            prop_assert_eq!(
                (a.count, a.excluded, a.good, a.held_uncertain, values(a)),
                (b.count, b.excluded, b.good, b.held_uncertain, values(b))
            );
            prop_assert!(is_near(a.sum, b.sum, 1e-12), "{} {}", a.sum, b.sum);
            let of_steps = if has_steps { 1e-3 } else { 1e-9 };
            let stddev = |summary: Summary| (summary.squared_deviations / degrees_of_freedom(summary.count)).sqrt();
            prop_assert!((stddev(a) - stddev(b)).abs() <= of_steps * 0.51, "{} {}", stddev(a), stddev(b));
            let twa = |summary: Summary| summary.integral / seconds(summary.covered_micros.max(1));
            prop_assert!((twa(a) - twa(b)).abs() <= of_steps * 0.51, "{} {}", twa(a), twa(b));
            let is_no_counter = b.increase < 0.0 || b.max.is_some_and(|max| b.increase > 4.0 * max.value.abs());
            prop_assert!(
                is_near(a.increase, b.increase, 1e-9) || (a.increase.is_nan() && is_no_counter),
                "{} {}", a.increase, b.increase
            );
            let before = |a: Timestamp, b: Timestamp, most: i64| (0..most).contains(&b.micros_since(a));
            prop_assert!(before(got.begins, expected.begins, 100_000));
            prop_assert!((a.covered_micros - b.covered_micros).abs() <= 100_000);
            for (a, b, most) in [
                (a.first, b.first, 100_000),
                (a.last, b.last, 100_000),
                (a.min, b.min, 60_000_000),
                (a.max, b.max, 60_000_000),
            ] {
                prop_assert_eq!(a.is_some(), b.is_some());
                if let (Some(a), Some(b)) = (a, b) {
                    prop_assert!(before(a.time, b.time, most), "{:?} {:?}", a, b);
                    prop_assert!(got.begins <= a.time);
                }
            }
        }
        // What was rounded once is written again without a change.
        let again = if has_steps { there_and_back(&got, Some(10.0)) } else { got.clone() };
        prop_assert_eq!(again.len(), got.len());
        for (again, got) in again.iter().zip(&got) {
            // There may be a NaN in both.
            prop_assert_eq!(format!("{again:?}"), format!("{got:?}"));
        }
    }
}

#[test]
fn each_stat_is_at_its_place() {
    assert!(STATS.iter().enumerate().all(|(place, (_, stat))| *stat as usize == place));
}

#[test]
fn things_have_only_the_columns_that_they_need() {
    let at = |second: i64, value| Sample::good(Timestamp::from_seconds(second), value);
    let steady: Vec<Sample> = (0..180).map(|step| at(step * 5, 21.5)).collect();
    let by_column = ByColumn::from([(key("x"), rolled(&steady))]);
    let table = table_of(&by_column, |_| Some(2.0));
    let names: Vec<String> = table.columns.iter().map(|column| column.key.to_string()).collect();
    let expected =
        ["count", "min", "max", "first", "last", "sum", "first_at", "last_at", "min_at", "max_at", "twa"];
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
