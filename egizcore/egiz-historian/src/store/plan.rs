//! What to do next with the parts there are: a list in, a decision out.

use std::collections::BTreeSet;

use super::{DAY_MICROS, Settings, day_of};
use crate::manifest::{Entry, Level};

/// Something worth doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    /// Put these parts, by their numbers in the list, together into one.
    Merge { parts: Vec<usize>, level: Level },
    /// Drop these parts.
    Drop { parts: Vec<usize>, cause: Cause },
    /// Roll this part of a day.
    Roll { part: usize },
    /// Put these parts of a month's rollups together.
    RollMonth { month: i64, parts: Vec<usize> },
    /// Write down how everything stood when this day began.
    Keyframe { day: i64 },
}

/// Why parts are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// They are older than is kept.
    Age,
    /// History takes more of the disk than it may.
    Space,
}

/// What the parts are like, beside what the manifest says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known<'a> {
    /// Parts that turned out to be damaged: nothing is made of them any more.
    pub(super) damaged: Option<&'a BTreeSet<String>>,
    /// The disk took nothing the last time: room is worth more than rollups.
    pub(super) is_pressed: bool,
}

/// What to do next; nothing where all is well. Dropping comes first, since it makes room.
pub(super) fn next_task(parts: &[Entry], known: Known<'_>, settings: &Settings, now: i64) -> Option<Task> {
    let plan = Plan { parts, known, settings, now };
    plan.drop_old()
        .or_else(|| plan.drop_for_space())
        .or_else(|| plan.merge())
        .or_else(|| plan.roll())
        .or_else(|| plan.keyframe())
        .or_else(|| plan.roll_month())
}

/// The day on which the month of a day begins, and the one on which the next does.
pub(super) fn month_of(day: i64) -> (i64, i64) {
    let days = jiff::Span::new().try_days(day);
    let date = days.and_then(|days| jiff::civil::Date::constant(1970, 1, 1).checked_add(days));
    // Of a clock that ran wild, a day outside the calendar is a month of its own.
    let Ok(date) = date else { return (day, day.saturating_add(1)) };
    let first = day - i64::from(date.day()) + 1;
    (first, first + i64::from(date.days_in_month()))
}

struct Plan<'a> {
    parts: &'a [Entry],
    known: Known<'a>,
    settings: &'a Settings,
    now: i64,
}

impl Plan<'_> {
    fn drop_old(&self) -> Option<Task> {
        let old = self.numbers(|entry| {
            self.is_expired(entry)
                && (entry.level.is_rolled() || (self.is_summed_up(entry) && !self.has_to_stay(entry)))
        });
        (!old.is_empty()).then_some(Task::Drop { parts: old, cause: Cause::Age })
    }

    /// The oldest day, where all of them take more than they may: first of what machines said, then of rollups. A day that
    /// is not over is kept whatever it takes.
    fn drop_for_space(&self) -> Option<Task> {
        let taken: u64 = self.parts.iter().map(|entry| entry.bytes).sum();
        if self.settings.disk_budget.is_none_or(|budget| taken <= budget) {
            return None;
        }
        let can_go = |entry: &Entry| {
            entry.day < day_of(self.now)
                && self.is_summed_up(entry)
                && (self.known.is_pressed || !self.has_to_stay(entry))
        };
        let of_samples = |entry: &Entry| entry.level.has_samples();
        let oldest = |is_kind: &dyn Fn(&Entry) -> bool| {
            self.parts.iter().filter(|entry| is_kind(entry)).map(|entry| entry.day).min()
        };
        let parts = if let Some(oldest) = oldest(&|entry| of_samples(entry) && can_go(entry)) {
            self.numbers(|entry| !entry.level.is_rolled() && entry.day <= oldest && can_go(entry))
        } else if self.parts.iter().any(|entry| of_samples(entry) && entry.day < day_of(self.now)) {
            // It goes when it is rolled.
            return None;
        } else {
            let oldest = oldest(&|entry| entry.level.is_rolled())?;
            self.numbers(|entry| entry.level.is_rolled() && entry.day == oldest)
        };
        Some(Task::Drop { parts, cause: Cause::Space })
    }

    fn is_expired(&self, entry: &Entry) -> bool {
        let last_day = match entry.level {
            Level::QuartersOfMonth | Level::HoursOfMonth => month_of(entry.day).1 - 1,
            _ => entry.day,
        };
        last_day < self.settings.oldest_day(entry.level, &entry.family, self.now)
    }

    /// Whether its samples are not in rollups yet and can be.
    fn is_to_be_rolled(&self, entry: &Entry) -> bool {
        entry.level.has_samples() && !entry.is_rolled && !self.is_damaged(entry)
    }

    /// Whether its day is yet to be rolled, for which all of the day's parts are needed.
    fn has_to_stay(&self, entry: &Entry) -> bool {
        entry.level.has_samples()
            && self.parts.iter().any(|other| {
                other.day == entry.day && other.family == entry.family && self.is_to_be_rolled(other)
            })
    }

    fn is_damaged(&self, entry: &Entry) -> bool {
        self.known.damaged.is_some_and(|damaged| damaged.contains(&entry.name))
    }

    /// Whether a later keyframe has the last value of everything in it, so that machines that fell silent are not forgotten
    /// with it.
    fn is_summed_up(&self, entry: &Entry) -> bool {
        self.parts.iter().any(|other| {
            other.level == Level::Keyframe && other.family == entry.family && other.day > entry.day
        })
    }

    fn numbers(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<usize> {
        (0..self.parts.len()).filter(|index| wanted(&self.parts[*index])).collect()
    }

    fn merge(&self) -> Option<Task> {
        let mut groups: Vec<(i64, &str)> = self
            .parts
            .iter()
            .filter(|entry| entry.level.has_samples() && (!self.is_expired(entry) || self.has_to_stay(entry)))
            .map(|entry| (entry.day, entry.family.as_str()))
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups.into_iter().find_map(|(day, family)| {
            let of_group = |level: Option<Level>| {
                self.numbers(|entry| {
                    entry.day == day
                        && entry.family == family
                        && level.map_or(entry.level.has_samples(), |level| entry.level == level)
                        && !self.is_damaged(entry)
                })
            };
            let is_over = self.is_over(day);
            let all = of_group(None);
            let is_done =
                matches!(all[..], []) || matches!(all[..], [one] if self.parts[one].level == Level::Day);
            if is_over && !is_done {
                return Some(Task::Merge { parts: all, level: Level::Day });
            }
            let sealed = of_group(Some(Level::Sealed));
            (!is_over && sealed.len() >= self.settings.parts_to_merge.max(2))
                .then_some(Task::Merge { parts: sealed, level: Level::Merged })
        })
    }

    fn is_over(&self, day: i64) -> bool {
        self.now >= (day + 1).saturating_mul(DAY_MICROS).saturating_add(self.settings.day_grace_micros)
    }

    /// Days that were put together for good, the oldest first.
    fn roll(&self) -> Option<Task> {
        let days = self.numbers(|entry| entry.level == Level::Day && self.is_to_be_rolled(entry));
        days.into_iter().min_by_key(|part| self.parts[*part].day).map(|part| Task::Roll { part })
    }

    /// A month that is over, all days of which are rolled.
    fn roll_month(&self) -> Option<Task> {
        let of_days = self.parts.iter().filter(|entry| entry.level == Level::Quarters);
        let mut groups: Vec<(i64, &str)> = of_days
            .map(|entry| (month_of(entry.day).0, entry.family.as_str()))
            .filter(|(month, _)| self.is_over(month_of(*month).1 - 1))
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups.into_iter().find_map(|(month, family)| {
            let of_month = self.numbers(|entry| month_of(entry.day).0 == month && entry.family == *family);
            let is_ready = !of_month.iter().any(|part| self.is_to_be_rolled(&self.parts[*part]));
            let is_usable = |part: &usize| {
                let entry = &self.parts[*part];
                entry.level.is_rolled() && !self.is_damaged(entry)
            };
            let parts: Vec<usize> = of_month.into_iter().filter(is_usable).collect();
            let has_days = parts.iter().any(|part| self.parts[*part].level == Level::Quarters);
            (is_ready && has_days).then_some(Task::RollMonth { month, parts })
        })
    }

    /// Keyframes of days whose day before is over and put together, from the first such day on.
    fn keyframe(&self) -> Option<Task> {
        let samples = self.parts.iter().filter(|entry| entry.level.has_samples());
        let first = samples.map(|entry| entry.day).min()?;
        let last = day_of(self.now.saturating_sub(self.settings.day_grace_micros));
        // Of a clock that ran wild, days in the far past or future have no keyframes.
        let first = first.max(last - i64::from(self.settings.longest_retention_days()));
        (first + 1..=last)
            .find(|day| !self.parts.iter().any(|entry| entry.level == Level::Keyframe && entry.day == *day))
            .map(|day| Task::Keyframe { day })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(day: i64, level: Level) -> Entry {
        Entry {
            name: format!("{day} {level:?}"),
            level,
            day,
            family: "oven".into(),
            rank: 0,
            rows: 1,
            samples: 1,
            things: 1,
            first: 0,
            last: 0,
            bytes: 1,
            footer_crc32c: 0,
            is_rolled: false,
            days: Vec::new(),
        }
    }

    /// Parts of which the samples of days are rolled.
    fn check(parts: &[(i64, Level)], now_days: f64, expected: Option<Task>) {
        let settings = Settings { retention_days: 30, parts_to_merge: 3, ..Settings::default() };
        check_with(&settings, parts, now_days, expected);
    }

    fn check_with(settings: &Settings, parts: &[(i64, Level)], now_days: f64, expected: Option<Task>) {
        let rolled =
            |(day, level): &(i64, Level)| Entry { is_rolled: *level == Level::Day, ..entry(*day, *level) };
        let parts: Vec<Entry> = parts.iter().map(rolled).collect();
        assert_eq!(next(&parts, Known::default(), settings, now_days), expected);
    }

    fn next(parts: &[Entry], known: Known<'_>, settings: &Settings, now_days: f64) -> Option<Task> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small")]
        let now = (now_days * DAY_MICROS as f64) as i64;
        next_task(parts, known, settings, now)
    }

    #[test]
    fn parts_are_put_together_dropped_and_summed_up_when_their_time_comes() {
        use Level::{Day, Keyframe, Merged, Sealed};
        check(&[], 100.5, None);
        check(&[(100, Sealed), (100, Sealed)], 100.5, None);
        check(
            &[(100, Merged), (100, Sealed), (100, Sealed), (100, Sealed)],
            100.5,
            Some(Task::Merge { parts: vec![1, 2, 3], level: Merged }),
        );
        check(&[(100, Merged), (100, Sealed)], 101.01, None);
        check(&[(100, Merged), (100, Sealed)], 101.1, Some(Task::Merge { parts: vec![0, 1], level: Day }));
        check(&[(100, Sealed)], 101.1, Some(Task::Merge { parts: vec![0], level: Day }));
        check(&[(100, Day)], 101.1, Some(Task::Keyframe { day: 101 }));
        check(&[(100, Day), (101, Keyframe)], 101.1, None);
        check(&[(100, Day), (101, Keyframe)], 103.1, Some(Task::Keyframe { day: 102 }));
        let aged = |parts: &[usize]| Some(Task::Drop { parts: parts.to_vec(), cause: Cause::Age });
        check(&[(100, Day), (100, Keyframe), (101, Keyframe)], 131.1, aged(&[0, 1]));
        let unrolled = [entry(100, Day)];
        assert_eq!(
            next(&unrolled, Known::default(), &Settings::default(), 101.1),
            Some(Task::Roll { part: 0 })
        );
    }

    /// After a long standstill, what machines said last is written down before the days on which they said it go.
    #[test]
    fn nothing_is_dropped_that_no_keyframe_has() {
        use Level::{Day, Keyframe, Sealed};
        check(&[(100, Sealed)], 200.5, Some(Task::Merge { parts: vec![0], level: Day }));
        check(&[(100, Day)], 200.5, Some(Task::Keyframe { day: 171 }));
        check(&[(100, Day), (170, Keyframe)], 200.5, Some(Task::Drop { parts: vec![0], cause: Cause::Age }));
        check(&[(100, Day), (170, Keyframe)], 160.5, Some(Task::Drop { parts: vec![0], cause: Cause::Age }));
    }

    #[test]
    fn nothing_is_dropped_that_is_not_rolled_unless_it_cannot_be() {
        use Level::{Day, Keyframe};
        let settings = Settings { retention_days: 30, disk_budget: Some(1), ..Settings::default() };
        let parts = [entry(100, Day), entry(170, Keyframe)];
        let roll = Some(Task::Roll { part: 0 });
        let drop = |cause| Some(Task::Drop { parts: vec![0], cause });
        assert_eq!(next(&parts, Known::default(), &settings, 200.5), roll);
        assert_eq!(next(&parts, Known::default(), &settings, 120.5), roll);
        let pressed = Known { is_pressed: true, ..Known::default() };
        assert_eq!(next(&parts, pressed, &settings, 120.5), drop(Cause::Space));
        let damaged = BTreeSet::from([parts[0].name.clone()]);
        let known = Known { damaged: Some(&damaged), ..Known::default() };
        assert_eq!(next(&parts, known, &settings, 200.5), drop(Cause::Age));
    }

    /// 59 is the first of March 1970, 90 the first of April.
    #[test]
    fn a_month_is_rolled_when_it_is_over_and_all_of_its_days_are() {
        use Level::{Day, HoursOfMonth, Keyframe, Quarters, QuartersOfMonth};
        let all = [(59, Day), (59, Quarters), (60, Keyframe), (89, Day), (89, Quarters), (90, Keyframe)];
        let settings = Settings { retention_days: 1000, ..Settings::default() };
        let next = |parts: &[Entry], now| {
            let task = next(parts, Known::default(), &settings, now);
            task.filter(|task| !matches!(task, Task::Keyframe { .. }))
        };
        let mut parts: Vec<Entry> =
            all.iter().map(|(day, level)| Entry { is_rolled: true, ..entry(*day, *level) }).collect();
        parts.extend((61..90).map(|day| entry(day, Keyframe)));
        assert_eq!(next(&parts, 89.9), None);
        assert_eq!(next(&parts, 90.1), Some(Task::RollMonth { month: 59, parts: vec![1, 4] }));
        parts[3].is_rolled = false;
        assert_eq!(next(&parts, 90.1), Some(Task::Roll { part: 3 }));
        parts[3].is_rolled = true;
        parts.retain(|entry| entry.level != Quarters);
        parts.extend([entry(59, QuartersOfMonth), entry(59, HoursOfMonth)]);
        assert_eq!(next(&parts, 90.1), None);
        let at = parts.len();
        parts.push(entry(70, Quarters));
        let together = vec![at - 2, at - 1, at];
        assert_eq!(next(&parts, 90.1), Some(Task::RollMonth { month: 59, parts: together }));
    }

    #[test]
    fn rollups_are_kept_for_their_own_time() {
        use Level::{HoursOfMonth, Quarters, QuartersOfMonth};
        let settings = Settings { quarters_days: 100, hours_days: 1000, ..Settings::default() };
        let parts = [entry(59, QuartersOfMonth), entry(59, HoursOfMonth), entry(95, Quarters)];
        let drop = |parts: &[usize]| Some(Task::Drop { parts: parts.to_vec(), cause: Cause::Age });
        let next = |now| next(&parts, Known::default(), &settings, now);
        assert_eq!(next(189.5), Some(Task::RollMonth { month: 90, parts: vec![2] }));
        assert_eq!(next(190.5), drop(&[0]));
        assert_eq!(next(196.5), drop(&[0, 2]));
        assert_eq!(next(1090.5), drop(&[0, 1, 2]));
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        assert_eq!(month_of(0), (0, 31));
        assert_eq!(month_of(-1), (-31, 0));
        assert_eq!(month_of(89), (59, 90));
        assert_eq!(month_of(789), (761, 790), "the last of February of the leap year 1972");
        assert_eq!(month_of(i64::MAX / 2), (i64::MAX / 2, i64::MAX / 2 + 1));
    }

    #[test]
    fn each_definition_is_kept_as_long_as_it_is_said_to_be() {
        use Level::{Day, Keyframe};
        let days = [("oven".to_owned(), 90)].into();
        let settings = Settings { retention_days: 30, retention_of: days, ..Settings::default() };
        let parts = [(100, Day), (101, Keyframe)];
        check_with(&settings, &parts, 131.5, Some(Task::Keyframe { day: 102 }));
        let all: Vec<_> = std::iter::once((100, Day)).chain((101..=191).map(|day| (day, Keyframe))).collect();
        check_with(&settings, &all, 190.9, None);
        check_with(&settings, &all, 191.5, Some(Task::Drop { parts: vec![0], cause: Cause::Age }));
    }

    #[test]
    fn the_oldest_day_goes_where_all_take_too_much() {
        use Level::{Day, Keyframe, Sealed};
        let with = |budget| Settings { disk_budget: Some(budget), ..Settings::default() };
        let parts =
            [(100, Keyframe), (100, Day), (101, Keyframe), (101, Day), (102, Keyframe), (102, Sealed)];
        check_with(&with(6), &parts, 102.5, None);
        check_with(&with(5), &parts, 102.5, Some(Task::Drop { parts: vec![0, 1], cause: Cause::Space }));
        // Today is kept, and so is the keyframe without which those before would be forgotten.
        check_with(&with(1), &parts[4..], 102.5, None);
    }
}
