//! What to do next with the parts there are: a list in, a decision out.

use super::{DAY_MICROS, Settings, day_of};
use crate::manifest::{Entry, Level};

/// Something worth doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    /// Put these parts, by their numbers in the list, together into one.
    Merge { parts: Vec<usize>, level: Level },
    /// Drop these parts: their time has come.
    Drop { parts: Vec<usize> },
    /// Write down how everything stood when this day began.
    Keyframe { day: i64 },
}

/// What to do next; nothing where all is well. Dropping comes first, since it makes room.
pub(super) fn next_task(parts: &[Entry], settings: &Settings, now: i64) -> Option<Task> {
    drop_old(parts, settings, now)
        .or_else(|| merge(parts, settings, now))
        .or_else(|| keyframe(parts, now, settings))
}

fn drop_old(parts: &[Entry], settings: &Settings, now: i64) -> Option<Task> {
    let oldest = day_of(now) - i64::from(settings.retention_days);
    // The keyframe of the oldest day that is kept is needed; those before are not.
    let old: Vec<usize> = (0..parts.len()).filter(|index| parts[*index].day < oldest).collect();
    (!old.is_empty()).then_some(Task::Drop { parts: old })
}

fn merge(parts: &[Entry], settings: &Settings, now: i64) -> Option<Task> {
    let mut groups: Vec<(i64, &str)> = parts.iter().map(|entry| (entry.day, entry.family.as_str())).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.into_iter().find_map(|(day, family)| {
        let of_group = |level: Option<Level>| -> Vec<usize> {
            let matches = |entry: &Entry| {
                entry.day == day
                    && entry.family == family
                    && level.map_or(entry.level != Level::Keyframe, |level| entry.level == level)
            };
            (0..parts.len()).filter(|index| matches(&parts[*index])).collect()
        };
        let is_over = now >= (day + 1).saturating_mul(DAY_MICROS).saturating_add(settings.day_grace_micros);
        let all = of_group(None);
        let is_done = matches!(all[..], []) || matches!(all[..], [one] if parts[one].level == Level::Day);
        if is_over && !is_done {
            return Some(Task::Merge { parts: all, level: Level::Day });
        }
        let sealed = of_group(Some(Level::Sealed));
        (!is_over && sealed.len() >= settings.parts_to_merge.max(2))
            .then_some(Task::Merge { parts: sealed, level: Level::Merged })
    })
}

/// Keyframes of days whose day before is over and put together, from the first such day on.
fn keyframe(parts: &[Entry], now: i64, settings: &Settings) -> Option<Task> {
    let first = parts.iter().filter(|entry| entry.level != Level::Keyframe).map(|entry| entry.day).min()?;
    let last = day_of(now.saturating_sub(settings.day_grace_micros));
    // Of a clock that ran wild, days in the far past or future have no keyframes.
    let first = first.max(last - i64::from(settings.retention_days));
    (first + 1..=last)
        .find(|day| !parts.iter().any(|entry| entry.level == Level::Keyframe && entry.day == *day))
        .map(|day| Task::Keyframe { day })
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
        let parts: Vec<Entry> = parts.iter().map(|(day, level)| entry(*day, *level)).collect();
        let settings = Settings { retention_days: 30, parts_to_merge: 3, ..Settings::default() };
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small")]
        let now = (now_days * DAY_MICROS as f64) as i64;
        assert_eq!(next_task(&parts, &settings, now), expected);
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
        check(&[(100, Day), (100, Keyframe), (101, Keyframe)], 131.1, Some(Task::Drop { parts: vec![0, 1] }));
    }
}
