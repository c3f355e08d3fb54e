//! Rollups: what is left of the samples of a quarter hour or an hour when the samples are gone.
//!
//! A rollup stands on its own: the value that was carried into its stretch of time is not in it, only when the first sample
//! came and which value was held at the end. So what happens to one is the matter of nobody else's: a sample that comes days
//! late changes the rollup it lies in, and not all that follow. Who reads a row of them, mixed with samples or not, puts the
//! held values in between ([`Summaries`], [`super::Numbers`]).
//!
//! ```text
//!  samples      ·  · ·   ·        ·  ·            ·  ·  ·
//!  rollups   ├──[═════════]──┼────[══]───────┼────[══════]──┤    ═ is in the rollup, from its first sample on
//!            └ held before  ┘└ held by 1st  ┘└ held by 2nd        to its end; ─ is put in by who reads
//! ```
//!
//! Rollups hold values without a limit, since how long a query lets a value count is not known when they are made. Who wants
//! another [`Hold`] for a time-weighted aggregate needs the samples. So does who wants a percentile.
//!
//! A rollup belongs to the bucket in which it lies, so buckets must be cut where rollups are
//! ([`super::Buckets::fit_rollups_of`] tells).

use egiz_model::{Quality, Timestamp};

use super::within::{Everything, Within};
use super::{Gather, Hold, Sample, Span, StreamError, Summary};

/// How long the stretches of time are that rollups are kept of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollupLength {
    /// A quarter of an hour.
    Quarter,
    /// An hour.
    Hour,
}

impl RollupLength {
    /// The length in microseconds.
    #[must_use]
    pub const fn micros(self) -> i64 {
        match self {
            Self::Quarter => 900_000_000,
            Self::Hour => 3_600_000_000,
        }
    }
}

/// What is left of the samples of one property in one stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rollup {
    /// The stretch of time.
    pub span: Span,
    /// When the first sample in it was measured, with a value or without.
    pub begins: Timestamp,
    /// What happened in it. Its time-weighted part is of the time from the first sample to the end of the stretch.
    pub summary: Summary,
    /// The value that was held at the end, and how far to trust it.
    pub held: Option<(f64, Quality)>,
}

/// A sample, or what is left of many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Piece {
    /// One sample.
    Sample(Sample),
    /// The samples of a stretch of time.
    Rollup(Rollup),
}

impl From<Sample> for Piece {
    fn from(sample: Sample) -> Self {
        Self::Sample(sample)
    }
}

impl From<Rollup> for Piece {
    fn from(rollup: Rollup) -> Self {
        Self::Rollup(rollup)
    }
}

impl Piece {
    /// When it was measured, or begins.
    pub(crate) fn time(&self) -> Timestamp {
        match self {
            Self::Sample(sample) => sample.time,
            Self::Rollup(rollup) => rollup.span.start,
        }
    }
}

/// The rollups of `micros` each, at multiples of it since 1970, of pieces that ascend and of which none crosses one of their
/// borders. Stretches in which nothing was measured have none.
///
/// # Panics
/// If pieces do not ascend.
#[must_use]
pub fn roll(pieces: impl IntoIterator<Item = Piece>, micros: i64) -> Vec<Rollup> {
    let span_of = |time: Timestamp| {
        let start = time.as_micros().div_euclid(micros).saturating_mul(micros);
        Span::new(Timestamp::from_micros(start), Timestamp::from_micros(start.saturating_add(micros)))
    };
    let mut rollups: Vec<Rollup> = Vec::new();
    let mut open: Option<(Span, Timestamp, Summing)> = None;
    let mut last = None;
    for piece in pieces {
        let time = piece.time();
        assert!(last.is_none_or(|last| last < time), "the store gives samples in order of time");
        last = Some(time);
        if let Some((span, begins, summing)) = open.take_if(|(span, ..)| !span.contains(time)) {
            rollups.push(summing.into_rollup(span, begins));
        }
        let (span, _, summing) = open.get_or_insert_with(|| {
            let begins = match &piece {
                Piece::Sample(sample) => sample.time,
                Piece::Rollup(rollup) => rollup.begins,
            };
            (span_of(time), begins, Summing::new(Hold::default()))
        });
        summing.add(&piece, *span).expect("where all counts, no rollup is cut");
    }
    rollups.extend(open.map(|(span, begins, summing)| summing.into_rollup(span, begins)));
    rollups
}

impl Rollup {
    /// The rollup of what lies in the same stretch of time in two places, such as a Thing's samples before and after it got
    /// another template. Exact where one ends before the other begins.
    #[must_use]
    pub fn beside(&self, other: &Self) -> Self {
        let (early, late) = if self.begins <= other.begins { (self, other) } else { (other, self) };
        let mut before = early.summary;
        if let Some((value, _)) = early.held {
            // The early one took its last value to hold until the end.
            let micros = Span::new(late.begins, early.span.end).micros();
            before.integral -= value * seconds(micros);
            before.covered_micros = before.covered_micros.saturating_sub(micros).max(0);
        }
        Self { summary: before.merge(&late.summary), held: late.held, ..*early }
    }
}

/// Sums up pieces, with the values held between them.
#[derive(Debug, Clone)]
pub(super) struct Summing {
    hold: Hold,
    within: Option<Within>,
    held: Option<Sample>,
    summary: Summary,
    /// Of the values of the summary.
    mean: f64,
}

impl Summing {
    /// Holds values so long.
    pub(super) fn new(hold: Hold) -> Self {
        Self { hold, within: None, held: None, summary: Summary::default(), mean: 0.0 }
    }

    /// The same of what lies within some stretches only.
    pub(super) fn within(self, within: Option<Within>) -> Self {
        Self { within, ..self }
    }

    /// Whether a moment counts.
    pub(super) fn counts(&self, time: Timestamp) -> bool {
        self.within.has(time)
    }

    /// Whether all of a span counts.
    pub(super) fn counts_all(&self, span: Span) -> bool {
        self.within.has_all(span)
    }

    /// Takes note of the last piece before what follows.
    pub(super) fn carry_in(&mut self, piece: &Piece) {
        self.held = match piece {
            Piece::Sample(sample) => sample.number().map(|value| Sample { value, ..*sample }),
            Piece::Rollup(Rollup { span, held, .. }) => {
                held.map(|(value, quality)| Sample { time: span.end, value, quality })
            }
        };
    }

    /// Takes a piece of `part`.
    ///
    /// # Errors
    /// A rollup of which only a part counts.
    pub(super) fn add(&mut self, piece: &Piece, part: Span) -> Result<(), StreamError> {
        match piece {
            Piece::Sample(sample) => {
                self.settle(sample.time, part);
                match sample.number() {
                    _ if !self.counts(sample.time) => {}
                    Some(value) => self.summary.add(sample, value, &mut self.mean),
                    None => self.summary.excluded += 1,
                }
            }
            Piece::Rollup(rollup) => {
                self.settle(rollup.begins, part);
                if self.counts_all(rollup.span) {
                    self.summary = self.summary.merge(&rollup.summary);
                    self.mean = self.summary.mean();
                } else if self.within.micros(rollup.span) > 0 {
                    return Err(StreamError::CutRollup { start: rollup.span.start });
                }
            }
        }
        self.carry_in(piece);
        Ok(())
    }

    /// Ends `part`, and begins anew with the value that is held.
    pub(super) fn take_summary(&mut self, part: Span) -> Summary {
        self.settle(part.end, part);
        std::mem::take(&mut self.summary)
    }

    /// Accounts for the held value until the next piece.
    fn settle(&mut self, until: Timestamp, part: Span) {
        let Some(held) = self.held else { return };
        let micros = self.within.micros(self.hold.span_within(held.time, until, part));
        if micros > 0 {
            self.summary.integral += held.value * seconds(micros);
            self.summary.covered_micros += micros;
            self.summary.held_uncertain |= held.quality != Quality::Good;
        }
    }

    fn into_rollup(mut self, span: Span, begins: Timestamp) -> Rollup {
        let held = self.held.map(|sample| (sample.value, sample.quality));
        Rollup { span, begins, summary: self.take_summary(span), held }
    }
}

/// What happened in a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summarised {
    /// Where the bucket begins.
    pub start: Timestamp,
    /// What happened in it, the value that was carried into it included.
    pub summary: Summary,
}

/// Sums up each bucket.
#[derive(Debug, Clone)]
pub struct Summaries(Summing);

impl Summaries {
    /// Holds values so long.
    #[must_use]
    pub fn new(hold: Hold) -> Self {
        Self(Summing::new(hold))
    }

    /// The same of what lies within some stretches only.
    #[must_use]
    pub fn within(self, within: Option<Within>) -> Self {
        Self(self.0.within(within))
    }
}

impl Gather for Summaries {
    type Input<'a> = Piece;
    type Output = Summarised;

    fn time_of(input: &Piece) -> Timestamp {
        input.time()
    }

    fn carry(&mut self, input: Piece) {
        self.0.carry_in(&input);
    }

    fn take(&mut self, input: Piece, part: Span) -> Result<(), StreamError> {
        self.0.add(&input, part)
    }

    fn close(&mut self, span: Span, part: Span) -> Summarised {
        Summarised { start: span.start, summary: self.0.take_summary(part) }
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
