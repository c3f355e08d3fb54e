//! Live subscriptions: over WebSocket and server-sent events, as events or as columns.
//!
//! ```text
//!  apply thread ─ publish(batch) ─► hub: interest index, ring ─► mailboxes (bounded) ─► feed: a piece at a time ─► socket, stream
//!                                                                                  └─► board: shared column table ─► socket
//! ```
//!
//! A client that keeps up gets every event, in order, with a number that counts up by one. One that does not gets the newest
//! state of each Thing and feature instead of a backlog, and is told how many changes that stands for. Nobody is told
//! nothing: what was left out is in `conflated`, and a client that comes back says from which offset it wants to go on.
//!
//! The apply thread hands over what it applied and never waits for a client.

pub(crate) mod acks;
mod board;
mod columns;
mod event;
mod fact;
mod feed;
mod hub;
mod mailbox;
mod metrics;
mod playback;
mod request;
mod ring;
mod routing;
mod search;
mod settings;
pub(crate) mod socket;
pub(crate) mod stream;
mod subscriber;
mod table;
mod ticket;
pub(crate) mod tickets;
mod walk;

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};

use crate::error::ApiError;
use crate::fields::Fields;
use crate::ports::Ports;

pub use hub::{Hub, HubSettings};

/// The routes `/ws`, `/events`, `/things/{thingId}/events` and `/tickets`, below `/api/v1`.
pub fn routes() -> Router<Ports> {
    Router::new()
        .route("/ws", get(socket::upgrade))
        .route("/events", get(stream::events))
        .route("/things/{thingId}/events", get(stream::events_of_thing))
        .route("/tickets", post(tickets::create))
}

/// What of a Thing is shown where only some features are wanted.
fn fields_of(features: &[String]) -> Result<Fields, ApiError> {
    let mut text =
        "thingId,definition,attributes,_revision,_offset,_created,_modified,_connection".to_owned();
    for feature in features {
        text.push_str(",features/");
        text.push_str(feature);
    }
    Fields::parse(&text)
}

/// When a client may come back after a restart, told apart so that a thousand do not come in the same moment.
fn pause_before_return(ports: &Ports) -> Duration {
    let mut byte = [0];
    (ports.random)(&mut byte);
    Duration::from_millis(200 + 8 * u64::from(byte[0]))
}
