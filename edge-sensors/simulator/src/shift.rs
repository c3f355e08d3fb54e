//! The plan of the day: when the plant heats up, produces, is cleaned and rests; and the hall's temperature.
//!
//! Times of day are seconds since midnight of the simulated plant, which knows no date and no time zone.

/// Seconds of a day.
pub(crate) const DAY_S: f64 = 86_400.0;
/// The ovens are switched on this long before production.
const PREHEAT_S: f64 = 3600.0;
/// Cleaning takes this long.
const CLEANING_S: f64 = 5400.0;
/// The last batch is started this long before the end, so that it is packed in time.
const LAST_BATCH_S: f64 = 7200.0;

/// What the plan asks of a line at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything is off.
    Idle,
    /// Ovens, proofers and boiler warm up.
    Preheat,
    /// New batches are started.
    Production,
    /// No new batch; what is in the line is finished.
    RunOut,
    /// Bowls and belts are washed.
    Cleaning,
}

/// The daily plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ShiftPlan {
    pub(crate) from_s: f64,
    pub(crate) to_s: f64,
}

impl ShiftPlan {
    /// Returns the mode at a time of day. Equal ends mean production around the clock.
    pub(crate) fn mode(self, time_of_day_s: f64) -> Mode {
        let length = (self.to_s - self.from_s).rem_euclid(DAY_S);
        if length == 0.0 {
            return Mode::Production;
        }
        let since_start = (time_of_day_s - self.from_s).rem_euclid(DAY_S);
        if since_start < length {
            let run_out = LAST_BATCH_S.min(length / 4.0);
            return if since_start < length - run_out { Mode::Production } else { Mode::RunOut };
        }
        let since_end = since_start - length;
        if DAY_S - since_start <= PREHEAT_S {
            Mode::Preheat
        } else if since_end < CLEANING_S {
            Mode::Cleaning
        } else {
            Mode::Idle
        }
    }
}

/// Returns the temperature of the hall without the machines' own heat: warmest at three in the afternoon.
pub(crate) fn ambient_celsius(time_of_day_s: f64) -> f64 {
    21.0 + 4.0 * (std::f64::consts::TAU * (time_of_day_s - 15.0 * 3600.0) / DAY_S).cos()
}

#[cfg(test)]
mod tests {
    use super::{Mode, ShiftPlan};

    #[test]
    fn a_day_has_preheat_production_run_out_cleaning_and_rest() {
        let plan = ShiftPlan { from_s: 6.0 * 3600.0, to_s: 22.0 * 3600.0 };
        for (hour, expected) in [
            (3.0, Mode::Idle),
            (5.5, Mode::Preheat),
            (6.0, Mode::Production),
            (19.9, Mode::Production),
            (21.0, Mode::RunOut),
            (22.5, Mode::Cleaning),
            (23.9, Mode::Idle),
        ] {
            assert_eq!(plan.mode(hour * 3600.0), expected, "at {hour}");
        }
    }

    #[test]
    fn a_night_shift_crosses_midnight() {
        let plan = ShiftPlan { from_s: 20.0 * 3600.0, to_s: 4.0 * 3600.0 };
        assert_eq!(plan.mode(23.0 * 3600.0), Mode::Production);
        assert_eq!(plan.mode(1.0 * 3600.0), Mode::Production);
        assert_eq!(plan.mode(5.0 * 3600.0), Mode::Cleaning);
        assert_eq!(plan.mode(19.5 * 3600.0), Mode::Preheat);
    }

    #[test]
    fn equal_ends_mean_around_the_clock() {
        let plan = ShiftPlan { from_s: 0.0, to_s: 0.0 };
        assert!((0..24).all(|hour| plan.mode(f64::from(hour) * 3600.0) == Mode::Production));
    }
}
