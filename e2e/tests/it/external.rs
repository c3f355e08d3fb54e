//! Messages that come by a real Mosquitto: they reach live state as those of the program's own broker do, and what breaks on
//! either side loses nothing that the other had taken.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::{Mosquitto, Program, ProgramOptions, mqtt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

fn external(port: u16, more: &str) -> ProgramOptions {
    ProgramOptions::default()
        .with(format!("mqtt.external = [{{ name = \"plant\", url = \"mqtt://127.0.0.1:{port}\"{more} }}]"))
}

/// Publishes numbers as one device, all acknowledged.
async fn publish(port: u16, device: &str, numbers: std::ops::RangeInclusive<u64>) -> anyhow::Result<()> {
    let (mut reader, mut writer) = mqtt::connect(port, &format!("test-{device}")).await?;
    let topic = format!("sensors/factory/{device}/telemetry");
    let count = numbers.clone().count();
    let mut out = Vec::new();
    for number in numbers {
        let payload = json!({"timestamp": 1_706_352_600 + number, "counter": {"number": number}}).to_string();
        let packet_id = u16::try_from(number % 65_535 + 1)?;
        mqtt::push_publish(&mut out, &topic, packet_id, payload.as_bytes());
    }
    writer.write_all(&out).await?;
    let (mut acknowledged, mut buffer) = (0, Vec::new());
    while acknowledged < count {
        anyhow::ensure!(reader.read_buf(&mut buffer).await? > 0, "the broker went away");
        mqtt::take_acknowledgements(&mut buffer, |_| acknowledged += 1)?;
    }
    Ok(())
}

async fn number_of(program: &Program, device: &str) -> Option<u64> {
    let thing = program.get(&format!("/api/v1/things/factory:{device}")).await.ok()?;
    thing["features"]["counter"]["properties"]["number"].as_u64()
}

async fn wait_for_number(program: &Program, device: &str, number: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    while number_of(program, device).await != Some(number) {
        anyhow::ensure!(
            begun.elapsed() < PATIENCE,
            "{device} has {:?} instead of {number}:\n{}",
            number_of(program, device).await,
            program.log()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn part(program: &Program, name: &str) -> anyhow::Result<Value> {
    let health = program.get("/health").await?;
    let parts = health["parts"].as_array().context("parts")?;
    parts.iter().find(|part| part["name"] == name).cloned().with_context(|| format!("no {name}: {health}"))
}

async fn wait_for_part(program: &Program, name: &str, status: &str) -> anyhow::Result<Value> {
    let begun = Instant::now();
    loop {
        let part = part(program, name).await?;
        if part["status"] == status {
            return Ok(part);
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{part}:\n{}", program.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn metric(program: &Program, series: &str) -> anyhow::Result<u64> {
    let text = reqwest::get(program.url("/metrics")).await?.text().await?;
    let line = text.lines().find(|line| line.starts_with(series)).with_context(|| format!("no {series}"))?;
    Ok(line.rsplit(' ').next().context("a value")?.parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telemetry_by_another_broker_reaches_live_state() -> anyhow::Result<()> {
    for protocol in ["5", "3.1.1"] {
        let mosquitto = Mosquitto::start().await?;
        let options = external(mosquitto.port, &format!(", protocol = \"{protocol}\""));
        let mut program = Program::start(options).await?;
        wait_for_part(&program, "mqtt-external-plant", "up").await?;
        publish(mosquitto.port, "oven-001", 1..=500).await?;
        wait_for_number(&program, "oven-001", 500).await?;
        let acknowledged = "egiz_ingest_external_acknowledged_messages_total{broker=\"plant\"}";
        assert_eq!(metric(&program, acknowledged).await?, 500);
        // What arrives while the program is away waits in its session.
        assert_eq!(program.stop().await?, Some(0));
        publish(mosquitto.port, "oven-001", 501..=800).await?;
        program.restart().await?;
        wait_for_number(&program, "oven-001", 800).await?;
    }
    Ok(())
}
