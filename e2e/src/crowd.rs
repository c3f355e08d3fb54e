//! A crowd of clients that connect, stay, and come back all at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::Rng as _;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::measure::Latencies;
use crate::mqtt;

/// Both ways of a connection.
trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// Clients, each with a name and a memory of its TLS session.
pub struct Crowd {
    port: u16,
    clients: Vec<Client>,
}

struct Client {
    id: String,
    tls: Option<TlsConnector>,
    connection: Option<Box<dyn Stream>>,
}

/// How coming together went.
#[derive(Debug)]
pub struct Gathering {
    /// Until the last had its CONNACK.
    pub took: Duration,
    /// Of each client, from its first attempt to its CONNACK.
    pub latencies: Latencies,
    /// Attempts that failed and were repeated.
    pub repeated: usize,
}

/// How long a client tries.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any run: nobody pings.
const KEEP_ALIVE_S: u16 = 3600;

impl Crowd {
    /// So many clients of the broker at `port`, over TLS if there is a configuration for it.
    #[must_use]
    pub fn new(count: usize, port: u16, tls: Option<&ClientConfig>) -> Self {
        let client = |number| Client {
            id: format!("crowd-{number:05}"),
            tls: tls.map(|config| {
                let mut own = config.clone();
                own.resumption = Resumption::in_memory_sessions(2);
                TlsConnector::from(Arc::new(own))
            }),
            connection: None,
        };
        Self { port, clients: (0..count).map(client).collect() }
    }

    /// Ends every connection without a word.
    pub fn scatter(&mut self) {
        for client in &mut self.clients {
            client.connection = None;
        }
    }

    /// Connects everybody, so many at a time; each tries again until it is in.
    ///
    /// # Errors
    /// Where somebody is not in after a minute.
    pub async fn gather(&mut self, at_a_time: usize) -> anyhow::Result<Gathering> {
        let turns = Arc::new(Semaphore::new(at_a_time));
        let begun = Instant::now();
        let mut connecting = JoinSet::new();
        for mut client in self.clients.drain(..) {
            let (turns, port) = (Arc::clone(&turns), self.port);
            connecting.spawn(async move {
                let _turn = turns.acquire().await?;
                let own = Instant::now();
                let mut repeated = 0;
                loop {
                    match client.connect(port).await {
                        Ok(connection) => client.connection = Some(connection),
                        Err(error) if own.elapsed() > PATIENCE => {
                            return Err(error.context("a client did not get in"));
                        }
                        Err(_) => {
                            repeated += 1;
                            let pause = rand::rng().random_range(50..250);
                            tokio::time::sleep(Duration::from_millis(pause)).await;
                            continue;
                        }
                    }
                    return anyhow::Ok((client, own.elapsed(), repeated));
                }
            });
        }
        let mut gathering = Gathering { took: Duration::ZERO, latencies: Latencies::default(), repeated: 0 };
        while let Some(connected) = connecting.join_next().await {
            let (client, latency, repeated) = connected??;
            self.clients.push(client);
            gathering.latencies.add(latency);
            gathering.repeated += repeated;
        }
        gathering.took = begun.elapsed();
        Ok(gathering)
    }
}

impl Client {
    async fn connect(&self, port: u16) -> anyhow::Result<Box<dyn Stream>> {
        let connect = async {
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.set_nodelay(true)?;
            let mut stream: Box<dyn Stream> = match &self.tls {
                None => Box::new(stream),
                Some(tls) => Box::new(tls.connect(ServerName::try_from("localhost")?, stream).await?),
            };
            mqtt::log_in(&mut *stream, &self.id, KEEP_ALIVE_S).await?;
            anyhow::Ok(stream)
        };
        tokio::time::timeout(Duration::from_secs(20), connect).await.context("too slow")?
    }
}

/// Takes as many open files as the system allows: each connection is one, here as there.
///
/// # Errors
/// Where the system does not let it.
pub fn allow_files() -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}
