//! Live subscriptions: over WebSocket and server-sent events, as events or as columns.
//!
//! ```text
//!  apply thread ─ publish(batch) ─► Hub: ring, interest index ─► mailboxes (bounded) ─► connection: encode, send
//! ```
//!
//! A client that keeps up gets every event, in order, with a number that counts up by one. One that does not gets the newest
//! state of each Thing and feature instead of a backlog, and is told how many changes that stands for. Nobody is told
//! nothing: what was left out is in `conflated`, and a client that comes back says from which offset it wants to go on.
//!
//! The apply thread routes and files; it never waits for a client.

mod columns;
mod event;
mod hub;
mod mailbox;
mod request;
mod socket;
mod stream;

use axum::Router;
use axum::routing::get;

use crate::ports::Ports;

pub use hub::{Hub, HubSettings};

/// The routes `/ws`, `/events` and `/things/{thingId}/events`, below `/api/v1`.
pub fn routes() -> Router<Ports> {
    Router::new().route("/ws", get(socket::upgrade)).route("/events", get(stream::events))
}
