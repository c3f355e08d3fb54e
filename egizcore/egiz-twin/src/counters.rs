//! What the engine counts. Part of the state, so that replicas agree and a restart goes on counting.

/// Totals since the first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Records applied.
    pub records: u64,
    /// Telemetry messages.
    pub telemetry_messages: u64,
    /// Samples in them, for known Things.
    pub samples: u64,
    /// Samples that made a difference.
    pub samples_changed: u64,
    /// Samples older than what was there; they are history, not live state.
    pub samples_late: u64,
    /// Samples that were there already, with the same time.
    pub samples_duplicate: u64,
    /// Samples refused at a limit.
    pub samples_refused: u64,
    /// Messages of devices that are no Things.
    pub messages_unknown: u64,
    /// Discovered devices forgotten to make room.
    pub discovered_evicted: u64,
    /// Writes that changed something.
    pub writes_applied: u64,
    /// Writes that changed nothing.
    pub writes_unchanged: u64,
    /// Writes refused.
    pub writes_refused: u64,
    /// Things that became stale.
    pub stale: u64,
}

impl Counters {
    /// The counters in order, for snapshots and metrics; a new one goes to the end.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 13] {
        [
            ("records", self.records),
            ("telemetry_messages", self.telemetry_messages),
            ("samples", self.samples),
            ("samples_changed", self.samples_changed),
            ("samples_late", self.samples_late),
            ("samples_duplicate", self.samples_duplicate),
            ("samples_refused", self.samples_refused),
            ("messages_unknown", self.messages_unknown),
            ("discovered_evicted", self.discovered_evicted),
            ("writes_applied", self.writes_applied),
            ("writes_unchanged", self.writes_unchanged),
            ("writes_refused", self.writes_refused),
            ("stale", self.stale),
        ]
    }

    pub(crate) fn from_values(values: [u64; 13]) -> Self {
        let [
            records,
            telemetry_messages,
            samples,
            samples_changed,
            samples_late,
            samples_duplicate,
            samples_refused,
            messages_unknown,
            discovered_evicted,
            writes_applied,
            writes_unchanged,
            writes_refused,
            stale,
        ] = values;
        Self {
            records,
            telemetry_messages,
            samples,
            samples_changed,
            samples_late,
            samples_duplicate,
            samples_refused,
            messages_unknown,
            discovered_evicted,
            writes_applied,
            writes_unchanged,
            writes_refused,
            stale,
        }
    }
}
