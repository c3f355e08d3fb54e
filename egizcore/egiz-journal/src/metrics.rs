//! What the journal counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The journal's metrics.
#[derive(Debug, Clone)]
pub struct JournalMetrics {
    /// `egiz_journal_records_total`: records committed.
    pub(crate) records: Counter,
    /// `egiz_journal_bytes_total`: bytes committed.
    pub(crate) bytes: Counter,
    /// `egiz_journal_groups_total`: commits; records per commit is how well grouping works.
    pub(crate) groups: Counter,
    /// `egiz_journal_refused_records_total`: records that were refused because the disk was full or failing.
    pub(crate) refused: Counter,
    /// `egiz_journal_failures_total`: writes, syncs and removals that failed, and attempts to repair.
    pub(crate) failures: Counter,
    /// `egiz_journal_trimmed_segments_total`: segments removed.
    pub(crate) trimmed: Counter,
    /// `egiz_journal_reserve_waits_total`: times that somebody had to wait for room in the queue.
    pub(crate) reserve_waits: Counter,
    /// `egiz_journal_commit_seconds`: one write and sync.
    pub(crate) commit_seconds: Histogram,
    /// `egiz_journal_disk_bytes`: bytes on disk.
    pub(crate) disk_bytes: Gauge<u64, AtomicU64>,
}

impl JournalMetrics {
    /// Puts the metrics into `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            records: Counter::default(),
            bytes: Counter::default(),
            groups: Counter::default(),
            refused: Counter::default(),
            failures: Counter::default(),
            trimmed: Counter::default(),
            reserve_waits: Counter::default(),
            commit_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            disk_bytes: Gauge::default(),
        };
        registry.register("egiz_journal_records", "Records committed", metrics.records.clone());
        registry.register("egiz_journal_bytes", "Bytes committed", metrics.bytes.clone());
        registry.register("egiz_journal_groups", "Commits", metrics.groups.clone());
        registry.register(
            "egiz_journal_refused_records",
            "Records refused because the disk was full or failing",
            metrics.refused.clone(),
        );
        registry.register(
            "egiz_journal_failures",
            "Writes, syncs and removals that failed",
            metrics.failures.clone(),
        );
        registry.register("egiz_journal_trimmed_segments", "Segments removed", metrics.trimmed.clone());
        registry.register(
            "egiz_journal_reserve_waits",
            "Times somebody waited for room in the queue",
            metrics.reserve_waits.clone(),
        );
        registry.register(
            "egiz_journal_commit_seconds",
            "One write and sync",
            metrics.commit_seconds.clone(),
        );
        registry.register("egiz_journal_disk_bytes", "Bytes on disk", metrics.disk_bytes.clone());
        metrics
    }
}
