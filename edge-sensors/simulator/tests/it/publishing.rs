//! What devices send, and what they keep.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use egiz_simulator::config::{Protocol, TimestampSource};
use egiz_simulator::{FaultKind, Simulator, SimulatorConfig, TruthKind, TruthRecord};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;

const START_MS: i64 = 1_706_352_600_000;

fn config(port: u16) -> SimulatorConfig {
    SimulatorConfig {
        broker_port: port,
        interval_ms: 50,
        timestamp_source: TimestampSource::Simulated,
        ledger: true,
        ..SimulatorConfig::default()
    }
}

fn simulator(config: SimulatorConfig) -> Simulator {
    Simulator::new(config, Arc::new(|| START_MS)).unwrap()
}

async fn wait_until(mut is_reached: impl FnMut() -> bool) {
    for _ in 0..1500 {
        if is_reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not reached within 30 s");
}

async fn devices_announce_themselves_and_publish_the_documented_shape(protocol: Protocol) {
    let broker = Broker::start(None).await;
    let simulator = simulator(SimulatorConfig { protocol, ..config(broker.port) });
    let (handle, stop) = (simulator.handle(), CancellationToken::new());
    let running = tokio::spawn(simulator.run(stop.clone()));
    wait_until(|| handle.counts().acknowledged > 200).await;
    assert_eq!(handle.counts().online, 18);
    stop.cancel();
    let report = running.await.unwrap().unwrap();

    assert_eq!((report.acknowledged, report.outstanding), (report.generated, 0));
    assert_eq!((report.reconnects, report.dropped, report.refused, report.failed_devices), (0, 0, 0, 0));
    let log = broker.log.lock().unwrap();
    assert_eq!(log.clean_disconnects, 18);
    assert_eq!(log.connects.len(), 18);
    assert!(log.connects.contains_key("factory-oven-001"));

    let of = |leaf: &str| {
        let topic = format!("sensors/factory/oven-001/{leaf}");
        let found: Vec<_> = log.received.iter().filter(|message| message.topic == topic).cloned().collect();
        assert!(found.iter().all(|message| message.client_id == "factory-oven-001"));
        found
    };
    let json = |payload: &[u8]| serde_json::from_slice::<Value>(payload).unwrap();

    let telemetry = of("telemetry");
    assert!(telemetry.len() > 5 && telemetry.iter().all(|message| !message.is_retained));
    let mut last_ms = START_MS;
    for message in &telemetry {
        let payload = json(&message.payload);
        assert_eq!(payload["device_id"], "oven-001");
        let timestamp_ms = payload["timestamp"].as_i64().unwrap();
        assert!(timestamp_ms > last_ms && timestamp_ms < START_MS + 60_000);
        last_ms = timestamp_ms;
        assert_eq!(payload["thermal"]["temperature_zones"].as_array().unwrap().len(), 6);
        assert!(payload["electrical"]["voltage_l1"].as_f64().unwrap() > 200.0);
        assert!(payload["process"]["state"].is_string());
        let only_features =
            payload.as_object().unwrap().iter().all(|(name, value)| {
                ["device_id", "timestamp"].contains(&name.as_str()) || value.is_object()
            });
        assert!(only_features);
    }

    let status = of("status");
    assert!(status.iter().all(|message| message.is_retained));
    let states: Vec<_> = status.iter().map(|message| json(&message.payload)["status"].clone()).collect();
    assert_eq!(states, ["online", "offline"]);
    let will = String::from_utf8_lossy(&log.connects["factory-oven-001"][0]).into_owned();
    assert!(will.contains("sensors/factory/oven-001/status") && will.contains("\"offline\""));

    let meta = of("meta");
    assert_eq!(meta.len(), 1);
    assert!(meta[0].is_retained);
    let meta = json(&meta[0].payload);
    assert_eq!(meta["type"], "oven");
    assert_eq!(meta["units"]["thermal"]["temperature_zones"], "°C");
    assert!(meta["firmware"].is_string());

    let acknowledged: BTreeSet<_> =
        report.ledger.iter().map(|entry| (entry.machine, entry.timestamp_ms)).collect();
    assert_eq!(acknowledged.len() as u64, report.acknowledged);
    let ovens: BTreeSet<_> =
        telemetry.iter().map(|message| json(&message.payload)["timestamp"].as_i64().unwrap()).collect();
    assert!(acknowledged.iter().filter(|(machine, _)| *machine == 3).all(|(_, time)| ovens.contains(time)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_speak_mqtt_3_1_1() {
    devices_announce_themselves_and_publish_the_documented_shape(Protocol::V311).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_speak_mqtt_5() {
    devices_announce_themselves_and_publish_the_documented_shape(Protocol::V5).await;
}

async fn unacknowledged_messages_are_sent_again_in_order(protocol: Protocol) {
    let broker = Broker::start(Some(6)).await;
    let simulator = simulator(SimulatorConfig {
        protocol,
        devices: 4,
        include_sequence: true,
        buffer_messages: 10_000,
        ..config(broker.port)
    });
    let (handle, stop) = (simulator.handle(), CancellationToken::new());
    let running = tokio::spawn(simulator.run(stop.clone()));
    wait_until(|| handle.counts().acknowledged > 60).await;
    stop.cancel();
    let report = running.await.unwrap().unwrap();

    assert!(report.reconnects > 4, "{report:?}");
    assert_eq!(report.dropped, 0);
    let log = broker.log.lock().unwrap();
    for machine in 0..4 {
        let topic = format!("sensors/factory/{}/telemetry", egiz_simulator::plant::device_name(machine));
        let mut received = BTreeSet::new();
        let mut highest = 0;
        for message in log.received.iter().filter(|message| message.topic == topic) {
            let payload: Value = serde_json::from_slice(&message.payload).unwrap();
            let sequence = payload["device"]["sequence"].as_u64().unwrap();
            // Repeats are allowed, gaps are not: nothing overtakes what is unacknowledged.
            assert!(sequence <= highest + 1, "{topic}: {sequence} after {highest}");
            highest = highest.max(sequence);
            if message.is_acknowledged {
                received.insert(sequence);
            }
        }
        let acknowledged: BTreeSet<_> = report
            .ledger
            .iter()
            .filter(|entry| entry.machine == machine)
            .map(|entry| entry.sequence)
            .collect();
        assert!(acknowledged.is_subset(&received), "{topic}");
        assert!(!acknowledged.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unacknowledged_messages_are_sent_again_over_mqtt_3_1_1() {
    unacknowledged_messages_are_sent_again_in_order(Protocol::V311).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unacknowledged_messages_are_sent_again_over_mqtt_5() {
    unacknowledged_messages_are_sent_again_in_order(Protocol::V5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_the_newest_messages_are_kept_and_stopping_is_prompt() {
    // A port that was just free: nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let simulator =
        simulator(SimulatorConfig { devices: 2, interval_ms: 10, buffer_messages: 20, ..config(port) });
    let (handle, stop) = (simulator.handle(), CancellationToken::new());
    let running = tokio::spawn(simulator.run(stop.clone()));
    wait_until(|| handle.counts().dropped > 20).await;
    stop.cancel();
    let report = running.await.unwrap().unwrap();
    assert_eq!(report.outstanding, 40);
    assert_eq!(report.generated, report.outstanding + report.dropped);
    assert!(report.connection_failures > 0);
    assert_eq!((report.connections, report.acknowledged), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_injected_fault_appears_in_the_truth_file_and_in_memory() {
    let broker = Broker::start(None).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("truth.jsonl");
    let simulator =
        simulator(SimulatorConfig { truth_path: Some(path.clone()), speed: 600.0, ..config(broker.port) });
    let (handle, stop) = (simulator.handle(), CancellationToken::new());
    let running = tokio::spawn(simulator.run(stop.clone()));
    handle.inject("chiller-001", FaultKind::RefrigerantLoss, 600.0).unwrap();
    assert!(handle.inject("chiller-001", FaultKind::HeaterElementLoss, 600.0).is_err());
    wait_until(|| handle.truth().iter().any(|record| record.event == TruthKind::Failure)).await;
    handle.repair("chiller-001").unwrap();
    stop.cancel();
    running.await.unwrap().unwrap();

    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<TruthRecord> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, handle.truth());
    let events: Vec<_> = lines.iter().map(|record| record.event).collect();
    assert_eq!(events, [TruthKind::Onset, TruthKind::Detectable, TruthKind::Failure, TruthKind::Repaired]);
    assert!(
        lines.iter().all(|record| record.device == "chiller-001" && record.time.starts_with("2024-01-27T1"))
    );
}
