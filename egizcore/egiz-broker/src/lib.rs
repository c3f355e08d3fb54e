//! The embedded MQTT broker: 3.1.1 and 5 on one port, QoS 0, 1 and 2, and an acknowledgement that means durable.
//!
//! ```text
//!  socket ─► Protocol (decode, rules) ─► Connection ─► Intake.submit(publishes and notes of one read, receipt)
//!                                                           │ committed, in packet order
//!  socket ◄─ Outbox ◄─ PUBACK, PUBREC, SUBACK … ◄───────────┤
//!     ▲                                                     ▼
//!     └── Outbox ◄─ Delivery (window, packet ids, QoS 2) ◄─ Routes        (QoS 0 at once, QoS 1 and 2 after the commit)
//!                      ▲ too slow, or away: by offset
//!                      └── Reader ◄─ Archive (the journal)
//! ```
//!
//! A connection goes on reading while its messages are being committed; when [`Intake`] has no room it stops reading, and
//! TCP slows the publisher down. Nothing is acknowledged that was not committed. A message is never copied for a client that
//! is slow or away: its session remembers how far it has come in the journal, and reads on from there.
//!
//! It does not parse payloads, store anything, or choose a clock.

mod broker;
mod connection;
mod delivery;
mod gate;
mod housekeeping;
mod ledger;
mod listener;
mod message;
mod metrics;
mod outbox;
mod planning;
mod properties;
pub mod protocol;
mod reader;
mod retained;
mod router;
mod routes;
mod session;
mod sessions;
mod settling;
pub mod topic;
mod wills;

pub use broker::{Broker, BrokerConfig, BrokerStatus};
pub use gate::{
    Archive, ArchiveReader, ClientCertificate, ClientInfo, Clock, Denied, DeviceRights, EverythingRights,
    Gatekeeper, Intake, Login, NothingRights, Placed, Receipt, Refusal, Room, Surroundings, TopicRights,
};
pub use ledger::{Ledger, LedgerError};
pub use listener::{ListenerOptions, Origins, Reload, Tls, TlsError, TlsFiles, Transport};
pub use message::Publish;
pub use metrics::BrokerMetrics;

/// A message's place in the journal.
pub type Offset = u64;
