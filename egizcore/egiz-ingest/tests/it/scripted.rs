//! A broker that does exactly what a test says: raw MQTT 5 packets over a real socket.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use egiz_ingest::{
    BrokerAddress, Connect, LinkOptions, Message, OnStatus, ProblemKind, Protocol, Receipt, RetryDelay, Room,
    Sink,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing must happen.
const SILENCE: Duration = Duration::from_millis(300);

pub(crate) struct ScriptedBroker {
    listener: TcpListener,
}

/// One accepted connection, after CONNECT.
pub(crate) struct Served {
    stream: TcpStream,
    /// The body of CONNECT.
    pub(crate) connect: Vec<u8>,
}

impl ScriptedBroker {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port") }
    }

    pub(crate) fn options(&self) -> LinkOptions {
        let port = self.listener.local_addr().expect("it listens").port();
        LinkOptions {
            address: BrokerAddress { host: "127.0.0.1".into(), port, tls: false },
            tls: None,
            protocol: Protocol::Five,
            client_id: "tested".into(),
            credentials: None,
            receive_maximum: 321,
            packet_bytes_max: 65_536,
            publish_window: 10,
            session_expiry_s: 3_600,
        }
    }

    pub(crate) fn connect(&self) -> Connect {
        let options = self.options();
        Arc::new(move || Ok(options.clone()))
    }

    /// Accepts the next connection and answers CONNECT.
    pub(crate) async fn accept(&self, session_present: bool) -> Served {
        let mut served = self.accept_silently().await;
        served.send(&[0x20, 3, u8::from(session_present), 0, 0]).await;
        served
    }

    /// Accepts the next connection and reads CONNECT.
    pub(crate) async fn accept_silently(&self) -> Served {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        let (stream, _) = accepted.expect("the client connects").expect("it can be accepted");
        let mut served = Served { stream, connect: Vec::new() };
        let (kind, body) = served.receive().await;
        assert_eq!(kind, 0x10);
        served.connect = body;
        served
    }
}

impl Served {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the client reads");
    }

    /// The next packet that is no ping: its first byte and its body.
    pub(crate) async fn receive(&mut self) -> (u8, Vec<u8>) {
        tokio::time::timeout(PATIENCE, self.packet()).await.expect("a packet comes").expect("it is whole")
    }

    /// The end of the connection, whatever comes before.
    pub(crate) async fn ended(&mut self) {
        let end = async { while self.packet().await.is_some() {} };
        tokio::time::timeout(PATIENCE, end).await.expect("the connection ends");
    }

    /// Nothing comes for a while.
    pub(crate) async fn silent(&mut self) {
        if let Ok(packet) = tokio::time::timeout(SILENCE, self.packet()).await {
            panic!("nothing was to come, but {packet:02x?} did");
        }
    }

    async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let kind = self.stream.read_u8().await.ok()?;
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                let octet = self.stream.read_u8().await.ok()?;
                length |= usize::from(octet & 0x7F) << shift;
                shift += 7;
                if octet & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.ok()?;
            if kind == 0xC0 {
                self.stream.write_all(&[0xD0, 0]).await.ok()?;
                continue;
            }
            return Some((kind, body));
        }
    }

    /// Answers SUBSCRIBE with these codes; returns its body.
    pub(crate) async fn subscribed(&mut self, codes: &[u8]) -> Vec<u8> {
        let (kind, body) = self.receive().await;
        assert_eq!(kind, 0x82, "SUBSCRIBE");
        let length = u8::try_from(3 + codes.len()).expect("few codes");
        self.send(&[&[0x90, length, body[0], body[1], 0], codes].concat()).await;
        body
    }

    /// Sends a message; id 0 sends it with QoS 0.
    pub(crate) async fn publish(&mut self, topic: &str, packet_id: u16, payload: &[u8]) {
        let id: &[u8] = if packet_id == 0 { &[] } else { &packet_id.to_be_bytes() };
        let topic_length = u16::try_from(topic.len()).expect("a short topic").to_be_bytes();
        let body = [&topic_length, topic.as_bytes(), id, &[0], payload].concat();
        let first = if packet_id == 0 { 0x30 } else { 0x32 };
        let mut packet = vec![first];
        let mut length = body.len();
        while length > 127 {
            packet.push(u8::try_from(length % 128).expect("seven bits") | 0x80);
            length /= 128;
        }
        packet.push(u8::try_from(length).expect("seven bits"));
        packet.extend_from_slice(&body);
        self.send(&packet).await;
    }

    /// The id of the next packet, which is a PUBACK.
    pub(crate) async fn acknowledged(&mut self) -> u16 {
        let (kind, body) = self.receive().await;
        assert_eq!(kind, 0x40, "PUBACK");
        u16::from_be_bytes([body[0], body[1]])
    }
}

/// A batch that waits for the test to commit it.
pub(crate) struct Batch {
    pub(crate) topics: Vec<String>,
    pub(crate) receipt: Receipt,
}

/// Hands batches to the test.
pub(crate) struct ScriptedSink(mpsc::UnboundedSender<Batch>);

/// The test's side of the sink.
pub(crate) struct Batches(mpsc::UnboundedReceiver<Batch>);

pub(crate) fn sink() -> (Arc<ScriptedSink>, Batches) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Arc::new(ScriptedSink(sender)), Batches(receiver))
}

impl Batches {
    pub(crate) async fn next(&mut self) -> Batch {
        let next = tokio::time::timeout(PATIENCE, self.0.recv()).await;
        next.expect("a batch comes").expect("the sink is there")
    }
}

#[async_trait]
impl Sink for ScriptedSink {
    async fn reserve(&self, _bytes: usize) -> Room {
        Box::new(())
    }

    fn submit(&self, broker: &str, messages: &[Message], _room: Room, receipt: Receipt) {
        assert_eq!(broker, "plant");
        let topics = messages.iter().map(|message| message.topic.clone()).collect();
        // A test that has ended wants no more batches.
        let _ = self.0.send(Batch { topics, receipt });
    }
}

/// Tries again at once.
pub(crate) fn at_once() -> RetryDelay {
    Arc::new(|_, _| Duration::from_millis(1))
}

/// What a client told: `connected`, `left out: …`, or the kind of trouble with the text.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub(crate) fn on_status(&self) -> OnStatus {
        let told = Arc::clone(&self.0);
        Arc::new(move |status| {
            told.lock().push(match status {
                egiz_ingest::ClientStatus::Connected { session_present } => {
                    format!("connected, session {session_present}")
                }
                egiz_ingest::ClientStatus::LeftOut { what } => format!("left out: {what}"),
                egiz_ingest::ClientStatus::Down { problem, .. } => match problem.kind {
                    ProblemKind::Unreachable => format!("unreachable: {problem}"),
                    ProblemKind::Refused => format!("refused: {problem}"),
                    ProblemKind::Stalled => format!("stalled: {problem}"),
                },
            });
        })
    }

    /// Waits until something with that text was told.
    pub(crate) async fn wait_for(&self, text: &str) {
        let until = tokio::time::Instant::now() + PATIENCE;
        while !self.0.lock().iter().any(|told| told.contains(text)) {
            assert!(tokio::time::Instant::now() < until, "{text:?} was not told: {:?}", self.0.lock());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
