//! When the next backup is due. Pure.
//!
//! A time of day is that of the plant's clocks. On the day when they are put forward over it, it is the first moment after the
//! gap; on the day when it comes twice, it is the first one. A time that passed while the program was away is due at once.

use anyhow::Context as _;
use egiz_model::Timestamp;
use egiz_service::config::Config;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp as Moment};

/// When backups are made.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    every: Every,
    zone: TimeZone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Every {
    /// Only when asked.
    Never,
    Day(Time),
    Hours(i64),
}

impl Schedule {
    /// The schedule of the configuration.
    ///
    /// # Errors
    /// Where the time zone or the time of day is none.
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        let (site, backup) = (&config.site, &config.backup);
        let zone = TimeZone::get(&site.time_zone)
            .with_context(|| format!("site.time_zone = {:?} is no time zone", site.time_zone))?;
        let every = match (&backup.daily_at, backup.every_hours) {
            (Some(text), _) => Every::Day(
                Time::strptime("%H:%M", text)
                    .with_context(|| format!("backup.daily_at = {text:?} is no time of day"))?,
            ),
            (None, 0) => Every::Never,
            (None, hours) => Every::Hours(i64::from(hours)),
        };
        Ok(Self { every, zone })
    }

    /// When the next is due after one that was begun at `last`; nothing where there is no schedule.
    pub(super) fn due(&self, last: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let Some(last) = last else { return (self.every != Every::Never).then_some(now) };
        match self.every {
            Every::Never => None,
            Every::Hours(hours) => Some(last.plus_micros(hours * 3_600_000_000)),
            Every::Day(time) => {
                let local = Moment::from_microsecond(last.as_micros()).ok()?.to_zoned(self.zone.clone());
                let on = |days: i64| {
                    let day = local.date().checked_add(Span::new().days(days)).ok()?;
                    day.to_datetime(time).to_zoned(self.zone.clone()).ok()
                };
                let next = on(0).filter(|next| *next > local).or_else(|| on(1))?;
                Some(Timestamp::from_micros(next.timestamp().as_microsecond()))
            }
        }
    }

    /// From which age on the last success is too old; nothing where there is no schedule.
    pub(super) fn too_old_after_s(&self) -> Option<i64> {
        match self.every {
            Every::Never => None,
            // A day has up to 25 hours, and a backup may take long.
            Every::Day(_) => Some(36 * 3_600),
            Every::Hours(hours) => Some(hours * 5_400 + 3_600),
        }
    }

    /// The day of a moment by the plant's clocks, since 1970.
    pub(super) fn day(&self, moment: Timestamp) -> i64 {
        let moment = Moment::from_microsecond(moment.as_micros()).unwrap_or(Moment::UNIX_EPOCH);
        let date = moment.to_zoned(self.zone.clone()).date();
        date.since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1)))
            .map_or(0, |span| i64::from(span.get_days()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(daily_at: Option<&str>, every_hours: u32, zone: &str) -> Schedule {
        let mut config = Config::default();
        config.backup.daily_at = daily_at.map(str::to_owned);
        config.backup.every_hours = every_hours;
        config.site.time_zone = zone.to_owned();
        Schedule::of(&config).expect("it is right")
    }

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    fn check(schedule: &Schedule, last: &str, expected: &str) {
        let now = time("2026-01-01T00:00:00Z");
        assert_eq!(schedule.due(Some(time(last)), now), Some(time(expected)), "after {last}");
    }

    #[test]
    fn a_time_of_day_is_that_of_the_plants_clocks() {
        let schedule = schedule(Some("02:30"), 0, "Europe/Berlin");
        check(&schedule, "2026-02-10T01:29:00Z", "2026-02-10T01:30:00Z");
        check(&schedule, "2026-02-10T01:30:00Z", "2026-02-11T01:30:00Z");
        check(&schedule, "2026-07-10T12:00:00Z", "2026-07-11T00:30:00Z");
        // 02:30 does not exist on that day, and comes twice on the other.
        check(&schedule, "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z");
        check(&schedule, "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z");
        check(&schedule, "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z");
    }

    #[test]
    fn hours_count_from_the_last_and_nothing_is_due_without_a_schedule() {
        let now = time("2026-01-01T00:00:00Z");
        check(&schedule(None, 6, "UTC"), "2026-02-10T01:29:00Z", "2026-02-10T07:29:00Z");
        assert_eq!(schedule(None, 0, "UTC").due(Some(now), now), None);
        assert_eq!(schedule(None, 0, "UTC").due(None, now), None);
        assert_eq!(schedule(None, 6, "UTC").due(None, now), Some(now), "the first is due at once");
    }

    #[test]
    fn days_are_those_of_the_plants_clocks() {
        let schedule = schedule(None, 0, "Europe/Berlin");
        assert_eq!(schedule.day(time("1970-01-01T22:59:00Z")), 0);
        assert_eq!(schedule.day(time("1970-01-01T23:00:00Z")), 1);
        assert_eq!(schedule.day(time("2026-03-01T12:00:00Z")), 20_513);
    }
}
