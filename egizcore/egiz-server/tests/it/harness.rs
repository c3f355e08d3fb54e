//! Starts a server on a free port, and stops it with the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use egiz_api::{Health, HealthState, PartHealth, RejectedMessage};
use egiz_historian::Historian;
use egiz_influx::{Lines, MappedLines};
use egiz_model::record::{Header, Record, TelemetryWriter};
use egiz_model::{Quality, QualityReason, Timestamp};
use egiz_server::{
    Applied, Backups, Clock, LineMapper, Ports, ProgramReport, Progress, RandomSource, ServeOptions,
    ServerMetrics, ServerSettings, SubmitError, WriteGate,
};
use egiz_store::{Store, StoreOptions};
use egiz_twin::{Engine, Limits};
use parking_lot::RwLock;
use prometheus_client::registry::Registry;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The moment at which every test begins.
pub(crate) const START_MICROS: i64 = 1_706_352_600_000_000;

/// A running server and a client for it.
pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
    pub(crate) gate: Arc<Gate>,
    pub(crate) program: Arc<Program>,
    pub(crate) store: Store,
    /// What was, where it is kept.
    pub(crate) past: Option<Past>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A history in a folder that goes with the test.
pub(crate) struct Past {
    pub(crate) historian: Arc<Historian>,
    next: AtomicU64,
    pub(crate) folder: tempfile::TempDir,
}

impl Past {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(egiz_historian::disk::Folder::open(folder.path()).expect("a folder"));
        let (historian, _) =
            Historian::open(disk, egiz_historian::Settings::default()).expect("an empty history opens");
        Self { historian: Arc::new(historian), next: AtomicU64::new(0), folder }
    }

    /// A message is kept: the moment in microseconds after the beginning of the test, and feature, property and value.
    pub(crate) fn say(&self, thing: &str, micros: i64, values: &[(&str, &str, Value)]) {
        let values: Vec<_> = values
            .iter()
            .map(|(feature, name, value)| (*feature, *name, value.clone(), Quality::Good))
            .collect();
        self.say_judged(thing, micros, 0, &values);
    }

    /// The same, received so many seconds later, and with how far each value can be trusted.
    pub(crate) fn say_judged(
        &self,
        thing: &str,
        micros: i64,
        delay_s: i64,
        values: &[(&str, &str, Value, Quality)],
    ) {
        let source = Timestamp::from_micros(START_MICROS + micros);
        let mut intake = self.historian.intake();
        let mut row = intake.row(thing, "oven", source, source.plus_micros(delay_s * 1_000_000));
        for (feature, property, value, quality) in values {
            let mut bytes = Vec::new();
            egiz_model::Value::from_json(value).encode(&mut bytes);
            let mut reader = egiz_model::record::format::ItemReader::new(&bytes);
            let value = reader.value(egiz_model::record::format::DEPTH_MAX).expect("just written");
            let reason =
                if *quality == Quality::Good { QualityReason::None } else { QualityReason::Reported };
            row.set(feature, property, &value, *quality, reason);
        }
        drop(row);
        intake.done(self.next.fetch_add(1, Ordering::Relaxed));
    }

    /// Puts what is in memory into a part.
    pub(crate) fn seal(&self) {
        self.historian.seal(Timestamp::from_micros(START_MICROS)).expect("sealed");
    }

    /// The same at a moment in microseconds after the beginning of the test, with all that there is to do then.
    pub(crate) fn seal_at(&self, micros: i64) {
        let now = Timestamp::from_micros(START_MICROS + micros);
        self.historian.seal(now).expect("sealed");
        while self.historian.maintain(now).expect("maintained") {}
    }
}

/// Applies records at once; can be told to refuse.
pub(crate) struct Gate {
    pub(crate) engine: Arc<RwLock<Engine>>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) refuse: parking_lot::Mutex<Option<SubmitError>>,
    /// How long a batch takes; below 0 it panics.
    pub(crate) delay_ms: AtomicI64,
    clock: Clock,
}

#[async_trait]
impl WriteGate for Gate {
    async fn submit(&self, records: Vec<Vec<u8>>) -> Result<Vec<Applied>, SubmitError> {
        let delay = self.delay_ms.load(Ordering::Relaxed);
        assert!(delay >= 0, "the gate was told to panic");
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay.unsigned_abs())).await;
        }
        if let Some(error) = self.refuse.lock().clone() {
            return Err(error);
        }
        Ok(self.apply(&records))
    }
}

impl Gate {
    pub(crate) fn apply(&self, records: &[Vec<u8>]) -> Vec<Applied> {
        let mut engine = self.engine.write();
        let mut changes = Vec::new();
        let applied = records
            .iter()
            .map(|bytes| {
                let record = Record::decode(bytes).expect("the server encodes what can be decoded");
                let offset = engine.next_offset();
                let outcome = engine.apply(offset, &record, &mut changes);
                Applied { offset, durable: (self.clock)(), outcome }
            })
            .collect();
        self.progress.applied_before(engine.next_offset());
        applied
    }
}

/// Maps lines as the program does.
pub(crate) struct LineReader {
    ingest: egiz_ingest::Ingest,
    rules: egiz_ingest::LineRules,
}

impl Default for LineReader {
    fn default() -> Self {
        let (config, metrics) = Default::default();
        Self { ingest: egiz_ingest::Ingest::new(config, metrics), rules: egiz_ingest::LineRules::default() }
    }
}

impl LineMapper for LineReader {
    fn map(&self, lines: &Lines<'_>) -> MappedLines {
        self.ingest.map_lines(lines, &self.rules)
    }
}

/// A program of which only the health varies.
#[derive(Default)]
pub(crate) struct Program {
    pub(crate) health: AtomicU8,
}

impl ProgramReport for Program {
    fn health(&self) -> Health {
        let status = match self.health.load(Ordering::Relaxed) {
            0 => HealthState::Up,
            1 => HealthState::Degraded,
            2 => HealthState::Starting,
            _ => HealthState::Down,
        };
        let since = Timestamp::from_micros(START_MICROS);
        let part = PartHealth { name: "journal".to_owned(), status, detail: None, since };
        Health { status, version: "0.1.0".to_owned(), parts: vec![part] }
    }

    fn metrics_text(&self) -> String {
        "# EOF\n".to_owned()
    }

    fn rejected(&self, after: Option<u64>, limit: usize) -> Vec<RejectedMessage> {
        let first = after.map_or(0, |after| after + 1);
        (first..5)
            .take(limit)
            .map(|sequence| RejectedMessage {
                sequence,
                received: Timestamp::from_micros(START_MICROS),
                topic: "sensors/factory/oven-001/telemetry".to_owned(),
                client: "oven-001".to_owned(),
                reason: "the payload is not JSON".to_owned(),
                size_bytes: 3,
                payload: "{{{".to_owned(),
            })
            .collect()
    }
}

pub(crate) fn random() -> RandomSource {
    let counter = AtomicI64::new(0);
    Arc::new(move |bytes: &mut [u8]| {
        for byte in bytes {
            let next = counter.fetch_add(1, Ordering::Relaxed);
            *byte = (next.wrapping_mul(0x9E37_79B9) >> 7).to_le_bytes()[0];
        }
    })
}

/// What a server may have or not.
#[derive(Default)]
struct Beside {
    past: Option<Past>,
    backups: Option<Arc<dyn Backups>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ServerSettings)) -> Self {
        Self::within(Limits::default(), change).await
    }

    pub(crate) async fn within_connections(connections_max: usize) -> Self {
        Self::build(Limits::default(), connections_max, Beside::default(), |_| ()).await
    }

    /// Tells it to stop.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until it has stopped.
    pub(crate) async fn ended(mut self) {
        (&mut self.task).await.expect("the server ends by itself");
    }

    pub(crate) async fn within(limits: Limits, change: impl FnOnce(&mut ServerSettings)) -> Self {
        Self::build(limits, 1000, Beside::default(), change).await
    }

    /// A server that keeps history.
    pub(crate) async fn with_history(change: impl FnOnce(&mut ServerSettings)) -> Self {
        let beside = Beside { past: Some(Past::new()), ..Beside::default() };
        Self::build(Limits::default(), 1000, beside, change).await
    }

    /// A server with a place for backups.
    pub(crate) async fn with_backups(backups: Arc<dyn Backups>) -> Self {
        let beside = Beside { backups: Some(backups), ..Beside::default() };
        Self::build(Limits::default(), 1000, beside, |_| ()).await
    }

    pub(crate) fn past(&self) -> &Past {
        self.past.as_ref().expect("the server keeps history")
    }

    async fn build(
        limits: Limits,
        connections_max: usize,
        Beside { past, backups }: Beside,
        change: impl FnOnce(&mut ServerSettings),
    ) -> Self {
        let mut settings = ServerSettings { version: "0.1.0".to_owned(), ..ServerSettings::default() };
        change(&mut settings);
        let clock: Clock = Arc::new(|| Timestamp::from_micros(START_MICROS));
        let engine = Arc::new(RwLock::new(Engine::new(limits)));
        let progress = Arc::new(Progress::default());
        let gate = Arc::new(Gate {
            engine: engine.clone(),
            progress: progress.clone(),
            refuse: parking_lot::Mutex::new(None),
            delay_ms: AtomicI64::new(0),
            clock: clock.clone(),
        });
        let program = Arc::new(Program::default());
        let store = Store::open_in_memory(StoreOptions::new(random())).await.expect("a registry in memory");
        let metrics = ServerMetrics::register(&mut Registry::default());
        let hub = egiz_server::live::Hub::new(
            engine.clone(),
            egiz_server::live::HubSettings::default(),
            &mut Registry::default(),
        );
        let ports = Ports {
            engine,
            progress,
            writes: gate.clone(),
            lines: Arc::new(LineReader::default()),
            store: store.clone(),
            history: past.as_ref().map(|past| past.historian.clone()),
            backups,
            program: program.clone(),
            hub,
            clock,
            random: random(),
            settings: Arc::new(settings),
            metrics: metrics.clone(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("a bound listener"));
        let stop = CancellationToken::new();
        let options = ServeOptions { connections_max, grace: Duration::from_millis(200) };
        let task = tokio::spawn(egiz_server::serve(
            listener,
            egiz_server::router(ports),
            options,
            metrics,
            stop.clone(),
        ));
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { base, client, gate, program, store, past, stop, task }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse::<Method>().expect("a method"), format!("{}{path}", self.base))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request("GET", path)
    }

    /// Sends JSON.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(method, path).json(body)).await
    }

    /// Reads JSON that must be there.
    pub(crate) async fn read(&self, path: &str) -> Value {
        let answer = Answer::of(self.get(path)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// Puts an oven in place.
    pub(crate) async fn put_oven(&self, id: &str) -> Answer {
        self.send("PUT", &format!("/api/v1/things/{id}"), &oven()).await
    }

    /// A device measures something.
    pub(crate) fn telemetry(&self, thing: &str, second: i64, feature: &str, samples: &[(&str, f64)]) {
        let mut bytes = Vec::new();
        let received = Timestamp::from_micros(START_MICROS + second * 1_000_000 + 250_000);
        let header = Header { received, principal: "oven-001", correlation: "" };
        let source = Timestamp::from_micros(START_MICROS + second * 1_000_000);
        let mut writer = TelemetryWriter::begin(&mut bytes, &header, thing, source, QualityReason::None);
        writer.feature(feature);
        for (property, number) in samples {
            writer.sample(property, Quality::Good).float(*number);
        }
        writer.finish();
        self.gate.apply(&[bytes]);
    }
}

pub(crate) fn oven() -> Value {
    json!({
        "definition": "openegiz:tunnel-oven:1.0.0",
        "attributes": {"type": "oven", "line": "line-1", "name": "Oven 1"},
        "features": {"thermal": {"properties": {"temperature_zones": [195, 192, 193], "setpoint": 195.5}}}
    })
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        Self::read(request.send().await.expect("the server answers")).await
    }

    pub(crate) async fn read(response: Response) -> Self {
        let status: StatusCode = response.status();
        let headers = response.headers().clone();
        let text = response.text().await.expect("the answer arrives whole");
        Self { status: status.as_u16(), headers, text }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Checks that this is a problem with this code and the right status, and gives it.
    #[track_caller]
    pub(crate) fn problem(&self, code: &str) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], self.status);
        assert!(
            problem["traceId"].as_str().is_some_and(|id| Some(id) == self.header("correlation-id")),
            "{self:?}"
        );
        if [429, 503, 507].contains(&self.status) {
            assert!(self.header("retry-after").is_some(), "{self:?}");
        }
        problem
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}
