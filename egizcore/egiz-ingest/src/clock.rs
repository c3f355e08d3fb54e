//! When the device measured: seconds, milliseconds or ISO 8601 in, one moment out, and a word where its clock is odd.
//!
//! A device without a clock, one that restarted in 1970 and one that runs ahead are ordinary. Their samples are kept
//! with the receive time instead, marked, because a source time from next year would make every later sample late.

use egiz_model::{QualityReason, Timestamp};

/// Which source times are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockRules {
    /// How far a device's clock may run ahead of ours, in microseconds.
    pub ahead_max_micros: i64,
}

impl Default for ClockRules {
    fn default() -> Self {
        Self { ahead_max_micros: 5 * 60 * 1_000_000 }
    }
}

/// Before 2001 no device of this platform measured anything: such a clock was never set.
const CLOCK_UNSET_BEFORE_SECONDS: i64 = 978_307_200;
/// From here on a number counts milliseconds: as seconds it would lie beyond the year 5000.
const MILLISECONDS_FROM: f64 = 1e11;
/// From here on a number counts microseconds.
const MICROSECONDS_FROM: f64 = 1e14;
/// From here on a number counts nanoseconds.
const NANOSECONDS_FROM: f64 = 1e17;

/// What a payload gives as its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum GivenTime<'a> {
    /// Nothing.
    Missing,
    /// A count since 1970.
    Number(f64),
    /// A text in ISO 8601.
    Text(&'a str),
}

impl ClockRules {
    /// The time to file a message under, and what was wrong with the device's own.
    ///
    /// # Errors
    /// In words, where a text is no time.
    pub(crate) fn judge(
        &self,
        given: GivenTime<'_>,
        received: Timestamp,
    ) -> Result<(Timestamp, QualityReason), String> {
        let source = match given {
            GivenTime::Missing => return Ok((received, QualityReason::ClockUnset)),
            GivenTime::Number(number) => from_number(number),
            GivenTime::Text(text) => Timestamp::parse(text).map_err(|error| error.to_string())?,
        };
        Ok(self.believe(source, received))
    }

    /// The same of a moment in microseconds since 1970.
    pub(crate) fn judge_moment(&self, given: Option<i64>, received: Timestamp) -> (Timestamp, QualityReason) {
        match given {
            None => (received, QualityReason::ClockUnset),
            Some(micros) => self.believe(Timestamp::from_micros(micros), received),
        }
    }

    fn believe(&self, source: Timestamp, received: Timestamp) -> (Timestamp, QualityReason) {
        if source < Timestamp::from_seconds(CLOCK_UNSET_BEFORE_SECONDS) {
            (received, QualityReason::ClockUnset)
        } else if source.micros_since(received) > self.ahead_max_micros {
            (received, QualityReason::ClockAhead)
        } else {
            (source, QualityReason::None)
        }
    }
}

/// The unit follows from the size, as no plant measured before 2001 or will after 5000.
fn from_number(number: f64) -> Timestamp {
    let per_micro = match number {
        n if n < MILLISECONDS_FROM => 1e6,
        n if n < MICROSECONDS_FROM => 1e3,
        n if n < NANOSECONDS_FROM => 1.0,
        _ => 1e-3,
    };
    #[expect(clippy::cast_possible_truncation, reason = "`as` holds the number within the range of i64")]
    let micros = (number * per_micro).round() as i64;
    Timestamp::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: GivenTime<'_>, expected: (&str, QualityReason)) {
        let received = Timestamp::parse("2026-11-23T10:00:00Z").expect("a time");
        let (source, clock) = ClockRules::default().judge(given, received).expect("a time");
        assert_eq!((source.to_string().as_str(), clock), expected, "{given:?}");
    }

    #[test]
    fn takes_seconds_milliseconds_and_iso_8601() {
        let same = ("2026-11-23T09:59:58.500Z", QualityReason::None);
        check(GivenTime::Number(1_795_427_998.5), same);
        check(GivenTime::Number(1_795_427_998_500.0), same);
        check(GivenTime::Number(1_795_427_998_500_000.0), same);
        check(GivenTime::Number(1.795_427_998_5e18), same);
        check(GivenTime::Text("2026-11-23T09:59:58.5Z"), same);
        check(GivenTime::Text("2026-11-23T14:59:58.500+05:00"), same);
    }

    #[test]
    fn an_odd_clock_is_replaced_by_ours_and_named() {
        let received = "2026-11-23T10:00:00.000Z";
        check(GivenTime::Missing, (received, QualityReason::ClockUnset));
        check(GivenTime::Number(17.0), (received, QualityReason::ClockUnset));
        check(GivenTime::Number(-1e300), (received, QualityReason::ClockUnset));
        check(GivenTime::Text("1970-01-01T00:00:00Z"), (received, QualityReason::ClockUnset));
        check(GivenTime::Text("2026-11-23T10:05:01Z"), (received, QualityReason::ClockAhead));
        check(GivenTime::Number(1e300), (received, QualityReason::ClockAhead));
        check(GivenTime::Text("2026-11-23T10:05:00Z"), ("2026-11-23T10:05:00.000Z", QualityReason::None));
    }

    #[test]
    fn a_text_that_is_no_time_says_why() {
        let received = Timestamp::from_seconds(1_800_000_000);
        let error = ClockRules::default().judge(GivenTime::Text("yesterday"), received).unwrap_err();
        assert!(error.contains("RFC 3339"), "{error}");
    }
}
