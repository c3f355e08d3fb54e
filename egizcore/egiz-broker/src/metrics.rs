//! What the broker counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Qos {
    pub(crate) qos: u8,
}

/// The broker's metrics.
#[derive(Debug, Clone, Default)]
pub struct BrokerMetrics {
    /// `egiz_broker_connections`: clients connected.
    pub(crate) connections: Gauge<u64, AtomicU64>,
    /// `egiz_broker_connects_total`: clients let in.
    pub(crate) connects: Counter,
    /// `egiz_broker_refused_connects_total{reason}`: clients not let in.
    pub(crate) refused_connects: Family<Reason, Counter>,
    /// `egiz_broker_closed_connections_total{reason}`: connections that the broker closed.
    pub(crate) closed: Family<Reason, Counter>,
    /// `egiz_broker_received_messages_total{qos}`: messages published by clients.
    pub(crate) received: Family<Qos, Counter>,
    /// `egiz_broker_acknowledged_messages_total`: messages acknowledged after the commit: PUBACKs, and PUBRECs of QoS 2.
    pub(crate) acknowledged: Counter,
    /// `egiz_broker_refused_messages_total{reason}`: messages neither kept nor acknowledged.
    pub(crate) refused: Family<Reason, Counter>,
    /// `egiz_broker_sent_messages_total{qos}`: messages sent to subscribers.
    pub(crate) sent: Family<Qos, Counter>,
    /// `egiz_broker_dropped_messages_total{reason}`: messages that a subscriber did not get.
    pub(crate) dropped: Family<Reason, Counter>,
    /// `egiz_broker_received_bytes_total`: bytes read from sockets.
    pub(crate) received_bytes: Counter,
    /// `egiz_broker_sent_bytes_total`: bytes written to sockets.
    pub(crate) sent_bytes: Counter,
    /// `egiz_broker_subscriptions`: subscriptions of all sessions.
    pub(crate) subscriptions: Gauge<u64, AtomicU64>,
    /// `egiz_broker_sessions`: sessions, those of clients that are away included.
    pub(crate) sessions: Gauge<u64, AtomicU64>,
    /// `egiz_broker_fell_behind_total`: times that a subscriber was too slow and is served from the journal since.
    pub(crate) fell_behind: Counter,
    /// `egiz_broker_failures_total{reason}`: steps that failed and are tried again.
    pub(crate) failures: Family<Reason, Counter>,
    /// `egiz_broker_retained_messages`: retained messages kept.
    pub(crate) retained: Gauge<u64, AtomicU64>,
}

impl BrokerMetrics {
    /// Puts the metrics into `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("egiz_broker_connections", "Clients connected", metrics.connections.clone());
        registry.register("egiz_broker_connects", "Clients let in", metrics.connects.clone());
        registry.register(
            "egiz_broker_refused_connects",
            "Clients not let in",
            metrics.refused_connects.clone(),
        );
        registry.register(
            "egiz_broker_closed_connections",
            "Connections that the broker closed",
            metrics.closed.clone(),
        );
        registry.register(
            "egiz_broker_received_messages",
            "Messages published by clients",
            metrics.received.clone(),
        );
        registry.register(
            "egiz_broker_acknowledged_messages",
            "Messages acknowledged after the commit",
            metrics.acknowledged.clone(),
        );
        registry.register(
            "egiz_broker_refused_messages",
            "Messages neither kept nor acknowledged",
            metrics.refused.clone(),
        );
        registry.register("egiz_broker_sent_messages", "Messages sent to subscribers", metrics.sent.clone());
        registry.register(
            "egiz_broker_dropped_messages",
            "Messages that a subscriber did not get",
            metrics.dropped.clone(),
        );
        registry.register(
            "egiz_broker_received_bytes",
            "Bytes read from sockets",
            metrics.received_bytes.clone(),
        );
        registry.register("egiz_broker_sent_bytes", "Bytes written to sockets", metrics.sent_bytes.clone());
        registry.register(
            "egiz_broker_subscriptions",
            "Subscriptions of all sessions",
            metrics.subscriptions.clone(),
        );
        registry.register(
            "egiz_broker_sessions",
            "Sessions, those of clients that are away included",
            metrics.sessions.clone(),
        );
        registry.register(
            "egiz_broker_fell_behind",
            "Times that a subscriber was too slow and is served from the journal since",
            metrics.fell_behind.clone(),
        );
        registry.register(
            "egiz_broker_failures",
            "Steps that failed and are tried again",
            metrics.failures.clone(),
        );
        registry.register(
            "egiz_broker_retained_messages",
            "Retained messages kept",
            metrics.retained.clone(),
        );
        metrics
    }

    pub(crate) fn count(family: &Family<Reason, Counter>, reason: &'static str) {
        family.get_or_create(&Reason { reason }).inc();
    }
}
