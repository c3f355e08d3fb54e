//! Samples in, one after another; finished buckets out. Nothing but the open bucket is kept.
//!
//! ```text
//!                 before the range: carry-in
//!                ┌───────────────┐
//!  push ─────────┤ in the bucket ├──► take
//!                │ after it      ├──► close the bucket, open the next, look again
//!                │ after the range ──► nothing
//!                └───────────────┘
//!  finish ──► close this bucket and all that follow it
//! ```
//!
//! [`Stream`] knows which bucket is open; what happens inside one is up to a [`Gather`]. So the walk over days of 23 hours,
//! empty buckets and carry-ins is written once, for numbers, states and rollups alike.

use egiz_model::Timestamp;

use super::{Buckets, NeedsSamples, Span};

/// What makes one result of the inputs of each bucket.
pub trait Gather {
    /// What it takes.
    type Input<'a>;
    /// What it makes of a bucket.
    type Output;

    /// When an input happened.
    fn time_of(input: &Self::Input<'_>) -> Timestamp;

    /// Takes note of an input from before the range.
    fn carry(&mut self, input: Self::Input<'_>);

    /// Takes an input that lies in `part`, the part of the open bucket that was asked for.
    ///
    /// # Errors
    /// A bound of this gathering was reached.
    fn take(&mut self, input: Self::Input<'_>, part: Span) -> Result<(), StreamError>;

    /// Ends the bucket `span`, of which `part` was asked for, and is ready for the one that begins where it ended.
    fn close(&mut self, span: Span, part: Span) -> Self::Output;
}

/// Why a stream of samples has no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StreamError {
    /// Samples must come in ascending order, one at a time.
    #[error("a sample of {time} came after one of {last}; samples must ascend and have a time of their own")]
    OutOfOrder {
        /// The later one that had already come.
        last: Timestamp,
        /// The one that came after it.
        time: Timestamp,
    },
    /// What counts begins or ends inside a rollup.
    #[error("of the rollup from {start} only a part counts; that needs the samples")]
    CutRollup {
        /// Where the rollup begins.
        start: Timestamp,
    },
    /// A percentile needs all values of a bucket at once.
    #[error(
        "a percentile takes at most {allowed} samples in one bucket, and the one from {start} has more; \
         ask for a finer resolution"
    )]
    TooManySamples {
        /// Where the bucket begins.
        start: Timestamp,
        /// How many samples it may have.
        allowed: usize,
    },
    /// A percentile cannot be had of rollups.
    #[error(transparent)]
    NeedsSamples(#[from] NeedsSamples),
    /// A property with that many values has no states.
    #[error(
        "the bucket from {start} has more than {allowed} different states; ask for a shorter range or a finer resolution"
    )]
    TooManyStates {
        /// Where the bucket begins.
        start: Timestamp,
        /// How many different states it may have.
        allowed: usize,
    },
}

/// A walk over buckets, driven by what is pushed.
#[derive(Debug)]
pub struct Stream<G> {
    buckets: Buckets,
    asked: Span,
    open: Option<Span>,
    last: Option<Timestamp>,
    gather: G,
}

impl<G: Gather> Stream<G> {
    /// A stream that has seen nothing.
    #[must_use]
    pub fn new(mut buckets: Buckets, gather: G) -> Self {
        let open = buckets.next();
        Self { asked: buckets.asked(), buckets, open, last: None, gather }
    }

    /// Takes the next input, and appends the buckets that end before it to `finished`. An input from before the range is a
    /// carry-in; one from after it finishes nothing and is not looked at.
    ///
    /// # Errors
    /// [`StreamError`]; the stream is of no use after it.
    pub fn push(&mut self, input: G::Input<'_>, finished: &mut Vec<G::Output>) -> Result<(), StreamError> {
        let time = G::time_of(&input);
        if let Some(last) = self.last.filter(|last| *last >= time) {
            return Err(StreamError::OutOfOrder { last, time });
        }
        self.last = Some(time);
        if time < self.asked.start {
            self.gather.carry(input);
            return Ok(());
        }
        if time >= self.asked.end {
            return Ok(());
        }
        while let Some(span) = self.open {
            if time < span.end {
                return self.gather.take(input, span.intersection(self.asked));
            }
            self.close(span, finished);
        }
        unreachable!("the last bucket ends no earlier than the range, in which the sample lies")
    }

    /// Appends the open bucket and all after it to `finished`.
    pub fn finish(mut self, finished: &mut Vec<G::Output>) {
        while let Some(span) = self.open {
            self.close(span, finished);
        }
    }

    /// Takes all inputs and gives all buckets.
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn run<'a>(
        mut self,
        inputs: impl IntoIterator<Item = G::Input<'a>>,
    ) -> Result<Vec<G::Output>, StreamError> {
        let mut finished = Vec::new();
        for input in inputs {
            self.push(input, &mut finished)?;
        }
        self.finish(&mut finished);
        Ok(finished)
    }

    fn close(&mut self, span: Span, finished: &mut Vec<G::Output>) {
        finished.push(self.gather.close(span, span.intersection(self.asked)));
        self.open = self.buckets.next();
    }
}
