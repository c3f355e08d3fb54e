//! The table that is printed, and how figures are written in it.

use e2e::measure::Latencies;

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) measured: String,
    pub(crate) goal: &'static str,
}

/// What is not to happen has happened; the rows are printed all the same.
#[derive(Debug)]
pub(crate) struct BrokenPromise {
    pub(crate) rows: Vec<Row>,
    pub(crate) what: String,
}

impl std::fmt::Display for BrokenPromise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for BrokenPromise {}

/// Median and 99th percentile in milliseconds.
pub(crate) fn millis(latencies: &Latencies) -> String {
    let at = |part| latencies.quantile(part).as_secs_f64() * 1e3;
    format!("{:.1} / {:.1}", at(0.5), at(0.99))
}

/// Megabytes.
#[expect(clippy::cast_precision_loss, reason = "bytes")]
pub(crate) fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
