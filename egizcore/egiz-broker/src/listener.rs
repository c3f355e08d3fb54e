//! Listeners: they accept connections, hold the bounds on how many there may be, shake hands where TLS or WebSocket asks
//! for it, and hand each over as bytes both ways.
//!
//! What the bytes mean is the connection's business; a connection does not know which way it came. Handshakes and login
//! together have one time limit, so that a client that dawdles anywhere is closed.

mod places;
mod tls;
mod web_socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, BrokerConfig};
use crate::connection;
use crate::gate::ClientCertificate;
use crate::metrics::BrokerMetrics;
pub(crate) use places::Places;
pub use tls::{Reload, Tls, TlsError, TlsFiles};
pub use web_socket::Origins;

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

/// How packets are carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// As they are.
    Tcp,
    /// In WebSocket frames.
    WebSocket(Origins),
}

/// How one listener works. Its bounds hold beside those of the broker.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    /// How packets are carried.
    pub transport: Transport,
    /// With TLS below.
    pub tls: Option<Arc<Tls>>,
    /// How long handshakes and login may take together; then the connection is closed.
    pub connect_timeout: Duration,
    /// The largest CONNECT, in bytes; a larger one closes the connection before it is read.
    pub connect_bytes_max: usize,
    /// Connections; more are closed at once.
    pub connections_max: usize,
    /// Connections from one address; more are closed at once.
    pub connections_per_address_max: usize,
}

impl ListenerOptions {
    /// Plain TCP within the broker's own bounds.
    #[must_use]
    pub fn new(config: &BrokerConfig) -> Self {
        Self {
            transport: Transport::Tcp,
            tls: None,
            connect_timeout: config.connect_timeout,
            connect_bytes_max: config.connect_bytes_max,
            connections_max: config.connections_max,
            connections_per_address_max: config.connections_per_address_max,
        }
    }
}

impl Broker {
    /// Lets clients in over plain TCP; see [`Self::listen`].
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) {
        self.listen(listener, ListenerOptions::new(&self.0.config), stop).await;
    }

    /// Lets clients in until `stop`; then closes every connection (0x8B) and returns when all have ended.
    pub async fn listen(&self, listener: TcpListener, options: ListenerOptions, stop: CancellationToken) {
        let options = Arc::new(options);
        let places = Places::new(options.connections_max, options.connections_per_address_max);
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
            let taken = places.take(peer.ip()).and_then(|own| Ok((own, self.0.places.take(peer.ip())?)));
            let place = match taken {
                Ok(place) => place,
                Err(reason) => {
                    BrokerMetrics::count(&self.0.metrics.refused_connects, reason);
                    continue;
                }
            };
            let (broker, options, stop) = (self.clone(), Arc::clone(&options), stop.child_token());
            connections.spawn(async move {
                // On the heap, and gone from it before the connection begins.
                if let Some(arrival) = Box::pin(broker.arrive(stream, peer, &options, &stop)).await {
                    connection::run(&broker, arrival, stop).await;
                }
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
    }

    /// Shakes hands; what fails is counted by its reason.
    async fn arrive(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        options: &ListenerOptions,
        stop: &CancellationToken,
    ) -> Option<Arrival> {
        let deadline = Instant::now() + options.connect_timeout;
        let shaken = tokio::select! {
            shaken = timeout_at(deadline, shake_hands(stream, options)) => shaken,
            () = stop.cancelled() => return None,
        };
        match shaken.unwrap_or(Err("handshake-timeout")) {
            Ok((reader, writer, certificate)) => Some(Arrival {
                reader,
                writer,
                peer,
                certificate,
                deadline,
                connect_bytes_max: options.connect_bytes_max,
            }),
            Err(reason) => {
                tracing::debug!(%peer, reason, "a connection ended before MQTT began");
                BrokerMetrics::count(&self.0.metrics.refused_connects, reason);
                None
            }
        }
    }
}

type Shaken = (Reader, Writer, Option<Arc<ClientCertificate>>);

/// Does every handshake that comes before MQTT; why not, where one fails.
async fn shake_hands(stream: TcpStream, options: &ListenerOptions) -> Result<Shaken, &'static str> {
    stream.set_nodelay(true).map_err(|_| "gone-at-once")?;
    match (&options.tls, &options.transport) {
        (None, Transport::Tcp) => {
            let (reader, writer) = stream.into_split();
            Ok((Box::new(reader), Box::new(writer), None))
        }
        (None, Transport::WebSocket(origins)) => {
            let stream = web_socket::accept(stream, origins, false).await?;
            Ok(with_halves(stream, None))
        }
        (Some(tls), Transport::Tcp) => {
            let (stream, certificate) = tls.accept(stream).await?;
            Ok(with_halves(stream, certificate))
        }
        (Some(tls), Transport::WebSocket(origins)) => {
            let (stream, certificate) = tls.accept(stream).await?;
            let stream = web_socket::accept(stream, origins, true).await?;
            Ok(with_halves(stream, certificate))
        }
    }
}

fn with_halves<S>(stream: S, certificate: Option<Arc<ClientCertificate>>) -> Shaken
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    (Box::new(reader), Box::new(writer), certificate)
}
