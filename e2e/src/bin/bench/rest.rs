//! Reads and durable writes over REST.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::Program;
use e2e::load::{self, Load};
use e2e::measure::Latencies;
use serde_json::json;
use tokio::process::Command;

use crate::subject::{ingest_load, quiet, wait_until_applied};
use crate::table::{Row, millis};

/// REST reads with wrk, and durable writes by 32 writers.
pub(crate) async fn measure() -> anyhow::Result<Vec<Row>> {
    let program = Program::start(quiet()).await?;
    let warm_up = Load {
        publishers: 10,
        devices_per_publisher: 100,
        messages_max: 1000,
        ..ingest_load(program.mqtt_port, 10)
    };
    let warm = load::publish(warm_up).await?;
    wait_until_applied(&program, warm.acknowledged).await?;
    let url = program.url("/api/v1/things/factory:dev-00042");
    let output = Command::new("wrk")
        .args(["-t1", "-c32", "-d10s", "--latency", &url])
        .output()
        .await
        .context("wrk is needed")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figure = |label: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(label))?;
        line.split_whitespace().last().map(str::to_owned)
    };
    anyhow::ensure!(!text.contains("Non-2xx"), "{text}");
    let reads = Row {
        name: "GET of a Thing with 13 values (wrk, 32 connections), requests/s and p99",
        measured: format!(
            "{}/s, p99 {}",
            figure("Requests/sec:").with_context(|| text.clone())?,
            figure("99%").unwrap_or_default()
        ),
        goal: "over 20,000/s, p99 under 10 ms",
    };
    let (rate, latencies) = durable_writes(&program).await?;
    let writes = Row {
        name: "durable PUT of a property by 32 writers, requests/s, p50 / p99 ms",
        measured: format!("{rate:.0}/s, {}", millis(&latencies)),
        goal: "",
    };
    Ok(vec![reads, writes])
}

async fn durable_writes(program: &Program) -> anyhow::Result<(f64, Latencies)> {
    let begun = Instant::now();
    let mut writers = Vec::new();
    for writer in 0..32 {
        let url =
            program.url(&format!("/api/v1/things/factory:dev-{writer:05}/features/set/properties/point"));
        writers.push(tokio::spawn(async move {
            let http = reqwest::Client::new();
            let mut latencies = Latencies::default();
            for number in 0.. {
                if begun.elapsed() > Duration::from_secs(8) {
                    break;
                }
                let sent = Instant::now();
                http.put(&url).json(&json!(number)).send().await?.error_for_status()?;
                latencies.add(sent.elapsed());
            }
            anyhow::Ok(latencies)
        }));
    }
    let mut latencies = Latencies::default();
    for writer in writers {
        latencies.merge(&writer.await??);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let rate = latencies.count() as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, latencies))
}
