//! Live subscriptions over WebSocket and server-sent events.

use axum::Router;

use crate::ports::Ports;

/// Takes what was applied and hands it to the subscribers; cloning shares it.
#[derive(Clone, Debug)]
pub struct Hub;

/// The routes `/ws` and `/things/events`, below `/api/v1`. [`crate::Caller`] is in each request's extensions.
pub fn routes() -> Router<Ports> {
    Router::new()
}
