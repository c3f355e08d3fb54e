//! HTTP, WebSocket and server-sent events over the twin engine.
//!
//! A file per noun; [`ports`] says what the program must give, [`live`] holds the subscriptions, `error` is the only
//! place where a failure becomes a status. The server opens no journal, chooses no clock and reads no environment.

pub mod caller;
pub mod error;
pub mod live;
pub mod metrics;
pub mod ports;
pub mod settings;

pub use caller::Caller;
pub use error::ApiError;
pub use metrics::ServerMetrics;
pub use ports::{Applied, AppliedBatch, Clock, Ports, ProgramReport, RandomSource, SubmitError, WriteGate};
pub use settings::{ApiToken, RateLimit, Role, ServerSettings};
