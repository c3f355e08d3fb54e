//! How each part of the program is doing, as the parts themselves say it, and the whole that follows.
//!
//! The whole is as bad as the worst part that the program cannot do without; a part that it can do without makes it
//! degraded at most. The number of parts is fixed by the program's wiring.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use egiz_model::Timestamp;

use crate::Clock;

const MAX_DETAIL_CHARS: usize = 512;

/// How a part is doing, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthState {
    /// It works.
    Up,
    /// It works with less than it should.
    Degraded,
    /// It is starting.
    Starting,
    /// It does not work.
    Down,
}

/// One part's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartHealth {
    /// Which part.
    pub name: String,
    /// How it is doing.
    pub state: HealthState,
    /// Why, where there is something to say; at most 512 characters.
    pub detail: Option<String>,
    /// Since when it has been in this state.
    pub since: Timestamp,
    /// Whether the program cannot do without it.
    pub essential: bool,
}

/// The whole program's health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// The whole.
    pub state: HealthState,
    /// The parts by name.
    pub parts: Vec<PartHealth>,
}

/// The registry of parts; clones share it.
#[derive(Clone)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, PartHealth>>>,
    clock: Clock,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("parts", &self.lock()).finish_non_exhaustive()
    }
}

impl Health {
    /// Makes an empty registry.
    pub fn new(clock: Clock) -> Health {
        Health { parts: Arc::default(), clock }
    }

    /// Adds a part, which is starting until it says otherwise. A part added again starts anew.
    pub fn part(&self, name: impl Into<String>, essential: bool) -> Part {
        let part = Part { health: self.clone(), name: name.into(), essential };
        part.starting();
        part
    }

    /// Says how the parts and the whole are doing.
    pub fn report(&self) -> HealthReport {
        let parts: Vec<_> = self.lock().values().cloned().collect();
        let weight = |part: &PartHealth| {
            if part.essential { part.state } else { part.state.min(HealthState::Degraded) }
        };
        HealthReport { state: parts.iter().map(weight).max().unwrap_or(HealthState::Up), parts }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, PartHealth>> {
        // The map is whole between any two statements, so a panic elsewhere does not spoil it.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part's handle, to report with. The last report stays when the handle is dropped.
#[derive(Debug, Clone)]
pub struct Part {
    health: Health,
    name: String,
    essential: bool,
}

impl Part {
    /// It is starting.
    pub fn starting(&self) {
        self.set(HealthState::Starting, None);
    }

    /// It works.
    pub fn up(&self) {
        self.set(HealthState::Up, None);
    }

    /// It works with less than it should, and why.
    pub fn degraded(&self, detail: impl Into<String>) {
        self.set(HealthState::Degraded, Some(detail.into()));
    }

    /// It does not work, and why.
    pub fn down(&self, detail: impl Into<String>) {
        self.set(HealthState::Down, Some(detail.into()));
    }

    fn set(&self, state: HealthState, detail: Option<String>) {
        let detail = detail.map(|detail| detail.chars().take(MAX_DETAIL_CHARS).collect());
        let now = (self.health.clock)();
        let mut parts = self.health.lock();
        let since = match parts.get(&self.name) {
            Some(before) if before.state == state => before.since,
            _ => now,
        };
        let part = PartHealth { name: self.name.clone(), state, detail, since, essential: self.essential };
        parts.insert(self.name.clone(), part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// A registry whose clock goes one second with each look.
    fn health() -> Health {
        let seconds = AtomicI64::new(0);
        Health::new(Arc::new(move || Timestamp::from_seconds(seconds.fetch_add(1, Ordering::Relaxed))))
    }

    #[test]
    fn the_whole_is_as_bad_as_the_worst_essential_part() {
        let health = health();
        assert_eq!(health.report().state, HealthState::Up);
        let (journal, history) = (health.part("journal", true), health.part("history", false));
        assert_eq!(health.report().state, HealthState::Starting);
        journal.up();
        history.up();
        assert_eq!(health.report().state, HealthState::Up);
        history.down("disk full");
        assert_eq!(health.report().state, HealthState::Degraded, "it can do without history");
        journal.down("disk full");
        assert_eq!(health.report().state, HealthState::Down);
        journal.degraded("slow");
        history.up();
        assert_eq!(health.report().state, HealthState::Degraded);
    }

    #[test]
    fn a_part_tells_since_when_and_why() {
        let health = health();
        let part = health.part("journal", true);
        part.up();
        part.up();
        let report = health.report();
        assert_eq!(
            (report.parts[0].since, report.parts[0].detail.clone()),
            (Timestamp::from_seconds(1), None)
        );
        part.degraded("x".repeat(10_000));
        let after = &health.report().parts[0];
        assert_eq!(
            (after.since, after.detail.as_ref().map(String::len)),
            (Timestamp::from_seconds(3), Some(512))
        );
    }
}
