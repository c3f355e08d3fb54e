//! How long a property was in each state, and how often it entered it: for texts, booleans and codes.
//!
//! A state lasts until the next sample with another one, within the limits of [`Hold`]. What a bad sample, a silence beyond
//! the limit or the beginning of all samples leaves open is reported as unknown, and is in no state.
//!
//! Entering is being seen in a state when the last known one was another, or none was known yet. So a lost connection does
//! not count as a start: `running`, bad, `running` is one entry. What was carried into a bucket is no entry.
//!
//! # Source
//! *DurationInStateZero*, *DurationInStateNonZero* and *NumberOfTransitions* of OPC 10000-13, for any number of states. There
//! only good samples count; here uncertain ones do too, and the bucket says so.

use egiz_model::{Quality, Timestamp};

use super::rollup::seconds;
use super::within::{Everything, Within};
use super::{Gather, Hold, Span, StreamError};

/// How many different states a bucket may have: more is a measurement or a name, not a state.
pub const MAX_STATES: usize = 1000;

/// A state, borrowed from where it is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StateValue<'a> {
    /// A truth value.
    Bool(bool),
    /// A code. One that is not finite is no state.
    Number(f64),
    /// A word.
    Text(&'a str),
}

/// The state of a property, and since when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State<'a> {
    /// The source time.
    pub time: Timestamp,
    /// The state; of no meaning where the quality is bad.
    pub value: StateValue<'a>,
    /// How far to trust it.
    pub quality: Quality,
}

/// A state on its own.
#[derive(Debug, Clone, PartialEq)]
pub enum StateName {
    /// A truth value.
    Bool(bool),
    /// A code, finite.
    Number(f64),
    /// A word.
    Text(Box<str>),
}

/// How long and how often a property was in one state.
#[derive(Debug, Clone, PartialEq)]
pub struct StateDuration {
    /// The state.
    pub state: StateName,
    /// For how long, in seconds.
    pub seconds: f64,
    /// How often it was entered.
    pub entries: u64,
}

/// The states of one bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct StateBucket {
    /// Where the bucket begins, also if the range begins later.
    pub start: Timestamp,
    /// Where the next one begins.
    pub end: Timestamp,
    /// Each state that it was in, in order of appearance.
    pub states: Vec<StateDuration>,
    /// For how long it was in no known state, in seconds; the future does not count.
    pub unknown_seconds: f64,
    /// Samples that had a state.
    pub count: u64,
    /// Samples that had none.
    pub excluded: u64,
    /// The worst quality of a state that is counted: good or uncertain; `None` if there is none.
    pub quality: Option<Quality>,
    /// Whether part of the bucket was not asked for, or is not known yet.
    pub is_partial: bool,
}

/// Measures the states of each bucket.
#[derive(Debug, Clone)]
pub struct States {
    hold: Hold,
    within: Option<Within>,
    /// The last known state, also when it no longer holds.
    last: Option<StateName>,
    /// Since when that holds, and how far to trust it.
    held: Option<(Timestamp, Quality)>,
    /// Where the last known state is among the tallies of the open bucket.
    place: Option<usize>,
    tallies: Vec<Tally>,
    count: u64,
    excluded: u64,
    quality: Option<Quality>,
}

#[derive(Debug, Clone)]
struct Tally {
    state: StateName,
    micros: i64,
    entries: u64,
}

impl States {
    /// Holds states so long.
    #[must_use]
    pub fn new(hold: Hold) -> Self {
        Self {
            hold,
            within: None,
            last: None,
            held: None,
            place: None,
            tallies: Vec::new(),
            count: 0,
            excluded: 0,
            quality: None,
        }
    }

    /// The same of what lies within some stretches only; a bucket that lies in part outside of them is partial.
    #[must_use]
    pub fn within(self, within: Option<Within>) -> Self {
        Self { within, ..self }
    }

    /// Accounts for the held state until the next sample.
    fn settle(&mut self, until: Timestamp, part: Span) -> Result<(), StreamError> {
        let Some((since, quality)) = self.held else { return Ok(()) };
        let micros = self.within.micros(self.hold.span_within(since, until, part));
        if micros > 0 {
            self.tally(part)?.micros += micros;
            self.quality = self.quality.max(Some(quality));
        }
        Ok(())
    }

    /// The tally of the last known state.
    fn tally(&mut self, part: Span) -> Result<&mut Tally, StreamError> {
        let state = self.last.as_ref().expect("what is held or was taken is known");
        let found = self.place.or_else(|| self.tallies.iter().position(|tally| tally.state == *state));
        let place = match found {
            Some(place) => place,
            None if self.tallies.len() == MAX_STATES => {
                return Err(StreamError::TooManyStates { start: part.start, allowed: MAX_STATES });
            }
            None => {
                self.tallies.push(Tally { state: state.clone(), micros: 0, entries: 0 });
                self.tallies.len() - 1
            }
        };
        self.place = Some(place);
        Ok(&mut self.tallies[place])
    }
}

impl Gather for States {
    type Input<'a> = State<'a>;
    type Output = StateBucket;

    fn time_of(input: &State<'_>) -> Timestamp {
        input.time
    }

    fn carry(&mut self, input: State<'_>) {
        self.held = input.known().map(|state| {
            self.last = Some(state.to_name());
            (input.time, input.quality)
        });
    }

    fn take(&mut self, input: State<'_>, part: Span) -> Result<(), StreamError> {
        self.settle(input.time, part)?;
        let counts = self.within.has(input.time);
        let Some(state) = input.known() else {
            self.excluded += u64::from(counts);
            self.held = None;
            return Ok(());
        };
        let is_entry = self.last.as_ref().is_none_or(|last| !state.is(last));
        if is_entry {
            self.last = Some(state.to_name());
            self.place = None;
        }
        self.held = Some((input.time, input.quality));
        if !counts {
            // It may last into what counts, and then needs a place.
            if self.within.micros(Span::new(input.time, part.end)) > 0 {
                self.tally(part)?;
            }
            return Ok(());
        }
        self.tally(part)?.entries += u64::from(is_entry);
        self.count += 1;
        self.quality = self.quality.max(Some(input.quality));
        Ok(())
    }

    fn close(&mut self, span: Span, part: Span) -> StateBucket {
        // What is held was either seen in this bucket or is the first of it: it never takes a place beyond the bound.
        self.settle(part.end, part).expect("the held state has a place or there are none yet");
        let known_part = part.intersection(Span::new(part.start, self.hold.known_until));
        let known_micros: i64 = self.tallies.iter().map(|tally| tally.micros).sum();
        self.place = None;
        if self.within.is_some() {
            self.tallies.retain(|tally| tally.micros > 0 || tally.entries > 0);
        }
        StateBucket {
            start: span.start,
            end: span.end,
            states: self.tallies.drain(..).map(Tally::finish).collect(),
            unknown_seconds: seconds(self.within.micros(known_part) - known_micros),
            count: std::mem::take(&mut self.count),
            excluded: std::mem::take(&mut self.excluded),
            quality: self.quality.take(),
            is_partial: self.hold.is_partial(span, part) || !self.within.has_all(span),
        }
    }
}

impl<'a> State<'a> {
    /// The state, if it is one.
    fn known(&self) -> Option<StateValue<'a>> {
        let is_state = !matches!(self.value, StateValue::Number(number) if !number.is_finite());
        (self.quality != Quality::Bad && is_state).then_some(self.value)
    }
}

impl StateValue<'_> {
    /// The same on its own.
    #[must_use]
    pub fn to_name(self) -> StateName {
        match self {
            Self::Bool(truth) => StateName::Bool(truth),
            Self::Number(number) => StateName::Number(number),
            Self::Text(text) => StateName::Text(text.into()),
        }
    }

    fn is(self, name: &StateName) -> bool {
        match (self, name) {
            (Self::Bool(a), StateName::Bool(b)) => a == *b,
            (Self::Number(a), StateName::Number(b)) => a == *b,
            (Self::Text(a), StateName::Text(b)) => *a == **b,
            _ => false,
        }
    }
}

impl Tally {
    fn finish(self) -> StateDuration {
        StateDuration { state: self.state, seconds: seconds(self.micros), entries: self.entries }
    }
}
