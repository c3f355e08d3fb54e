//! Arithmetic over the samples of one property, apart from where they are kept.
//!
//! A [`Resolution`] and a time zone cut a range of time into [`Buckets`]; a [`Stream`] takes samples in order of time and
//! gives back one result for each bucket: the value of an [`Aggregate`] ([`Numbers`]), the durations of states
//! ([`States`]), or a mergeable [`Summary`] ([`Summaries`]). [`roll()`] makes [`Rollup`]s, which stand for samples that are
//! gone. [`fill()`] decides what stands in empty buckets, and [`downsample()`] thins samples for a chart of so many pixels.
//!
//! ```text
//!  samples ─┬─► roll ──► Rollup ──► (kept for years)
//!           │               │
//!           └───────┬───────┘
//!                Piece ─┬─► Stream<Numbers> ──► Bucket ──► fill ──► answer
//!                       └─► Stream<Summaries> ──► Summary, to be merged with those of other Things
//!  states ──► Stream<States> ──► StateBucket
//!  samples ──► downsample ──► Point
//! ```
//!
//! Rules that hold everywhere:
//!
//! - Samples come in ascending order of time, no two at one time. One that does not is an error, not a wrong answer.
//! - A sample from before the range is a *carry-in*: it counts only through the value that it left behind.
//! - A sample of bad quality, or with NaN or an infinity, has no value. It is counted as excluded, and ends the hold of
//!   the value before it. One of uncertain quality counts, and the bucket says so.
//! - A result that is no finite number is no result: JSON has neither NaN nor infinity.
//!
//! Pure: no file, socket, clock, random source or async; what *now* is comes in as [`Hold::known_until`], and time zones
//! from whoever owns a database of them. Does not know Things, permissions, pages, or how a result is written down.

mod aggregate;
mod buckets;
mod calendar;
mod downsample;
mod fill;
mod hold;
mod numbers;
mod percentile;
mod resolution;
mod rollup;
mod states;
mod stream;
mod summary;
#[cfg(test)]
mod tests;
mod within;

use egiz_model::{Quality, Timestamp};

pub use aggregate::{Aggregate, InvalidAggregate, NeedsSamples, Percent};
pub use buckets::{Buckets, BucketsError, MAX_BUCKETS, Span};
pub use downsample::{Chart, ChartError, MAX_CHART_WIDTH, Point, downsample};
pub use fill::{Fill, InvalidFill, fill};
pub use hold::Hold;
pub use numbers::{Bucket, MAX_PERCENTILE_SAMPLES, Numbers};
pub use resolution::{InvalidResolution, Resolution, Unit};
pub use rollup::{Piece, Rollup, RollupLength, Summaries, Summarised, roll};
pub use states::{MAX_STATES, State, StateBucket, StateDuration, StateName, StateValue, States};
pub use stream::{Gather, Stream, StreamError};
pub use summary::{At, Summary};
pub use within::Within;

/// One value of a property, and when the device measured it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The source time.
    pub time: Timestamp,
    /// The value; of no meaning where the quality is bad.
    pub value: f64,
    /// How far to trust it.
    pub quality: Quality,
}

impl Sample {
    /// A sample against which nothing speaks.
    #[must_use]
    pub fn good(time: Timestamp, value: f64) -> Self {
        Self { time, value, quality: Quality::Good }
    }

    /// The value, if it is one to reckon with: finite, and of a quality other than bad.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        (self.quality != Quality::Bad && self.value.is_finite()).then_some(self.value)
    }
}
