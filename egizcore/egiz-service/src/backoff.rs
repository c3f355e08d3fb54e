//! How long to wait before the next attempt: doubling from a first delay to a cap, half of it random, so that many
//! that failed together do not come back together.

use std::time::Duration;

use crate::RandomSource;

/// The shape of the delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest delay after the first failure.
    pub first: Duration,
    /// The longest delay at all.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The delay after the `failures`th failure in a row, counted from 1: between half of and the whole of
    /// `first × 2^(failures − 1)`, at most `cap`. `random` lies in 0.0..=1.0.
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.cap);
        whole / 2 + (whole / 2).mul_f64(random.clamp(0.0, 1.0))
    }

    /// [`Backoff::delay`] with chance from the program's source.
    pub fn random_delay(&self, failures: u32, random: &RandomSource) -> Duration {
        let mut bytes = [0_u8; 4];
        random(&mut bytes);
        self.delay(failures, f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_half_of_each_is_random() {
        let backoff = Backoff { first: Duration::from_millis(100), cap: Duration::from_secs(1) };
        let millis = |failures, random| backoff.delay(failures, random).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 99].map(|n| millis(n, 1.0)), [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!([1, 2, 3, 4, 5, u32::MAX].map(|n| millis(n, 0.0)), [50, 100, 200, 400, 500, 500]);
        assert_eq!(millis(0, 0.5), 75);
        assert_eq!(millis(1, f64::INFINITY), 100);
    }
}
