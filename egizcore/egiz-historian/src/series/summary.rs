//! What is left of the samples of a stretch of time when the samples are gone: enough for most aggregates, and mergeable.
//!
//! The summaries of neighbouring stretches merge into the summary of both, exactly but for the rounding of sums. So a year
//! is answered from its quarter hours. Also those of several Things merge, into that of all their samples pooled; only the
//! derivative and the counter rate mean nothing then, since they follow one series. Percentiles cannot be had from a
//! summary at all.
//!
//! The time-weighted part was reckoned with one [`super::Hold`], which is not written down here: rollups, which are kept, all
//! have the same.
//!
//! # Source
//! Squared deviations: B. P. Welford, *Note on a Method for Calculating Corrected Sums of Squares and Products*,
//! Technometrics 4(3), 1962; merged as in T. F. Chan, G. H. Golub, R. J. LeVeque, *Algorithms for Computing the Sample
//! Variance*, The American Statistician 37(3), 1983, formula 2.1. Counters that reset: Prometheus' `increase`, without its
//! extrapolation.

use egiz_model::{Quality, Timestamp};

use super::rollup::Summing;
use super::{Hold, Sample, Span};

/// A value and when it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct At {
    /// When.
    pub time: Timestamp,
    /// What.
    pub value: f64,
}

/// What is known about a stretch of time without its samples. Sums may have overflowed to infinity or NaN.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Summary {
    /// Samples with a value.
    pub count: u64,
    /// Samples without one: bad, or no finite number.
    pub excluded: u64,
    /// Samples with a value, of good quality.
    pub good: u64,
    /// The sum of the values.
    pub sum: f64,
    /// The sum of the squared deviations of the values from their mean.
    pub squared_deviations: f64,
    /// The least value, the earliest of equals.
    pub min: Option<At>,
    /// The greatest value, the earliest of equals.
    pub max: Option<At>,
    /// The earliest value.
    pub first: Option<At>,
    /// The latest value.
    pub last: Option<At>,
    /// How much a counter counted from the first value to the last, taking each decrease for a restart from zero.
    pub increase: f64,
    /// The value over time, in value · seconds: of the time when one was held.
    pub integral: f64,
    /// For how long a value was held, in microseconds.
    pub covered_micros: i64,
    /// Whether a value of uncertain quality was held for some of that time.
    pub held_uncertain: bool,
}

impl Summary {
    /// The summary of the samples that lie in `span`, ascending by time; `carry_in` is the last sample before it.
    ///
    /// # Panics
    /// If samples do not ascend.
    #[must_use]
    pub fn of(span: Span, carry_in: Option<Sample>, samples: &[Sample], hold: Hold) -> Self {
        assert!(samples.is_sorted_by(|a, b| a.time < b.time), "the store gives samples in order of time");
        let mut summing = Summing::new(hold);
        if let Some(sample) = carry_in {
            summing.carry_in(&sample.into());
        }
        samples
            .iter()
            .filter(|sample| span.contains(sample.time))
            .for_each(|&sample| summing.add(&sample.into(), span).expect("a sample is never cut"));
        summing.take_summary(span)
    }

    /// The summary of both stretches of time, which do not overlap; in either order.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let is_earlier = match (self.first, other.first) {
            (Some(mine), Some(theirs)) => mine.time <= theirs.time,
            _ => true,
        };
        let (early, late) = if is_earlier { (self, other) } else { (other, self) };
        Self {
            count: early.count + late.count,
            excluded: early.excluded + late.excluded,
            good: early.good + late.good,
            sum: early.sum + late.sum,
            squared_deviations: early.squared_deviations + late.squared_deviations + early.apart_from(late),
            min: choose(early.min, late.min, |a, b| {
                b.value < a.value || (b.value == a.value && b.time < a.time)
            }),
            max: choose(early.max, late.max, |a, b| {
                b.value > a.value || (b.value == a.value && b.time < a.time)
            }),
            first: choose(early.first, late.first, |a, b| b.time < a.time),
            last: choose(early.last, late.last, |a, b| b.time > a.time),
            increase: early.increase + late.increase + counted(early.last, late.first),
            integral: early.integral + late.integral,
            covered_micros: early.covered_micros.saturating_add(late.covered_micros),
            held_uncertain: early.held_uncertain || late.held_uncertain,
        }
    }

    /// The arithmetic mean of the values; NaN of none.
    #[expect(clippy::cast_precision_loss, reason = "there are fewer samples than 2^53")]
    pub(super) fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// Adds one later value; `mean` is that of the values before, and becomes that of all.
    #[expect(clippy::cast_precision_loss, reason = "there are fewer samples than 2^53")]
    pub(super) fn add(&mut self, sample: &Sample, value: f64, mean: &mut f64) {
        let at = At { time: sample.time, value };
        let before = if self.count == 0 { value } else { *mean };
        self.count += 1;
        self.good += u64::from(sample.quality == Quality::Good);
        self.sum += value;
        // One division for each value, which is what takes time here.
        *mean = self.sum / self.count as f64;
        self.squared_deviations += (value - before) * (value - *mean);
        self.increase += counted(self.last, Some(at));
        if self.min.is_none_or(|min| value < min.value) {
            self.min = Some(at);
        }
        if self.max.is_none_or(|max| value > max.value) {
            self.max = Some(at);
        }
        self.first = self.first.or(Some(at));
        self.last = Some(at);
    }

    /// What the distance of two means adds to the squared deviations from the mean of both.
    #[expect(clippy::cast_precision_loss, reason = "there are fewer samples than 2^53")]
    fn apart_from(&self, other: &Self) -> f64 {
        if self.count == 0 || other.count == 0 {
            return 0.0;
        }
        let (mine, theirs) = (self.count as f64, other.count as f64);
        let distance = other.mean() - self.mean();
        distance * distance * (mine * theirs / (mine + theirs))
    }
}

/// How much a counter counted between two of its values.
fn counted(from: Option<At>, to: Option<At>) -> f64 {
    match (from, to) {
        (Some(from), Some(to)) if to.value < from.value => to.value,
        (Some(from), Some(to)) => to.value - from.value,
        _ => 0.0,
    }
}

/// `a`, or `b` if it is better or the only one.
fn choose(a: Option<At>, b: Option<At>, is_better: impl Fn(At, At) -> bool) -> Option<At> {
    match (a, b) {
        (Some(a), Some(b)) if is_better(a, b) => Some(b),
        (None, b) => b,
        (a, _) => a,
    }
}
