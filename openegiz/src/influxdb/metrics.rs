//! What the writer counts; docs/metrics.md lists it.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Metrics of the writer.
#[derive(Debug, Clone)]
pub(crate) struct InfluxdbMetrics {
    /// `egiz_influxdb_written_lines_total`: lines that the InfluxDB took.
    pub(super) lines: Counter,
    /// `egiz_influxdb_written_values_total`: values in them.
    pub(super) values: Counter,
    /// `egiz_influxdb_batches_total`: batches that are there as a whole, but for what was rejected.
    pub(super) batches: Counter,
    /// `egiz_influxdb_retries_total`: requests that failed and are repeated.
    pub(super) retries: Counter,
    /// `egiz_influxdb_rejected_values_total`: values that the InfluxDB does not take.
    pub(super) rejected: Counter,
    /// `egiz_influxdb_skipped_records_total`: records that went without having been written.
    pub(super) skipped_records: Counter,
    /// `egiz_influxdb_skipped_values_total`: values in them, as far as they were read.
    pub(super) skipped_values: Counter,
    /// `egiz_influxdb_lag_records`: records of the journal that are not there yet.
    pub(super) lag_records: Gauge,
    /// `egiz_influxdb_lag_seconds`: how long ago the oldest of them was received.
    pub(super) lag_seconds: Gauge<f64, AtomicU64>,
    /// `egiz_influxdb_journal_bytes`: how much of the journal is kept for it.
    pub(super) journal_bytes: Gauge,
    /// `egiz_influxdb_breaker_state`: 0 closed, 1 open, 2 half open.
    pub(super) breaker: Gauge,
    /// `egiz_influxdb_request_seconds`: one request, whatever came of it.
    pub(super) request_seconds: Histogram,
}

impl InfluxdbMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            lines: Counter::default(),
            values: Counter::default(),
            batches: Counter::default(),
            retries: Counter::default(),
            rejected: Counter::default(),
            skipped_records: Counter::default(),
            skipped_values: Counter::default(),
            lag_records: Gauge::default(),
            lag_seconds: Gauge::default(),
            journal_bytes: Gauge::default(),
            breaker: Gauge::default(),
            request_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
        };
        for (name, help, counter) in [
            ("egiz_influxdb_written_lines", "Lines that the InfluxDB took", &metrics.lines),
            ("egiz_influxdb_written_values", "Values that the InfluxDB took", &metrics.values),
            ("egiz_influxdb_batches", "Batches that were delivered", &metrics.batches),
            ("egiz_influxdb_retries", "Requests that failed and are repeated", &metrics.retries),
            ("egiz_influxdb_rejected_values", "Values that the InfluxDB does not take", &metrics.rejected),
            (
                "egiz_influxdb_skipped_records",
                "Records that went without having been written to the InfluxDB",
                &metrics.skipped_records,
            ),
            (
                "egiz_influxdb_skipped_values",
                "Values in such records, as far as they were read",
                &metrics.skipped_values,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "egiz_influxdb_lag_records",
            "Records of the journal that the InfluxDB does not have yet",
            metrics.lag_records.clone(),
        );
        registry.register(
            "egiz_influxdb_lag_seconds",
            "How long ago the oldest record was received that the InfluxDB does not have yet",
            metrics.lag_seconds.clone(),
        );
        registry.register(
            "egiz_influxdb_journal_bytes",
            "Bytes of the journal that are kept for the InfluxDB",
            metrics.journal_bytes.clone(),
        );
        registry.register(
            "egiz_influxdb_breaker_state",
            "Whether writing is paused: 0 no, 1 paused, 2 a little is tried",
            metrics.breaker.clone(),
        );
        registry.register(
            "egiz_influxdb_request_seconds",
            "One request to the InfluxDB",
            metrics.request_seconds.clone(),
        );
        metrics
    }
}
