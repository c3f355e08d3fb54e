//! A server over an engine that applies writes at once and publishes them, as the program does without the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use egiz_api::{Health, HealthState, RejectedMessage};
use egiz_historian::Historian;
use egiz_influx::{Lines, MappedLines};
use egiz_model::Timestamp;
use egiz_model::record::{Body, Header, Preconditions, Record, ThingWrite, WriteOperation};
use egiz_server::live::{Hub, HubSettings};
use egiz_server::{
    Applied, AppliedBatch, LineMapper, Ports, ProgramReport, Progress, ServeOptions, ServerMetrics,
    ServerSettings, SubmitError, WriteGate,
};
use egiz_store::{Store, StoreOptions};
use egiz_twin::{Engine, Limits};
use futures::{SinkExt as _, StreamExt as _};
use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

pub(crate) const NOW: i64 = 1_800_000_000;

/// Applies under one lock, so that batches are published in order.
pub(crate) struct Gate {
    engine: Arc<RwLock<Engine>>,
    progress: Arc<Progress>,
    hub: Hub,
    order: Mutex<()>,
}

#[async_trait]
impl WriteGate for Gate {
    async fn submit(&self, records: Vec<Vec<u8>>) -> Result<Vec<Applied>, SubmitError> {
        Ok(self.apply(&records))
    }
}

impl Gate {
    fn apply(&self, records: &[Vec<u8>]) -> Vec<Applied> {
        let _in_order = self.order.lock();
        let now = Timestamp::from_seconds(NOW);
        let mut changes = Vec::new();
        let (applied, next_offset) = {
            let mut engine = self.engine.write();
            let applied = records
                .iter()
                .map(|bytes| {
                    let offset = engine.next_offset();
                    let record = Record::decode(bytes).expect("a record");
                    Applied { offset, durable: now, outcome: engine.apply(offset, &record, &mut changes) }
                })
                .collect();
            (applied, engine.next_offset())
        };
        self.progress.applied_before(next_offset);
        self.hub.publish(AppliedBatch { next_offset, durable: now, applied: now, changes });
        applied
    }
}

struct Program;

impl LineMapper for Program {
    fn map(&self, _: &Lines<'_>) -> MappedLines {
        MappedLines::default()
    }
}

impl ProgramReport for Program {
    fn health(&self) -> Health {
        Health { status: HealthState::Up, version: "0".to_owned(), parts: Vec::new() }
    }

    fn metrics_text(&self) -> String {
        String::new()
    }

    fn rejected(&self, _after: Option<u64>, _limit: usize) -> Vec<RejectedMessage> {
        Vec::new()
    }
}

pub(crate) struct Server {
    pub(crate) engine: Arc<RwLock<Engine>>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) hub: Hub,
    pub(crate) store: Store,
    pub(crate) address: String,
    registry: Registry,
    stop: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(HubSettings::default()).await
    }

    pub(crate) async fn with(settings: HubSettings) -> Self {
        Self::with_both(settings, ServerSettings::default()).await
    }

    pub(crate) async fn with_both(settings: HubSettings, server_settings: ServerSettings) -> Self {
        Self::with_all(settings, server_settings, None).await
    }

    pub(crate) async fn with_all(
        settings: HubSettings,
        server_settings: ServerSettings,
        history: Option<Arc<Historian>>,
    ) -> Self {
        let engine = Arc::new(RwLock::new(Engine::new(Limits::default())));
        let mut registry = Registry::default();
        let hub = Hub::new(Arc::clone(&engine), settings, &mut registry);
        let progress = Arc::new(Progress::default());
        let gate = Arc::new(Gate {
            engine: Arc::clone(&engine),
            progress: Arc::clone(&progress),
            hub: hub.clone(),
            order: Mutex::new(()),
        });
        let counter = AtomicU64::new(0);
        let random: egiz_server::RandomSource = Arc::new(move |bytes: &mut [u8]| {
            let number = counter.fetch_add(1, Ordering::Relaxed);
            bytes
                .iter_mut()
                .zip(number.to_le_bytes().into_iter().cycle())
                .for_each(|(byte, part)| *byte = part);
        });
        let store = Store::open_in_memory(StoreOptions::new(random.clone())).await.expect("a registry");
        let metrics = ServerMetrics::register(&mut Registry::default());
        let ports = Ports {
            engine: Arc::clone(&engine),
            progress: Arc::clone(&progress),
            writes: gate.clone(),
            lines: Arc::new(Program),
            store: store.clone(),
            history,
            backups: None,
            program: Arc::new(Program),
            hub: hub.clone(),
            clock: Arc::new(|| Timestamp::from_seconds(NOW)),
            random,
            settings: Arc::new(server_settings),
            metrics: metrics.clone(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let stop = CancellationToken::new();
        let options = ServeOptions { connections_max: 100, grace: Duration::from_millis(100) };
        tokio::spawn(egiz_server::serve(
            listener,
            egiz_server::router(ports),
            options,
            metrics,
            stop.clone(),
        ));
        Self { engine, gate, progress, hub, store, address, registry, stop }
    }

    /// Puts a value at a path of a Thing.
    pub(crate) fn put(&self, thing: &str, path: &str, value: &Value) {
        self.write(WriteOperation::Put, thing, path, value);
    }

    pub(crate) fn delete(&self, thing: &str, path: &str) {
        self.write(WriteOperation::Delete, thing, path, &Value::Null);
    }

    fn write(&self, operation: WriteOperation, thing: &str, path: &str, value: &Value) {
        let content = value.to_string();
        let content = if operation == WriteOperation::Delete { "" } else { &content };
        let write = ThingWrite {
            thing,
            operation,
            path,
            content: content.as_bytes(),
            preconditions: Preconditions::default(),
        };
        let header =
            Header { received: Timestamp::from_seconds(NOW), principal: "tester", correlation: "c-1" };
        self.gate.apply(&[Record { header, body: Body::ThingWrite(write) }.to_bytes()]);
    }

    /// A Thing with a number in `level/percent`.
    pub(crate) fn silo(&self, thing: &str, percent: i64) {
        let body = json!({"attributes": {"type": "silo"}, "features": {"level": {"properties": {"percent": percent}}}});
        self.put(thing, "", &body);
    }

    pub(crate) fn level(&self, thing: &str, percent: i64) {
        self.put(thing, "/features/level/properties/percent", &json!(percent));
    }

    pub(crate) async fn client(&self) -> Client {
        self.try_client().await.expect("it upgrades")
    }

    pub(crate) async fn try_client(&self) -> Result<Client, tungstenite::Error> {
        self.client_at("/api/v1/ws", &[]).await
    }

    /// A client that sends these header fields, too.
    pub(crate) async fn client_at(
        &self,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<Client, tungstenite::Error> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request()?;
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        let (stream, _) = tokio_tungstenite::connect_async(request).await?;
        Ok(Client { stream })
    }
}

/// Holds a frame against its description in the API's document.
pub(crate) fn described(frame: Value) -> Value {
    if frame.get("search").is_some() && frame.get("seq").is_some() {
        if let Err(error) = serde_json::from_value::<egiz_api::live::SearchFrame>(frame.clone()) {
            panic!("{frame} is not what is described: {error}");
        }
    } else if frame.get("playback").is_some() && frame.get("seq").is_some() {
        if let Err(error) = serde_json::from_value::<egiz_api::playback::PlaybackFrame>(frame.clone()) {
            panic!("{frame} is not what is described: {error}");
        }
    } else if frame.get("seq").is_some() {
        let mut event = frame.clone();
        let members = event.as_object_mut().expect("an object");
        assert!(members.remove("seq").is_some() && members.remove("subscription").is_some(), "{frame}");
        as_described(event);
    }
    frame
}

/// Holds an event against its description in the API's document, which knows no members besides.
pub(crate) fn as_described(event: Value) {
    let shown = event.to_string();
    if let Err(error) = serde_json::from_value::<egiz_api::live::Event>(event) {
        panic!("{shown} is not what is described: {error}");
    }
}

pub(crate) struct Client {
    pub(crate) stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(crate) async fn say(&mut self, frame: &Value) {
        self.stream.send(Message::text(frame.to_string())).await.expect("it is connected");
    }

    /// The next frame; a close is `{"close": code}`.
    pub(crate) async fn next_message(&mut self) -> Message {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(20), self.stream.next()).await;
            match message.expect("a frame comes").expect("it is connected").expect("a whole frame") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Value {
        match self.next_message().await {
            Message::Text(text) => described(serde_json::from_str(&text).expect("JSON")),
            Message::Close(frame) => json!({"close": frame.map(|frame| u16::from(frame.code))}),
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Subscribes and returns the answer.
    pub(crate) async fn subscribe(&mut self, mut wish: Value) -> Value {
        wish["action"] = json!("subscribe");
        wish["id"] = json!("s");
        self.say(&wish).await;
        let answer = self.next().await;
        assert_eq!(answer["ok"], true, "{answer}");
        answer
    }
}

impl Client {
    /// Sends a binary frame.
    pub(crate) async fn stream_binary(&mut self, bytes: Vec<u8>) {
        self.stream.send(Message::binary(bytes)).await.expect("it is connected");
    }

    /// Sends a text as it is.
    pub(crate) async fn say_raw(&mut self, text: &str) {
        // The server may have closed before everything is sent.
        let _ = self.stream.send(Message::text(text.to_owned())).await;
    }

    /// Whether the connection ends now, in whatever way.
    pub(crate) async fn ends(&mut self) -> bool {
        for _ in 0..100 {
            match tokio::time::timeout(Duration::from_secs(20), self.stream.next()).await {
                Ok(None | Some(Err(_) | Ok(Message::Close(_)))) => return true,
                Ok(Some(Ok(_))) => {}
                Err(_) => return false,
            }
        }
        false
    }
}

impl Server {
    /// Waits until nobody is subscribed.
    pub(crate) async fn no_subscriptions(&self) {
        for _ in 0..2000 {
            if self.metric("egiz_server_live_subscriptions") == 0.0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("somebody is still subscribed");
    }

    /// The value of a metric of the hub.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    }
}

impl Client {
    /// Subscribes, returns the answer, and reads on to the answer of an unsubscription.
    pub(crate) async fn subscribe_quietly(&mut self, wish: Value) -> Value {
        let answer = self.subscribe(wish).await;
        self.say(&json!({"id": "u", "action": "unsubscribe", "subscription": answer["subscription"]})).await;
        while self.next().await["id"] != "u" {}
        answer
    }
}
