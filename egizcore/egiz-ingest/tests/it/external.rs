//! Clients of external brokers, against a broker that does what the test says.

use egiz_ingest::{ExternalBroker, ExternalMetrics};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::scripted::{Batches, ScriptedBroker, Served, Told, at_once, sink};

struct Running {
    scripted: ScriptedBroker,
    batches: Batches,
    told: Told,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

/// Starts a client of a scripted broker.
async fn start(group: Option<&str>) -> Running {
    let scripted = ScriptedBroker::start().await;
    let (sink, batches) = sink();
    let (told, stop) = (Told::default(), CancellationToken::new());
    let client = ExternalBroker {
        name: "plant".into(),
        filters: vec!["sensors/#".parse().expect("a filter")],
        group: group.map(str::to_owned),
        payload_bytes_max: 100,
        connect: scripted.connect(),
        retry_delay: at_once(),
        on_status: told.on_status(),
        sink,
        counters: ExternalMetrics::default().of("plant"),
    };
    let stopped = stop.clone();
    let task = AbortOnDropHandle::new(tokio::spawn(async move { client.run(&stopped).await }));
    Running { scripted, batches, told, stop, task }
}

impl Running {
    /// The first connection, subscribed.
    async fn first(&self) -> Served {
        let mut served = self.scripted.accept(false).await;
        served.subscribed(&[1]).await;
        self.told.wait_for("connected, session false").await;
        served
    }
}

#[tokio::test]
async fn a_message_is_acknowledged_after_its_commit_and_not_before() {
    let mut running = start(None).await;
    let mut served = running.first().await;
    served.publish("sensors/f/oven/telemetry", 7, b"{}").await;
    let batch = running.batches.next().await;
    assert_eq!(batch.topics, ["sensors/f/oven/telemetry"]);
    served.silent().await;
    (batch.receipt)(Ok(()));
    assert_eq!(served.acknowledged().await, 7);
}

#[tokio::test]
async fn connect_asks_for_the_session_and_sets_the_receive_maximum() {
    let running = start(None).await;
    let served = running.scripted.accept(false).await;
    let connect = &served.connect;
    assert_eq!(&connect[..8], b"\x00\x04MQTT\x05\x00", "no clean start, no will, nobody's name");
    let has = |property: &[u8]| connect.windows(property.len()).any(|window| window == property);
    assert!(has(&[0x11, 0, 0, 0x0E, 0x10]), "session expiry of an hour");
    assert!(has(&[0x21, 0x01, 0x41]), "receive maximum of 321");
    assert!(has(&[0x27, 0, 1, 0, 0]), "largest packet");
}

#[tokio::test]
async fn a_group_subscribes_to_shared_filters() {
    let running = start(Some("twins")).await;
    let mut served = running.scripted.accept(false).await;
    let subscribe = served.subscribed(&[1]).await;
    let text = String::from_utf8_lossy(&subscribe).into_owned();
    assert!(text.contains("$share/twins/sensors/#"), "{text}");
}

#[tokio::test]
async fn an_acknowledgement_never_goes_out_on_another_connection_than_its_message_came_on() {
    let mut running = start(None).await;
    let mut served = running.first().await;
    served.publish("sensors/f/oven/telemetry", 1, b"{}").await;
    let old = running.batches.next().await;
    drop(served);
    let mut served = running.scripted.accept(true).await;
    // The same id, another message: acknowledging the old one here would lose the new one.
    served.publish("sensors/f/mixer/telemetry", 1, b"{}").await;
    let new = running.batches.next().await;
    (old.receipt)(Ok(()));
    served.silent().await;
    (new.receipt)(Ok(()));
    assert_eq!(served.acknowledged().await, 1);
}

#[tokio::test]
async fn acknowledgements_keep_the_order_of_arrival() {
    let mut running = start(None).await;
    let mut served = running.first().await;
    served.publish("sensors/f/a/telemetry", 5, b"{}").await;
    let first = running.batches.next().await;
    served.publish("sensors/f/b/telemetry", 3, b"{}").await;
    let second = running.batches.next().await;
    // Passed over at once, and yet not acknowledged before those in front of it.
    served.publish("elsewhere", 9, b"{}").await;
    (second.receipt)(Ok(()));
    served.silent().await;
    (first.receipt)(Ok(()));
    assert_eq!(
        [served.acknowledged().await, served.acknowledged().await, served.acknowledged().await],
        [5, 3, 9]
    );
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_acknowledged_and_comes_again() {
    let mut running = start(None).await;
    let mut served = running.first().await;
    served.publish("sensors/f/oven/telemetry", 1, b"{}").await;
    (running.batches.next().await.receipt)(Err("no space".into()));
    served.ended().await;
    running.told.wait_for("stalled: messages cannot be kept: no space").await;
    let mut served = running.scripted.accept(true).await;
    served.publish("sensors/f/oven/telemetry", 1, b"{}").await;
    (running.batches.next().await.receipt)(Ok(()));
    assert_eq!(served.acknowledged().await, 1);
}

#[tokio::test]
async fn messages_that_nobody_wants_are_acknowledged_and_passed_over() {
    let mut running = start(None).await;
    let mut served = running.first().await;
    served.publish("old/filter", 1, b"{}").await;
    assert_eq!(served.acknowledged().await, 1);
    served.publish("sensors/f/oven/telemetry", 2, &[b'x'; 101]).await;
    assert_eq!(served.acknowledged().await, 2);
    served.publish("sensors/f/oven/telemetry", 0, b"{}").await;
    assert_eq!(running.batches.next().await.topics.len(), 1, "QoS 0 is taken in as well");
}

#[tokio::test]
async fn it_subscribes_once_and_again_when_the_broker_lost_the_session() {
    let running = start(None).await;
    let served = running.first().await;
    drop(served);
    let mut served = running.scripted.accept(true).await;
    running.told.wait_for("connected, session true").await;
    served.silent().await;
    drop(served);
    running.scripted.accept(false).await.subscribed(&[1]).await;
}

#[tokio::test]
async fn a_refused_subscription_or_connection_is_told_in_words() {
    let running = start(None).await;
    let mut served = running.scripted.accept(false).await;
    served.subscribed(&[0x87]).await;
    running.told.wait_for("refused: the broker refuses to subscribe to sensors/# (not authorized)").await;
    let mut served = running.scripted.accept_silently().await;
    served.send(&[0x20, 3, 0, 0x86, 0]).await;
    running.told.wait_for("refused: the broker refuses the connection: bad user name password").await;
    let mut served = running.scripted.accept(false).await;
    served.send(&[0xE0, 2, 0x8E, 0]).await;
    running.told.wait_for("refused: the broker ended the connection: session taken over").await;
    // As Mosquitto sends it, which the client crate takes for half a packet.
    let mut served = running.scripted.accept(false).await;
    served.send(&[0xE0, 1, 0x8E]).await;
    drop(served);
    running.told.wait_for("unreachable: ").await;
}

#[tokio::test]
async fn stopping_waits_for_what_is_being_committed_and_then_parts() {
    let mut running = start(None).await;
    let mut served = running.first().await;
    served.publish("sensors/f/oven/telemetry", 4, b"{}").await;
    let batch = running.batches.next().await;
    running.stop.cancel();
    served.silent().await;
    (batch.receipt)(Ok(()));
    assert_eq!(served.acknowledged().await, 4);
    assert_eq!(served.receive().await.0, 0xE0, "DISCONNECT");
    running.task.await.expect("it ends well");
}

#[tokio::test]
async fn a_broker_that_sends_garbage_is_left_and_tried_again() {
    let running = start(None).await;
    let mut served = running.first().await;
    served.send(&[0xF7, 0xFF, 0xFF, 0xFF, 0xFF]).await;
    served.ended().await;
    running.told.wait_for("unreachable: ").await;
    running.first().await;
}
