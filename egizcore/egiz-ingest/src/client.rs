//! What the program gives to clients of brokers elsewhere: how to connect, how long to wait, whom to tell.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::link::{LinkOptions, Problem, ProblemKind};

/// Says how to connect, anew for every connection: passwords and authorities may have changed on disk.
pub type Connect = Arc<dyn Fn() -> Result<LinkOptions, Problem> + Send + Sync>;

/// Says how long to wait after the n-th failure in a row, counted from 1, of a kind of trouble. Short for
/// [`ProblemKind::Unreachable`], so that a broker that returns is met within seconds; longer for
/// [`ProblemKind::Refused`], since nothing but a person ends it.
pub type RetryDelay = Arc<dyn Fn(ProblemKind, u32) -> Duration + Send + Sync>;

/// Told how a client is doing. Must not wait.
pub type OnStatus = Arc<dyn Fn(ClientStatus<'_>) + Send + Sync>;

/// How a client is doing.
#[derive(Debug, Clone, Copy)]
pub enum ClientStatus<'a> {
    /// It is connected and subscribed.
    Connected {
        /// Whether the broker still had the session, so that nothing was missed.
        session_present: bool,
    },
    /// It goes on, but something of it was left out.
    LeftOut {
        /// What, and why.
        what: &'a str,
    },
    /// It is not connected.
    Down {
        /// Why.
        problem: &'a Problem,
        /// When it tries again.
        retry_in: Duration,
    },
}

/// A connection that lasted this long ends a row of failures.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// The life of a client: connects, and after each end of a connection waits and connects again, until it is asked to stop.
///
/// ```text
///  connecting ─► connected ──┐
///      ▲  └── problem ──┐    │ problem
///      └──── waiting ◄──┴────┘
/// ```
pub(crate) async fn keep_connected<F>(
    stop: &CancellationToken,
    retry_delay: &RetryDelay,
    on_status: &OnStatus,
    connection: impl Fn() -> F,
) where
    F: Future<Output = Result<(), Problem>>,
{
    let mut failures = 0;
    while !stop.is_cancelled() {
        let begun = tokio::time::Instant::now();
        let Err(problem) = connection().await else { return };
        failures = if begun.elapsed() >= HEALTHY_AFTER { 1 } else { failures + 1 };
        let retry_in = retry_delay(problem.kind, failures);
        on_status(ClientStatus::Down { problem: &problem, retry_in });
        tokio::select! {
            () = tokio::time::sleep(retry_in) => {}
            () = stop.cancelled() => return,
        }
    }
}
