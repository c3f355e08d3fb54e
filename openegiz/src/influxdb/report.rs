//! How the writer is doing: in /health always, in the log once for each change.

use std::time::{Duration, Instant};

use egiz_service::health::Part;
use parking_lot::Mutex;

/// How long /health speaks of values that were not taken after the last of them.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Longer ago than this, what waits is worth a word.
const BEHIND_S: f64 = 60.0;

/// Tells of the writer.
pub(super) struct Reporter {
    part: Part,
    /// Where the InfluxDB is, without parameters.
    address: String,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    state: State,
    /// When a value was rejected last, how many were, and why the last one.
    rejected: Option<(Instant, u64, String)>,
    /// Records that went without having been written.
    skipped: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Starting,
    Writing,
    Away,
    Refused,
}

/// What waits to be written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lag {
    pub(super) records: u64,
    pub(super) seconds: f64,
}

impl Reporter {
    pub(super) fn new(part: Part, address: String) -> Self {
        part.starting();
        Self { part, address, told: Mutex::default() }
    }

    /// Something was written, or there is nothing to write.
    pub(super) fn writing(&self, lag: Lag) {
        let mut told = self.told.lock();
        let before = std::mem::replace(&mut told.state, State::Writing);
        if before != State::Writing {
            tracing::info!(influxdb = self.address, lag_records = lag.records, "writing to the InfluxDB");
        }
        let mut faults = Vec::new();
        if told.skipped > 0 {
            faults.push(format!("{} records went without having been written there", told.skipped));
        }
        if let Some((last, count, reason)) = &told.rejected
            && last.elapsed() < REMEMBERED
        {
            faults.push(format!("{count} values were not taken, the last because of {reason}"));
        }
        if lag.seconds > BEHIND_S {
            faults.push(format!("catching up, {} records and {:.0} s behind", lag.records, lag.seconds));
        }
        if faults.is_empty() {
            self.part.up();
        } else {
            self.part.degraded(faults.join("; "));
        }
    }

    /// It is tried again after a while.
    pub(super) fn waiting(&self, reason: &str, is_refused: bool, pause: Duration, lag: Lag) {
        let now = if is_refused { State::Refused } else { State::Away };
        let mut told = self.told.lock();
        let before = std::mem::replace(&mut told.state, now);
        let lost = match told.skipped {
            0 => "nothing is lost".to_owned(),
            records => format!("{records} older records went without having been written there"),
        };
        self.part.down(format!(
            "{}: {reason}; {} records and {:.0} s behind, {lost}; tried again in {:.1} s",
            self.address,
            lag.records,
            lag.seconds,
            pause.as_secs_f64()
        ));
        let influxdb = &self.address;
        if before == now {
            tracing::debug!(
                influxdb,
                lag_records = lag.records,
                "still not written to the InfluxDB: {reason}"
            );
        } else {
            tracing::warn!(
                influxdb,
                lag_records = lag.records,
                "cannot write to the InfluxDB: {reason}; the journal keeps what waits, and it is tried again until it works"
            );
        }
    }

    /// Values were not taken.
    pub(super) fn rejected(&self, count: u64, examples: &[egiz_influx::isolate::Rejected]) {
        let Some(last) = examples.last() else { return };
        let mut told = self.told.lock();
        let before = told.rejected.as_ref().map_or(0, |(_, count, _)| *count);
        told.rejected = Some((Instant::now(), before + count, last.reason.clone()));
        drop(told);
        // The series and the field, not the value: payloads are not logged.
        let series = last.line.split_once(' ').map_or("", |(series, _)| series);
        let field =
            last.line.split_once(' ').and_then(|(_, rest)| rest.split_once('=')).map_or("", |(name, _)| name);
        tracing::warn!(
            influxdb = self.address,
            values = count,
            series,
            field,
            reason = last.reason,
            "the InfluxDB does not take some values; the others are there"
        );
    }

    /// Records went without having been written.
    pub(super) fn skipped(&self, records: u64, why: &str) {
        self.told.lock().skipped += records;
        tracing::error!(influxdb = self.address, records, "records are not written to the InfluxDB: {why}");
    }

    /// It cannot go on for a reason of its own.
    pub(super) fn broken(&self, why: &str) {
        self.part.down(why);
    }
}
