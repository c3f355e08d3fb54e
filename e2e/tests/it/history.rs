//! Every sample that was acknowledged is in history exactly once, whenever the real process is killed: while it takes
//! samples in, writes them to files, merges files, or starts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use e2e::careful::Careful;
use e2e::{Program, ProgramOptions, end_after_kill, mqtt, rounds};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::disk::{fill, wait_for_part};

const PATIENCE: Duration = Duration::from_secs(20);
const ROUNDS: u64 = 20;
const DEVICES: usize = 4;
const WRITERS: usize = 2;
/// Between two samples of a device in the usual number of rounds, so that a run is several days of a plant and days are put
/// together on the way.
const STEP_MS: u64 = 20_000;
const DAY_MS: u64 = 86_400_000;

/// The numbers of one round of a Thing. Those between the last that was acknowledged and the last that was sent may be in
/// history or not.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    first: u64,
    acknowledged: u64,
    sent: u64,
}

/// The rounds of each Thing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<HashMap<String, Vec<Numbers>>>>);

impl Ledger {
    /// Begins a round: the first number after all that were sent.
    fn begin(&self, name: &str) -> u64 {
        let mut ledger = self.0.lock().expect("no holder panics");
        let rounds = ledger.entry(name.to_owned()).or_default();
        let first = rounds.last().map_or(0, |round| round.sent) + 1;
        rounds.push(Numbers { first, sent: first - 1, acknowledged: first - 1 });
        first
    }

    fn note(&self, name: &str, change: impl FnOnce(&mut Numbers)) {
        let mut ledger = self.0.lock().expect("no holder panics");
        ledger.get_mut(name).and_then(|rounds| rounds.last_mut()).map(change).expect("the round has begun");
    }

    /// The highest number acknowledged of a Thing.
    pub(crate) fn acknowledged(&self, name: &str) -> u64 {
        let ledger = self.0.lock().expect("no holder panics");
        // A round begins behind what was sent before, acknowledged or not.
        let mut rounds = ledger.get(name).into_iter().flatten().rev();
        rounds.find(|round| round.acknowledged >= round.first).map_or(0, |round| round.acknowledged)
    }

    /// The highest number sent of a Thing.
    pub(crate) fn sent(&self, name: &str) -> u64 {
        let ledger = self.0.lock().expect("no holder panics");
        ledger.get(name).and_then(|rounds| rounds.last()).map_or(0, |round| round.sent)
    }

    /// What is wrong with the numbers that history has.
    pub(crate) fn fault(&self, name: &str, found: &[u64]) -> Option<String> {
        if let Some(pair) = found.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Some(format!("{} is followed by {}", pair[0], pair[1]));
        }
        let ledger = self.0.lock().expect("no holder panics");
        let rounds = &ledger[name];
        for round in rounds {
            let missing =
                (round.first..=round.acknowledged).find(|number| found.binary_search(number).is_err());
            if let Some(number) = missing {
                return Some(format!("{number} was acknowledged and is missing; {round:?}"));
            }
        }
        let sent = rounds.last().map_or(0, |round| round.sent);
        found.last().filter(|last| **last > sent).map(|last| format!("{last} was never sent"))
    }
}

/// Publishes a sample after the other until the connection breaks. Every tenth message is sent twice, as a device does
/// that missed the acknowledgement.
pub(crate) async fn device(
    port: u16,
    name: String,
    (begin_ms, step_ms): (u64, u64),
    ledger: Ledger,
) -> anyhow::Result<()> {
    let (mut reader, mut writer) = mqtt::connect(port, &name).await?;
    let topic = format!("sensors/factory/{name}/telemetry");
    let first = ledger.begin(&name);
    let copies_of = |number: u64| if number.is_multiple_of(10) { 2 } else { 1 };
    let acknowledging = {
        let (name, ledger) = (name.clone(), ledger.clone());
        tokio::spawn(async move {
            let mut buffer = Vec::new();
            let (mut next, mut copies) = (first, 0);
            while reader.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
                mqtt::take_acknowledgements(&mut buffer, |_| {
                    // Acknowledgements come in packet order, so counting them says which number they are for.
                    copies += 1;
                    if copies == copies_of(next) {
                        ledger.note(&name, |numbers| numbers.acknowledged = next);
                        (next, copies) = (next + 1, 0);
                    }
                })?;
            }
            anyhow::Ok(())
        })
    };
    let mut packet_id = 0_u16;
    for number in first.. {
        let mut out = Vec::new();
        let time = begin_ms + number * step_ms;
        let payload =
            json!({"timestamp": time, "counter": {"number": number}, "zones": {"all": [number, 0.5]}});
        for _ in 0..copies_of(number) {
            packet_id = packet_id % 65_535 + 1;
            mqtt::push_publish(&mut out, &topic, packet_id, payload.to_string().as_bytes());
        }
        ledger.note(&name, |numbers| numbers.sent = number);
        if writer.write_all(&out).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    acknowledging.await?
}

/// Writes a number after the other over REST until the connection breaks.
async fn writer(base: String, name: String, ledger: Ledger) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    for number in ledger.begin(&name).. {
        ledger.note(&name, |numbers| numbers.sent = number);
        let url = format!("{base}/api/v1/things/factory:{name}/features/counter/properties/number");
        let Ok(answer) = http.put(url).json(&json!(number)).send().await else { break };
        anyhow::ensure!(answer.status().is_success(), "{}", answer.text().await?);
        ledger.note(&name, |numbers| numbers.acknowledged = number);
    }
    Ok(())
}

/// The numbers that history has of a Thing, in the order of time, page by page.
pub(crate) async fn numbers_of(program: &Program, name: &str, from_ms: u64) -> anyhow::Result<Vec<u64>> {
    let path = format!(
        "/api/v1/things/factory:{name}/history?feature=counter&property=number&from={from_ms}&limit=10000"
    );
    let mut numbers = Vec::new();
    let mut page = path.clone();
    loop {
        let answer: Value = program.get(&page).await?;
        for property in answer["properties"].as_array().context("properties")? {
            let samples = property["samples"].as_array().context("samples")?;
            numbers.extend(samples.iter().filter_map(|sample| sample["value"].as_u64()));
        }
        match answer["cursor"].as_str() {
            Some(cursor) => page = format!("{path}&cursor={cursor}"),
            None => return Ok(numbers),
        }
    }
}

/// Waits until history has every acknowledged number, which takes a moment after the acknowledgement; says what is wrong.
async fn check(program: &Program, ledger: &Ledger, name: &str, from_ms: u64) -> anyhow::Result<()> {
    let mut fault = None;
    for _ in 0..50 {
        fault = ledger.fault(name, &numbers_of(program, name, from_ms).await?);
        if fault.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::ensure!(fault.is_none(), "{name}: {}", fault.unwrap_or_default());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_every_acknowledged_sample_is_in_history_once() -> anyhow::Result<()> {
    let options = ProgramOptions::default()
        .with("twin.snapshot_every_records = 1000")
        .with("twin.snapshot_interval_s = 1")
        .with("history.seal_bytes = 1048576")
        .with("journal.segment_bytes = 1048576");
    let mut program = Program::start(options).await?;
    let begin_ms = now_ms()? - 25 * DAY_MS;
    let devices: Vec<String> = (0..DEVICES).map(|index| format!("dev-{index}")).collect();
    let writers: Vec<String> = (0..WRITERS).map(|index| format!("written-{index}")).collect();
    let http = reqwest::Client::new();
    for name in devices.iter().chain(&writers) {
        let url = program.url(&format!("/api/v1/things/factory:{name}"));
        let created = http.put(url).json(&json!({})).send().await?;
        anyhow::ensure!(created.status() == 201, "{}", created.text().await?);
    }
    let ledger = Ledger::default();
    let rounds = rounds(ROUNDS)?;
    let step_ms = STEP_MS * ROUNDS / rounds.max(ROUNDS);
    for round in 0..rounds {
        let mut tasks = Vec::new();
        for name in &devices {
            tasks.push(tokio::spawn(device(
                program.mqtt_port,
                name.clone(),
                (begin_ms, step_ms),
                ledger.clone(),
            )));
        }
        for name in &writers {
            tasks.push(tokio::spawn(writer(program.url(""), name.clone(), ledger.clone())));
        }
        let moment = rand::rng().random_range(50..2_500);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        program.kill()?;
        end_after_kill(tasks).await.with_context(|| format!("round {round}"))?;
        program.restart().await?;
        for name in devices.iter().chain(&writers) {
            check(&program, &ledger, name, begin_ms)
                .await
                .with_context(|| format!("round {round}, killed after {moment} ms"))?;
        }
    }
    let code = program.stop().await?;
    anyhow::ensure!(code == Some(0), "it stopped with {code:?}");
    program.restart().await?;
    for name in devices.iter().chain(&writers) {
        check(&program, &ledger, name, begin_ms).await.context("after an orderly stop")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_history_stays_in_memory_and_space_brings_it_to_files() -> anyhow::Result<()> {
    let options = ProgramOptions { disk_bytes: Some(48 << 20), ..ProgramOptions::default() };
    let program = Program::start(options.with("twin.snapshot_interval_s = 1")).await?;
    let url = program.url("/api/v1/things/factory:dev-0");
    anyhow::ensure!(reqwest::Client::new().put(url).json(&json!({})).send().await?.status() == 201);
    let mut publisher = Careful::new("dev-0");
    publisher.connect(program.mqtt_port).await?;
    let begin_ms = now_ms()? - DAY_MS / 2;
    let ledger = Ledger::default();
    ledger.begin("dev-0");
    for number in 1..5_000 {
        if number == 50 {
            fill(&program.disk().join("filler")).context("filling the disk")?;
        }
        ledger.note("dev-0", |numbers| numbers.sent = number);
        let payload =
            json!({"timestamp": begin_ms + number * 1000, "counter": {"number": number}}).to_string();
        // The file that is being written may have room that it took before.
        let published = publisher.publish("sensors/factory/dev-0/telemetry", &payload, 1, false).await;
        let answered = publisher.take_until(PATIENCE, |own| own.under_way() == 0).await;
        if published.is_err() || answered.is_err() {
            break;
        }
        ledger.note("dev-0", |numbers| numbers.acknowledged = number);
    }
    wait_for_part(&program, "history", |status| status == "down").await?;
    check(&program, &ledger, "dev-0", begin_ms).await?;
    std::fs::remove_file(program.disk().join("filler"))?;
    wait_for_part(&program, "history", |status| status == "up").await?;
    check(&program, &ledger, "dev-0", begin_ms).await?;
    anyhow::ensure!(program.log().contains("history cannot be written"), "{}", program.log());
    Ok(())
}

#[tokio::test]
async fn what_was_written_while_history_was_off_is_missing_and_said_to_be() -> anyhow::Result<()> {
    let mut program = Program::start(ProgramOptions::default().with("history.enabled = false")).await?;
    let http = reqwest::Client::new();
    let url = program.url("/api/v1/things/factory:written");
    let put = |number: u64| {
        let thing = json!({"features": {"counter": {"properties": {"number": number}}}});
        http.put(&url).json(&thing).send()
    };
    anyhow::ensure!(put(1).await?.status() == 201);
    // An orderly stop takes a snapshot, so that the record is not met again.
    program.stop().await?;
    program.set("history.enabled = true");
    program.restart().await?;
    anyhow::ensure!(program.log().contains("history lacks these records"), "{}", program.log());
    anyhow::ensure!(put(2).await?.status().is_success());
    let ledger = Ledger::default();
    ledger.begin("written");
    ledger.note("written", |numbers| *numbers = Numbers { first: 2, acknowledged: 2, sent: 2 });
    let hour_ago_ms = now_ms()? - DAY_MS / 24;
    check(&program, &ledger, "written", hour_ago_ms).await
}

pub(crate) fn now_ms() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}
