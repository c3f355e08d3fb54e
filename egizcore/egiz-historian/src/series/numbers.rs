//! One aggregate of the samples of each bucket.
//!
//! Everything but a percentile is read off a [`Summary`], so memory does not grow with the number of samples, and rollups do
//! as well as samples. A percentile keeps the values of the open bucket, up to [`MAX_PERCENTILE_SAMPLES`], and refuses beyond
//! them, and of rollups, rather than guess.

use egiz_model::{Quality, Timestamp};

use super::percentile::percentile;
use super::rollup::Summing;
use super::within::Within;
use super::{Aggregate, Gather, Hold, NeedsSamples, Piece, Span, StreamError, Summary};

/// How many values a percentile takes in one bucket (64 MB): 30 days at three a second.
pub const MAX_PERCENTILE_SAMPLES: usize = 8_000_000;

/// An aggregate of one bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Where the bucket begins, also if the range begins later.
    pub start: Timestamp,
    /// Where the next one begins.
    pub end: Timestamp,
    /// The aggregate, finite; `None` if the samples have none.
    pub value: Option<f64>,
    /// Samples in the bucket that have a value.
    pub count: u64,
    /// Samples in the bucket that have none: bad, or no finite number.
    pub excluded: u64,
    /// The worst quality that went into the value: good or uncertain; `None` if nothing did.
    pub quality: Option<Quality>,
    /// Whether part of the bucket was not asked for, or is not known yet.
    pub is_partial: bool,
}

/// Makes one aggregate of the samples of each bucket.
#[derive(Debug, Clone)]
pub struct Numbers {
    aggregate: Aggregate,
    hold: Hold,
    summing: Summing,
    /// Of the open bucket, for a percentile only.
    values: Vec<f64>,
    max_values: usize,
}

impl Numbers {
    /// Reckons one aggregate, holding values so long.
    #[must_use]
    pub fn new(aggregate: Aggregate, hold: Hold) -> Self {
        Self {
            aggregate,
            hold,
            summing: Summing::new(hold),
            values: Vec::new(),
            max_values: MAX_PERCENTILE_SAMPLES,
        }
    }

    /// The same of what lies within some stretches only; a bucket that lies in part outside of them is partial.
    #[must_use]
    pub fn within(self, within: Option<Within>) -> Self {
        Self { summing: self.summing.within(within), ..self }
    }
}

impl Gather for Numbers {
    type Input<'a> = Piece;
    type Output = Bucket;

    fn time_of(input: &Piece) -> Timestamp {
        input.time()
    }

    fn carry(&mut self, input: Piece) {
        self.summing.carry_in(&input);
    }

    fn take(&mut self, input: Piece, part: Span) -> Result<(), StreamError> {
        self.summing.add(&input, part)?;
        if !matches!(self.aggregate, Aggregate::Percentile(_)) {
            return Ok(());
        }
        let Piece::Sample(sample) = input else {
            return Err(NeedsSamples { aggregate: self.aggregate }.into());
        };
        if let Some(value) = sample.number().filter(|_| self.summing.counts(sample.time)) {
            if self.values.len() == self.max_values {
                return Err(StreamError::TooManySamples { start: part.start, allowed: self.max_values });
            }
            self.values.push(value);
        }
        Ok(())
    }

    fn close(&mut self, span: Span, part: Span) -> Bucket {
        let summary = self.summing.take_summary(part);
        let value = match self.aggregate {
            Aggregate::Percentile(percent) => percentile(&mut self.values, percent.get()),
            other => other.of_summary(&summary).expect("only percentiles need the samples"),
        };
        self.values.clear();
        let is_partial = self.hold.is_partial(span, part) || !self.summing.counts_all(span);
        Bucket::new(span, value, self.aggregate, &summary, is_partial)
    }
}

impl Bucket {
    pub(super) fn new(
        span: Span,
        value: Option<f64>,
        aggregate: Aggregate,
        summary: &Summary,
        is_partial: bool,
    ) -> Self {
        let (went_in, is_uncertain) = if aggregate.is_time_weighted() {
            (summary.covered_micros > 0, summary.held_uncertain)
        } else {
            (summary.count > 0, summary.good < summary.count)
        };
        let quality = if is_uncertain { Quality::Uncertain } else { Quality::Good };
        Self {
            start: span.start,
            end: span.end,
            value,
            count: summary.count,
            excluded: summary.excluded,
            quality: went_in.then_some(quality),
            is_partial,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Sample;

    #[test]
    fn a_percentile_refuses_more_samples_than_it_may_keep() {
        let bucket = |hour: i64| {
            Span::new(Timestamp::from_seconds(hour * 3600), Timestamp::from_seconds(hour * 3600 + 3600))
        };
        let sample = |second| Piece::from(Sample::good(Timestamp::from_seconds(second), 1.0));
        let median = "median".parse().expect("known");
        let mut numbers = Numbers { max_values: 2, ..Numbers::new(median, Hold::default()) };
        assert_eq!(numbers.take(sample(0), bucket(0)), Ok(()));
        assert_eq!(numbers.take(sample(1), bucket(0)), Ok(()));
        assert_eq!(numbers.close(bucket(0), bucket(0)).value, Some(1.0));
        assert_eq!(numbers.take(sample(3600), bucket(1)), Ok(()), "each bucket counts anew");
        assert_eq!(numbers.take(sample(3601), bucket(1)), Ok(()));
        let start = bucket(1).start;
        assert_eq!(
            numbers.take(sample(3602), bucket(1)),
            Err(StreamError::TooManySamples { start, allowed: 2 })
        );
    }
}
