//! HTTP, WebSocket and server-sent events over the twin engine.
//!
//! A file per noun; [`ports`] says what the program must give, [`live`] holds the subscriptions, [`error`] is the only
//! place where a failure becomes a status, `guard` is the door that every request passes. The server opens no journal,
//! chooses no clock and reads no environment.

mod accept;
mod annotations;
mod app;
mod assets;
mod audit;
mod backups;
mod body;
pub mod caller;
mod conditional;
mod cursor;
mod devices;
mod discovered;
mod docs;
pub mod error;
mod fields;
mod guard;
mod history;
mod idempotency;
mod influx;
mod layout;
pub mod live;
pub mod metrics;
mod min_offset;
mod outflow;
mod page;
mod params;
pub mod ports;
mod present;
mod program;
mod progress;
mod query;
mod registry;
mod respond;
mod router;
mod serve;
pub mod settings;
mod strict;
mod submit;
mod target;
mod templates;
mod things;
mod tokens;

pub use caller::{Caller, Revocation};
pub use docs::document;
pub use error::ApiError;
pub use history::corrections::restore_corrections;
pub use layout::{LayoutError, check_layout};
pub use metrics::ServerMetrics;
pub use ports::{
    Applied, AppliedBatch, BackupError, Backups, Clock, LineMapper, Ports, ProgramReport, RandomSource,
    SubmitError, WriteGate,
};
pub use progress::Progress;
pub use router::{router, vision_router};
pub use serve::{ServeOptions, serve};
pub use settings::{
    Anonymous, ApiToken, IdempotencySettings, InfluxSettings, RateLimit, Role, ServerSettings,
};
