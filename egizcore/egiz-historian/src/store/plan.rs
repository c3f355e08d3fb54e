//! What to do next with the parts there are: a list in, a decision out.

use super::{DAY_MICROS, Settings, day_of};
use crate::manifest::{Entry, Level};

/// Something worth doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    /// Put these parts, by their numbers in the list, together into one.
    Merge { parts: Vec<usize>, level: Level },
    /// Drop these parts.
    Drop { parts: Vec<usize>, cause: Cause },
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

/// What to do next; nothing where all is well. Dropping comes first, since it makes room.
pub(super) fn next_task(parts: &[Entry], settings: &Settings, now: i64) -> Option<Task> {
    let plan = Plan { parts, settings, now };
    plan.drop_old().or_else(|| plan.drop_for_space()).or_else(|| plan.merge()).or_else(|| plan.keyframe())
}

struct Plan<'a> {
    parts: &'a [Entry],
    settings: &'a Settings,
    now: i64,
}

impl Plan<'_> {
    fn drop_old(&self) -> Option<Task> {
        let old = self.numbers(|entry| self.is_expired(entry) && self.is_summed_up(entry));
        (!old.is_empty()).then_some(Task::Drop { parts: old, cause: Cause::Age })
    }

    /// The oldest day, where all of them take more than they may. A day that is not over is kept whatever it takes.
    fn drop_for_space(&self) -> Option<Task> {
        let taken: u64 = self.parts.iter().map(|entry| entry.bytes).sum();
        if self.settings.disk_budget.is_none_or(|budget| taken <= budget) {
            return None;
        }
        let can_go = |entry: &&Entry| entry.day < day_of(self.now) && self.is_summed_up(entry);
        let samples = self.parts.iter().filter(|entry| entry.level != Level::Keyframe);
        let oldest = samples.filter(can_go).map(|entry| entry.day).min()?;
        let parts = self.numbers(|entry| entry.day <= oldest && self.is_summed_up(entry));
        Some(Task::Drop { parts, cause: Cause::Space })
    }

    fn is_expired(&self, entry: &Entry) -> bool {
        entry.day < self.settings.oldest_day(&entry.family, self.now)
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
            .filter(|entry| !self.is_expired(entry))
            .map(|entry| (entry.day, entry.family.as_str()))
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups.into_iter().find_map(|(day, family)| {
            let of_group = |level: Option<Level>| {
                self.numbers(|entry| {
                    entry.day == day
                        && entry.family == family
                        && level.map_or(entry.level != Level::Keyframe, |level| entry.level == level)
                })
            };
            let is_over = self.now
                >= (day + 1).saturating_mul(DAY_MICROS).saturating_add(self.settings.day_grace_micros);
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

    /// Keyframes of days whose day before is over and put together, from the first such day on.
    fn keyframe(&self) -> Option<Task> {
        let samples = self.parts.iter().filter(|entry| entry.level != Level::Keyframe);
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
            name: String::new(),
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
        }
    }

    fn check(parts: &[(i64, Level)], now_days: f64, expected: Option<Task>) {
        let settings = Settings { retention_days: 30, parts_to_merge: 3, ..Settings::default() };
        check_with(&settings, parts, now_days, expected);
    }

    fn check_with(settings: &Settings, parts: &[(i64, Level)], now_days: f64, expected: Option<Task>) {
        let parts: Vec<Entry> = parts.iter().map(|(day, level)| entry(*day, *level)).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small")]
        let now = (now_days * DAY_MICROS as f64) as i64;
        assert_eq!(next_task(&parts, settings, now), expected);
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
    }

    /// After a long standstill, what machines said last is written down before the days on which they said it go.
    #[test]
    fn nothing_is_dropped_that_no_keyframe_has() {
        use Level::{Day, Keyframe, Sealed};
        check(&[(100, Sealed)], 200.5, Some(Task::Keyframe { day: 171 }));
        check(
            &[(100, Sealed), (170, Keyframe)],
            200.5,
            Some(Task::Drop { parts: vec![0], cause: Cause::Age }),
        );
        check(&[(100, Day), (170, Keyframe)], 160.5, Some(Task::Drop { parts: vec![0], cause: Cause::Age }));
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
