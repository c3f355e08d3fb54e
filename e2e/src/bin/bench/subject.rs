//! What is measured: the shipped program, the load on it, and how far it has come with it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::load::Load;
use e2e::mosquitto::Mosquitto;
use e2e::{Program, ProgramOptions};

/// The program as shipped, saying little, with Things that stay fresh.
pub(crate) fn quiet() -> ProgramOptions {
    ProgramOptions::default().with("log.level = \"warn\"").with("twin.stale_after_s = 604800")
}

/// Two hundred publishers of five devices each, as fast as a window of a thousand allows.
pub(crate) fn ingest_load(port: u16, seconds: u64) -> Load {
    Load {
        port,
        publishers: 200,
        devices_per_publisher: 5,
        first_device: 0,
        window: 1000,
        qos: 1,
        topics: "sensors/factory",
        rate: None,
        duration: Duration::from_secs(seconds),
        messages_max: u64::MAX,
    }
}

/// Waits until the twin counts as many telemetry messages as were acknowledged: end to end, not only on disk.
pub(crate) async fn wait_until_applied(program: &Program, messages: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let applied = metric(program, "egiz_twin_telemetry_messages_total").await?;
        #[expect(clippy::cast_precision_loss, reason = "counts")]
        if applied >= messages as f64 {
            return Ok(());
        }
        anyhow::ensure!(
            begun.elapsed() < Duration::from_secs(60),
            "{applied} of {messages} messages were applied"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The value of a metric without labels, or of its first series.
pub(crate) async fn metric(program: &Program, name: &str) -> anyhow::Result<f64> {
    let text = reqwest::get(program.url("/metrics")).await?.text().await?;
    let line =
        text.lines().find(|line| line.starts_with(name)).with_context(|| format!("no metric {name}"))?;
    Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
}

/// A Mosquitto that keeps nothing on disk and has no bound on what is under way or waits; `settings` are more lines.
pub(crate) async fn mosquitto(settings: &str) -> anyhow::Result<Mosquitto> {
    Mosquitto::with_settings(|_| {
        format!(
            "allow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\nlog_type error\n{settings}"
        )
    })
    .await
}

/// A Mosquitto with the bounds that it has by default.
pub(crate) async fn mosquitto_as_shipped() -> anyhow::Result<Mosquitto> {
    Mosquitto::with_settings(|_| "allow_anonymous true\nlog_type error\n".to_owned()).await
}
