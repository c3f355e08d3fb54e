//! The registry of metrics and its text form for `/metrics`. The parts make their own families and register them;
//! here are only those that belong to no part: the process and the build.
//!
//! Source: OpenMetrics 1.0; the process metrics have the names that Prometheus' own clients use.

mod process;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildInfo {
    /// The program's version.
    pub version: &'static str,
    /// The source revision it was built from, or `unknown`.
    pub revision: &'static str,
}

/// The registry. The program fills it while it wires the parts and shares it afterwards, read only.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Makes a registry with what belongs to no part:
    ///
    /// - `egiz_build_info{version,revision}`: always 1.
    /// - `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds`, `process_max_fds`,
    ///   `process_threads`, `process_start_time_seconds`: read from `/proc` at each scrape, absent where it is not.
    pub fn new(build: BuildInfo) -> Metrics {
        let mut registry = Registry::default();
        let labels = vec![("version", build.version), ("revision", build.revision)];
        registry.register("egiz_build", "What is running", Info::new(labels));
        registry.register_collector(Box::new(process::ProcessCollector::new("/proc".into())));
        Metrics { registry }
    }

    /// Where parts register their families.
    pub fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Writes all metrics in the OpenMetrics text form.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail; a collector that did would leave what was written before it.
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn the_text_holds_the_build_the_process_and_the_parts() {
        let mut metrics = Metrics::new(BuildInfo { version: "1.2.3", revision: "abc" });
        let dropped: Counter = Counter::default();
        metrics.registry_mut().register("egiz_test_dropped", "Dropped", dropped.clone());
        dropped.inc();
        let text = metrics.encode();
        assert!(text.contains("egiz_build_info{version=\"1.2.3\",revision=\"abc\"} 1\n"), "{text}");
        assert!(text.contains("egiz_test_dropped_total 1\n"), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
