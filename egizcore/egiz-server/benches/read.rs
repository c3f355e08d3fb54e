//! Promise: writing a Thing of 10 properties as JSON takes less than 5 µs, so that reads are bounded by HTTP and not by us
//! (goal of the whole: over 20,000 reads a second on two cores). A page of 200 Things shows the cost of one; a single
//! read shows the cost of the door and the router besides. No socket is involved.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use egiz_api::{Health, HealthState, RejectedMessage};
use egiz_influx::{Lines, MappedLines};
use egiz_model::Timestamp;
use egiz_model::record::{Body as RecordBody, Header, Preconditions, Record, ThingWrite, WriteOperation};
use egiz_server::{
    Anonymous, Applied, LineMapper, Ports, ProgramReport, Progress, ServerMetrics, ServerSettings,
    SubmitError, WriteGate,
};
use egiz_store::{Store, StoreOptions};
use egiz_twin::{Engine, Limits};
use parking_lot::RwLock;
use prometheus_client::registry::Registry;
use tower::ServiceExt;

const THINGS: u64 = 10_000;

struct Nothing;

#[async_trait]
impl WriteGate for Nothing {
    async fn submit(&self, _: Vec<Vec<u8>>) -> Result<Vec<Applied>, SubmitError> {
        Err(SubmitError::ShuttingDown)
    }
}

impl LineMapper for Nothing {
    fn map(&self, _: &Lines<'_>) -> MappedLines {
        MappedLines::default()
    }
}

impl ProgramReport for Nothing {
    fn health(&self) -> Health {
        Health { status: HealthState::Up, version: String::new(), parts: Vec::new() }
    }
    fn metrics_text(&self) -> String {
        String::new()
    }
    fn rejected(&self, _: Option<u64>, _: usize) -> Vec<RejectedMessage> {
        Vec::new()
    }
}

fn plant() -> Engine {
    let mut engine = Engine::new(Limits::default());
    let mut changes = Vec::new();
    for number in 0..THINGS {
        let thing = format!("factory:oven-{number:05}");
        let properties: Vec<String> = (0..10).map(|p| format!("\"property_{p}\":{}.5", number + p)).collect();
        let content = format!(
            "{{\"definition\":\"openegiz:oven:1.0.0\",\"attributes\":{{\"type\":\"oven\",\"line\":\"line-1\"}},\
             \"features\":{{\"thermal\":{{\"properties\":{{{}}}}}}}}}",
            properties.join(",")
        );
        let body = RecordBody::ThingWrite(ThingWrite {
            thing: &thing,
            operation: WriteOperation::Put,
            path: "",
            content: content.as_bytes(),
            preconditions: Preconditions::default(),
        });
        let header = Header { received: Timestamp::from_seconds(1), principal: "bench", correlation: "" };
        engine.apply(number, &Record { header, body }, &mut changes);
        changes.clear();
    }
    engine
}

fn read(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let random: egiz_server::RandomSource = Arc::new(|bytes: &mut [u8]| bytes.fill(7));
    let store =
        runtime.block_on(Store::open_in_memory(StoreOptions::new(random.clone()))).expect("a registry");
    let engine = Arc::new(RwLock::new(plant()));
    let router = egiz_server::router(Ports {
        engine: engine.clone(),
        progress: Arc::new(Progress::at(THINGS)),
        writes: Arc::new(Nothing),
        lines: Arc::new(Nothing),
        store,
        history: None,
        backups: None,
        program: Arc::new(Nothing),
        hub: egiz_server::live::Hub::new(
            engine,
            egiz_server::live::HubSettings::default(),
            &mut Registry::default(),
        ),
        clock: Arc::new(|| Timestamp::from_seconds(1)),
        random,
        settings: Arc::new(ServerSettings { anonymous: Anonymous::Always, ..ServerSettings::default() }),
        metrics: ServerMetrics::register(&mut Registry::default()),
    });
    let get = |path: &'static str| {
        let router = router.clone();
        async move {
            let request =
                Request::get(path).header("host", "localhost").body(Body::empty()).expect("a request");
            let response = router.oneshot(request).await.expect("an answer");
            assert_eq!(response.status(), 200);
            to_bytes(response.into_body(), usize::MAX).await.expect("a body")
        }
    };
    let mut group = criterion.benchmark_group("read");
    group.bench_function("one_thing", |bencher| {
        bencher.iter(|| runtime.block_on(get("/api/v1/things/factory:oven-00042")));
    });
    group.bench_function("one_property", |bencher| {
        bencher.iter(|| {
            runtime.block_on(get("/api/v1/things/factory:oven-00042/features/thermal/properties/property_3"))
        });
    });
    group.throughput(Throughput::Elements(200));
    group.bench_function("page_of_200_things", |bencher| {
        bencher.iter(|| runtime.block_on(get("/api/v1/things?limit=200")));
    });
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
