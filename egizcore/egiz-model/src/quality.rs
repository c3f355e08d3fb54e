//! How far a value is to be trusted, and why not further.
//!
//! Three levels as in OPC UA's status codes; the reason is a closed list so that clients can match on it.

use serde::{Deserialize, Serialize};

/// How far a value is to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Quality {
    /// Nothing speaks against it.
    #[default]
    Good = 0,
    /// It may be right; the reason says what is odd.
    Uncertain = 1,
    /// Do not use it.
    Bad = 2,
}

/// Why a value is not simply good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum QualityReason {
    /// Nothing to say.
    #[default]
    None = 0,
    /// The device sent no timestamp or one from before its clock was set; the receive time stands in.
    ClockUnset = 1,
    /// The device's clock is ahead of ours by more than is allowed; the receive time stands in.
    ClockAhead = 2,
    /// The device sent `null`: it could not read its sensor.
    NoValue = 3,
    /// The value lies outside the range that the template gives as physically possible.
    OutOfRange = 4,
    /// The Thing has been silent beyond its deadline.
    Stale = 5,
    /// The device itself reported the quality.
    Reported = 6,
    /// Somebody corrected it afterwards; also of a value that is good.
    Corrected = 7,
}

impl Quality {
    /// The level with this number.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        [Self::Good, Self::Uncertain, Self::Bad].into_iter().find(|quality| *quality as u8 == number)
    }

    /// The word for it, as it appears in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Uncertain => "uncertain",
            Self::Bad => "bad",
        }
    }
}

impl QualityReason {
    const ALL: [Self; 8] = [
        Self::None,
        Self::ClockUnset,
        Self::ClockAhead,
        Self::NoValue,
        Self::OutOfRange,
        Self::Stale,
        Self::Reported,
        Self::Corrected,
    ];

    /// The reason with this number.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == number)
    }

    /// The word for it, as it appears in JSON; `None` has none.
    #[must_use]
    pub fn as_str(self) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::ClockUnset => "clock-unset",
            Self::ClockAhead => "clock-ahead",
            Self::NoValue => "no-value",
            Self::OutOfRange => "out-of-range",
            Self::Stale => "stale",
            Self::Reported => "reported",
            Self::Corrected => "corrected",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_go_both_ways() {
        for number in 0..=2 {
            let quality = Quality::from_u8(number).expect("three levels");
            assert_eq!(quality as u8, number);
            assert_eq!(serde_json::to_value(quality).expect("a word"), quality.as_str());
        }
        for reason in QualityReason::ALL {
            assert_eq!(QualityReason::from_u8(reason as u8), Some(reason));
            if let Some(word) = reason.as_str() {
                assert_eq!(serde_json::to_value(reason).expect("a word"), word);
            }
        }
        assert_eq!(Quality::from_u8(3), None);
        assert_eq!(QualityReason::from_u8(99), None);
    }
}
