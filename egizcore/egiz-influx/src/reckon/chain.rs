//! Values one after the other: what follows from them, and what stands where there is none.

use super::{Fill, Scalar, Transform};

const SECOND_MICROS: i64 = 1_000_000;

/// Values that follow from others, in ascending order of time; what has no number is passed over. `bucket` is the length of the
/// buckets that the values are of, if they are.
#[must_use]
pub fn transform(how: Transform, values: &[(i64, Scalar)], bucket: Option<i64>) -> Vec<(i64, Scalar)> {
    let numbers: Vec<(i64, f64)> =
        values.iter().filter_map(|(time, value)| Some((*time, value.number()?))).collect();
    match how {
        Transform::Derivative { unit, is_non_negative } => {
            let unit = unit.or(bucket).unwrap_or(SECOND_MICROS);
            changes(&numbers, is_non_negative, |change, micros| change / (micros / micros_of(unit)))
        }
        Transform::Difference { is_non_negative } => changes(&numbers, is_non_negative, |change, _| change),
        Transform::CumulativeSum => {
            let mut sum = 0.0;
            let sums = numbers.iter().map(|(time, number)| {
                sum += number;
                (*time, Scalar::of(sum))
            });
            sums.collect()
        }
        Transform::MovingAverage(count) => {
            let averages = numbers.windows(count.max(1)).filter_map(|window| {
                let (time, _) = window.last()?;
                let sum: f64 = window.iter().map(|(_, number)| number).sum();
                #[expect(clippy::cast_precision_loss, reason = "a window has at most some thousand values")]
                let mean = sum / window.len() as f64;
                Some((*time, Scalar::of(mean)))
            });
            averages.collect()
        }
    }
}

fn changes(
    numbers: &[(i64, f64)],
    is_non_negative: bool,
    reckon: impl Fn(f64, f64) -> f64,
) -> Vec<(i64, Scalar)> {
    let changes = numbers.windows(2).filter(|pair| pair[1].0 > pair[0].0).filter_map(|pair| {
        let change = reckon(pair[1].1 - pair[0].1, micros_of(pair[1].0 - pair[0].0));
        let is_wanted = change.is_finite() && !(is_non_negative && change < 0.0);
        is_wanted.then(|| (pair[1].0, Scalar::of(change)))
    });
    changes.collect()
}

#[expect(clippy::cast_precision_loss, reason = "a length of time below 285 years is exact")]
fn micros_of(length: i64) -> f64 {
    length as f64
}

/// Puts in what stands in empty buckets, in ascending order of time. `zero` is what [`Fill::Null`] means where values are counted.
pub fn fill(values: &mut [(i64, Scalar)], how: Fill, zero: Scalar) {
    match how {
        Fill::None => {}
        Fill::Null => put(values, |_| zero.clone()),
        Fill::Number(number) => put(values, |_| Scalar::of(number)),
        Fill::Previous => {
            let mut previous = Scalar::Null;
            for (_, value) in values {
                if *value == Scalar::Null {
                    *value = previous.clone();
                }
                previous = value.clone();
            }
        }
        Fill::Linear => fill_linearly(values),
    }
}

fn put(values: &mut [(i64, Scalar)], what: impl Fn(i64) -> Scalar) {
    for (time, value) in values.iter_mut().filter(|(_, value)| *value == Scalar::Null) {
        *value = what(*time);
    }
}

fn fill_linearly(values: &mut [(i64, Scalar)]) {
    let mut known: Option<(usize, f64)> = None;
    for right in 0..values.len() {
        let Some(to) = values[right].1.number() else { continue };
        if let Some((left, from)) = known {
            let (begin, end) = (values[left].0, values[right].0);
            for (time, value) in &mut values[left + 1..right] {
                let share = micros_of(*time - begin) / micros_of(end - begin);
                *value = Scalar::of(from * (1.0 - share) + to * share);
            }
        }
        known = Some((right, to));
    }
}
