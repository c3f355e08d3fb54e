//! From publishers to a subscriber: what the broker costs as a broker, and what it keeps when there is too much.
//!
//! Mosquitto's row says what became of its messages and connections, whatever that is. Of ours, one lost message or broken
//! connection fails the section, behind its rows.

use std::time::Duration;

use anyhow::Context as _;
use e2e::Program;
use e2e::hearer::{Heard, Hearer};
use e2e::load::{self, Broken, Load, LoadReport};
use e2e::measure::{cpu_seconds, resident_bytes};
use e2e::mosquitto::Mosquitto;

use crate::subject::{ingest_load, metric, mosquitto, mosquitto_as_shipped, quiet};
use crate::table::{BrokenPromise, Row, mega, millis};

const SECONDS: u64 = 10;
/// Topics that are nobody's telemetry, so that both brokers do the same.
const TOPICS: &str = "plant/line-1";
/// As long without a message as to believe that none comes.
const PATIENCE: Duration = Duration::from_secs(5);
/// As long as a broker that has ended may need to end its connections.
const ENDING: Duration = Duration::from_secs(60);
/// The part of a fixed rate that counts as holding it.
const HELD: f64 = 0.95;

/// What a broker did with a load that one subscriber hears.
struct Delivery {
    rate: Option<f64>,
    sent: LoadReport,
    heard: Heard,
    /// Whether the subscriber lost its connection while the broker ran.
    cut_off: bool,
    cpu_micros: f64,
    peak_bytes: u64,
}

impl Delivery {
    /// Messages that were acknowledged and did not come; one that came twice stands for none but itself.
    fn lost(&self) -> u64 {
        self.sent.acknowledged.saturating_sub(self.heard.count - self.heard.again)
    }

    /// Connections that the broker did not keep, in words; empty where it kept them all.
    fn broken(&self) -> String {
        let subscriber = self.cut_off.then(|| {
            let after = self.heard.connected.as_secs_f64();
            format!("; the subscriber's connection ended after {after:.1} s")
        });
        let publishers = self.sent.broken.first().map(|Broken { after, error }| {
            let (count, after) = (self.sent.broken.len(), after.as_secs_f64());
            format!("; {count} publishers' connections broke, the first after {after:.1} s: {error:#}")
        });
        [subscriber, publishers].into_iter().flatten().collect()
    }

    /// The same, and before it a fixed rate that was not held.
    fn shortcomings(&self) -> String {
        let behind = self.rate.filter(|rate| self.sent.rate() < rate * HELD);
        behind.map_or_else(String::new, |rate| format!("; behind the {rate:.0}/s")) + &self.broken()
    }

    /// The rows, or an error with them where this is ours and something is missing.
    fn promised(&self, rows: Vec<Row>) -> anyhow::Result<Vec<Row>> {
        if self.lost() == 0 && self.broken().is_empty() {
            return Ok(rows);
        }
        let (lost, all) = (self.lost(), self.sent.acknowledged);
        Err(BrokenPromise { rows, what: format!("OpenEgiz lost {lost} of {all} messages{}", self.broken()) }
            .into())
    }
}

/// Loads the broker while one subscriber hears it, then waits until that one has everything; `end` ends the broker.
async fn deliver(
    process: u32,
    load: Load,
    pause: Duration,
    end: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Delivery> {
    let hearer = Hearer::start(load.port, &format!("{}/#", load.topics), load.qos, pause).await?;
    let before = cpu_seconds(process).context("it runs")?;
    let watching = tokio::spawn(async move {
        let mut peak = 0;
        while let Some(bytes) = resident_bytes(process) {
            peak = peak.max(bytes);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        peak
    });
    let rate = load.rate;
    let sent = load::try_to_publish(load).await?;
    hearer.wait(sent.acknowledged, PATIENCE).await;
    let cut_off = hearer.is_over();
    let cpu = cpu_seconds(process).context("it runs")? - before;
    end().await?;
    let peak_bytes = watching.await?;
    let heard = hearer.finish(ENDING).await?;
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let cpu_micros = cpu * 1e6 / sent.acknowledged as f64;
    Ok(Delivery { rate, sent, heard, cut_off, cpu_micros, peak_bytes })
}

async fn ours(load: impl Fn(u16) -> Load, pause: Duration) -> anyhow::Result<Delivery> {
    let mut program = Program::start(quiet()).await?;
    let (process, port) = (program.id(), program.mqtt_port);
    deliver(process, load(port), pause, async move || program.stop().await.map(|_| ())).await
}

async fn theirs(
    mut mosquitto: Mosquitto,
    load: impl Fn(u16) -> Load,
    pause: Duration,
) -> anyhow::Result<Delivery> {
    let (process, port) = (mosquitto.id(), mosquitto.port);
    deliver(process, load(port), pause, async move || mosquitto.stop().await).await
}

fn fixed(port: u16, qos: u8, rate: f64) -> Load {
    Load {
        publishers: 50,
        devices_per_publisher: 20,
        rate: Some(rate),
        qos,
        topics: TOPICS,
        ..ingest_load(port, SECONDS)
    }
}

/// 60,000 messages a second of QoS 1 with one subscriber.
pub(crate) async fn at_least_once() -> anyhow::Result<Vec<Row>> {
    let load = |port| fixed(port, 1, 60_000.0);
    let theirs = theirs(mosquitto("").await?, load, Duration::ZERO).await?;
    let ours = ours(load, Duration::ZERO).await?;
    ours.promised(vec![
        Row {
            name: "QoS 1 at 60,000 messages/s with one subscriber, publisher to subscriber, p50 / p99 ms",
            measured: told(&ours),
            goal: "p99 under 10 ms",
        },
        Row { name: "the same with Mosquitto", measured: told(&theirs), goal: "" },
        Row {
            name: "processor time a message of those, OpenEgiz / Mosquitto, µs",
            measured: format!("{:.1} / {:.1}", ours.cpu_micros, theirs.cpu_micros),
            goal: "at or under Mosquitto's",
        },
    ])
}

/// 100,000 messages a second of QoS 0 with one subscriber.
pub(crate) async fn at_most_once() -> anyhow::Result<Vec<Row>> {
    let load = |port| fixed(port, 0, 100_000.0);
    let theirs = theirs(mosquitto("").await?, load, Duration::ZERO).await?;
    let ours = ours(load, Duration::ZERO).await?;
    ours.promised(vec![
        Row {
            name: "QoS 0 at 100,000 messages/s with one subscriber, publisher to subscriber, p50 / p99 ms",
            measured: format!("{}; {:.1} µs of processor a message", told(&ours), ours.cpu_micros),
            goal: "no loss",
        },
        Row {
            name: "the same with Mosquitto",
            measured: format!("{}; {:.1} µs of processor a message", told(&theirs), theirs.cpu_micros),
            goal: "",
        },
    ])
}

/// Publishers without a bound and one subscriber who cannot keep up.
pub(crate) async fn overload() -> anyhow::Result<Vec<Row>> {
    const PAUSE: Duration = Duration::from_millis(20);
    let load = |port| Load { topics: TOPICS, ..ingest_load(port, 5) };
    let theirs = theirs(mosquitto_as_shipped().await?, load, PAUSE).await?;
    let mut program = Program::start(quiet()).await?;
    let (process, port) = (program.id(), program.mqtt_port);
    let mut fell_behind = 0.0;
    let ours = deliver(process, load(port), PAUSE, async || {
        fell_behind = metric(&program, "egiz_broker_fell_behind_total").await?;
        program.stop().await.map(|_| ())
    })
    .await?;
    ours.promised(vec![
        Row {
            name: "QoS 1, 200 publishers as fast as they can, one slow subscriber: acknowledged / lost / twice",
            measured: kept(&ours),
            goal: "none lost",
        },
        Row {
            name: "times that the subscriber was put aside and served from the journal; highest resident memory, MB",
            measured: format!("{fell_behind:.0}; {:.0}", mega(ours.peak_bytes)),
            goal: "bounded",
        },
        Row {
            name: "the same with Mosquitto's defaults, which say nothing of it: acknowledged / lost / twice",
            measured: format!("{}; {:.0} MB", kept(&theirs), mega(theirs.peak_bytes)),
            goal: "",
        },
    ])
}

fn told(delivery: &Delivery) -> String {
    format!(
        "{} ({:.0}/s acknowledged, {} of {} lost{})",
        millis(&delivery.heard.latencies),
        delivery.sent.rate(),
        delivery.lost(),
        delivery.sent.acknowledged,
        delivery.shortcomings()
    )
}

fn kept(delivery: &Delivery) -> String {
    let Delivery { sent, heard, .. } = delivery;
    format!(
        "{} / {} / {} (acknowledged at {:.0}/s{})",
        sent.acknowledged,
        delivery.lost(),
        heard.again,
        sent.rate(),
        delivery.shortcomings()
    )
}
