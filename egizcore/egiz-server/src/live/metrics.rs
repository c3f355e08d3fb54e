//! What live subscriptions count.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What live subscriptions count; cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveMetrics {
    /// `egiz_server_live_clients`: connected now.
    pub(crate) clients: Gauge<u64, AtomicU64>,
    /// `egiz_server_live_subscriptions`: now.
    pub(crate) subscriptions: Gauge<u64, AtomicU64>,
    /// `egiz_server_live_ring_bytes`: what is kept for clients that come back, estimated.
    pub(crate) ring_bytes: Gauge<u64, AtomicU64>,
    /// `egiz_server_live_publish_waits_total`: batches for which the apply thread waited for clients that were subscribing.
    pub(crate) waits: Counter,
    /// `egiz_server_live_frames_total`: frames sent.
    pub(crate) frames: Counter,
    /// `egiz_server_live_conflated_changes_total`: changes that a subscription to events got only as newest state.
    pub(crate) conflated: Counter,
    /// `egiz_server_live_resyncs_total`: times that a subscription was sent everything anew.
    pub(crate) resyncs: Counter,
    /// `egiz_server_live_resumes_total`: subscriptions that went on where they were.
    pub(crate) resumes: Counter,
    /// `egiz_server_live_closed_total{reason}`: clients that were closed or went.
    closed: Family<Reason, Counter>,
    /// `egiz_server_live_omitted_slots_total`: properties left out of columns at the bound.
    pub(crate) omitted_slots: Counter,
}

impl LiveMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let m = &metrics;
        registry.register("egiz_server_live_clients", "Live clients connected now", m.clients.clone());
        registry.register(
            "egiz_server_live_subscriptions",
            "Live subscriptions now",
            m.subscriptions.clone(),
        );
        registry.register(
            "egiz_server_live_ring_bytes",
            "Bytes kept for clients that come back, estimated",
            m.ring_bytes.clone(),
        );
        registry.register(
            "egiz_server_live_publish_waits",
            "Batches for which the apply thread waited for clients that were subscribing",
            m.waits.clone(),
        );
        registry.register("egiz_server_live_frames", "Frames sent", m.frames.clone());
        registry.register(
            "egiz_server_live_conflated_changes",
            "Changes that a client got only as newest state",
            m.conflated.clone(),
        );
        registry.register(
            "egiz_server_live_resyncs",
            "Times that everything was sent anew",
            m.resyncs.clone(),
        );
        registry.register(
            "egiz_server_live_resumes",
            "Subscriptions that went on where they were",
            m.resumes.clone(),
        );
        registry.register(
            "egiz_server_live_closed",
            "Live clients that were closed or went",
            m.closed.clone(),
        );
        registry.register(
            "egiz_server_live_omitted_slots",
            "Properties left out of columns at the bound",
            m.omitted_slots.clone(),
        );
        metrics
    }

    pub(crate) fn count_closed(&self, reason: &'static str) {
        self.closed.get_or_create(&Reason { reason }).inc();
    }
}
