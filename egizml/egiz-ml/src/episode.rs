//! When scores become an alarm, and when it is over: an episode.
//!
//! ```text
//!            n of the last m scores above the limit
//!   quiet ───────────────────────────────────────────► open
//!     ▲                                                 │
//!     └──── below `clear_below` for `hold_seconds` ─────┘
//! ```
//!
//! Rows without a score neither raise nor clear. Acknowledging and shelving are no business of this crate.

use std::collections::VecDeque;

use crate::Error;

/// When an episode begins and ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpisodeRule {
    /// It begins when so many …
    pub raise_count: usize,
    /// … of so many scores in a row are above the limit; 1 to 1000.
    pub raise_of: usize,
    /// It ends when the score, whose limit is 1.0, stays below this, 0 to 1 …
    pub clear_below: f64,
    /// … for so long, 0 or more.
    pub hold_seconds: f64,
}

impl Default for EpisodeRule {
    fn default() -> Self {
        Self { raise_count: 3, raise_of: 5, clear_below: 0.7, hold_seconds: 60.0 }
    }
}

/// An alarm from its first score above the limit to its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Episode {
    /// When it was raised.
    pub raised_ms: i64,
    /// When it ended; none while it is open.
    pub cleared_ms: Option<i64>,
    /// The highest score, whose limit is 1.0.
    pub peak: f64,
    /// When that was.
    pub peak_ms: i64,
}

/// What a score changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// An episode began.
    Raised(Episode),
    /// It ended.
    Cleared(Episode),
}

/// Follows the scores of one Thing.
#[derive(Debug, Clone)]
pub struct Episodes {
    rule: EpisodeRule,
    recent: VecDeque<bool>,
    open: Option<Episode>,
    low_since_ms: Option<i64>,
}

impl Episodes {
    /// Begins quiet.
    ///
    /// # Errors
    /// Where the rule is out of its ranges.
    pub fn new(rule: EpisodeRule) -> Result<Self, Error> {
        if !(1..=1000).contains(&rule.raise_of) || !(1..=rule.raise_of).contains(&rule.raise_count) {
            let value = rule.raise_count as f64;
            return Err(Error::Option {
                name: "raise_count",
                value,
                allowed: "1 to raise_of, which is 1 to 1000",
            });
        }
        if !(0.0..=1.0).contains(&rule.clear_below) {
            return Err(Error::Option { name: "clear_below", value: rule.clear_below, allowed: "0 to 1" });
        }
        if !(0.0..=1e8).contains(&rule.hold_seconds) {
            return Err(Error::Option {
                name: "hold_seconds",
                value: rule.hold_seconds,
                allowed: "0 to 100000000",
            });
        }
        Ok(Self { rule, recent: VecDeque::with_capacity(rule.raise_of), open: None, low_since_ms: None })
    }

    /// Takes a fused score, whose limit is 1.0; none where there was nothing to score.
    pub fn push(&mut self, time_ms: i64, score: Option<f64>) -> Option<Change> {
        let score = score.filter(|score| !score.is_nan())?;
        if self.recent.len() == self.rule.raise_of {
            self.recent.pop_front();
        }
        self.recent.push_back(score > 1.0);
        let Some(mut episode) = self.open else {
            if self.recent.iter().filter(|high| **high).count() < self.rule.raise_count {
                return None;
            }
            let episode = Episode { raised_ms: time_ms, cleared_ms: None, peak: score, peak_ms: time_ms };
            self.open = Some(episode);
            self.low_since_ms = None;
            return Some(Change::Raised(episode));
        };
        if score > episode.peak {
            (episode.peak, episode.peak_ms) = (score, time_ms);
            self.open = Some(episode);
        }
        if score >= self.rule.clear_below {
            self.low_since_ms = None;
            return None;
        }
        let since = *self.low_since_ms.get_or_insert(time_ms);
        if (time_ms.saturating_sub(since) as f64) < self.rule.hold_seconds * 1000.0 {
            return None;
        }
        episode.cleared_ms = Some(time_ms);
        self.open = None;
        self.recent.clear();
        Some(Change::Cleared(episode))
    }

    /// The episode that is open.
    #[must_use]
    pub fn open(&self) -> Option<Episode> {
        self.open
    }
}
