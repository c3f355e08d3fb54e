//! What clients of external brokers count, one series a broker.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BrokerLabel {
    broker: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    broker: String,
    reason: &'static str,
}

/// The families of all external brokers.
#[derive(Debug, Clone, Default)]
pub struct ExternalMetrics {
    connected: Family<BrokerLabel, Gauge>,
    connections: Family<BrokerLabel, Counter>,
    failures: Family<BrokerLabel, Counter>,
    messages: Family<BrokerLabel, Counter>,
    acknowledged: Family<BrokerLabel, Counter>,
    under_way: Family<BrokerLabel, Gauge>,
    stale: Family<BrokerLabel, Counter>,
    passed_over: Family<ReasonLabel, Counter>,
}

/// The series of one broker.
#[derive(Debug, Clone, Default)]
pub struct ExternalCounters {
    pub(crate) connected: Gauge,
    pub(crate) connections: Counter,
    pub(crate) failures: Counter,
    pub(crate) messages: Counter,
    pub(crate) acknowledged: Counter,
    pub(crate) under_way: Gauge,
    pub(crate) stale_acknowledgements: Counter,
    pub(crate) queue_full: Counter,
    pub(crate) not_subscribed: Counter,
    pub(crate) too_large: Counter,
}

impl ExternalMetrics {
    /// Puts the families into `registry`.
    ///
    /// - `egiz_ingest_external_connected{broker}`: 1 while connected and subscribed.
    /// - `egiz_ingest_external_connections_total{broker}`: connections that the broker took.
    /// - `egiz_ingest_external_failures_total{broker}`: connections that ended, and attempts that came to nothing.
    /// - `egiz_ingest_external_messages_total{broker}`: messages received, those that came again included.
    /// - `egiz_ingest_external_acknowledged_messages_total{broker}`: messages acknowledged, all but those of QoS 0.
    /// - `egiz_ingest_external_under_way_messages{broker}`: received and not acknowledged yet.
    /// - `egiz_ingest_external_stale_acknowledgements_total{broker}`: messages committed after their connection broke; not
    ///   acknowledged, so they come again.
    /// - `egiz_ingest_external_passed_over_messages_total{broker, reason}`: messages not taken in: `queue_full` (QoS 0 only),
    ///   `not_subscribed` (the broker's session still has filters of an earlier configuration), `too_large`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "egiz_ingest_external_connected",
            "1 while connected and subscribed",
            metrics.connected.clone(),
        );
        registry.register(
            "egiz_ingest_external_connections",
            "Connections that the broker took",
            metrics.connections.clone(),
        );
        registry.register(
            "egiz_ingest_external_failures",
            "Connections that ended and attempts that came to nothing",
            metrics.failures.clone(),
        );
        registry.register(
            "egiz_ingest_external_messages",
            "Messages received, those that came again included",
            metrics.messages.clone(),
        );
        registry.register(
            "egiz_ingest_external_acknowledged_messages",
            "Messages acknowledged",
            metrics.acknowledged.clone(),
        );
        registry.register(
            "egiz_ingest_external_under_way_messages",
            "Messages received and not acknowledged yet",
            metrics.under_way.clone(),
        );
        registry.register(
            "egiz_ingest_external_stale_acknowledgements",
            "Messages committed after their connection broke; they come again",
            metrics.stale.clone(),
        );
        registry.register(
            "egiz_ingest_external_passed_over_messages",
            "Messages not taken in, by reason",
            metrics.passed_over.clone(),
        );
        metrics
    }

    /// The series of the broker of that name.
    #[must_use]
    pub fn of(&self, broker: &str) -> ExternalCounters {
        let label = BrokerLabel { broker: broker.to_owned() };
        let passed_over = |reason| {
            self.passed_over.get_or_create(&ReasonLabel { broker: broker.to_owned(), reason }).clone()
        };
        ExternalCounters {
            connected: self.connected.get_or_create(&label).clone(),
            connections: self.connections.get_or_create(&label).clone(),
            failures: self.failures.get_or_create(&label).clone(),
            messages: self.messages.get_or_create(&label).clone(),
            acknowledged: self.acknowledged.get_or_create(&label).clone(),
            under_way: self.under_way.get_or_create(&label).clone(),
            stale_acknowledgements: self.stale.get_or_create(&label).clone(),
            queue_full: passed_over("queue_full"),
            not_subscribed: passed_over("not_subscribed"),
            too_large: passed_over("too_large"),
        }
    }
}
