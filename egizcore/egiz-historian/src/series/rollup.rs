//! From samples to summaries of each bucket, and from those to aggregates of larger ones.
//!
//! [`Rollups`] is what a store runs when it seals a quarter hour; [`FromRollups`] answers long ranges from what it kept. A
//! rollup belongs to the bucket in which it begins, so ranges and buckets must be cut where rollups are
//! ([`super::Buckets::fit_rollups_of`] tells).

use egiz_model::Timestamp;

use super::numbers::Bucket;
use super::{Aggregate, Gather, Hold, NeedsSamples, Sample, Span, StreamError, Summary};

/// The summary of one bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rollup {
    /// Where the bucket begins.
    pub start: Timestamp,
    /// What happened in it.
    pub summary: Summary,
}

/// Makes a summary of the samples of each bucket.
#[derive(Debug, Clone)]
pub struct Rollups {
    hold: Hold,
    held: Option<Sample>,
    summary: Summary,
}

/// Makes an aggregate of the summaries that lie in each bucket.
#[derive(Debug, Clone)]
pub struct FromRollups {
    aggregate: Aggregate,
    hold: Hold,
    merged: Summary,
}

impl Rollups {
    /// Holds values so long.
    #[must_use]
    pub fn new(hold: Hold) -> Self {
        Self { hold, held: None, summary: Summary::default() }
    }

    /// Takes note of the last sample before what follows.
    pub(super) fn carry_in(&mut self, sample: Sample) {
        self.held = sample.number().map(|value| Sample { value, ..sample });
    }

    /// Takes a sample of `part`.
    pub(super) fn add(&mut self, sample: Sample, part: Span) {
        self.settle(sample.time, part);
        match sample.number() {
            Some(value) => self.summary.add(&sample, value),
            None => self.summary.excluded += 1,
        }
        self.carry_in(sample);
    }

    /// Ends `part`, and begins anew with the value that is held.
    pub(super) fn take_summary(&mut self, part: Span) -> Summary {
        self.settle(part.end, part);
        std::mem::take(&mut self.summary)
    }

    /// Accounts for the held value until the next sample.
    fn settle(&mut self, until: Timestamp, part: Span) {
        let Some(held) = self.held else { return };
        let micros = self.hold.micros_within(held.time, until, part);
        if micros > 0 {
            self.summary.integral += held.value * seconds(micros);
            self.summary.covered_micros += micros;
            self.summary.held_uncertain |= held.quality != egiz_model::Quality::Good;
        }
    }
}

impl Gather for Rollups {
    type Input<'a> = Sample;
    type Output = Rollup;

    fn time_of(input: &Sample) -> Timestamp {
        input.time
    }

    fn carry(&mut self, input: Sample) {
        self.carry_in(input);
    }

    fn take(&mut self, input: Sample, part: Span) -> Result<(), StreamError> {
        self.add(input, part);
        Ok(())
    }

    fn close(&mut self, span: Span, part: Span) -> Rollup {
        Rollup { start: span.start, summary: self.take_summary(part) }
    }
}

impl FromRollups {
    /// Merges summaries for an aggregate. Of `hold` only the end of what is known matters: how long values were held was
    /// decided when the summaries were made.
    ///
    /// # Errors
    /// The aggregate cannot be had from summaries.
    pub fn new(aggregate: Aggregate, hold: Hold) -> Result<Self, NeedsSamples> {
        aggregate.of_summary(&Summary::default())?;
        Ok(Self { aggregate, hold, merged: Summary::default() })
    }
}

impl Gather for FromRollups {
    type Input<'a> = Rollup;
    type Output = Bucket;

    fn time_of(input: &Rollup) -> Timestamp {
        input.start
    }

    fn carry(&mut self, _: Rollup) {}

    fn take(&mut self, input: Rollup, _: Span) -> Result<(), StreamError> {
        self.merged = self.merged.merge(&input.summary);
        Ok(())
    }

    fn close(&mut self, span: Span, part: Span) -> Bucket {
        let summary = std::mem::take(&mut self.merged);
        let value = self.aggregate.of_summary(&summary).expect("asked in the constructor");
        Bucket::new(span, value, self.aggregate, &summary, self.hold.is_partial(span, part))
    }
}

/// Microseconds as seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact for 285 years, and beyond them to a microsecond or two"
)]
pub(super) fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
