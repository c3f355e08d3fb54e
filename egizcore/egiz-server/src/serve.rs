//! Accepts connections and serves HTTP/1.1 and HTTP/2 on them until told to stop.
//!
//! Bounds: connections (beyond it the listener's backlog waits), the time between requests and for a header, the header's
//! size. Stops in order: no new connections, answers under way are finished, and what is left after the grace
//! time is closed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::metrics::ServerMetrics;

/// How long a client may take to send a request's header, counted from the end of the answer before: also how long a
/// connection may be idle.
const HEADER_TIME: Duration = Duration::from_secs(60);
/// The most header fields of a request; more are answered 431.
const HEADER_FIELDS_MAX: usize = 100;
/// The most that is buffered of a header; more is answered 431.
const HEADER_BUFFER_BYTES: usize = 64 * 1024;
/// The pause after the listener failed to accept, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a listener is served.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The most connections at once.
    pub connections_max: usize,
    /// How long answers under way may take after the stop signal.
    pub grace: Duration,
}

/// Serves `router` on `listener` until `stop` is cancelled and the answers under way are out.
///
/// # Cancel safety
/// Dropping the future closes the listener; connections that are open go on by themselves.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ServeOptions,
    metrics: ServerMetrics,
    stop: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(options.connections_max));
    let graceful = GracefulShutdown::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_headers(HEADER_FIELDS_MAX)
        // Also bounds what of an answer waits for the client, which `pipeline_flush` would lift.
        .max_buf_size(HEADER_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_concurrent_streams(256)
        .max_header_list_size(u32::try_from(HEADER_BUFFER_BYTES).unwrap_or(u32::MAX));

    loop {
        let next = async {
            let permit = connections.clone().acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            next = next => next,
        };
        let Some((permit, accepted)) = next else { break };
        match accepted {
            Ok((stream, address)) => {
                // Answers are written whole; waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                let connection = Connection { stream, address, permit, metrics: metrics.clone() };
                connection.start(&builder, &graceful, router.clone());
            }
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(options.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(
            grace_ms = options.grace.as_millis(),
            "connections were still open after the grace time"
        );
    }
}

struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    permit: OwnedSemaphorePermit,
    metrics: ServerMetrics,
}

impl Connection {
    fn start(self, builder: &Builder<TokioExecutor>, graceful: &GracefulShutdown, router: Router) {
        let Self { stream, address, permit, metrics } = self;
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let router = router.clone();
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(ConnectInfo(address));
                match router.oneshot(request).await {
                    Ok(response) => Ok::<_, Infallible>(response),
                    Err(never) => match never {},
                }
            }
        });
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            metrics.connection_opened();
            if let Err(error) = connection.await {
                tracing::debug!(error, client = %address, "a connection ended early");
            }
            metrics.connection_closed();
            drop(permit);
        });
    }
}
