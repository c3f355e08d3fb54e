//! What the program itself counts: the way of records, and the engine's own counters at each scrape.

use std::sync::Arc;

use egiz_twin::Engine;
use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Metrics of the pipeline.
#[derive(Debug, Clone)]
pub(crate) struct PipelineMetrics {
    /// `egiz_pipeline_applied_records_total`: records applied to the engine.
    pub(crate) records: Counter,
    /// `egiz_pipeline_unreadable_records_total`: records of this program's own that could not be read.
    pub(crate) unreadable: Counter,
    /// `egiz_pipeline_apply_seconds`: one hold of the engine's write lock.
    pub(crate) apply_seconds: Histogram,
    /// `egiz_pipeline_snapshot_seconds`: one snapshot, under the read lock.
    pub(crate) snapshot_seconds: Histogram,
}

impl PipelineMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            records: Counter::default(),
            unreadable: Counter::default(),
            apply_seconds: Histogram::new(exponential_buckets(0.000_01, 2.0, 16)),
            snapshot_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 12)),
        };
        registry.register(
            "egiz_pipeline_applied_records",
            "Records applied to the engine",
            metrics.records.clone(),
        );
        registry.register(
            "egiz_pipeline_unreadable_records",
            "Records that could not be read",
            metrics.unreadable.clone(),
        );
        registry.register(
            "egiz_pipeline_apply_seconds",
            "One hold of the engine's write lock",
            metrics.apply_seconds.clone(),
        );
        registry.register("egiz_pipeline_snapshot_seconds", "One snapshot", metrics.snapshot_seconds.clone());
        metrics
    }
}

/// Reads the engine when metrics are asked for: `egiz_twin_things`, `egiz_twin_discovered_devices`, `egiz_twin_names`, and
/// `egiz_twin_<counter>_total` for each of its counters.
#[derive(Debug)]
pub(crate) struct EngineCollector(pub(crate) Arc<RwLock<Engine>>);

impl Collector for EngineCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (counters, gauges) = {
            let engine = self.0.read();
            let gauges = [
                ("egiz_twin_things", "Things", engine.len()),
                (
                    "egiz_twin_discovered_devices",
                    "Devices heard that are no Things yet",
                    engine.discovered_len(),
                ),
                (
                    "egiz_twin_names",
                    "Distinct names of features, properties and attributes",
                    engine.names_len(),
                ),
            ];
            (engine.counters().named(), gauges)
        };
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        for (name, value) in counters {
            let counter = ConstCounter::new(value);
            let name = format!("egiz_twin_{name}");
            counter.encode(encoder.encode_descriptor(
                &name,
                "Counted by the twin engine",
                None,
                counter.metric_type(),
            )?)?;
        }
        Ok(())
    }
}
