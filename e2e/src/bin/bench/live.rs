//! From a sensor to people: how late events are, and what a thousand listeners cost.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::Program;
use e2e::load::{self, Load};
use e2e::measure::{Latencies, cpu_seconds, resident_bytes};
use e2e::web_socket::Client;
use serde_json::{Value, json};

use crate::subject::{ingest_load, quiet, wait_until_applied};
use crate::table::{Row, mega, millis};

/// From writing a message to reading its event on a WebSocket, at 10,000 messages a second.
pub(crate) async fn latency() -> anyhow::Result<Vec<Row>> {
    let program = Program::start(quiet()).await?;
    let mut client = Client::connect(&program.web_socket_url()).await?;
    client.send(&json!({"id": 1, "action": "subscribe", "fields": "load", "snapshot": false})).await?;
    let listener = tokio::spawn(async move {
        let mut latencies = Latencies::default();
        let mut conflated = 0;
        while let Ok(frame) = client.next().await {
            if let Some(sent) = frame["properties"]["sent_micros"].as_i64() {
                latencies.add(Duration::from_micros(u64::try_from(load::now_micros() - sent).unwrap_or(0)));
                conflated += frame["conflated"].as_u64().unwrap_or(0);
            }
            if frame["thingId"] == "factory:the-end" {
                break;
            }
        }
        (latencies, conflated)
    });
    let load = Load {
        publishers: 50,
        devices_per_publisher: 20,
        rate: Some(10_000.0),
        ..ingest_load(program.mqtt_port, 15)
    };
    let report = load::publish(load).await?;
    end_mark(&program).await?;
    let (latencies, conflated) = listener.await?;
    Ok(vec![Row {
        name: "sensor to WebSocket at 10,000 messages/s, p50 / p99 ms",
        measured: format!(
            "{} ({} events of {} messages, {conflated} conflated)",
            millis(&latencies),
            latencies.count(),
            report.acknowledged
        ),
        goal: "p99 under 50 ms",
    }])
}

/// A write that every unfiltered subscriber sees last.
async fn end_mark(program: &Program) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    for number in 0..2 {
        let thing =
            json!({"attributes": {"type": "end"}, "features": {"load": {"properties": {"number": number}}}});
        http.put(program.url("/api/v1/things/factory:the-end"))
            .json(&thing)
            .send()
            .await?
            .error_for_status()?;
    }
    Ok(())
}

/// A thousand WebSocket clients with mixed filters at 5,000 changes a second, and one that never reads.
pub(crate) async fn fan_out() -> anyhow::Result<Vec<Row>> {
    const CLIENTS: usize = 1000;
    const DEVICES: usize = 1000;
    let program = Program::start(quiet().with("http.websocket_max_clients = 2000")).await?;
    let warm_up = Load {
        publishers: 50,
        devices_per_publisher: DEVICES / 50,
        messages_max: DEVICES as u64,
        ..ingest_load(program.mqtt_port, 10)
    };
    let warm = load::publish(warm_up.clone()).await?;
    wait_until_applied(&program, warm.acknowledged).await?;

    let mut stalled = Client::connect(&program.web_socket_url()).await?;
    stalled.send(&json!({"action": "subscribe"})).await?;
    let mut listeners = Vec::new();
    for number in 0..CLIENTS {
        let mut client = Client::connect(&program.web_socket_url()).await?;
        client.send(&subscription(number, DEVICES)).await?;
        client.until(|frame| frame["ok"] == true).await?;
        listeners.push(tokio::spawn(async move {
            let mut latencies = Latencies::default();
            while let Ok(frame) = client.next().await {
                if let Some(sent) = frame["properties"]["sent_micros"].as_i64() {
                    latencies
                        .add(Duration::from_micros(u64::try_from(load::now_micros() - sent).unwrap_or(0)));
                }
            }
            latencies
        }));
    }
    let load =
        Load { rate: Some(5_000.0), duration: Duration::from_secs(15), messages_max: u64::MAX, ..warm_up };
    // The first run fills what is kept for clients that come back; only growth beyond that is a leak.
    load::publish(Load { duration: Duration::from_secs(25), ..load.clone() }).await?;
    let memory_before = resident_bytes(program.id()).context("it runs")?;
    let cpu = cpu_seconds(program.id()).context("it runs")?;
    let begun = Instant::now();
    load::publish(load).await?;
    let cpu = (cpu_seconds(program.id()).context("it runs")? - cpu) / begun.elapsed().as_secs_f64();
    let memory_after = resident_bytes(program.id()).context("it runs")?;
    drop(program);
    let mut latencies = Latencies::default();
    for listener in listeners {
        latencies.merge(&listener.await?);
    }
    drop(stalled);
    Ok(vec![
        Row {
            name: "1,000 WebSocket clients with mixed filters at 5,000 changes/s, p50 / p99 ms",
            measured: format!("{} ({} events, {:.2} cores)", millis(&latencies), latencies.count(), cpu),
            goal: "p99 under 200 ms",
        },
        Row {
            name: "memory before and after those 15 s, with one more client that never reads, MB",
            measured: format!("{:.0} → {:.0}", mega(memory_before), mega(memory_after)),
            goal: "no growth",
        },
    ])
}

/// Three in ten watch one Thing, the others a filter of about ten Things or (one in fifty) a hundred.
fn subscription(number: usize, devices: usize) -> Value {
    let device = load::device_name(number % devices);
    if number % 10 < 3 {
        json!({"id": 1, "action": "subscribe", "thingId": format!("factory:{device}"), "snapshot": false, "fields": "load"})
    } else if number % 50 == 3 {
        let tens = format!("factory:dev-00{}*", number / 100 % 10);
        json!({"id": 1, "action": "subscribe", "filter": format!("like(thingId,\"{tens}\")"), "snapshot": false, "fields": "load"})
    } else {
        let ten = format!("factory:{}*", &device[..device.len() - 1]);
        json!({"id": 1, "action": "subscribe", "filter": format!("like(thingId,\"{ten}\")"), "snapshot": false, "fields": "load"})
    }
}
