//! What ingest counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::payload::RejectReason;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Ingest's counters.
#[derive(Debug, Clone, Default)]
pub struct IngestMetrics {
    /// `egiz_ingest_telemetry_messages_total`: messages that became samples.
    pub(crate) telemetry: Counter,
    /// `egiz_ingest_status_messages_total`: messages that said whether a device is there.
    pub(crate) status: Counter,
    /// `egiz_ingest_other_messages_total`: messages outside the topics that feed Things; kept as they are.
    pub(crate) other: Counter,
    /// `egiz_ingest_lines_total`: lines of line protocol that became samples.
    pub(crate) lines: Counter,
    /// `egiz_ingest_rejected_messages_total{reason}`: messages and lines that were not understood.
    rejected: Family<ReasonLabel, Counter>,
}

impl IngestMetrics {
    /// Puts the counters into `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "egiz_ingest_telemetry_messages",
            "Messages that became samples",
            metrics.telemetry.clone(),
        );
        registry.register(
            "egiz_ingest_status_messages",
            "Messages that said whether a device is there",
            metrics.status.clone(),
        );
        registry.register(
            "egiz_ingest_other_messages",
            "Messages outside the topics that feed Things",
            metrics.other.clone(),
        );
        registry.register(
            "egiz_ingest_lines",
            "Lines of line protocol that became samples",
            metrics.lines.clone(),
        );
        registry.register(
            "egiz_ingest_rejected_messages",
            "Messages and lines that were not understood, by reason",
            metrics.rejected.clone(),
        );
        for reason in RejectReason::ALL {
            metrics.rejected_for(reason);
        }
        metrics
    }

    pub(crate) fn rejected_for(&self, reason: RejectReason) -> Counter {
        self.rejected.get_or_create(&ReasonLabel { reason: reason.as_str() }).clone()
    }
}
