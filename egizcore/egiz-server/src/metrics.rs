//! The HTTP side's own counters. Labels hold route patterns and classes, never a Thing id.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Counters of the HTTP side; cloning shares them.
#[derive(Clone, Debug)]
pub struct ServerMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests: Family<RequestLabels, Counter>,
    seconds: Histogram,
    refused: Family<RefusedLabels, Counter>,
    connections: Gauge,
    replays: Counter,
    forgotten: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    code: &'static str,
}

impl ServerMetrics {
    /// Registers the counters:
    /// - `egiz_server_requests_total{method,class}`: answers by method and status class (`2xx` … `5xx`);
    /// - `egiz_server_request_seconds`: from the request's headers to the answer's headers;
    /// - `egiz_server_refused_total{code}`: requests refused before a handler saw them, by problem code;
    /// - `egiz_server_connections`: connections open now;
    /// - `egiz_server_idempotent_replays_total`: answers given once more for an `Idempotency-Key`;
    /// - `egiz_server_idempotency_forgotten_total`: kept answers that went before their time for want of room.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let inner = Inner {
            requests: Family::default(),
            seconds: Histogram::new([
                0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
                10.0,
            ]),
            refused: Family::default(),
            connections: Gauge::default(),
            replays: Counter::default(),
            forgotten: Counter::default(),
        };
        registry.register(
            "egiz_server_requests",
            "Answers by method and status class",
            inner.requests.clone(),
        );
        registry.register(
            "egiz_server_request_seconds",
            "From request to answer, in seconds",
            inner.seconds.clone(),
        );
        registry.register(
            "egiz_server_refused",
            "Requests refused before a handler saw them",
            inner.refused.clone(),
        );
        registry.register("egiz_server_connections", "Connections open now", inner.connections.clone());
        registry.register(
            "egiz_server_idempotent_replays",
            "Answers given once more for an Idempotency-Key",
            inner.replays.clone(),
        );
        registry.register(
            "egiz_server_idempotency_forgotten",
            "Kept answers that went before their time for want of room",
            inner.forgotten.clone(),
        );
        Self(Arc::new(inner))
    }

    pub(crate) fn answered(&self, method: &axum::http::Method, status: u16, seconds: f64) {
        let method = match method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "PUT" => "PUT",
            "POST" => "POST",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            _ => "other",
        };
        let class = match status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.0.requests.get_or_create(&RequestLabels { method, class }).inc();
        self.0.seconds.observe(seconds);
    }

    pub(crate) fn refused(&self, code: egiz_api::Code) {
        self.0.refused.get_or_create(&RefusedLabels { code: code.as_str() }).inc();
    }

    pub(crate) fn idempotent_replay(&self) {
        self.0.replays.inc();
    }

    pub(crate) fn idempotency_forgotten(&self) {
        self.0.forgotten.inc();
    }

    pub(crate) fn connection_opened(&self) {
        self.0.connections.inc();
    }

    pub(crate) fn connection_closed(&self) {
        self.0.connections.dec();
    }
}
