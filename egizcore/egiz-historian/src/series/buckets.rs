//! A range of time cut into buckets, half open (`start <= time < end`), without gaps between them.
//!
//! Buckets of a fixed length begin at multiples of it since 1970-01-01T00:00:00Z, whatever the zone; those of the calendar
//! begin at midnight in the zone, weeks on Monday, months and years on their first day; several of a unit at a multiple
//! of that number, so that `3mo` are quarters. The first and last buckets are whole ones even where the range begins or
//! ends within them. Their number is bounded, and known before the first is made.
//!
//! # Source
//! Alignment as in InfluxQL's `GROUP BY time()` (preset boundaries since the epoch); weeks as in ISO 8601.

use std::iter::FusedIterator;

use egiz_model::Timestamp;
use jiff::tz::TimeZone;

use super::Resolution;
use super::calendar::Calendar;

/// How many buckets a query may ask for, unless its caller allows another number.
pub const MAX_BUCKETS: u64 = 100_000;

/// An interval of time: from `start` to just before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first moment inside.
    pub start: Timestamp,
    /// The first moment after.
    pub end: Timestamp,
}

/// The buckets of a range, in order of time; an iterator over their whole spans.
#[derive(Debug, Clone)]
pub struct Buckets {
    asked: Span,
    grid: Grid,
    count_at_most: u64,
    next: Option<Span>,
}

/// Why a range is not cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BucketsError {
    /// Nothing lies between the ends.
    #[error("the range is empty: it begins at {from} and ends at {to}; its end must lie after its beginning")]
    Empty {
        /// The beginning.
        from: Timestamp,
        /// The end.
        to: Timestamp,
    },
    /// The resolution is too fine for the range.
    #[error(
        "a resolution of {resolution} cuts the range into {count} buckets, and at most {allowed} are allowed; \
         ask for a coarser resolution or a shorter range"
    )]
    TooMany {
        /// What was asked for.
        resolution: Resolution,
        /// How many buckets there would be.
        count: u64,
        /// How many there may be.
        allowed: u64,
    },
}

#[derive(Debug, Clone)]
enum Grid {
    Whole(Span),
    Fixed(i64),
    Calendar(Calendar),
}

impl Span {
    /// The interval between two moments.
    #[must_use]
    pub fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end }
    }

    /// Whether a moment lies inside.
    #[must_use]
    pub fn contains(self, time: Timestamp) -> bool {
        self.start <= time && time < self.end
    }

    /// The length in microseconds; 0 where the end does not lie after the start.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.end.micros_since(self.start).max(0)
    }

    /// What lies in both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }
}

impl Buckets {
    /// The range as a single bucket.
    ///
    /// # Errors
    /// [`BucketsError`]: the range is empty.
    pub fn whole(asked: Span) -> Result<Self, BucketsError> {
        if asked.start >= asked.end {
            return Err(BucketsError::Empty { from: asked.start, to: asked.end });
        }
        Ok(Self { asked, grid: Grid::Whole(asked), count_at_most: 1, next: Some(asked) })
    }

    /// Cuts a range into at most [`MAX_BUCKETS`] buckets. The zone matters to calendar resolutions only.
    ///
    /// # Errors
    /// [`BucketsError`]: the range is empty, or the buckets are too many.
    pub fn new(asked: Span, resolution: Resolution, zone: TimeZone) -> Result<Self, BucketsError> {
        Self::at_most(MAX_BUCKETS, asked, resolution, zone)
    }

    /// Cuts a range into at most `allowed` buckets.
    ///
    /// # Errors
    /// [`BucketsError`]: the range is empty, or the buckets are too many.
    pub fn at_most(
        allowed: u64,
        asked: Span,
        resolution: Resolution,
        zone: TimeZone,
    ) -> Result<Self, BucketsError> {
        if asked.start >= asked.end {
            return Err(BucketsError::Empty { from: asked.start, to: asked.end });
        }
        let grid = match resolution.fixed_micros() {
            Some(micros) => Grid::Fixed(micros),
            None => {
                Grid::Calendar(Calendar { number: resolution.number().into(), unit: resolution.unit(), zone })
            }
        };
        let count = grid.count(asked);
        if count > allowed {
            return Err(BucketsError::TooMany { resolution, count, allowed });
        }
        let next = Some(grid.bucket_at(asked.start));
        Ok(Self { asked, grid, count_at_most: count, next })
    }

    /// The range that was cut.
    #[must_use]
    pub fn asked(&self) -> Span {
        self.asked
    }

    /// How many there are from the first on; fewer by one for each date that the zone skipped.
    #[must_use]
    pub fn count_at_most(&self) -> u64 {
        self.count_at_most
    }

    /// Whether no rollup of this length lies in two buckets: each begins and ends at a multiple of `micros` since 1970, but for
    /// the range itself where it is one bucket.
    #[must_use]
    pub fn fit_rollups_of(&self, micros: i64) -> bool {
        let fits = |time: Timestamp| time.as_micros().rem_euclid(micros) == 0;
        match self.grid {
            Grid::Whole(_) => true,
            Grid::Fixed(length) => length % micros == 0,
            Grid::Calendar(_) => self.clone().all(|span| fits(span.start) && fits(span.end)),
        }
    }
}

impl Iterator for Buckets {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let span = self.next?;
        self.next = (span.end < self.asked.end).then(|| self.grid.bucket_at(span.end));
        Some(span)
    }
}

impl FusedIterator for Buckets {}

impl Grid {
    /// The bucket that holds `time`.
    fn bucket_at(&self, time: Timestamp) -> Span {
        match self {
            Self::Whole(span) => *span,
            Self::Fixed(micros) => {
                let start = time.as_micros().div_euclid(*micros) * micros;
                Span::new(Timestamp::from_micros(start), Timestamp::from_micros(start + micros))
            }
            Self::Calendar(calendar) => {
                let index = calendar.index_at(time);
                Span::new(calendar.start_of(index), calendar.start_of(index + 1))
            }
        }
    }

    /// How many buckets a range has; of a calendar, skipped dates included.
    fn count(&self, asked: Span) -> u64 {
        let last_moment = asked.end.plus_micros(-1);
        let (first, last) = match self {
            Self::Whole(_) => (0, 0),
            Self::Fixed(micros) => {
                (asked.start.as_micros().div_euclid(*micros), last_moment.as_micros().div_euclid(*micros))
            }
            Self::Calendar(calendar) => (calendar.index_at(asked.start), calendar.index_at(last_moment)),
        };
        last.abs_diff(first) + 1
    }
}
