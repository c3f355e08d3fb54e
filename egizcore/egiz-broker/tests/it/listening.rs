//! Listeners beside the plain one: a broker of the harness with one more, and clients that come over TLS and WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;

use egiz_broker::{BrokerConfig, ListenerOptions, Tls, TlsFiles};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::harness::{PATIENCE, Server};
use crate::packets::{Connect, V5};

/// The broker's own options, to be changed.
pub(crate) fn options() -> ListenerOptions {
    ListenerOptions::new(&BrokerConfig::default())
}

pub(crate) fn with_tls(files: TlsFiles) -> ListenerOptions {
    ListenerOptions { tls: Some(Arc::new(Tls::load(files).expect("the files are good"))), ..options() }
}

impl Server {
    /// Opens one more listener; it ends with the test's runtime.
    pub(crate) async fn listen(&self, options: ListenerOptions) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let broker = self.broker.clone();
        tokio::spawn(async move { broker.listen(listener, options, CancellationToken::new()).await });
        address
    }

    pub(crate) fn refused(&self, reason: &str) -> u64 {
        self.metric(&format!("egiz_broker_refused_connects_total{{reason=\"{reason}\"}}"))
    }
}

/// Shakes hands; the error is the client's.
pub(crate) async fn over_tls(
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.expect("it ends")
}

/// Sends a CONNECT and says whether it was accepted; an end instead of an answer is a no.
pub(crate) async fn is_let_in<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, id: &str) -> bool {
    if stream.write_all(&Connect::of(V5, id).bytes()).await.is_err() || stream.flush().await.is_err() {
        return false;
    }
    let mut start = [0; 2];
    if timeout(PATIENCE, stream.read_exact(&mut start)).await.expect("an answer or an end").is_err() {
        return false;
    }
    let mut rest = vec![0; usize::from(start[1])];
    timeout(PATIENCE, stream.read_exact(&mut rest)).await.expect("it is whole").is_ok() && rest[1] == 0
}

/// Sends a packet and reads exactly this answer.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, packet: &[u8], answer: &[u8]) {
    stream.write_all(packet).await.expect("it is read");
    stream.flush().await.expect("it is read");
    let mut got = vec![0; answer.len()];
    timeout(PATIENCE, stream.read_exact(&mut got)).await.expect("an answer").expect("it is whole");
    assert_eq!(got, answer);
}

/// The connection ends; what came before is of no matter.
pub(crate) async fn expect_end<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the connection ends");
}
