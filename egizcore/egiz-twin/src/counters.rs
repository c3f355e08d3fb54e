//! What the engine counts. Part of the state, so that replicas agree and a restart goes on counting.

use crate::Refusal;

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
    /// Newer samples with the value that was there: only their times were taken.
    pub samples_unchanged: u64,
    /// Samples older than what was there; they are history, not live state.
    pub samples_late: u64,
    /// Samples that were there already, with the same time.
    pub samples_duplicate: u64,
    /// Samples refused at a limit, or for a name that breaks the rules.
    pub samples_refused: u64,
    /// Messages of devices that are no Things.
    pub messages_unknown: u64,
    /// Discovered devices forgotten to make room.
    pub discovered_evicted: u64,
    /// Writes that changed something.
    pub writes_applied: u64,
    /// Writes that changed nothing.
    pub writes_unchanged: u64,
    /// Writes refused; [`Self::refusals`] has them by reason.
    pub writes_refused: u64,
    /// Things that became stale.
    pub stale: u64,
    /// Records skipped because their bytes could not be read.
    pub undecodable: u64,
    pub(crate) refused_by_reason: [u64; Refusal::REASONS.len()],
}

/// How many counters [`Counters::named`] gives.
const NAMED: usize = 15;

impl Counters {
    /// The counters with their names, for metrics.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); NAMED] {
        [
            ("records", self.records),
            ("telemetry_messages", self.telemetry_messages),
            ("samples", self.samples),
            ("samples_changed", self.samples_changed),
            ("samples_unchanged", self.samples_unchanged),
            ("samples_late", self.samples_late),
            ("samples_duplicate", self.samples_duplicate),
            ("samples_refused", self.samples_refused),
            ("messages_unknown", self.messages_unknown),
            ("discovered_evicted", self.discovered_evicted),
            ("writes_applied", self.writes_applied),
            ("writes_unchanged", self.writes_unchanged),
            ("writes_refused", self.writes_refused),
            ("stale", self.stale),
            ("undecodable", self.undecodable),
        ]
    }

    /// Refused writes by [`Refusal::reason`].
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        Refusal::REASONS.into_iter().zip(self.refused_by_reason)
    }

    pub(crate) fn refuse(&mut self, refusal: &Refusal) {
        self.writes_refused += 1;
        self.refused_by_reason[refusal.index()] += 1;
    }

    /// Every counter in the order of the snapshot; a new one goes to the end.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        let Self {
            records,
            telemetry_messages,
            samples,
            samples_changed,
            samples_unchanged,
            samples_late,
            samples_duplicate,
            samples_refused,
            messages_unknown,
            discovered_evicted,
            writes_applied,
            writes_unchanged,
            writes_refused,
            stale,
            undecodable,
            refused_by_reason,
        } = self;
        let single = [
            records,
            telemetry_messages,
            samples,
            samples_changed,
            samples_unchanged,
            samples_late,
            samples_duplicate,
            samples_refused,
            messages_unknown,
            discovered_evicted,
            writes_applied,
            writes_unchanged,
            writes_refused,
            stale,
            undecodable,
        ];
        single.into_iter().chain(refused_by_reason)
    }
}
