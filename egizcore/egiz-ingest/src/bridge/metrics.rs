//! What bridges count, one series a bridge.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BridgeLabel {
    bridge: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    bridge: String,
    reason: &'static str,
}

/// The families of all bridges.
#[derive(Debug, Clone, Default)]
pub struct BridgeMetrics {
    connected: Family<BridgeLabel, Gauge>,
    connections: Family<BridgeLabel, Counter>,
    failures: Family<BridgeLabel, Counter>,
    forwarded: Family<BridgeLabel, Counter>,
    under_way: Family<BridgeLabel, Gauge>,
    passed_over: Family<ReasonLabel, Counter>,
}

/// The series of one bridge.
#[derive(Debug, Clone, Default)]
pub struct BridgeCounters {
    pub(crate) connected: Gauge,
    pub(crate) connections: Counter,
    pub(crate) failures: Counter,
    pub(crate) forwarded: Counter,
    pub(crate) under_way: Gauge,
    pub(crate) refused: Counter,
    pub(crate) too_large: Counter,
    pub(crate) looped: Counter,
    pub(crate) not_subscribed: Counter,
    pub(crate) queue_full: Counter,
}

impl BridgeMetrics {
    /// Puts the families into `registry`.
    ///
    /// - `egiz_ingest_bridge_connected{bridge}`: 1 while connected to both brokers and subscribed.
    /// - `egiz_ingest_bridge_connections_total{bridge}`: times that both brokers were reached.
    /// - `egiz_ingest_bridge_failures_total{bridge}`: connections that ended, and attempts that came to nothing.
    /// - `egiz_ingest_bridge_forwarded_messages_total{bridge}`: messages that the central broker acknowledged.
    /// - `egiz_ingest_bridge_under_way_messages{bridge}`: fetched and not acknowledged to the own broker yet.
    /// - `egiz_ingest_bridge_passed_over_messages_total{bridge, reason}`: messages not forwarded: `refused` by the central
    ///   broker for good, `too_large` for it, `looped` (forwarded from here before), `not_subscribed` (the session still has
    ///   filters of an earlier configuration), `queue_full` (QoS 0 only).
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "egiz_ingest_bridge_connected",
            "1 while connected to both brokers and subscribed",
            metrics.connected.clone(),
        );
        registry.register(
            "egiz_ingest_bridge_connections",
            "Times that both brokers were reached",
            metrics.connections.clone(),
        );
        registry.register(
            "egiz_ingest_bridge_failures",
            "Connections that ended and attempts that came to nothing",
            metrics.failures.clone(),
        );
        registry.register(
            "egiz_ingest_bridge_forwarded_messages",
            "Messages that the central broker acknowledged",
            metrics.forwarded.clone(),
        );
        registry.register(
            "egiz_ingest_bridge_under_way_messages",
            "Messages fetched and not acknowledged to the own broker yet",
            metrics.under_way.clone(),
        );
        registry.register(
            "egiz_ingest_bridge_passed_over_messages",
            "Messages not forwarded, by reason",
            metrics.passed_over.clone(),
        );
        metrics
    }

    /// The series of the bridge of that name.
    #[must_use]
    pub fn of(&self, bridge: &str) -> BridgeCounters {
        let label = BridgeLabel { bridge: bridge.to_owned() };
        let passed_over = |reason| {
            self.passed_over.get_or_create(&ReasonLabel { bridge: bridge.to_owned(), reason }).clone()
        };
        BridgeCounters {
            connected: self.connected.get_or_create(&label).clone(),
            connections: self.connections.get_or_create(&label).clone(),
            failures: self.failures.get_or_create(&label).clone(),
            forwarded: self.forwarded.get_or_create(&label).clone(),
            under_way: self.under_way.get_or_create(&label).clone(),
            refused: passed_over("refused"),
            too_large: passed_over("too_large"),
            looped: passed_over("looped"),
            not_subscribed: passed_over("not_subscribed"),
            queue_full: passed_over("queue_full"),
        }
    }
}
