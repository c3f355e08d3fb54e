//! How long a bucket is: a fixed length (`500ms`, `5s`, `15m`, `1h`) or a piece of the calendar (`1d`, `1w`, `1mo`, `1y`).
//!
//! `m` is a minute and `mo` a month. A day is what the calendar calls one, so 23 or 25 hours when clocks are set, while
//! `24h` is always 24 hours. Where a bucket begins is for [`super::Buckets`] to say, not for this file.

use std::fmt;
use std::str::FromStr;

/// The length of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resolution {
    number: u32,
    unit: Unit,
}

/// What a resolution counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// `ms`
    Millisecond,
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
    /// `d`, of the calendar
    Day,
    /// `w`, of the calendar, beginning on Monday (ISO 8601)
    Week,
    /// `mo`, of the calendar
    Month,
    /// `y`, of the calendar
    Year,
}

/// Why a text is no resolution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a resolution: write a whole number from 1 to {max} and one of ms, s, m, h, d, w, mo, y, \
     such as 15m or 1mo",
    max = Resolution::MAX_NUMBER
)]
pub struct InvalidResolution {
    text: String,
}

impl Resolution {
    /// The largest number before a unit.
    pub const MAX_NUMBER: u32 = 1_000_000;

    /// So many of a unit.
    ///
    /// # Errors
    /// The number is 0 or above [`Self::MAX_NUMBER`].
    pub fn new(number: u32, unit: Unit) -> Result<Self, InvalidResolution> {
        if (1..=Self::MAX_NUMBER).contains(&number) {
            Ok(Self { number, unit })
        } else {
            Err(InvalidResolution { text: format!("{number}{}", unit.as_str()) })
        }
    }

    /// How many units, from 1.
    #[must_use]
    pub fn number(self) -> u32 {
        self.number
    }

    /// What it counts in.
    #[must_use]
    pub fn unit(self) -> Unit {
        self.unit
    }

    /// The length in microseconds, of one that does not follow the calendar.
    #[must_use]
    pub fn fixed_micros(self) -> Option<i64> {
        let unit_micros = match self.unit {
            Unit::Millisecond => 1_000,
            Unit::Second => 1_000_000,
            Unit::Minute => 60_000_000,
            Unit::Hour => 3_600_000_000,
            Unit::Day | Unit::Week | Unit::Month | Unit::Year => return None,
        };
        Some(i64::from(self.number) * unit_micros)
    }
}

impl Unit {
    const ALL: [Self; 8] = [
        Self::Millisecond,
        Self::Second,
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Year,
    ];

    /// How it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Millisecond => "ms",
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
            Self::Day => "d",
            Self::Week => "w",
            Self::Month => "mo",
            Self::Year => "y",
        }
    }
}

impl FromStr for Resolution {
    type Err = InvalidResolution;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidResolution { text: text.chars().take(40).collect() };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number = number.parse().map_err(|_| invalid())?;
        let unit = Unit::ALL.into_iter().find(|known| known.as_str() == unit).ok_or_else(invalid)?;
        Self::new(number, unit).map_err(|_| invalid())
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.number, self.unit.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(u32, Unit, Option<i64>)>) {
        let read = text.parse::<Resolution>();
        match (&read, expected) {
            (Ok(read), Some((number, unit, micros))) => {
                assert_eq!(
                    (read.number(), read.unit(), read.fixed_micros()),
                    (number, unit, micros),
                    "{text}"
                );
                assert_eq!(read.to_string().parse(), Ok(*read), "{text}");
            }
            (Err(error), None) => assert!(error.to_string().contains("ms, s, m, h, d, w, mo, y"), "{error}"),
            _ => panic!("{text}: {read:?}, wanted {expected:?}"),
        }
    }

    #[test]
    fn reads_a_number_and_a_unit() {
        check("500ms", Some((500, Unit::Millisecond, Some(500_000))));
        check("5s", Some((5, Unit::Second, Some(5_000_000))));
        check("1m", Some((1, Unit::Minute, Some(60_000_000))));
        check("1mo", Some((1, Unit::Month, None)));
        check("24h", Some((24, Unit::Hour, Some(86_400_000_000))));
        check("007d", Some((7, Unit::Day, None)));
        check("1w", Some((1, Unit::Week, None)));
        check("1y", Some((1, Unit::Year, None)));
        check("1000000h", Some((1_000_000, Unit::Hour, Some(3_600_000_000_000_000))));
    }

    #[test]
    fn refuses_the_rest() {
        for text in
            ["", "5", "s", "0s", "-1s", "+1s", "1.5h", "1M", "1 h", "1hh", "1µs", "1000001s", "99999999999s"]
        {
            check(text, None);
        }
        check(&"9".repeat(5000), None);
    }
}
