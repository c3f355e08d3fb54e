//! A client of an external broker whose sink has no room: what waits is bounded in bytes, and stopping does not wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use egiz_ingest::{ExternalBroker, ExternalMetrics, Message, Receipt, Room, Sink};
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::scripted::{ScriptedBroker, Served, Told, at_once};

const PATIENCE: Duration = Duration::from_secs(20);
/// Fewer than the receive maximum, so the broker keeps to what was agreed.
const MESSAGES: u16 = 300;
const PAYLOAD_BYTES: usize = 60_000;
const TOPIC: &str = "sensors/f/camera/telemetry";

/// Has no room until it is opened; then keeps everything.
struct SlowSink {
    open: Semaphore,
    kept: AtomicUsize,
}

#[async_trait]
impl Sink for SlowSink {
    async fn reserve(&self, _bytes: usize) -> Room {
        let _ = self.open.acquire().await;
        Box::new(())
    }

    fn submit(&self, _broker: &str, messages: &[Message], _room: Room, receipt: Receipt) {
        self.kept.fetch_add(messages.len(), Ordering::Relaxed);
        receipt(Ok(()));
    }
}

struct Full {
    served: Served,
    sink: Arc<SlowSink>,
    registry: Registry,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
    _scripted: ScriptedBroker,
}

impl Full {
    fn received(&self) -> usize {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("it can be written");
        let series = "egiz_ingest_external_messages_total{broker=\"plant\"} ";
        let value = text.lines().find_map(|line| line.strip_prefix(series)).expect("it is counted");
        value.parse().expect("a number")
    }
}

async fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !reached() {
        assert!(tokio::time::Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client whose sink has no room, with as many bytes waiting as may; the broker has sent more.
async fn full() -> Full {
    let scripted = ScriptedBroker::start().await;
    let sink = Arc::new(SlowSink { open: Semaphore::new(0), kept: AtomicUsize::new(0) });
    let (told, stop, mut registry) = (Told::default(), CancellationToken::new(), Registry::default());
    let client = ExternalBroker {
        name: "plant".into(),
        filters: vec!["sensors/#".parse().expect("a filter")],
        group: None,
        payload_bytes_max: PAYLOAD_BYTES,
        connect: scripted.connect(),
        retry_delay: at_once(),
        on_status: told.on_status(),
        sink: Arc::clone(&sink) as Arc<dyn Sink>,
        counters: ExternalMetrics::register(&mut registry).of("plant"),
    };
    let stopped = stop.clone();
    let task = AbortOnDropHandle::new(tokio::spawn(async move { client.run(&stopped).await }));
    let mut served = scripted.accept(false).await;
    served.subscribed(&[1]).await;
    let payload = vec![b'x'; PAYLOAD_BYTES];
    let send = async {
        for packet_id in 1..=MESSAGES {
            served.publish(TOPIC, packet_id, &payload).await;
        }
        served
    };
    // The socket may hold less than the rest; it goes on when there is room.
    let sending = tokio::time::timeout(Duration::from_secs(1), send);
    let served = sending.await.expect("loopback holds what is over");
    Full { served, sink, registry, stop, task, _scripted: scripted }
}

/// Those that fit into 16 MiB, and the one that waits for room.
fn at_most() -> usize {
    (16 << 20) / (PAYLOAD_BYTES + TOPIC.len()) + 1
}

#[tokio::test]
async fn what_waits_for_a_slow_disk_is_bounded_in_bytes_and_all_of_it_is_taken_later() {
    let mut full = full().await;
    wait_until("it takes what it may", || full.received() >= at_most()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(full.received(), at_most(), "the socket is not read any more");
    full.sink.open.add_permits(1);
    for packet_id in 1..=MESSAGES {
        assert_eq!(full.served.acknowledged().await, packet_id);
    }
    assert_eq!(full.sink.kept.load(Ordering::Relaxed), usize::from(MESSAGES));
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_disk_that_stands_still() {
    let full = full().await;
    wait_until("it takes what it may", || full.received() >= at_most()).await;
    full.stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, full.task).await;
    ended.expect("it ends").expect("it ends well");
    assert_eq!(full.sink.kept.load(Ordering::Relaxed), 0);
}
