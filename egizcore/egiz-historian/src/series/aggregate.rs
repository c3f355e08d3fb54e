//! Which number is made of the samples of a bucket, how it is asked for, and what it is of a [`Summary`].
//!
//! | text | value | none when |
//! |---|---|---|
//! | `min`, `max`, `range` | least, greatest, their difference | no sample |
//! | `avg`, `sum` | arithmetic, every sample alike | no sample |
//! | `first`, `last` | earliest, latest value in the bucket | no sample |
//! | `count` | samples with a value | never: 0 |
//! | `stddev` | of a sample, divided by n − 1 | under two samples |
//! | `median`, `p0` … `p100` | see `percentile.rs` | no sample |
//! | `twa` | time-weighted average: ∫ v dt / ∫ dt over the time with a held value | no value was held |
//! | `integral` | ∫ v dt in value · hours over the time with a held value (kW to kWh) | no value was held |
//! | `derivative` | (last − first) / (their distance in seconds) | under two samples |
//! | `counter-rate` | the same of a counter: a decrease is a restart from zero | under two samples |
//! | `good-share` | good samples / all samples, the excluded ones included, 0 to 1 | not even an excluded sample |
//!
//! Only `twa` and `integral` look at the value carried into a bucket. Derivative and counter rate look at one bucket only:
//! what changed between the last sample of one and the first of the next is in neither.
//!
//! # Source
//! `twa` and `integral` are *TimeAverage2* and *Total2* of OPC 10000-13 (simple bounding values) with stepped interpolation;
//! `good-share` is close to its *PercentGood*, but by count of samples and not by time.

use std::fmt;
use std::str::FromStr;

use super::Summary;
use super::rollup::seconds;

/// Which number is made of the samples of a bucket; the table above says what each is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregate {
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The arithmetic mean.
    Avg,
    /// The time-weighted average.
    Twa,
    /// The sum.
    Sum,
    /// How many samples had a value.
    Count,
    /// The earliest value.
    First,
    /// The latest value.
    Last,
    /// The value that this many percent of the values do not exceed.
    Percentile(Percent),
    /// The standard deviation of a sample.
    Stddev,
    /// The greatest less the least.
    Range,
    /// The change per second.
    Derivative,
    /// The change per second of a counter that may restart.
    CounterRate,
    /// The value over time, in value · hours.
    Integral,
    /// The share of samples of good quality.
    GoodShare,
}

/// A number from 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(f64);

/// Why a text is no aggregate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an aggregate: allowed are min, max, avg, twa, sum, count, first, last, median, p0 to p100 \
     (such as p95 or p99.9), stddev, range, derivative, counter-rate, integral and good-share"
)]
pub struct InvalidAggregate {
    text: String,
}

/// The aggregate needs the samples themselves.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{aggregate} cannot be had from rollups: it needs every sample")]
pub struct NeedsSamples {
    /// What was asked for.
    pub aggregate: Aggregate,
}

const NAMED: [(&str, Aggregate); 15] = [
    ("min", Aggregate::Min),
    ("max", Aggregate::Max),
    ("avg", Aggregate::Avg),
    ("twa", Aggregate::Twa),
    ("sum", Aggregate::Sum),
    ("count", Aggregate::Count),
    ("first", Aggregate::First),
    ("last", Aggregate::Last),
    ("median", Aggregate::Percentile(Percent(50.0))),
    ("stddev", Aggregate::Stddev),
    ("range", Aggregate::Range),
    ("derivative", Aggregate::Derivative),
    ("counter-rate", Aggregate::CounterRate),
    ("integral", Aggregate::Integral),
    ("good-share", Aggregate::GoodShare),
];

impl Percent {
    /// The number, if it lies within 0 to 100.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        (0.0..=100.0).contains(&number).then_some(Self(number))
    }

    /// The number, from 0 to 100.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Aggregate {
    /// The value for the samples that a summary was made of; `None` if there is none.
    ///
    /// # Errors
    /// A percentile needs the samples themselves.
    pub fn of_summary(self, summary: &Summary) -> Result<Option<f64>, NeedsSamples> {
        let value = match self {
            Self::Min => summary.min.map(|at| at.value),
            Self::Max => summary.max.map(|at| at.value),
            Self::Avg => average(summary),
            Self::Twa => covered(summary).map(|seconds| summary.integral / seconds),
            Self::Sum => (summary.count > 0).then_some(summary.sum),
            Self::Count => Some(float(summary.count)),
            Self::First => summary.first.map(|at| at.value),
            Self::Last => summary.last.map(|at| at.value),
            Self::Percentile(_) => return Err(NeedsSamples { aggregate: self }),
            Self::Stddev => standard_deviation(summary),
            Self::Range => summary.max.zip(summary.min).map(|(max, min)| max.value - min.value),
            Self::Derivative => per_second(summary, |first, last| last - first),
            Self::CounterRate => per_second(summary, |_, _| summary.increase),
            Self::Integral => covered(summary).map(|_| summary.integral / 3600.0),
            Self::GoodShare => {
                let all = summary.count + summary.excluded;
                (all > 0).then(|| float(summary.good) / float(all))
            }
        };
        Ok(value.filter(|value| value.is_finite()))
    }

    /// The value for all samples that these summaries were made of.
    ///
    /// # Errors
    /// A percentile needs the samples themselves.
    pub fn from_summaries<'a>(
        self,
        summaries: impl IntoIterator<Item = &'a Summary>,
    ) -> Result<Option<f64>, NeedsSamples> {
        self.of_summary(&summaries.into_iter().fold(Summary::default(), |merged, next| merged.merge(next)))
    }

    /// Whether it weighs values by how long they were held, and so takes the one carried into a bucket into account.
    #[must_use]
    pub fn is_time_weighted(self) -> bool {
        matches!(self, Self::Twa | Self::Integral)
    }
}

impl FromStr for Aggregate {
    type Err = InvalidAggregate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((_, aggregate)) = NAMED.into_iter().find(|(name, _)| *name == text) {
            return Ok(aggregate);
        }
        text.strip_prefix('p')
            .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
            .and_then(|number| Percent::new(number.parse().ok()?))
            .map(Self::Percentile)
            .ok_or_else(|| InvalidAggregate { text: text.chars().take(40).collect() })
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (NAMED.into_iter().find(|(_, named)| named == self), self) {
            (Some((name, _)), _) => formatter.write_str(name),
            (None, Self::Percentile(percent)) => write!(formatter, "p{}", percent.get()),
            (None, _) => unreachable!("all others have a name"),
        }
    }
}

/// Held within the extremes, which rounding would leave by a hair.
fn average(summary: &Summary) -> Option<f64> {
    let (min, max) = (summary.min?.value, summary.max?.value);
    let mean = summary.mean();
    mean.is_finite().then(|| mean.clamp(min, max))
}

/// 0 of equal values, where rounding would leave a hair of either sign.
fn standard_deviation(summary: &Summary) -> Option<f64> {
    let (min, max) = (summary.min?.value, summary.max?.value);
    let degrees = summary.count.checked_sub(1).filter(|degrees| *degrees > 0)?;
    Some(if min == max { 0.0 } else { (summary.squared_deviations / float(degrees)).sqrt() })
}

fn covered(summary: &Summary) -> Option<f64> {
    (summary.covered_micros > 0).then(|| seconds(summary.covered_micros))
}

/// What `change` makes of the first and the last value, by the time between them.
fn per_second(summary: &Summary, change: impl Fn(f64, f64) -> f64) -> Option<f64> {
    let (first, last) = (summary.first?, summary.last?);
    let micros = last.time.micros_since(first.time);
    (micros > 0).then(|| change(first.value, last.value) / seconds(micros))
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer samples than 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<Aggregate>) {
        match (text.parse::<Aggregate>(), expected) {
            (Ok(read), Some(expected)) => {
                assert_eq!(read, expected, "{text}");
                assert_eq!(read.to_string().parse(), Ok(read), "{text} is written {read}");
            }
            (Err(error), None) => {
                let error = error.to_string();
                assert!(NAMED.iter().all(|(name, _)| error.contains(name)), "{error}");
            }
            (read, expected) => panic!("{text}: {read:?}, wanted {expected:?}"),
        }
    }

    fn percentile(number: f64) -> Option<Aggregate> {
        Percent::new(number).map(Aggregate::Percentile)
    }

    #[test]
    fn words_go_both_ways() {
        NAMED.into_iter().for_each(|(name, aggregate)| check(name, Some(aggregate)));
        check("p0", percentile(0.0));
        check("p50", percentile(50.0));
        check("p99.9", percentile(99.9));
        check("p100", percentile(100.0));
        assert_eq!("p50".parse::<Aggregate>().map(|median| median.to_string()), Ok("median".to_owned()));
    }

    #[test]
    fn the_error_lists_what_is_allowed() {
        let wrong =
            ["", "p", "p.", "p101", "p-1", "p+5", "pnan", "pinf", "p1e1", "AVG", "mean", "p5 ", "p1.2.3"];
        wrong.into_iter().for_each(|text| check(text, None));
        check(&"p".repeat(10_000), None);
    }

    #[test]
    fn percentiles_say_that_they_need_the_samples() {
        let error = Aggregate::Percentile(Percent(95.0)).from_summaries([]).expect_err("no such thing");
        assert_eq!(error.to_string(), "p95 cannot be had from rollups: it needs every sample");
    }
}
