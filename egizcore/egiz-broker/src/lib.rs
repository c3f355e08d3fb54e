//! The embedded MQTT broker: 3.1.1 and 5 on one port, QoS 0 and 1, and an acknowledgement that means durable.
//!
//! ```text
//!  socket ─► Session (decode, protocol rules) ─► Intake.submit(all publishes of one read, receipt)
//!                                                        │ committed, in packet order
//!  socket ◄─ Outbox ◄─ PUBACKs ◄─────────────────────────┤
//!  subscribers' Outboxes ◄─ Router ◄─ QoS 1 after commit ┘   (QoS 0 at once)
//! ```
//!
//! A connection goes on reading while its messages are being committed; when [`Intake`] has no room it stops reading, and
//! TCP slows the publisher down. Nothing is acknowledged that was not committed.
//!
//! This cut keeps sessions only while connected: QoS 2, persistent sessions and shared subscriptions are announced as not
//! available, and their seats are the session (states), the router (per-client subscriptions) and the intake (cursors).
//! It does not parse payloads, store anything, or choose a clock.

mod broker;
mod connection;
mod gate;
mod listener;
mod message;
mod metrics;
mod outbox;
mod retained;
mod router;
pub mod session;
mod settling;
pub mod topic;

pub use broker::{Broker, BrokerConfig, BrokerStatus};
pub use gate::{
    ClientCertificate, ClientInfo, Denied, DeviceRights, EverythingRights, Gatekeeper, Intake, Login,
    NothingRights, Receipt, Refusal, Room, TopicRights,
};
pub use listener::{ListenerOptions, Origins, Reload, Tls, TlsError, TlsFiles, Transport};
pub use message::Publish;
pub use metrics::BrokerMetrics;
