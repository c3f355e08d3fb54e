//! Acknowledged means durable: the real process is killed at random moments under load, and everything that was
//! acknowledged must be there when it is back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use e2e::{Program, ProgramOptions, end_after_kill, mqtt, rounds};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ROUNDS: u64 = 24;
const DEVICES: usize = 6;
const WRITERS: usize = 3;

/// The highest number acknowledged for each device and each written Thing.
type Ledger = Arc<Mutex<HashMap<String, u64>>>;

fn note(ledger: &Ledger, key: &str, number: u64) {
    let mut ledger = ledger.lock().expect("no holder panics");
    let highest = ledger.entry(key.to_owned()).or_default();
    *highest = number.max(*highest);
}

/// Publishes ever higher numbers as one device until the connection breaks; notes those that got their PUBACK. Every
/// tenth message is sent twice, as a device does that missed the acknowledgement.
async fn device(port: u16, name: String, first: u64, ledger: Ledger) -> anyhow::Result<()> {
    let (mut reader, mut writer) = mqtt::connect(port, &name).await?;
    let topic = format!("sensors/factory/{name}/telemetry");
    let acknowledging = {
        let (name, ledger) = (name.clone(), Arc::clone(&ledger));
        tokio::spawn(async move {
            let mut buffer = Vec::new();
            let mut next = first;
            let mut copies = 0_u64;
            while reader.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
                mqtt::take_acknowledgements(&mut buffer, |_| {
                    // Acknowledgements come in packet order, so counting them says which number they are for.
                    copies += 1;
                    let expected = if next.is_multiple_of(10) { 2 } else { 1 };
                    if copies == expected {
                        note(&ledger, &name, next);
                        next += 1;
                        copies = 0;
                    }
                })?;
            }
            anyhow::Ok(())
        })
    };
    let mut packet_id = 0_u16;
    for number in first.. {
        let mut out = Vec::new();
        let payload =
            json!({"device_id": name, "timestamp": 1_706_352_600 + number, "counter": {"number": number}})
                .to_string();
        for _ in 0..if number.is_multiple_of(10) { 2 } else { 1 } {
            packet_id = packet_id % 65_535 + 1;
            mqtt::push_publish(&mut out, &topic, packet_id, payload.as_bytes());
        }
        if writer.write_all(&out).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
    acknowledging.await?
}

/// Writes ever higher numbers over REST until the connection breaks; notes those answered with 2xx.
async fn writer(base: String, name: String, first: u64, ledger: Ledger) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    for number in first.. {
        let answer = http
            .put(format!("{base}/api/v1/things/factory:{name}/features/counter/properties/number"))
            .json(&json!(number))
            .send()
            .await;
        let Ok(answer) = answer else { break };
        anyhow::ensure!(answer.status().is_success(), "{}", answer.text().await?);
        note(&ledger, &name, number);
    }
    Ok(())
}

async fn number_of(program: &Program, thing: &str) -> anyhow::Result<(u64, u64)> {
    let thing: Value = program.get(&format!("/api/v1/things/factory:{thing}")).await?;
    let number = thing["features"]["counter"]["properties"]["number"].as_u64().context("a number")?;
    Ok((number, thing["_revision"].as_u64().context("a revision")?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_nothing_acknowledged_is_lost() -> anyhow::Result<()> {
    let options = ProgramOptions::default()
        .with("twin.snapshot_every_records = 2000")
        .with("journal.segment_bytes = 1048576");
    let mut program = Program::start(options).await?;
    let http = reqwest::Client::new();
    for index in 0..WRITERS {
        let thing = json!({"thingId": format!("factory:written-{index}"), "features": {"counter": {"properties": {"number": 0}}}});
        let created = http
            .put(program.url(&format!("/api/v1/things/factory:written-{index}")))
            .json(&thing)
            .send()
            .await?;
        anyhow::ensure!(created.status() == 201, "{}", created.text().await?);
    }

    let ledger = Ledger::default();
    let mut acknowledged_before = 0;
    for round in 0..rounds(ROUNDS)? {
        let first = 1 + round * 1_000_000;
        let mut tasks = Vec::new();
        for index in 0..DEVICES {
            tasks.push(tokio::spawn(device(
                program.mqtt_port,
                format!("dev-{index}"),
                first,
                Arc::clone(&ledger),
            )));
        }
        for index in 0..WRITERS {
            tasks.push(tokio::spawn(writer(
                program.url(""),
                format!("written-{index}"),
                first,
                Arc::clone(&ledger),
            )));
        }
        let moment = rand::rng().random_range(30..700);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        program.kill()?;
        end_after_kill(tasks).await.with_context(|| format!("round {round}"))?;
        program.restart().await?;

        let expected = ledger.lock().expect("no holder panics").clone();
        for (name, highest) in &expected {
            let (number, _) = number_of(&program, name).await?;
            anyhow::ensure!(
                number >= *highest,
                "round {round}, killed after {moment} ms: {name} acknowledged {highest}, yet the twin holds {number}"
            );
        }
        let acknowledged: u64 = expected.values().map(|highest| highest % 1_000_000).sum();
        anyhow::ensure!(
            round == 0 || acknowledged != acknowledged_before,
            "round {round} acknowledged nothing new"
        );
        acknowledged_before = acknowledged;
    }
    Ok(())
}

#[tokio::test]
async fn a_message_sent_twice_makes_one_revision() -> anyhow::Result<()> {
    let mut program = Program::start(ProgramOptions::default()).await?;
    let (mut reader, mut writer) = mqtt::connect(program.mqtt_port, "twice").await?;
    let mut out = Vec::new();
    for packet_id in 1..=20_u16 {
        let number = packet_id.div_ceil(2);
        let payload = json!({"timestamp": 1_706_352_600 + i64::from(number), "counter": {"number": number}})
            .to_string();
        mqtt::push_publish(&mut out, "sensors/factory/twice/telemetry", packet_id, payload.as_bytes());
    }
    writer.write_all(&out).await?;
    let mut buffer = Vec::new();
    let mut count = 0;
    while count < 20 {
        anyhow::ensure!(reader.read_buf(&mut buffer).await? > 0, "closed");
        mqtt::take_acknowledgements(&mut buffer, |_| count += 1)?;
    }
    let before = wait_for(&program, "twice", 10).await?;
    program.kill()?;
    program.restart().await?;
    let after = number_of(&program, "twice").await?;
    assert_eq!(before, after, "the same state and the same revision after the replay");
    Ok(())
}

async fn wait_for(program: &Program, thing: &str, number: u64) -> anyhow::Result<(u64, u64)> {
    for _ in 0..500 {
        match number_of(program, thing).await {
            Ok(state) if state.0 == number => return Ok(state),
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    number_of(program, thing).await
}
