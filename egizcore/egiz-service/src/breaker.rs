//! A circuit breaker: after some failures in a row nothing is tried for a while, then a little, and all only when that works.
//!
//! ```text
//!            failure, failure, …                 the pause is over
//!   closed ───────────────────────► open ───────────────────────────► half open
//!     ▲                              ▲                                    │  │
//!     │                              └──────────── failure ───────────────┘  │
//!     └───────────────────────────────── success ────────────────────────────┘
//! ```
//!
//! A server that comes back after an outage meets one small request, and not all that waited for it at once. Time is passed in
//! by the caller. It refuses to wait and to decide how long a pause is: see [`crate::backoff`].

use std::time::{Duration, Instant};

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything goes through.
    Closed,
    /// Nothing goes through.
    Open,
    /// A little goes through, to see.
    HalfOpen,
}

/// What may be tried now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// As much as there is.
    Whole,
    /// A little.
    Probe,
    /// Nothing for so long.
    Wait(Duration),
}

/// A breaker.
#[derive(Debug, Clone)]
pub struct Breaker {
    opens_after: u32,
    failures: u32,
    not_before: Option<Instant>,
}

impl Breaker {
    /// One that opens after so many failures in a row, at least one.
    #[must_use]
    pub fn new(opens_after: u32) -> Breaker {
        Breaker { opens_after: opens_after.max(1), failures: 0, not_before: None }
    }

    /// What may be tried at this moment.
    #[must_use]
    pub fn attempt(&self, now: Instant) -> Attempt {
        let pause = self.not_before.map_or(Duration::ZERO, |then| then.saturating_duration_since(now));
        if !pause.is_zero() {
            Attempt::Wait(pause)
        } else if self.failures < self.opens_after {
            Attempt::Whole
        } else {
            Attempt::Probe
        }
    }

    /// How it stands at this moment.
    #[must_use]
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.attempt(now) {
            _ if self.failures < self.opens_after => BreakerState::Closed,
            Attempt::Wait(_) => BreakerState::Open,
            Attempt::Whole | Attempt::Probe => BreakerState::HalfOpen,
        }
    }

    /// An attempt worked.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = None;
    }

    /// An attempt failed; the next comes after `pause` at the earliest.
    pub fn failed(&mut self, now: Instant, pause: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.checked_add(pause);
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_opens_after_some_failures_and_closes_after_a_little_that_works() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let second = Duration::from_secs(1);
        let mut breaker = Breaker::new(2);
        assert_eq!((breaker.attempt(at(0)), breaker.state(at(0))), (Attempt::Whole, BreakerState::Closed));
        breaker.failed(at(0), second);
        assert_eq!(breaker.attempt(at(0)), Attempt::Wait(second));
        assert_eq!((breaker.attempt(at(1)), breaker.state(at(0))), (Attempt::Whole, BreakerState::Closed));
        breaker.failed(at(1), 2 * second);
        assert_eq!(
            (breaker.attempt(at(2)), breaker.state(at(2))),
            (Attempt::Wait(second), BreakerState::Open)
        );
        assert_eq!((breaker.attempt(at(3)), breaker.state(at(3))), (Attempt::Probe, BreakerState::HalfOpen));
        breaker.failed(at(3), second);
        assert_eq!(breaker.state(at(3)), BreakerState::Open);
        assert_eq!(breaker.failures(), 3);
        breaker.succeeded();
        assert_eq!((breaker.attempt(at(3)), breaker.state(at(3))), (Attempt::Whole, BreakerState::Closed));
    }

    proptest! {
        #[test]
        fn nothing_is_tried_before_its_time_and_no_more_than_a_probe_after_the_failures(
            opens_after in 1u32..5,
            steps in prop::collection::vec((any::<bool>(), 0u64..20, 0u64..20), 1..40),
        ) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(opens_after);
            let (mut in_a_row, mut not_before) = (0, now);
            for (works, pause, passes) in steps {
                let expected = match () {
                    () if now < not_before => Attempt::Wait(not_before - now),
                    () if in_a_row >= opens_after => Attempt::Probe,
                    () => Attempt::Whole,
                };
                prop_assert_eq!(breaker.attempt(now), expected);
                if works {
                    breaker.succeeded();
                    (in_a_row, not_before) = (0, now);
                } else {
                    breaker.failed(now, Duration::from_secs(pause));
                    in_a_row += 1;
                    not_before = now + Duration::from_secs(pause);
                }
                now += Duration::from_secs(passes);
            }
        }
    }
}
