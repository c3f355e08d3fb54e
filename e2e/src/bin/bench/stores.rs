//! The reference workload in three stores: our history, InfluxDB 1.6 and VictoriaMetrics, written as the same lines over HTTP
//! in the same run, then read back. Each cell has the three in this order.
//!
//! The day lies two days back, so that ours puts it together while it comes in, as it would after an outage of a gateway.
//! Everything is included: HTTP, parsing, ours also the journal with its syncs, the live twins and the merged day.
//! VictoriaMetrics keeps no texts. It refuses to know how any of them works inside.

#[path = "../../../../egizcore/egiz-historian/benches/reference.rs"]
#[expect(dead_code, reason = "it is history's own bench that uses all of it")]
mod reference;

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use e2e::influxdb::LineServer;
use e2e::measure::{cpu_seconds, resident_bytes};
use e2e::{Program, ProgramOptions};
use reqwest::Client;

use crate::table::Row;
use reference::{BEGIN_MS, Device, STATES, STEPS_A_DAY};

const NAMES: [&str; 12] = ["u1", "u2", "u3", "i1", "i2", "i3", "pf", "t1", "t2", "t3", "t4", "t5"];
const DAY_MS: i64 = 86_400_000;
/// Steps of all devices in one body.
const STEPS_A_BODY: usize = 40;
const ROUNDS: usize = 40;
const BUCKETS: usize = 1_000;
/// The longest that a store may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long nothing may change on its disk until it counts as at rest.
const REST: Duration = Duration::from_secs(40);

/// How much is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) things: usize,
    pub(crate) days: usize,
}

/// A store while it is measured.
struct Store<'a> {
    base: String,
    process: u32,
    folder: std::path::PathBuf,
    kind: Kind,
    client: &'a Client,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ours,
    Influxdb,
    VictoriaMetrics,
}

/// What came of a store.
#[derive(Debug, Default)]
struct Measured {
    bytes_a_sample: f64,
    samples_a_core_second: f64,
    resident_mb: f64,
    day: Times,
    state: Times,
    chart: Times,
}

#[derive(Debug, Default)]
struct Times {
    half_ms: f64,
    most_ms: f64,
}

/// Measures all three, one after the other.
pub(crate) async fn measure(size: Size) -> anyhow::Result<Vec<Row>> {
    let today_ms =
        i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())? / DAY_MS * DAY_MS;
    let days = i64::try_from(size.days)?;
    let begin_ms = today_ms - (days + 1) * DAY_MS;
    let client = Client::new();
    let mut all = Vec::new();
    {
        let options = ProgramOptions::default().with("twin.snapshot_interval_s = 60");
        let options = options.with(format!("history.retention_days = {}", days + 5));
        let program = Program::start(options).await?;
        let store = Store {
            base: program.url(""),
            process: program.id(),
            folder: program.folder().join("data/history"),
            kind: Kind::Ours,
            client: &client,
        };
        all.push(store.measure(size, begin_ms).await.context("OpenEgiz")?);
    }
    {
        let server = LineServer::influxdb().await?;
        server.query("", "CREATE DATABASE bench").await?;
        let store = Store::of(&server, Kind::Influxdb, &client);
        all.push(store.measure(size, begin_ms).await.context("InfluxDB")?);
    }
    {
        let server = LineServer::victoria_metrics().await?;
        let store = Store::of(&server, Kind::VictoriaMetrics, &client);
        all.push(store.measure(size, begin_ms).await.context("VictoriaMetrics")?);
    }
    let numbers = |number: fn(&Measured) -> f64, digits: usize| {
        let cells: Vec<String> = all.iter().map(|one| format!("{:.digits$}", number(one))).collect();
        cells.join("; ")
    };
    let times = |times: fn(&Measured) -> &Times| {
        let cell = |one: &Measured| format!("{:.1} / {:.1}", times(one).half_ms, times(one).most_ms);
        all.iter().map(cell).collect::<Vec<_>>().join("; ")
    };
    let Size { things, days } = size;
    let row = |name, measured, goal| Row { name, measured, goal };
    Ok(vec![
        row(
            "OpenEgiz; InfluxDB 1.6; VictoriaMetrics, the reference workload: devices, days",
            format!("{things}, {days}"),
            "",
        ),
        row("bytes a number on disk, at rest", numbers(|one| one.bytes_a_sample, 3), "at most 0.70"),
        row(
            "numbers a second of processor time, over HTTP until at rest",
            numbers(|one| one.samples_a_core_second, 0),
            "",
        ),
        row("one Thing, one day, all fields as JSON over HTTP, p50 / p95 ms", times(|one| &one.day), ""),
        row("the state of all at any time, p50 / p95 ms", times(|one| &one.state), ""),
        row("1,000 averages of one field over all days, p50 / p95 ms", times(|one| &one.chart), ""),
        row("resident memory after all that, MB", numbers(|one| one.resident_mb, 0), "under 300"),
    ])
}

impl<'a> Store<'a> {
    fn of(server: &LineServer, kind: Kind, client: &'a Client) -> Self {
        Self { base: server.url(""), process: server.id(), folder: server.folder().to_owned(), kind, client }
    }

    async fn measure(&self, size: Size, begin_ms: i64) -> anyhow::Result<Measured> {
        let before = cpu_seconds(self.process).context("it is gone")?;
        let numbers = self.write(size, begin_ms).await?;
        let bytes = self.come_to_rest().await?;
        let used = cpu_seconds(self.process).context("it is gone")? - before;
        let end_ms = begin_ms + i64::try_from(size.days)? * DAY_MS;
        let mut measured = Measured {
            bytes_a_sample: bytes as f64 / numbers as f64,
            samples_a_core_second: numbers as f64 / used,
            ..Measured::default()
        };
        let thing = |round: usize| format!("factory:machine-{:04}", round * 37 % size.things);
        measured.day = self
            .timed(|round| self.day(thing(round), begin_ms), |size| size > 100_000)
            .await
            .context("a day")?;
        let moment = |round: usize| {
            let span = i64::try_from(size.days).unwrap_or(1) * DAY_MS - 7_200_000;
            begin_ms + 3_600_000 + i64::try_from(round).unwrap_or_default() * 7_919_000 % span
        };
        measured.state =
            self.timed(|round| self.state(moment(round)), |size| size > 100).await.context("a state")?;
        let chart = |round: usize| self.chart(thing(round), begin_ms, end_ms);
        measured.chart = self.timed(chart, |size| size > 10_000).await.context("a chart")?;
        measured.resident_mb = resident_bytes(self.process).context("it is gone")? as f64 / 1e6;
        Ok(measured)
    }

    /// Writes everything, in the order in which it comes; returns how many numbers that were.
    async fn write(&self, size: Size, begin_ms: i64) -> anyhow::Result<u64> {
        let mut devices: Vec<Device> = (0..size.things).map(|number| Device::new(number, 1)).collect();
        let mut numbers = 0;
        let mut body = String::new();
        let steps = size.days * STEPS_A_DAY;
        for step in 0..steps {
            for (number, device) in devices.iter_mut().enumerate() {
                let Some(message) = device.next() else { continue };
                let time = message.source_ms - BEGIN_MS + begin_ms;
                numbers += message.count as u64;
                for (feature, names) in [("electrical", 0..7), ("thermal", 7..message.count)] {
                    write!(body, "{feature},thing_id=factory:machine-{number:04}")?;
                    for (place, at) in names.enumerate() {
                        let before = if place == 0 { ' ' } else { ',' };
                        write!(body, "{before}{}={}", NAMES[at], message.numbers[at])?;
                    }
                    writeln!(body, " {time}")?;
                }
                writeln!(
                    body,
                    "status,thing_id=factory:machine-{number:04} state=\"{}\",batch_id=\"B-{}\" {time}",
                    STATES[message.state], message.batch
                )?;
            }
            if (step + 1) % STEPS_A_BODY == 0 || step + 1 == steps {
                self.send(std::mem::take(&mut body)).await?;
            }
        }
        Ok(numbers)
    }

    async fn send(&self, body: String) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let url = format!("{}/write?db=bench&precision=ms", self.base);
            let answer = self.client.post(url).body(body.clone()).send().await?;
            let status = answer.status();
            if status.is_success() {
                return Ok(());
            }
            let text = answer.text().await?;
            anyhow::ensure!(status.as_u16() == 503 && begun.elapsed() < PATIENCE, "{status}: {text}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until nothing changes on its disk any more; returns how much is there.
    async fn come_to_rest(&self) -> anyhow::Result<u64> {
        if self.kind == Kind::VictoriaMetrics {
            for path in ["/internal/force_flush", "/internal/force_merge"] {
                self.client.get(format!("{}{path}", self.base)).send().await?.error_for_status()?;
            }
        }
        let begun = Instant::now();
        let (mut bytes, mut since) = (self.disk_bytes().await?, Instant::now());
        loop {
            match bytes {
                Some(bytes) if since.elapsed() >= REST => return Ok(bytes),
                _ => anyhow::ensure!(begun.elapsed() < PATIENCE, "it does not come to rest"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = self.disk_bytes().await?;
            if now != bytes {
                (bytes, since) = (now, Instant::now());
            }
        }
    }

    /// Bytes of its files; nothing while some of ours is in memory only.
    async fn disk_bytes(&self) -> anyhow::Result<Option<u64>> {
        if self.kind == Kind::Ours {
            let metrics = self.client.get(format!("{}/metrics", self.base)).send().await?.text().await?;
            let rows =
                metrics.lines().find_map(|line| line.strip_prefix("egiz_history_head_rows ")?.parse().ok());
            if rows != Some(0_u64) {
                return Ok(None);
            }
        }
        bytes_below(&self.folder).map(Some)
    }

    async fn day(&self, thing: String, begin_ms: i64) -> anyhow::Result<usize> {
        let (from, to) = (begin_ms, begin_ms + DAY_MS);
        self.ask(match self.kind {
            Kind::VictoriaMetrics => (
                "/api/v1/export",
                vec![
                    ("match[]", format!("{{thing_id=\"{thing}\"}}")),
                    ("start", (from / 1_000).to_string()),
                    ("end", (to / 1_000).to_string()),
                ],
            ),
            _ => {
                let all = [
                    ("electrical", "u1, u2, u3, i1, i2, i3, pf"),
                    ("thermal", "t1, t2, t3, t4, t5"),
                    ("status", "state, batch_id"),
                ];
                let statements = all.map(|(feature, fields)| {
                    format!(
                        "SELECT {fields} FROM {feature} WHERE thing_id = '{thing}' AND time >= {from}ms AND time < {to}ms"
                    )
                });
                influxql(statements.join("; "))
            }
        })
        .await
    }

    /// Page by page, of ours.
    async fn every_page_of_state(&self, at_ms: i64) -> anyhow::Result<usize> {
        let (mut bytes, mut cursor) = (0, None);
        loop {
            let mut parameters = vec![("at", at_ms.to_string()), ("limit", "200".to_owned())];
            parameters.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let body = self.answer("/api/v1/state", &parameters).await?;
            bytes += body.len();
            let page: serde_json::Value = serde_json::from_slice(&body)?;
            match page["cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(bytes),
            }
        }
    }

    async fn state(&self, at_ms: i64) -> anyhow::Result<usize> {
        self.ask(match self.kind {
            Kind::Ours => return self.every_page_of_state(at_ms).await,
            Kind::Influxdb => influxql(format!(
                "SELECT last(*) FROM /.*/ WHERE time <= {at_ms}ms AND time > {}ms GROUP BY thing_id",
                at_ms - 3_600_000
            )),
            Kind::VictoriaMetrics => (
                "/api/v1/query",
                vec![
                    ("query", "last_over_time({thing_id!=\"\"}[1h])".to_owned()),
                    ("time", format!("{}.{:03}", at_ms / 1_000, at_ms % 1_000)),
                ],
            ),
        })
        .await
    }

    async fn chart(&self, thing: String, from: i64, to: i64) -> anyhow::Result<usize> {
        let step_s = (to - from) / 1_000 / BUCKETS as i64;
        self.ask(match self.kind {
            Kind::VictoriaMetrics => (
                "/api/v1/query_range",
                vec![
                    ("query", format!("avg_over_time(electrical_i1{{thing_id=\"{thing}\"}}[{step_s}s])")),
                    ("start", (from / 1_000 + step_s).to_string()),
                    ("end", (to / 1_000).to_string()),
                    ("step", format!("{step_s}s")),
                    ("nocache", "1".to_owned()),
                ],
            ),
            _ => influxql(format!(
                "SELECT mean(i1) FROM electrical WHERE thing_id = '{thing}' AND time >= {from}ms AND time < {to}ms GROUP BY time({step_s}s)"
            )),
        })
        .await
    }

    /// Asks; returns how long the answer is.
    async fn ask(&self, (path, parameters): (&str, Vec<(&str, String)>)) -> anyhow::Result<usize> {
        Ok(self.answer(path, &parameters).await?.len())
    }

    async fn answer(&self, path: &str, parameters: &[(&str, String)]) -> anyhow::Result<Vec<u8>> {
        let answer = self.client.get(format!("{}{path}", self.base)).query(parameters).send().await?;
        let (status, body) = (answer.status(), answer.bytes().await?);
        let text = || String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        anyhow::ensure!(status.is_success() && !body.starts_with(b"{\"error"), "{status}: {}", text());
        Ok(body.into())
    }

    async fn timed<F>(
        &self,
        ask: impl Fn(usize) -> F,
        is_plausible: impl Fn(usize) -> bool,
    ) -> anyhow::Result<Times>
    where
        F: Future<Output = anyhow::Result<usize>>,
    {
        let mut times = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let begun = Instant::now();
            let size = ask(round).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            anyhow::ensure!(is_plausible(size), "the answer has only {size} bytes");
        }
        times.sort_by(f64::total_cmp);
        Ok(Times { half_ms: times[ROUNDS / 2], most_ms: times[ROUNDS * 95 / 100] })
    }
}

fn influxql(statement: String) -> (&'static str, Vec<(&'static str, String)>) {
    ("/query", vec![("db", "bench".to_owned()), ("epoch", "ms".to_owned()), ("q", statement)])
}

fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let Ok(entry) = entry else { continue };
        // What is merged away this instant is not there.
        let Ok(about) = entry.metadata() else { continue };
        let is_log = entry.file_name() == "server.log";
        bytes += match about.is_dir() {
            true => bytes_below(&entry.path()).unwrap_or_default(),
            false if is_log => 0,
            // What is set aside and not written takes no room.
            false => about.len().min(about.blocks() * 512),
        };
    }
    Ok(bytes)
}
