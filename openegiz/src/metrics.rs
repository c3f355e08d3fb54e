//! What the program itself counts: the way of records and of history, and what engine and historian say of themselves at
//! each scrape.

use std::sync::Arc;

use egiz_historian::{Historian, Status};
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

/// Metrics of the way into history.
#[derive(Debug, Clone)]
pub(crate) struct HistoryMetrics {
    /// `egiz_history_queue_full_total`: times that the apply thread waited for the history thread.
    pub(crate) queue_full: Counter,
    /// `egiz_history_head_full_total`: times that the history thread waited for room in memory.
    pub(crate) head_full: Counter,
    /// `egiz_history_skipped_samples_total`: samples that were not kept because a template says so.
    pub(crate) skipped_samples: Counter,
    /// `egiz_history_failures_total`: tries to seal or to merge that failed and are repeated.
    pub(crate) failures: Counter,
}

impl HistoryMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            queue_full: Counter::default(),
            head_full: Counter::default(),
            skipped_samples: Counter::default(),
            failures: Counter::default(),
        };
        registry.register(
            "egiz_history_queue_full",
            "Times that applying records waited for history",
            metrics.queue_full.clone(),
        );
        registry.register(
            "egiz_history_head_full",
            "Times that history took nothing in because its memory was full and could not be written",
            metrics.head_full.clone(),
        );
        registry.register(
            "egiz_history_skipped_samples",
            "Samples that were not kept because the recording of a template says so",
            metrics.skipped_samples.clone(),
        );
        registry.register(
            "egiz_history_failures",
            "Tries to write or to merge history that failed and are repeated",
            metrics.failures.clone(),
        );
        metrics
    }
}

/// Reads the historian when metrics are asked for.
pub(crate) struct HistoryCollector {
    pub(crate) historian: Arc<Historian>,
    /// Files that could not be used at the start.
    pub(crate) lost_parts: usize,
}

impl std::fmt::Debug for HistoryCollector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("HistoryCollector").finish_non_exhaustive()
    }
}

impl Collector for HistoryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Status {
            head_rows,
            head_bytes,
            parts,
            disk_bytes,
            rollup_bytes,
            disk_budget,
            rows,
            samples,
            counts,
            ..
        } = self.historian.status();
        let gauges = [
            ("egiz_history_rows", "Rows in files, one for each message", rows),
            ("egiz_history_samples", "Samples in files", samples),
            ("egiz_history_parts", "Files", parts as u64),
            ("egiz_history_lost_parts", "Files that could not be used at the start", self.lost_parts as u64),
            ("egiz_history_disk_bytes", "Bytes of the files", disk_bytes),
            (
                "egiz_history_rollup_bytes",
                "Bytes of the files with rollups, which are among these",
                rollup_bytes,
            ),
            (
                "egiz_history_disk_budget_bytes",
                "Bytes that the files may take, 0 for any number",
                disk_budget.unwrap_or_default(),
            ),
            (
                "egiz_history_corrections",
                "Corrections of the past in force",
                self.historian.corrections().len() as u64,
            ),
            ("egiz_history_head_rows", "Rows in memory, not in files yet", head_rows as u64),
            ("egiz_history_head_bytes", "Memory taken by rows that are not in files yet", head_bytes as u64),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let counters = [
            ("egiz_history_sealed_rows", "Rows written to files", counts.rows_sealed),
            ("egiz_history_expired_rows", "Rows older than what is kept when they came", counts.rows_expired),
            ("egiz_history_dropped_rows", "Rows dropped because their time had come", counts.rows_dropped),
            (
                "egiz_history_dropped_for_space_rows",
                "Rows dropped before their time because history took more than history.disk_budget_bytes",
                counts.rows_dropped_for_space,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
