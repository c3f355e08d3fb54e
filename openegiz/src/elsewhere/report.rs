//! How a client of a broker elsewhere is doing: in /health always, in the log once for each change.

use std::sync::Arc;

use egiz_ingest::{BrokerAddress, ClientStatus, OnStatus, ProblemKind};
use egiz_service::health::{Health, Part};
use parking_lot::Mutex;

/// Tells of one client. Clones share it.
#[derive(Clone)]
pub(super) struct Reporter {
    health: Health,
    name: String,
    address: String,
    told: Arc<Mutex<Told>>,
}

/// What the log was told last.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Connected,
    LeftOut,
    Down(ProblemKind),
}

impl Reporter {
    pub(super) fn new(health: &Health, name: &str, address: &BrokerAddress) -> Self {
        Self {
            health: health.clone(),
            name: name.to_owned(),
            address: address.to_string(),
            told: Arc::default(),
        }
    }

    /// It begins.
    pub(super) fn connecting(&self) {
        self.part().starting();
    }

    /// What the client tells.
    pub(super) fn on_status(&self) -> OnStatus {
        let reporter = self.clone();
        let part = self.part();
        Arc::new(move |status| reporter.tell(&part, status))
    }

    /// The part under the task's own name: the supervisor speaks of the task, this of what it does.
    fn part(&self) -> Part {
        self.health.part(&*self.name, false)
    }

    fn tell(&self, part: &Part, status: ClientStatus<'_>) {
        let (client, broker) = (&*self.name, &*self.address);
        match status {
            ClientStatus::Connected { session_present } => {
                part.up();
                if self.is_news(Told::Connected) {
                    tracing::info!(client, broker, session_present, "connected to a broker elsewhere");
                }
            }
            ClientStatus::LeftOut { what } => {
                part.degraded(what);
                if self.is_news(Told::LeftOut) {
                    tracing::warn!(client, broker, "{what}; more of the kind are counted and not logged");
                }
            }
            ClientStatus::Down { problem, retry_in } => {
                part.down(format!("{broker}: {problem}"));
                if self.is_news(Told::Down(problem.kind)) {
                    tracing::warn!(
                        client,
                        broker,
                        retry_in_ms = retry_in.as_millis() as u64,
                        "not connected to a broker elsewhere: {problem}; trying again until it works"
                    );
                } else {
                    tracing::debug!(client, broker, "still not connected: {problem}");
                }
            }
        }
    }

    fn is_news(&self, now: Told) -> bool {
        std::mem::replace(&mut *self.told.lock(), now) != now
    }
}
