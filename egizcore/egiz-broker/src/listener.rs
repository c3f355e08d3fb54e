//! Listeners: they accept connections, hold the bounds on how many there may be, and hand each over as bytes both ways.
//!
//! What the bytes mean is the connection's business; a connection does not know which way it came.

mod places;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::connection;
use crate::gate::ClientCertificate;
use crate::metrics::BrokerMetrics;
pub(crate) use places::Places;

/// What a client sends.
pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// What goes to a client; [`AsyncWrite::poll_flush`] says when it is on its way.
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection that was accepted and has not logged in yet.
pub(crate) struct Arrival {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) peer: SocketAddr,
    /// The certificate that the client proved to own.
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
    /// Until when it must have logged in.
    pub(crate) deadline: Instant,
    /// The largest CONNECT, in bytes.
    pub(crate) connect_bytes_max: usize,
}

impl Broker {
    /// Lets clients in until `stop`; then closes every connection (0x8B) and returns when all have ended.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) {
        let shared = &self.0;
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: waiting lets others go first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let place = match shared.places.take(peer.ip()) {
                Ok(place) => place,
                Err(reason) => {
                    BrokerMetrics::count(&shared.metrics.refused_connects, reason);
                    continue;
                }
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection was gone at once");
                continue;
            }
            let (reader, writer) = stream.into_split();
            let arrival = Arrival {
                reader: Box::new(reader),
                writer: Box::new(writer),
                peer,
                certificate: None,
                deadline: Instant::now() + shared.config.connect_timeout,
                connect_bytes_max: shared.config.connect_bytes_max,
            };
            let (broker, stop) = (self.clone(), stop.child_token());
            connections.spawn(async move {
                connection::run(&broker, arrival, stop).await;
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
    }
}
