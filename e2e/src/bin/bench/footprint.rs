//! What the program holds in memory, and how long it takes to be back after a crash.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::Program;
use e2e::load::{self, Load};
use e2e::measure::resident_bytes;

use crate::subject::{ingest_load, quiet, wait_until_applied};
use crate::table::{Row, mega};

/// Resident memory idle, and with 10,000 and 100,000 Things of ten properties.
pub(crate) async fn memory() -> anyhow::Result<Vec<Row>> {
    let program = Program::start(quiet().with("twin.max_things = 200000")).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = resident_bytes(program.id()).context("it runs")?;
    let mut figures = vec![Row {
        name: "resident memory idle, MB",
        measured: format!("{:.0}", mega(idle)),
        goal: "under 60",
    }];
    let mut first_device = 0;
    for (things, name, goal) in [
        (10_000_usize, "resident memory with 10,000 Things of 13 values, MB", "under 100"),
        (100_000, "resident memory with 100,000 Things of 13 values, MB", "under 300"),
    ] {
        let load = Load {
            publishers: 10,
            devices_per_publisher: (things - first_device) / 10,
            first_device,
            rate: Some(10_000.0),
            duration: Duration::from_secs(60),
            messages_max: (things - first_device) as u64,
            ..ingest_load(program.mqtt_port, 60)
        };
        load::publish(load).await?;
        first_device = things;
        wait_for_things(&program, things).await?;
        let now = resident_bytes(program.id()).context("it runs")?;
        #[expect(clippy::cast_precision_loss, reason = "bytes")]
        let each = (now - idle.min(now)) as f64 / things as f64;
        figures.push(Row { name, measured: format!("{:.0} ({each:.0} B a Thing)", mega(now)), goal });
    }
    Ok(figures)
}

async fn wait_for_things(program: &Program, things: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let count = program.get("/api/v1/things/count").await?["count"].as_u64().unwrap_or(0);
        if count >= things as u64 {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(60), "only {count} of {things} Things");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Time to ready after a crash with a million records to replay.
pub(crate) async fn replay() -> anyhow::Result<Vec<Row>> {
    const RECORDS: u64 = 1_000_000;
    let options =
        quiet().with("twin.snapshot_every_records = 1000000000").with("twin.snapshot_interval_s = 86400");
    let mut program = Program::start(options).await?;
    let load = Load { messages_max: RECORDS, ..ingest_load(program.mqtt_port, 60) };
    let report = load::publish(load).await?;
    wait_until_applied(&program, report.acknowledged).await?;
    program.kill()?;
    let took = program.restart().await?;
    Ok(vec![Row {
        name: "kill -9, then ready again with this many records to replay",
        measured: format!("{} records, {:.2} s", report.acknowledged, took.as_secs_f64()),
        goal: "1,000,000 records, under 3 s",
    }])
}
