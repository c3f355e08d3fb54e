//! What the handlers share: the ports, and the bounds that span requests.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::guard::{auth::Tokens, rate::Limiter};
use crate::idempotency::Answers;
use crate::ports::Ports;

/// The handlers' state; cloning shares it.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

/// See [`App`].
pub(crate) struct Inner {
    pub(crate) ports: Ports,
    pub(crate) tokens: Tokens,
    /// Requests under way; at the bound a request is answered 503 and counted as refused.
    pub(crate) requests: Arc<Semaphore>,
    /// Imports and bulk changes under way; at the bound a request is answered 503.
    pub(crate) streams: Arc<Semaphore>,
    /// Computations over history under way; at the bound a request waits for its turn.
    pub(crate) histories: Arc<Semaphore>,
    pub(crate) limiter: Option<Limiter>,
    pub(crate) answers: Answers,
}

impl App {
    pub(crate) fn new(ports: Ports) -> Self {
        let settings = &ports.settings;
        Self(Arc::new(Inner {
            tokens: Tokens::new(settings, ports.store.clone()),
            requests: Arc::new(Semaphore::new(settings.concurrent_requests_max)),
            streams: Arc::new(Semaphore::new(settings.concurrent_streams_max)),
            histories: Arc::new(Semaphore::new(crate::history::AT_ONCE)),
            answers: Answers::new(settings.idempotency, ports.metrics.clone()),
            limiter: settings.rate_limit.map(Limiter::new),
            ports,
        }))
    }
}

impl std::ops::Deref for App {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}
