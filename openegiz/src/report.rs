//! What the program says about itself: health of every part, all metrics, messages that were not understood.

use std::sync::Arc;

use egiz_api::{Health, HealthState, PartHealth, RejectedMessage};
use egiz_ingest::Ingest;
use egiz_server::ProgramReport;
use egiz_service::health;
use egiz_service::metrics::Metrics;

/// The report.
pub(crate) struct Report {
    pub(crate) health: health::Health,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ingest: Arc<Ingest>,
}

impl ProgramReport for Report {
    fn health(&self) -> Health {
        let report = self.health.report();
        Health {
            status: state(report.state),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            parts: report
                .parts
                .into_iter()
                .map(|part| PartHealth {
                    name: part.name,
                    status: state(part.state),
                    detail: part.detail,
                    since: part.since,
                })
                .collect(),
        }
    }

    fn metrics_text(&self) -> String {
        self.metrics.encode()
    }

    fn rejected(&self, after: Option<u64>, limit: usize) -> Vec<RejectedMessage> {
        let (_, newest_first) = self.ingest.rejected();
        let oldest_first = newest_first.into_iter().rev();
        oldest_first
            .filter(|message| after.is_none_or(|after| message.number > after))
            .take(limit)
            .map(|message| RejectedMessage {
                sequence: message.number,
                received: message.received,
                topic: message.topic.clone(),
                client: message.principal.clone(),
                reason: format!("{}: {}", message.rejection.reason.as_str(), message.rejection.detail),
                size_bytes: message.size_bytes as u64,
                payload: String::from_utf8_lossy(&message.excerpt).into_owned(),
            })
            .collect()
    }
}

fn state(state: health::HealthState) -> HealthState {
    match state {
        health::HealthState::Up => HealthState::Up,
        health::HealthState::Degraded => HealthState::Degraded,
        health::HealthState::Starting => HealthState::Starting,
        health::HealthState::Down => HealthState::Down,
    }
}
