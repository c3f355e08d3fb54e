//! The truth about the faults, as JSON lines for later evaluation and as the last records in memory.
//!
//! One line per event:
//! `{"time":"2026-01-20T14:22:00.000Z","device":"oven-001","fault":"bearing_wear","event":"onset",
//! "severity":0.0,"signals":["mechanical/vibration_rms_mm_s"],"episode":1}`

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::fault::{FaultKind, TruthEvent, TruthKind};

/// Records kept in memory; the oldest go first. The file keeps all.
const RECORDS: usize = 10_000;

/// One line of the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TruthRecord {
    /// Time, ISO 8601 UTC, on the same clock as the payloads' timestamps.
    pub time: String,
    /// Name of the device.
    pub device: String,
    /// Kind of the fault.
    pub fault: FaultKind,
    /// What happened.
    pub event: TruthKind,
    /// Severity at that time, `0.0..=1.0`.
    pub severity: f64,
    /// Signals that show the fault, the strongest first: `feature/property` or `feature/property/index`.
    pub signals: Vec<String>,
    /// Number of the fault since the start; the events of one fault share it.
    pub episode: u64,
}

/// Where the truth goes.
pub(crate) struct TruthLog {
    writer: Option<Box<dyn Write + Send>>,
    records: VecDeque<TruthRecord>,
    total: u64,
}

impl TruthLog {
    /// Opens the file for appending; `-` is standard output.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let writer: Option<Box<dyn Write + Send>> = match path {
            None => None,
            Some(path) if path == Path::new("-") => Some(Box::new(io::stdout())),
            Some(path) => Some(Box::new(OpenOptions::new().create(true).append(true).open(path)?)),
        };
        Ok(TruthLog { writer, records: VecDeque::new(), total: 0 })
    }

    pub(crate) fn append(&mut self, event: TruthEvent, time_ms: i64) {
        tracing::info!(
            device = event.device,
            fault = event.fault.name(),
            event = ?event.event,
            severity = event.severity,
            "simulated fault"
        );
        let record = TruthRecord {
            time: iso_8601(time_ms),
            device: event.device,
            fault: event.fault,
            event: event.event,
            severity: (event.severity * 1000.0).round() / 1000.0,
            signals: event.signals,
            episode: event.episode,
        };
        if let Some(writer) = &mut self.writer
            && let Err(error) = write_line(writer, &record)
        {
            tracing::warn!(%error, "can't write the truth about faults; it goes on in memory only");
            self.writer = None;
        }
        if self.records.len() == RECORDS {
            self.records.pop_front();
        }
        self.records.push_back(record);
        self.total += 1;
    }

    pub(crate) fn records(&self) -> Vec<TruthRecord> {
        self.records.iter().cloned().collect()
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

fn write_line(writer: &mut (dyn Write + Send), record: &TruthRecord) -> io::Result<()> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    writer.write_all(&line)?;
    writer.flush()
}

/// A clock outside of years -9999 to 9999 gives the nearest end.
fn iso_8601(time_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or(if time_ms < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    });
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::iso_8601;

    #[test]
    fn times_are_iso_8601_in_utc() {
        assert_eq!(iso_8601(1_706_352_600_250), "2024-01-27T10:50:00.250Z");
        assert_eq!(iso_8601(0), "1970-01-01T00:00:00.000Z");
    }
}
