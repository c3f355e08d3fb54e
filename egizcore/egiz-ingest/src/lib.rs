//! Topic and payload to records: the one place that knows which Thing a topic feeds and what devices' payloads mean; and
//! the clients of brokers elsewhere: those from which the same messages come ([`ExternalBroker`]) and those to which messages
//! are forwarded ([`Bridge`]).
//!
//! [`Ingest::map`] takes one MQTT message and appends what the journal is to keep. It never fails: a payload that makes
//! no sense is kept whole as a plain message, counted, and shown with the reason in a bounded list
//! ([`Ingest::rejected`]), so that one bad device never stops the stream and nobody has to guess why it is not seen.
//! [`Ingest::map_lines`] does the same with line protocol, as Telegraf sends it.
//!
//! It does not decide who may publish where (the broker's door does), which Things exist (the engine does), or whether a
//! sample is late (the engine does). Mapping opens no socket and reads no clock; the clients open sockets and keep nothing.

mod acknowledger;
mod bridge;
mod client;
mod clock;
mod external;
mod filter;
mod intake;
mod lines;
mod link;
mod metrics;
mod payload;
mod rejected;
mod topic;
mod window;

pub use bridge::{Bridge, BridgeCounters, BridgeMetrics};
pub use client::{ClientStatus, Connect, OnStatus, RetryDelay};
pub use clock::ClockRules;
pub use external::{ExternalBroker, ExternalCounters, ExternalMetrics, Receipt, Room, Sink};
pub use filter::{FilterError, TopicFilter};
pub use intake::{Ingest, IngestConfig, Mapped, Part, Source};
pub use lines::LineRules;
pub use link::{
    AddressError, BrokerAddress, Credentials, LinkOptions, Message, Problem, ProblemKind, Protocol, TlsError,
    TlsRoots, tls_client,
};
pub use metrics::IngestMetrics;
pub use payload::{PayloadLimits, RejectReason, Rejection};
pub use rejected::RejectedMessage;
pub use topic::{DeviceTopic, TopicKind};
