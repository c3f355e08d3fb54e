//! What comes of a record: an outcome for who asked, and changes for who watches.

use std::sync::Arc;

use egiz_model::{Offset, ThingId, Timestamp, Value};

use crate::Connection;
use crate::filter::FilterError;

/// Something became different. Changes of one record follow each other and share its offset and revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The Thing.
    pub thing: ThingId,
    /// Where the engine keeps it; reused after a deletion.
    pub slot: u32,
    /// The Thing's revision after the change.
    pub revision: u64,
    /// The record's place in the journal.
    pub offset: Offset,
    /// When the platform took the record in.
    pub received: Timestamp,
    /// When the device measured, for telemetry.
    pub source: Option<Timestamp>,
    /// Who caused it.
    pub principal: Arc<str>,
    /// The correlation id that the cause brought along.
    pub correlation: Option<Arc<str>>,
    /// What.
    pub kind: ChangeKind,
}

/// What became different.
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeKind {
    /// The Thing is new.
    Created,
    /// The Thing is gone.
    Deleted,
    /// It refers to another template.
    Definition,
    /// Attributes were set or removed.
    Attributes,
    /// Properties of a feature.
    Feature {
        /// The feature.
        feature: Arc<str>,
        /// The changed properties with their new values; `None` for removed ones.
        properties: Vec<(Arc<str>, Option<Value>)>,
        /// Whether the whole feature is gone.
        removed: bool,
    },
    /// Desired properties of a feature.
    Desired {
        /// The feature.
        feature: Arc<str>,
    },
    /// A property's metadata was set by somebody.
    Metadata {
        /// The feature.
        feature: Arc<str>,
        /// The property.
        property: Arc<str>,
    },
    /// The device came, went, or fell silent.
    Connection(Connection),
    /// A device was heard that is no Thing yet; `slot` and `revision` are 0.
    Discovered,
    /// A template was put in force or withdrawn; `slot` and `revision` are 0 and the Thing's id stands for none.
    Template {
        /// The definition.
        definition: Arc<str>,
    },
}

/// What came of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Telemetry was applied, to whatever extent.
    Telemetry(TelemetryOutcome),
    /// A write was decided.
    Write(WriteOutcome),
    /// Done; nobody waits for more.
    Done,
    /// Not for the engine, or applied before.
    Ignored,
}

/// What came of a telemetry message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TelemetryOutcome {
    /// The Thing's revision now; `None` if there is no such Thing.
    pub revision: Option<u64>,
    /// Samples that made a difference.
    pub changed: u32,
    /// Samples older than what is there.
    pub late: u32,
    /// Samples that were there already, with the same time.
    pub duplicate: u32,
    /// Samples refused at a limit.
    pub refused: u32,
}

/// What came of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteOutcome {
    /// What the path names is new.
    Created {
        /// The Thing's revision now.
        revision: u64,
    },
    /// What the path names is different.
    Changed {
        /// The Thing's revision now.
        revision: u64,
    },
    /// Everything was so already: no revision, no event.
    Unchanged {
        /// The Thing's revision now.
        revision: u64,
    },
    /// What the path named is gone.
    Deleted {
        /// The Thing's revision now; of a deleted Thing, its last.
        revision: u64,
    },
    /// Nothing was changed.
    Refused(Refusal),
}

/// Why a write was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such Thing, or nothing at the path.
    #[error("{what} does not exist")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// It exists already.
    #[error("{thing} exists already")]
    AlreadyExists {
        /// The Thing.
        thing: String,
    },
    /// No device with this id was heard.
    #[error("no device was heard that would be {thing}")]
    NotDiscovered {
        /// The Thing.
        thing: String,
    },
    /// `If-Match` does not hold.
    #[error("If-Match does not hold")]
    IfMatch {
        /// The entity tag there is, if there is one.
        current: Option<String>,
    },
    /// `If-None-Match` does not hold.
    #[error("If-None-Match does not hold")]
    IfNoneMatch {
        /// The entity tag there is.
        current: Option<String>,
    },
    /// The condition on the state does not hold.
    #[error("the condition does not hold")]
    Condition,
    /// A header holds something that is no entity tag.
    #[error("{header} holds `{value}`, which is no entity tag such as \"rev:7\"")]
    MalformedEntityTag {
        /// Which header.
        header: &'static str,
        /// What it holds.
        value: String,
    },
    /// The condition cannot be read.
    #[error("the condition cannot be read: {0}")]
    MalformedFilter(FilterError),
    /// The content does not fit.
    #[error("{pointer}: {reason}")]
    Invalid {
        /// Where, as a JSON pointer into the Thing.
        pointer: String,
        /// Why.
        reason: String,
    },
    /// A JSON patch's `test` did not hold.
    #[error("the patch's test at {pointer} does not hold")]
    PatchTestFailed {
        /// Where.
        pointer: String,
    },
    /// An operation of a JSON patch needs something that is not there.
    #[error("{pointer}: operation {operation}: {reason}")]
    PatchConflict {
        /// Where.
        pointer: String,
        /// The operation's number, from 0.
        operation: usize,
        /// What is missing.
        reason: &'static str,
    },
    /// The Thing would become too large.
    #[error("the Thing would take {size} bytes; allowed are {limit_bytes}")]
    TooLarge {
        /// Allowed bytes.
        limit_bytes: usize,
        /// What it would take.
        size: usize,
    },
    /// A limit on numbers is reached.
    #[error("there are {limit} {what} already, which is the limit")]
    LimitReached {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
}

impl Refusal {
    /// The words of [`Self::reason`], in a fixed order.
    pub const REASONS: [&'static str; 12] = [
        "not-found",
        "already-exists",
        "not-discovered",
        "if-match",
        "if-none-match",
        "condition",
        "malformed-entity-tag",
        "malformed-filter",
        "invalid",
        "patch-test-failed",
        "too-large",
        "limit-reached",
    ];

    /// One word for the reason, for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        Self::REASONS[self.index()]
    }

    pub(crate) fn index(&self) -> usize {
        match self {
            Self::NotFound { .. } => 0,
            Self::AlreadyExists { .. } => 1,
            Self::NotDiscovered { .. } => 2,
            Self::IfMatch { .. } => 3,
            Self::IfNoneMatch { .. } => 4,
            Self::Condition => 5,
            Self::MalformedEntityTag { .. } => 6,
            Self::MalformedFilter(_) => 7,
            Self::Invalid { .. } => 8,
            // Counted as one: both do not fit the state, and the counters' order is that of the snapshots.
            Self::PatchTestFailed { .. } | Self::PatchConflict { .. } => 9,
            Self::TooLarge { .. } => 10,
            Self::LimitReached { .. } => 11,
        }
    }
}
