//! A broker on an ephemeral port, an intake that a test controls, and a client that sends raw packets.
//!
//! Waiting has a generous limit and fails with what it waited for; no test depends on how fast something is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use egiz_broker::{
    Broker, BrokerConfig, BrokerMetrics, ClientInfo, Denied, DeviceRights, EverythingRights, Gatekeeper,
    Intake, Login, Publish, Receipt, Refusal, Room, Surroundings, TopicRights,
};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::journal::{Held, TestArchive, TestJournal};
use crate::packets::{Connect, PING, PONG, V3, publish, subscribe};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the intake does with a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    Commit,
    Refuse(Refusal),
    /// Keeps the receipt for the test.
    Hold,
}

pub(crate) struct TestIntake {
    then: Mutex<Then>,
    journal: Arc<TestJournal>,
    held: Mutex<Vec<Held>>,
    taken: Mutex<Vec<String>>,
    /// Room in messages' bytes; [`Self::close`] takes all of it.
    room: Arc<Semaphore>,
}

impl TestIntake {
    pub(crate) fn then(&self, then: Then) {
        *self.then.lock() = then;
    }

    /// The `index`th batch of those that are held.
    pub(crate) fn take_held(&self, index: usize) -> Held {
        self.held.lock().remove(index)
    }

    /// Waits until so many receipts are held.
    pub(crate) async fn holds(&self, count: usize) {
        until("the intake to hold the batches", || self.held.lock().len() == count).await;
    }

    /// `topic payload` of everything handed over.
    pub(crate) fn taken(&self) -> Vec<String> {
        self.taken.lock().clone()
    }

    /// Lets nothing in until the guard is dropped.
    pub(crate) async fn close(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.room).acquire_many_owned(ROOM).await.expect("never closed")
    }
}

const ROOM: u32 = 1 << 20;

#[async_trait]
impl Intake for TestIntake {
    async fn reserve(&self, bytes: usize) -> Room {
        let bytes = u32::try_from(bytes).expect("small").min(ROOM);
        Box::new(Arc::clone(&self.room).acquire_many_owned(bytes).await.expect("never closed"))
    }

    fn submit(
        &self,
        _client: &Arc<ClientInfo>,
        publishes: &[Publish],
        notes: &[Vec<u8>],
        _room: Room,
        receipt: Receipt,
    ) {
        let text =
            |publish: &Publish| format!("{} {}", publish.topic(), String::from_utf8_lossy(publish.payload()));
        self.taken.lock().extend(publishes.iter().map(text));
        let held = Held {
            journal: Arc::clone(&self.journal),
            publishes: publishes.to_vec(),
            notes: notes.to_vec(),
            receipt,
        };
        // Not under the lock of a decision that the outcome may lead to.
        let then = *self.then.lock();
        match then {
            Then::Commit => held.committed(),
            Then::Refuse(refusal) => held.refused(refusal),
            Then::Hold => self.held.lock().push(held),
        }
    }
}

/// `device`/`secret` is the device `factory:oven-001`, a certificate's common name `<site>/<device>` that device; without
/// either it is everything.
struct TestGatekeeper;

/// Subscribes to everything and hears all but `secret`, of which nothing is said.
#[derive(Debug)]
struct AllButSecret;

impl TopicRights for AllButSecret {
    fn may_publish(&self, _topic: &str) -> bool {
        false
    }

    fn may_subscribe(&self, filter: &str) -> bool {
        filter != "secret"
    }

    fn may_receive(&self, topic: &str) -> bool {
        topic != "secret"
    }

    fn tells_why(&self, topic: &str) -> bool {
        topic != "secret"
    }
}

#[async_trait]
impl Gatekeeper for TestGatekeeper {
    async fn authenticate(&self, login: Login<'_>) -> Result<(String, Arc<dyn TopicRights>), Denied> {
        let name = login.certificate.and_then(|certificate| certificate.common_name.as_deref());
        if let Some((site, device)) = name.and_then(|name| name.split_once('/')) {
            return Ok((format!("{site}:{device}"), Arc::new(DeviceRights::new(site, device))));
        }
        match (login.username, login.password) {
            (None, None) => Ok(("anyone".to_owned(), Arc::new(EverythingRights))),
            (Some("device"), Some(b"secret")) => {
                Ok(("factory:oven-001".to_owned(), Arc::new(DeviceRights::new("factory", "oven-001"))))
            }
            (Some("hearer"), _) => Ok(("hearer".to_owned(), Arc::new(AllButSecret))),
            (Some("never"), _) => std::future::pending().await,
            (Some("banned"), _) => Err(Denied::NotAuthorized),
            _ => Err(Denied::BadCredentials),
        }
    }
}

/// A running broker. Ends with the test's runtime, or by [`Self::stop`].
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) intake: Arc<TestIntake>,
    pub(crate) broker: Broker,
    config: BrokerConfig,
    clock: Arc<AtomicI64>,
    registry: Registry,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

pub(crate) async fn server() -> Server {
    server_with(BrokerConfig::default()).await
}

pub(crate) async fn server_with(config: BrokerConfig) -> Server {
    start(config, Arc::default(), Arc::default()).await
}

async fn start(config: BrokerConfig, journal: Arc<TestJournal>, clock: Arc<AtomicI64>) -> Server {
    let mut registry = Registry::default();
    let intake = Arc::new(TestIntake {
        then: Mutex::new(Then::Commit),
        journal: Arc::clone(&journal),
        held: Mutex::default(),
        taken: Mutex::default(),
        room: Arc::new(Semaphore::new(ROOM as usize)),
    });
    let metrics = BrokerMetrics::register(&mut registry);
    let surroundings = Surroundings {
        intake: Arc::clone(&intake) as _,
        archive: Arc::new(TestArchive(Arc::clone(&journal))),
        gatekeeper: Arc::new(TestGatekeeper),
        clock: {
            let clock = Arc::clone(&clock);
            Arc::new(move || clock.load(Ordering::Relaxed))
        },
    };
    let broker = Broker::new(config, surroundings, metrics);
    broker.restore_retained(journal.retained());
    broker.restore_sessions(&journal.ledger(), journal.end());
    // Small buffers in the kernel, so that a peer that does not read is noticed after kilobytes; connections inherit them.
    let socket = small_socket();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback has a free port");
    let listener = socket.listen(64).expect("the socket is bound");
    let address = listener.local_addr().expect("the socket is bound");
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (broker, stop) = (broker.clone(), stop.clone());
        async move {
            tokio::join!(broker.serve(listener, stop.clone()), broker.keep_house(stop));
        }
    });
    Server { address, intake, broker, config, clock, registry, stop, serving }
}

fn small_socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_recv_buffer_size(16 << 10).expect("a size is accepted");
    socket.set_send_buffer_size(16 << 10).expect("a size is accepted");
    socket
}

impl Server {
    /// A connection that has said nothing yet.
    pub(crate) async fn dial(&self) -> Client {
        Client {
            stream: small_socket().connect(self.address).await.expect("the broker listens"),
            version: V3,
        }
    }

    /// Sends a CONNECT and returns the client before its CONNACK.
    pub(crate) async fn connecting(&self, connect: &Connect<'_>) -> Client {
        let mut client = self.dial().await;
        client.version = connect.version;
        client.send(&connect.bytes()).await;
        client
    }

    /// A client that was let in.
    pub(crate) async fn connect(&self, connect: &Connect<'_>) -> Client {
        let mut client = self.connecting(connect).await;
        let answer = client.packet("CONNACK").await;
        assert_eq!((answer[0], answer[3]), (0x20, 0), "{answer:?}");
        client
    }

    pub(crate) async fn client(&self, version: u8, id: &str) -> Client {
        self.connect(&Connect::of(version, id)).await
    }

    /// The metric line that starts so, with its value; 0 where it was never counted.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a string takes everything");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("a number"))
    }

    /// Lets time pass for what goes by the clock on the wall: the expiry of messages and sessions, and wills.
    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    /// Ends the broker at once, as a crash does, and starts another one on what had been committed.
    pub(crate) async fn crash(self) -> Server {
        self.serving.abort();
        let journal = Arc::clone(&self.intake.journal);
        // What the old broker's tasks still do must not reach the journal.
        self.intake.then(Then::Hold);
        start(self.config, journal, self.clock).await
    }

    /// Stops the broker and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.serving).await.expect("the broker stops").expect("it does not panic");
    }

    pub(crate) fn stop_soon(&self) {
        self.stop.cancel();
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) version: u8,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("it is read").expect("it is sent");
    }

    async fn read(&mut self, into: &mut [u8], what: &str) {
        let read = timeout(PATIENCE, self.stream.read_exact(into)).await;
        read.unwrap_or_else(|_| panic!("{what} did not come"))
            .unwrap_or_else(|error| panic!("{what} did not come: {error}"));
    }

    /// The next packet, whole.
    pub(crate) async fn packet(&mut self, what: &str) -> Vec<u8> {
        let mut packet = vec![0; 2];
        self.read(&mut packet, what).await;
        let (mut length, mut shift) = (usize::from(packet[1] & 0x7f), 7);
        while packet.last().is_some_and(|octet| octet & 0x80 != 0) {
            packet.push(0);
            let at = packet.len() - 1;
            self.read(&mut packet[at..], what).await;
            length |= usize::from(packet[at] & 0x7f) << shift;
            shift += 7;
        }
        let body = packet.len();
        packet.resize(body + length, 0);
        self.read(&mut packet[body..], what).await;
        packet
    }

    pub(crate) async fn expect(&mut self, expected: &[u8]) {
        let found = self.packet(&format!("{expected:02x?}")).await;
        assert_eq!(format!("{found:02x?}"), format!("{expected:02x?}"));
    }

    pub(crate) async fn ask(&mut self, bytes: &[u8], expected: &[u8]) {
        self.send(bytes).await;
        self.expect(expected).await;
    }

    /// The connection is alive and nothing else was waiting for this client.
    pub(crate) async fn expect_nothing_but_life(&mut self) {
        self.ask(PING, PONG).await;
    }

    /// Before the CONNACK, when nothing can be asked.
    pub(crate) async fn expect_silence(&mut self) {
        let mut byte = [0];
        let heard = timeout(Duration::from_millis(50), self.stream.peek(&mut byte)).await;
        assert!(heard.is_err(), "{heard:?}");
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, options: u8) {
        self.send(&subscribe(self.version, 9, &[(filter, options)])).await;
        let answer = self.packet("SUBACK").await;
        assert!(answer.ends_with(&[options & 3]), "{answer:?}");
    }

    /// Publishes with QoS 0 and knows that the broker has read it.
    pub(crate) async fn say(&mut self, topic: &str, payload: &str, flags: u8) {
        self.send(&publish(self.version, flags, topic, 1, payload)).await;
        if flags & 6 != 0 {
            let answer = self.packet("PUBACK").await;
            assert_eq!(answer, [0x40, 2, 0, 1]);
        } else {
            self.expect_nothing_but_life().await;
        }
    }

    /// The connection ends without another packet. A reset is an end, too.
    pub(crate) async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        let _ = read.expect("the connection ends");
        assert!(rest.is_empty(), "{rest:02x?}");
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}
