//! The unit in which a request counts time, as the parameters `precision` and `epoch` name it.

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Nanoseconds, where nothing is said.
    #[default]
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Minutes, in the first version's API only.
    Minutes,
    /// Hours, likewise.
    Hours,
}

impl Precision {
    /// What may be said, in words.
    pub const ALLOWED: &'static str = "ns, us, ms, s, m, h";

    /// Reads a name of either API: `n`, `ns`, `u`, `us`, `µ`, `ms`, `s`, `m`, `h`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "n" | "ns" => Self::Nanoseconds,
            "u" | "us" | "µ" | "µs" => Self::Microseconds,
            "ms" => Self::Milliseconds,
            "s" => Self::Seconds,
            "m" => Self::Minutes,
            "h" => Self::Hours,
            _ => return None,
        })
    }

    /// A count since 1970 in this unit as microseconds; nanoseconds lose what is finer. `None` where that is no number of 64
    /// bits.
    #[must_use]
    pub fn to_micros(self, count: i64) -> Option<i64> {
        match self.micros() {
            None => Some(count.div_euclid(1_000)),
            Some(micros) => count.checked_mul(micros),
        }
    }

    /// A time in microseconds since 1970 as a count in this unit, rounded down; at the ends of the range the nearest count.
    #[must_use]
    pub fn of_micros(self, micros: i64) -> i64 {
        match self.micros() {
            None => micros.saturating_mul(1_000),
            Some(unit) => micros.div_euclid(unit),
        }
    }

    /// Nothing for nanoseconds, which are finer.
    fn micros(self) -> Option<i64> {
        match self {
            Self::Nanoseconds => None,
            Self::Microseconds => Some(1),
            Self::Milliseconds => Some(1_000),
            Self::Seconds => Some(1_000_000),
            Self::Minutes => Some(60_000_000),
            Self::Hours => Some(3_600_000_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_microseconds_and_back() {
        for (name, count, micros) in [
            ("ns", 1_700_000_000_123_456_789, 1_700_000_000_123_456),
            ("n", -1, -1),
            ("u", 5, 5),
            ("us", 5, 5),
            ("ms", 7, 7_000),
            ("s", -2, -2_000_000),
            ("m", 1, 60_000_000),
            ("h", 1, 3_600_000_000),
        ] {
            let precision = Precision::parse(name).expect("a precision");
            assert_eq!(precision.to_micros(count), Some(micros), "{name}");
            let finest = precision == Precision::Nanoseconds;
            assert_eq!(precision.of_micros(micros), if finest { micros * 1_000 } else { count }, "{name}");
        }
        assert_eq!(Precision::Hours.to_micros(i64::MAX), None);
        assert_eq!(Precision::parse("d"), None);
    }
}
