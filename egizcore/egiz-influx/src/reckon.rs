//! What the functions of InfluxQL make of samples: one value of a bucket, values that follow from each other, and what stands
//! in empty buckets.
//!
//! Samples come in any order, of one series or of several together. A sample without a number (a text, a truth value) is counted,
//! can be the first or the last, and is passed over by the rest, as InfluxDB does. A result that is no finite number is no
//! result.
//!
//! # Source
//! The functions of InfluxQL, <https://docs.influxdata.com/influxdb/v1/query_language/functions/>.

use std::sync::Arc;

use crate::influxql::{Aggregate, Fill, Transform};

mod chain;
#[cfg(test)]
mod tests;

pub use chain::{fill, transform};

/// A value of a field.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Scalar {
    /// None.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Another number, finite.
    Float(f64),
    /// A text.
    Text(Arc<str>),
}

impl Scalar {
    /// The number, if it is one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 the nearest double is what is reckoned with")]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(whole) => Some(*whole as f64),
            Self::Float(number) => Some(*number),
            Self::Null | Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// A number, or nothing where it is not finite.
    #[must_use]
    pub fn of(number: f64) -> Self {
        if number.is_finite() { Self::Float(number) } else { Self::Null }
    }
}

/// Gathers the samples of one bucket.
#[derive(Debug, Clone)]
pub struct Bucket(State);

#[derive(Debug, Clone)]
enum State {
    Count(u64),
    /// Sum, and how many.
    Sum {
        sum: f64,
        count: u64,
        is_mean: bool,
    },
    /// The one that was chosen, and its time.
    Chosen(Aggregate, Option<(i64, Scalar)>),
    /// Mean and sum of squares, by Welford's method.
    Moments {
        count: u64,
        mean: f64,
        squares: f64,
    },
    /// Least and greatest.
    Spread(Option<(f64, f64)>),
    /// All of them with their times.
    Ranked(Aggregate, Vec<(f64, i64)>),
}

impl Bucket {
    /// An empty one.
    #[must_use]
    pub fn new(aggregate: Aggregate) -> Self {
        Self(match aggregate {
            Aggregate::Count => State::Count(0),
            Aggregate::Mean | Aggregate::Sum => {
                State::Sum { sum: 0.0, count: 0, is_mean: aggregate == Aggregate::Mean }
            }
            Aggregate::Min | Aggregate::Max | Aggregate::First | Aggregate::Last => {
                State::Chosen(aggregate, None)
            }
            Aggregate::Stddev => State::Moments { count: 0, mean: 0.0, squares: 0.0 },
            Aggregate::Spread => State::Spread(None),
            Aggregate::Median | Aggregate::Percentile(_) => State::Ranked(aggregate, Vec::new()),
        })
    }

    /// Whether it keeps each sample, so that its size is to be bounded.
    #[must_use]
    pub fn keeps_samples(aggregate: Aggregate) -> bool {
        matches!(aggregate, Aggregate::Median | Aggregate::Percentile(_))
    }

    /// Takes a sample in.
    #[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^53 samples")]
    pub fn take(&mut self, time: i64, value: &Scalar) {
        if *value == Scalar::Null {
            return;
        }
        let number = value.number();
        match (&mut self.0, number) {
            (State::Count(count), _) => *count += 1,
            (State::Sum { sum, count, .. }, Some(number)) => {
                *sum += number;
                *count += 1;
            }
            (State::Chosen(aggregate, chosen), _) => {
                let is_better = match (*aggregate, chosen.as_ref()) {
                    (Aggregate::Min | Aggregate::Max, _) if number.is_none() => false,
                    (_, None) => true,
                    (Aggregate::First, Some((at, _))) => time < *at,
                    (Aggregate::Last, Some((at, _))) => time >= *at,
                    (Aggregate::Min, Some((at, least))) => (number, time) < (least.number(), *at),
                    (_, Some((at, most))) => {
                        number > most.number() || (number == most.number() && time < *at)
                    }
                };
                if is_better {
                    *chosen = Some((time, value.clone()));
                }
            }
            (State::Moments { count, mean, squares }, Some(number)) => {
                *count += 1;
                let distance = number - *mean;
                *mean += distance / *count as f64;
                *squares += distance * (number - *mean);
            }
            (State::Spread(range), Some(number)) => {
                let (least, most) = range.unwrap_or((number, number));
                *range = Some((least.min(number), most.max(number)));
            }
            (State::Ranked(_, samples), Some(number)) => samples.push((number, time)),
            (_, None) => {}
        }
    }

    /// The value, and the time of the sample where it is one that was measured.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^53 samples")]
    pub fn value(self) -> (Scalar, Option<i64>) {
        match self.0 {
            State::Count(count) => (Scalar::Integer(i64::try_from(count).unwrap_or(i64::MAX)), None),
            State::Sum { count: 0, .. } | State::Chosen(_, None) | State::Spread(None) => {
                (Scalar::Null, None)
            }
            State::Sum { sum, count, is_mean } => {
                (Scalar::of(if is_mean { sum / count as f64 } else { sum }), None)
            }
            State::Chosen(_, Some((time, value))) => (value, Some(time)),
            State::Moments { count, squares, .. } if count > 1 => {
                (Scalar::of((squares / (count - 1) as f64).sqrt()), None)
            }
            State::Moments { .. } => (Scalar::Null, None),
            State::Spread(Some((least, most))) => (Scalar::of(most - least), None),
            State::Ranked(Aggregate::Percentile(percent), samples) => percentile(samples, percent),
            State::Ranked(_, samples) => (median(samples), None),
        }
    }
}

fn median(mut samples: Vec<(f64, i64)>) -> Scalar {
    samples.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let middle = samples.len() / 2;
    match samples.len() {
        0 => Scalar::Null,
        count if count % 2 == 1 => Scalar::of(samples[middle].0),
        _ => Scalar::of(samples[middle - 1].0 / 2.0 + samples[middle].0 / 2.0),
    }
}

/// The nearest rank; none where that is before the first.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank lies between 0 and the number of samples"
)]
fn percentile(mut samples: Vec<(f64, i64)>, percent: f64) -> (Scalar, Option<i64>) {
    samples.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let rank = (samples.len() as f64 * percent / 100.0 + 0.5).floor() as usize;
    match rank.checked_sub(1).and_then(|index| samples.get(index)) {
        Some((number, time)) => (Scalar::of(*number), Some(*time)),
        None => (Scalar::Null, None),
    }
}
