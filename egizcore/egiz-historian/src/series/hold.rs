//! How long a value counts after it was measured: step interpolation, and its two limits.
//!
//! A property keeps its value until the next sample. Two things end that: a silence longer than [`Hold::max_micros`],
//! after which nobody knows, and the end of what is known at all, so that the future is not filled with the last value.
//!
//! # Source
//! *SteppedInterpolation* of OPC 10000-13 (Aggregates). The limit on the silence is ours; that specification leaves it to
//! the quality of the samples.

use egiz_model::Timestamp;

use super::Span;

/// The limits on how long a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// How long a value counts without a further sample, in microseconds; for ever if not given. A property sampled every
    /// 5 s might be held 15 s.
    pub max_micros: Option<i64>,
    /// Until when samples can have arrived: the caller's now. No value counts after it, and a bucket that ends after it is
    /// partial.
    pub known_until: Timestamp,
}

impl Default for Hold {
    /// Without limits.
    fn default() -> Self {
        Self { max_micros: None, known_until: Timestamp::MAX }
    }
}

impl Hold {
    /// During which of `part` a value measured at `since` counts, if the next sample is at `until`.
    pub(super) fn span_within(&self, since: Timestamp, until: Timestamp, part: Span) -> Span {
        let faded = self.max_micros.map_or(Timestamp::MAX, |micros| since.plus_micros(micros.max(0)));
        let end = until.min(faded).min(self.known_until);
        Span::new(since, end).intersection(part)
    }

    /// Whether a bucket shows less than its whole span, of which `part` was asked for.
    pub(super) fn is_partial(&self, span: Span, part: Span) -> bool {
        span != part || span.end > self.known_until
    }
}
