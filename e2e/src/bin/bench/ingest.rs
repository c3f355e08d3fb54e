//! Durable ingest: how many messages a second are acknowledged and applied, beside Mosquitto.

use std::time::Instant;

use anyhow::Context as _;
use e2e::Program;
use e2e::load::{self, LoadReport};
use e2e::measure::cpu_seconds;

use crate::subject::{ingest_load, mosquitto, quiet, wait_until_applied};
use crate::table::{Row, millis};

/// Acknowledged QoS 1 messages a second through to live state, and Mosquitto's rate for the same load.
pub(crate) async fn measure() -> anyhow::Result<Vec<Row>> {
    const ROUNDS: usize = 3;
    const SECONDS: u64 = 5;
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..ROUNDS {
        theirs.push(mosquitto_round(SECONDS).await?);
        ours.push(our_round(SECONDS).await?);
    }
    let median = |rounds: &mut Vec<Round>| {
        rounds.sort_by(|a, b| a.report.rate().total_cmp(&b.report.rate()));
        rounds.swap_remove(ROUNDS / 2)
    };
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    Ok(vec![
        Row {
            name: "durable QoS 1 ingest of 300-byte messages through to live state, messages/s",
            measured: format!("{:.0} (applied {:.0})", ours.report.rate(), ours.applied_rate),
            goal: "at least 100,000",
        },
        Row {
            name: "the same load acknowledged by Mosquitto (no disk), messages/s",
            measured: format!("{:.0}", theirs.report.rate()),
            goal: "",
        },
        Row {
            name: "ratio to Mosquitto in the same run",
            measured: format!("{:.2}", ours.report.rate() / theirs.report.rate()),
            goal: "at least 1.0",
        },
        Row {
            name: "processor time a message, OpenEgiz end to end / Mosquitto acknowledging only, µs",
            measured: format!("{:.1} / {:.1}", ours.cpu_micros, theirs.cpu_micros),
            goal: "at most 50",
        },
        Row {
            name: "publish to PUBACK under that load, p50 / p99 ms",
            measured: millis(&ours.report.latencies),
            goal: "",
        },
    ])
}

struct Round {
    report: LoadReport,
    cpu_micros: f64,
    applied_rate: f64,
}

async fn our_round(seconds: u64) -> anyhow::Result<Round> {
    let program = Program::start(quiet()).await?;
    let cpu = cpu_seconds(program.id()).context("it runs")?;
    let begun = Instant::now();
    let report = load::publish(ingest_load(program.mqtt_port, seconds)).await?;
    wait_until_applied(&program, report.acknowledged).await?;
    let elapsed = begun.elapsed();
    let cpu = cpu_seconds(program.id()).context("it runs")? - cpu;
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let acknowledged = report.acknowledged as f64;
    Ok(Round {
        cpu_micros: cpu * 1e6 / acknowledged,
        applied_rate: acknowledged / elapsed.as_secs_f64(),
        report,
    })
}

async fn mosquitto_round(seconds: u64) -> anyhow::Result<Round> {
    let mosquitto = mosquitto("").await?;
    let cpu = cpu_seconds(mosquitto.id()).context("it runs")?;
    let report = load::publish(ingest_load(mosquitto.port, seconds)).await?;
    let cpu = cpu_seconds(mosquitto.id()).context("it runs")? - cpu;
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let cpu_micros = cpu * 1e6 / report.acknowledged as f64;
    Ok(Round { report, cpu_micros, applied_rate: 0.0 })
}
