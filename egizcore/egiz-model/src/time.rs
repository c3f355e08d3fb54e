//! Moments: microseconds since 1970 in UTC, read from and written as RFC 3339.
//!
//! There is no clock here; whoever owns one passes moments in. The calendar arithmetic is that of the proleptic
//! Gregorian calendar by eras of 400 years, held against an independent library in the tests.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in UTC, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

/// Why a text is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an RFC 3339 time such as 2026-11-23T10:31:00.250Z: {reason}")]
pub struct InvalidTimestamp {
    text: String,
    reason: &'static str,
}

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

impl Timestamp {
    /// The first moment that can be written, 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// The last moment that can be written, 9999-12-31T23:59:59.999999Z.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The moment this many microseconds after 1970, held within the years 1 to 9999.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// The moment this many milliseconds after 1970, held within the years 1 to 9999.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self::from_micros(millis.saturating_mul(1000))
    }

    /// The moment this many whole seconds after 1970, held within the years 1 to 9999.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Microseconds since 1970.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970, rounded down.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment moved by `micros`, held within the years 1 to 9999.
    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this moment; negative if it lies before.
    #[must_use]
    pub fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339: a date, `T` or a space, a time with up to nine digits of fraction (cut to microseconds), and
    /// `Z` or an offset. A leap second counts as the second before it.
    ///
    /// # Errors
    /// [`InvalidTimestamp`] says what is missing or out of range.
    pub fn parse(text: &str) -> Result<Self, InvalidTimestamp> {
        parse(text.as_bytes())
            .map_err(|reason| InvalidTimestamp { text: text.chars().take(40).collect(), reason })
    }

    /// Writes RFC 3339 in UTC into `out`: milliseconds, or microseconds where the moment has them.
    pub fn write(self, out: &mut impl fmt::Write) -> fmt::Result {
        let mut text = [0_u8; 27];
        let length = self.format(&mut text);
        out.write_str(std::str::from_utf8(&text[..length]).expect("only ASCII was written"))
    }

    /// Writes the text into `text` and returns its length, 24 or 27.
    fn format(self, text: &mut [u8; 27]) -> usize {
        let seconds = self.0.div_euclid(MICROS_PER_SECOND);
        let micros = self.0.rem_euclid(MICROS_PER_SECOND);
        let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
        let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        text.copy_from_slice(b"0000-00-00T00:00:00.000000Z");
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], second_of_day / 3600);
        digits(&mut text[14..16], second_of_day / 60 % 60);
        digits(&mut text[17..19], second_of_day % 60);
        if micros % 1000 == 0 {
            digits(&mut text[20..23], micros / 1000);
            text[23] = b'Z';
            24
        } else {
            digits(&mut text[20..26], micros);
            27
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(formatter)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0_u8; 27];
        let length = self.format(&mut text);
        serializer.serialize_str(std::str::from_utf8(&text[..length]).expect("only ASCII was written"))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Writes `number` right-aligned over the zeros of `place`.
fn digits(place: &mut [u8], mut number: i64) {
    for slot in place.iter_mut().rev() {
        *slot = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

fn parse(text: &[u8]) -> Result<Timestamp, &'static str> {
    let (head, tail) = text.split_at_checked(19).ok_or("it is too short")?;
    let right_marks = head[4] == b'-'
        && head[7] == b'-'
        && matches!(head[10], b'T' | b't' | b' ')
        && head[13] == b':'
        && head[16] == b':';
    if !right_marks {
        return Err("its date and time are not written as YYYY-MM-DDThh:mm:ss");
    }
    let year = number(&head[0..4])?;
    let month = number(&head[5..7])?;
    let day = number(&head[8..10])?;
    let (hour, minute, second) = (number(&head[11..13])?, number(&head[14..16])?, number(&head[17..19])?);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return Err("there is no such day");
    }
    if hour > 23 || minute > 59 || second > 60 {
        return Err("there is no such time of day");
    }
    let (micros, zone) = fraction(tail)?;
    let offset_seconds = offset_seconds(zone)?;
    let seconds =
        days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second.min(59)
            - offset_seconds;
    let moment = seconds * MICROS_PER_SECOND + micros;
    if !(Timestamp::MIN.0..=Timestamp::MAX.0).contains(&moment) {
        return Err("it lies outside the years 1 to 9999");
    }
    Ok(Timestamp(moment))
}

fn number(digits: &[u8]) -> Result<i64, &'static str> {
    digits.iter().try_fold(0, |sum, digit| match digit {
        b'0'..=b'9' => Ok(sum * 10 + i64::from(digit - b'0')),
        _ => Err("a digit is missing"),
    })
}

/// Splits `.123456Z` into microseconds and what follows the digits.
fn fraction(tail: &[u8]) -> Result<(i64, &[u8]), &'static str> {
    let Some(digits) = tail.strip_prefix(b".") else {
        return Ok((0, tail));
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 || length > 9 {
        return Err("its fraction does not have one to nine digits");
    }
    let (fraction, rest) = digits.split_at(length);
    let padded = fraction.iter().chain(b"000000").take(6);
    let micros = padded.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Ok((micros, rest))
}

fn offset_seconds(zone: &[u8]) -> Result<i64, &'static str> {
    match zone {
        [b'Z' | b'z'] => Ok(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return Err("there is no such offset from UTC");
            }
            let seconds = hours * 3600 + minutes * 60;
            Ok(if *sign == b'-' { -seconds } else { seconds })
        }
        [] => Err("it ends without `Z` or an offset such as +05:00"),
        _ => Err("its end is neither `Z` nor an offset such as +05:00"),
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date. Years begin in March, so that the leap day is the last of a year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date that lies `days` after 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Result<i64, &str>) {
        match (Timestamp::parse(text), expected) {
            (Ok(moment), Ok(micros)) => assert_eq!(moment.as_micros(), micros, "{text}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, wanted) => panic!("{text}: {got:?}, wanted {wanted:?}"),
        }
    }

    #[test]
    fn reads_what_rfc_3339_allows() {
        check("1970-01-01T00:00:00Z", Ok(0));
        check("2024-01-27T09:30:00Z", Ok(1_706_347_800_000_000));
        check("2024-01-27 14:30:00.5+05:00", Ok(1_706_347_800_500_000));
        check("2024-02-29T23:59:60Z", Ok(1_709_251_199_000_000));
        check("1969-12-31T23:59:59.999999999Z", Ok(-1));
    }

    #[test]
    fn says_what_is_wrong_with_the_rest() {
        check("", Err("too short"));
        check("2024-01-27", Err("too short"));
        check("2024/01/27T09:30:00Z", Err("YYYY-MM-DD"));
        check("2023-02-29T00:00:00Z", Err("no such day"));
        check("2024-01-27T24:00:00Z", Err("no such time"));
        check("2024-01-27T09:30:00", Err("ends without"));
        check("2024-01-27T09:30:00.Z", Err("fraction"));
        check("2024-01-27T09:30:00+05", Err("neither"));
        check("2024-01-2xT09:30:00Z", Err("digit"));
        check("0001-01-01T00:00:00+01:00", Err("years 1 to 9999"));
    }

    #[test]
    fn keeps_to_the_years_it_can_write() {
        assert_eq!(Timestamp::from_seconds(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp::from_micros(i64::MIN).to_string(), "0001-01-01T00:00:00.000Z");
    }

    proptest! {
        #[test]
        fn agrees_with_an_independent_calendar(micros in Timestamp::MIN.0..=253_370_764_799_999_999_i64) {
            let moment = Timestamp::from_micros(micros);
            let text = moment.to_string();
            prop_assert_eq!(Timestamp::parse(&text), Ok(moment));
            let other: jiff::Timestamp = text.parse().expect("jiff reads RFC 3339");
            prop_assert_eq!(other.as_microsecond(), micros);
        }
    }
}
