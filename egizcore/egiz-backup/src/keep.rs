//! Which backups are kept. Pure.
//!
//! All backups of the last days are kept: between them the journal brings back every moment. Of the newest days that have a backup, and of the newest weeks, the newest backup is kept; the newest of all is kept always.
//! Days without a backup do not count, so that a plant that stood still for a month does not lose what it has.

use std::collections::BTreeSet;

/// How many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Of so many days, up to that of the newest backup, every backup.
    pub recent_days: i64,
    /// Days.
    pub daily: usize,
    /// Weeks, from Monday on.
    pub weekly: usize,
}

/// Which of these backups go, by their place in `days`: the day of each, counted since 1970 in the plant's time zone, the oldest
/// backup first.
#[must_use]
pub fn to_remove(days: &[i64], keep: Keep) -> Vec<usize> {
    let mut kept = BTreeSet::new();
    kept.extend(days.len().checked_sub(1));
    if let Some(newest) = days.last() {
        kept.extend((0..days.len()).filter(|at| days[*at] > newest - keep.recent_days));
    }
    // 1970 began on a Thursday.
    let week = |day: i64| (day + 3).div_euclid(7);
    for (count, period) in [(keep.daily, &(|day| day) as &dyn Fn(i64) -> i64), (keep.weekly, &week)] {
        let mut seen = BTreeSet::new();
        for (at, day) in days.iter().enumerate().rev() {
            if seen.len() < count && seen.insert(period(*day)) {
                kept.insert(at);
            }
        }
    }
    (0..days.len()).filter(|at| !kept.contains(at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(days: &[i64], daily: usize, weekly: usize, expected: &[i64]) {
        let gone = to_remove(days, Keep { recent_days: 0, daily, weekly });
        let kept: Vec<i64> =
            days.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, day)| *day).collect();
        assert_eq!(kept, expected, "{days:?}, {daily} daily, {weekly} weekly");
    }

    #[test]
    fn the_newest_of_days_and_weeks_stay() {
        check(&[], 7, 4, &[]);
        check(&[1], 0, 0, &[1]);
        check(&[1, 2, 3], 2, 0, &[2, 3]);
        check(&[1, 1, 3, 3], 2, 0, &[1, 3]);
        // A month in between without backups takes nothing away.
        check(&[1, 2, 40], 2, 0, &[2, 40]);
        // Monday the 5th of January 1970 was day 4; the newest of each week is that of its last day.
        check(&(4..25).collect::<Vec<_>>(), 3, 2, &[17, 22, 23, 24]);
        check(&(4..25).collect::<Vec<_>>(), 1, 10, &[10, 17, 24]);
    }

    #[test]
    fn every_backup_of_the_last_days_stays() {
        let days = [1, 1, 2, 2, 3, 3];
        let gone = |recent_days| to_remove(&days, Keep { recent_days, daily: 3, weekly: 0 });
        assert_eq!(gone(0), [0, 2, 4]);
        assert_eq!(gone(1), [0, 2]);
        assert_eq!(gone(2), [0]);
        assert_eq!(gone(9), [0; 0]);
    }

    proptest! {
        #[test]
        fn never_more_than_asked_and_never_the_newest(
            mut days in proptest::collection::vec(0_i64..200, 1..60),
            daily in 0_usize..10,
            weekly in 0_usize..10,
        ) {
            days.sort_unstable();
            let gone = to_remove(&days, Keep { recent_days: 0, daily, weekly });
            prop_assert!(!gone.contains(&(days.len() - 1)));
            prop_assert!(days.len() - gone.len() <= (daily + weekly).max(1));
            // The newest `daily` days with a backup are all still there.
            let distinct: BTreeSet<i64> = days.iter().copied().collect();
            let left: BTreeSet<i64> =
                days.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, day)| *day).collect();
            for day in distinct.iter().rev().take(daily) {
                prop_assert!(left.contains(day));
            }
        }
    }
}
