//! Pieces of the calendar as intervals of time: which day, week, month or year a moment belongs to, and when it began.
//!
//! Each piece has a number that grows by one from piece to piece (days since 1970, weeks since the Monday before it,
//! months and years since year 0), so that *two weeks* or *a quarter* are counted alike everywhere. A day begins at the
//! first instant of that date: at 01:00 where clocks skip midnight. A date that a zone skipped altogether (Apia,
//! 2011-12-30) is an empty interval.
//!
//! The rules of the zones are jiff's, from the IANA time zone database; nothing here looks up a zone by name.

use egiz_model::Timestamp;
use jiff::ToSpan;
use jiff::civil::{Date, date};
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::Unit;

/// Counts pieces of the calendar, `number` units long, in a zone.
#[derive(Debug, Clone)]
pub(super) struct Calendar {
    pub(super) number: i64,
    pub(super) unit: Unit,
    pub(super) zone: TimeZone,
}

const EPOCH: Date = date(1970, 1, 1);
/// 1970-01-01 was a Thursday: its week began three days earlier.
const DAYS_INTO_WEEK: i64 = 3;

impl Calendar {
    /// The number of the piece that holds `time`, which lies before [`Timestamp::MAX`].
    pub(super) fn index_at(&self, time: Timestamp) -> i64 {
        let mut index = self.index_of(self.zone.to_datetime(to_jiff(time)).date());
        // Where clocks go back over midnight, the evening comes twice, the second time after the next day began.
        while self.start_of(index + 1) <= time {
            index += 1;
        }
        index
    }

    /// When a piece begins; before the year 1 and after 9999, the first and the last moment there is.
    pub(super) fn start_of(&self, index: i64) -> Timestamp {
        match self.first_date(index) {
            Some(date) => first_instant(date, &self.zone),
            None if index < 0 => Timestamp::MIN,
            None => Timestamp::MAX,
        }
    }

    fn index_of(&self, date: Date) -> i64 {
        let (year, month) = (i64::from(date.year()), i64::from(date.month()));
        let days = date.duration_since(EPOCH).as_hours() / 24;
        let ones = match self.unit {
            Unit::Week => (days + DAYS_INTO_WEEK).div_euclid(7),
            Unit::Month => year * 12 + month - 1,
            Unit::Year => year,
            _ => days,
        };
        ones.div_euclid(self.number)
    }

    fn first_date(&self, index: i64) -> Option<Date> {
        let ones = index.checked_mul(self.number)?;
        let (year, month) = match self.unit {
            Unit::Week => return day(ones.checked_mul(7)? - DAYS_INTO_WEEK),
            Unit::Month => (ones.div_euclid(12), ones.rem_euclid(12) + 1),
            Unit::Year => (ones, 1),
            _ => return day(ones),
        };
        Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, 1).ok()
    }
}

fn day(days: i64) -> Option<Date> {
    EPOCH.checked_add(i32::try_from(days).ok().filter(|days| days.abs() < 5_000_000)?.days()).ok()
}

/// The first instant at which a clock in the zone shows this date, or a later one where it is skipped.
fn first_instant(date: Date, zone: &TimeZone) -> Timestamp {
    let midnight = zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0));
    let is_skipped = matches!(midnight.offset(), AmbiguousOffset::Gap { .. });
    let Ok(compatible) = midnight.compatible() else {
        return if date.year() < 0 { Timestamp::MIN } else { Timestamp::MAX };
    };
    let instant = if is_skipped { gap_end(compatible, zone) } else { compatible };
    Timestamp::from_micros(instant.as_microsecond())
}

/// The instant of the jump that skips a local time, which need not be at midnight (Toronto, 1919-03-30 at 23:30).
fn gap_end(compatible: jiff::Timestamp, zone: &TimeZone) -> jiff::Timestamp {
    let just_after = compatible.saturating_add(1.nanosecond()).unwrap_or(compatible);
    zone.preceding(just_after).next().map_or(compatible, |jump| jump.timestamp())
}

/// The same moment for jiff, whose last one lies a day before ours.
fn to_jiff(time: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(time.as_micros()).unwrap_or(jiff::Timestamp::MAX)
}
