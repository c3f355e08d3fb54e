//! Topic and payload to records: the one place that knows which Thing a topic feeds and what devices' payloads mean.
//!
//! [`Ingest::map`] takes one MQTT message and appends what the journal is to keep. It never fails: a payload that makes
//! no sense is kept whole as a plain message, counted, and shown with the reason in a bounded list
//! ([`Ingest::rejected`]), so that one bad device never stops the stream and nobody has to guess why it is not seen.
//!
//! It does not decide who may publish where (the broker's door does), which Things exist (the engine does), or whether a
//! sample is late (the engine does); it opens no socket and reads no clock.

mod clock;
mod intake;
mod metrics;
mod payload;
mod rejected;
mod topic;

pub use clock::ClockRules;
pub use intake::{Ingest, IngestConfig, Mapped, Part, Source};
pub use metrics::IngestMetrics;
pub use payload::{PayloadLimits, RejectReason, Rejection};
pub use rejected::RejectedMessage;
pub use topic::{DeviceTopic, TopicKind};
