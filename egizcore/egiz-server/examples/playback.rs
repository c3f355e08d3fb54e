//! What playing the past of many Things takes: the time from the request to the whole key frame, and processor time for each
//! second that is played at ten-fold speed.
//!
//! `cargo run --release -p egiz-server --example playback [-- <things> [<minutes>]]` makes a past of so many Things (10,000) with ten
//! properties and a message every five seconds, in files, and plays it over a real socket on loopback. What the client takes is in the
//! figures: it counts bytes and reads nothing in them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use egiz_api::{Health, HealthState, RejectedMessage};
use egiz_historian::disk::Folder;
use egiz_historian::{Historian, Settings};
use egiz_influx::{Lines, MappedLines};
use egiz_model::{Quality, QualityReason, Timestamp, ValueRef};
use egiz_server::live::{Hub, HubSettings};
use egiz_server::{
    Applied, LineMapper, Ports, ProgramReport, Progress, ServeOptions, ServerMetrics, ServerSettings,
    SubmitError, WriteGate,
};
use egiz_store::{Store, StoreOptions};
use egiz_twin::{Engine, Limits};
use futures::{SinkExt as _, StreamExt as _};
use parking_lot::RwLock;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

const BEGIN_S: i64 = 1_772_323_200;
const STEP_S: i64 = 5;
const PROPERTIES: [&str; 10] = ["u1", "u2", "u3", "i1", "i2", "i3", "pf", "t1", "t2", "t3"];
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long is played at each speed, in seconds.
const PLAYED_S: u64 = 15;

struct Nothing;

#[async_trait]
impl WriteGate for Nothing {
    async fn submit(&self, _: Vec<Vec<u8>>) -> std::result::Result<Vec<Applied>, SubmitError> {
        Err(SubmitError::ShuttingDown)
    }
}

impl LineMapper for Nothing {
    fn map(&self, _: &Lines<'_>) -> MappedLines {
        MappedLines::default()
    }
}

impl ProgramReport for Nothing {
    fn health(&self) -> Health {
        Health { status: HealthState::Up, version: String::new(), parts: Vec::new() }
    }
    fn metrics_text(&self) -> String {
        String::new()
    }
    fn rejected(&self, _: Option<u64>, _: usize) -> Vec<RejectedMessage> {
        Vec::new()
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it is what the example is for")]
async fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<i64>().ok());
    let (things, minutes) = (numbers.next().unwrap_or(10_000), numbers.next().unwrap_or(30));
    let folder = std::env::temp_dir().join(format!("openegiz-playback-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let historian = Arc::new(past(&folder, things, minutes)?);
    println!("{things} Things, {minutes} minutes, {} MB of files", historian.status().disk_bytes >> 20);

    let mut registry = Registry::default();
    let address = serve(Arc::clone(&historian), &mut registry, minutes).await?;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/api/v1/ws")).await?;
    let middle = BEGIN_S + minutes * 30;
    for at in [middle, BEGIN_S + 30, middle + 1] {
        let (begun, used) = (Instant::now(), processor_seconds()?);
        let play = json!({"id": 1, "action": "play", "at": at, "paused": true});
        socket.send(Message::text(play.to_string())).await?;
        let (mut bytes, mut pieces, mut first) = (0, 0, None);
        loop {
            let Message::Text(text) = socket.next().await.ok_or("the connection is gone")?? else { continue };
            if text.starts_with("{\"event\":\"KeyFrame\"") {
                first.get_or_insert_with(|| begun.elapsed());
                (bytes, pieces) = (bytes + text.len(), pieces + 1);
                if text.ends_with("\"more\":false}") {
                    break;
                }
            }
        }
        println!(
            "key frame: {:.0} ms to the whole of it, {:.0} ms to the first piece, {pieces} pieces, {} kB, {:.2} s of processor",
            begun.elapsed().as_secs_f64() * 1e3,
            first.unwrap_or_default().as_secs_f64() * 1e3,
            bytes >> 10,
            processor_seconds()? - used,
        );
        // What is read ahead belongs to playing.
        tokio::time::sleep(Duration::from_secs(3)).await;
        stop_all(&mut socket).await?;
    }
    for speed in [1, 5, 10, 60] {
        let play = json!({"id": 1, "action": "play", "at": BEGIN_S + 60, "speed": speed});
        socket.send(Message::text(play.to_string())).await?;
        let (mut bytes, mut values, mut used, mut begun) = (0, 0, 0.0, None::<Instant>);
        let (mut first, mut last) = (None, None);
        while begun.is_none_or(|begun| begun.elapsed() < Duration::from_secs(PLAYED_S)) {
            let message = tokio::time::timeout(Duration::from_secs(30), socket.next()).await?;
            let Message::Text(text) = message.ok_or("the connection is gone")?? else { continue };
            if text.starts_with("{\"event\":\"Changes\"") {
                if begun.is_none() {
                    (begun, used) = (Some(Instant::now()), processor_seconds()?);
                }
                bytes += text.len();
                values += text.matches("\"value\":").count();
                let time = text.split("\"time\":\"").nth(1).and_then(|rest| rest.split('"').next());
                last = time.and_then(|time| Timestamp::parse(time).ok());
                first = first.or(last);
            }
        }
        let played = first.zip(last).map_or(0, |(first, last)| last.micros_since(first));
        println!(
            "{speed}-fold: {:.1} s of the plant in {PLAYED_S} s, {:.0} values/s, {:.1} MB/s, {:.1} % of a processor",
            played as f64 / 1e6,
            values as f64 / PLAYED_S as f64,
            bytes as f64 / 1e6 / PLAYED_S as f64,
            (processor_seconds()? - used) / PLAYED_S as f64 * 100.0,
        );
        stop_all(&mut socket).await?;
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    for line in text.lines().filter(|line| line.starts_with("egiz_server_playback")) {
        println!("{line}");
    }
    println!("resident memory: {} MB", resident_bytes()? >> 20);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Stops every playback of a client.
async fn stop_all<S>(socket: &mut S) -> Result<()>
where
    S: futures::Stream<Item = std::result::Result<Message, tokio_tungstenite::tungstenite::Error>>
        + futures::Sink<Message, Error = tokio_tungstenite::tungstenite::Error>
        + Unpin,
{
    for number in 1..20 {
        let stop = json!({"id": "stop", "action": "stop", "playback": number});
        socket.send(Message::text(stop.to_string())).await?;
    }
    let mut answers = 0;
    while answers < 19 {
        let Message::Text(text) = socket.next().await.ok_or("the connection is gone")?? else { continue };
        answers += usize::from(!text.starts_with("{\"event\"") && is_answer(&text));
    }
    Ok(())
}

fn is_answer(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|frame| frame["id"] == "stop")
}

fn past(folder: &std::path::Path, things: i64, minutes: i64) -> Result<Historian> {
    let (historian, _) = Historian::open(Arc::new(Folder::open(folder)?), Settings::default())?;
    let ids: Vec<String> = (0..things).map(|number| format!("factory:machine-{number:05}")).collect();
    let mut offset = 0;
    for step in 0..minutes * 60 / STEP_S {
        let at = BEGIN_S + step * STEP_S;
        let mut intake = historian.intake();
        for (number, id) in (0_i64..).zip(&ids) {
            // Devices do not speak all at once.
            let time = Timestamp::from_micros(at * 1_000_000 + number * 499);
            let mut row = intake.row(id, "openegiz:machine:1.0.0", time, time);
            for (place, name) in (0_i64..).zip(PROPERTIES) {
                // A slow swing with some noise, in tenths.
                let noise = (number * 7919 + step * 104_729 + place * 31) % 7;
                let tenths = 2000 + 10 * ((step + number) % 60 - 30).abs() + noise + place * 100;
                let feature = if name.starts_with('t') { "thermal" } else { "electrical" };
                let value = ValueRef::Float(tenths as f64 / 10.0);
                row.set(feature, name, &value, Quality::Good, QualityReason::None);
            }
            drop(row);
            intake.done(offset);
            offset += 1;
        }
        drop(intake);
        if step % 60 == 59 {
            let now = Timestamp::from_seconds(at);
            historian.seal(now)?;
            while historian.maintain(now)? {}
        }
    }
    historian.seal(Timestamp::from_seconds(BEGIN_S + minutes * 60))?;
    Ok(historian)
}

async fn serve(
    historian: Arc<Historian>,
    registry: &mut Registry,
    minutes: i64,
) -> Result<std::net::SocketAddr> {
    let engine = Arc::new(RwLock::new(Engine::new(Limits::default())));
    let hub = Hub::new(Arc::clone(&engine), HubSettings::default(), registry);
    let random: egiz_server::RandomSource = Arc::new(|bytes: &mut [u8]| bytes.fill(7));
    let metrics = ServerMetrics::register(&mut Registry::default());
    let ports = Ports {
        engine,
        progress: Arc::new(Progress::default()),
        writes: Arc::new(Nothing),
        lines: Arc::new(Nothing),
        store: Store::open_in_memory(StoreOptions::new(random.clone())).await?,
        history: Some(historian),
        backups: None,
        program: Arc::new(Nothing),
        hub,
        clock: Arc::new(move || Timestamp::from_seconds(BEGIN_S + minutes * 60 + 3600)),
        random,
        settings: Arc::new(ServerSettings::default()),
        metrics: metrics.clone(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let options = ServeOptions { connections_max: 100, grace: Duration::from_millis(100) };
    let router = egiz_server::router(ports);
    tokio::spawn(egiz_server::serve(listener, router, options, metrics, CancellationToken::new()));
    Ok(address)
}

/// Processor time of this process, to a hundredth of a second.
fn processor_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|ticks| ticks.parse::<u32>().ok()).unwrap_or(0);
    Ok(f64::from(ticks(11) + ticks(12)) / 100.0)
}

fn resident_bytes() -> Result<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm")?
        .split_whitespace()
        .nth(1)
        .ok_or("a number is missing")?
        .parse()?;
    Ok(pages * 4096)
}
