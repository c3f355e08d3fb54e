//! The bridge to a central broker: what is published here arrives there, whatever is away or killed meanwhile.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::careful::Careful;
use e2e::{Mosquitto, Program, ProgramOptions};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const DEVICES: u64 = 5;

fn bridged(port: u16) -> ProgramOptions {
    ProgramOptions::default().with(format!(
        "mqtt.bridge = [{{ name = \"hq\", url = \"mqtt://127.0.0.1:{port}\", topics = [\"plant/+/count\"], \
         remote_prefix = \"munich/\" }}]"
    ))
}

async fn wait_for(program: &Program, status: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let health: Value = reqwest::get(program.url("/health")).await?.json().await?;
        let parts = health["parts"].as_array().context("parts")?;
        if parts.iter().any(|part| part["name"] == "mqtt-bridge-hq" && part["status"] == status) {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{health}:\n{}", program.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Numbers, each on the topic of a device and acknowledged.
async fn publish(program: &Program, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
    let mut publisher = Careful::new("publisher");
    publisher.connect(program.mqtt_port).await?;
    for number in numbers {
        let topic = format!("plant/{}/count", number % DEVICES);
        publisher.publish(&topic, &number.to_string(), 1, false).await?;
        publisher.take_until(PATIENCE, |own| own.under_way() < 500).await?;
    }
    publisher.take_until(PATIENCE, |own| own.under_way() == 0).await?;
    // Nobody asked for these.
    publisher.publish("plant/0/secret", "not for headquarters", 1, false).await?;
    Ok(publisher.take_until(PATIENCE, |own| own.under_way() == 0).await?)
}

/// Whether each number has come, those of a device in their order; what comes again is passed over.
fn all_in_order(heard: &[(u8, String)], numbers: u64) -> anyhow::Result<()> {
    let mut newest = HashMap::new();
    let mut count = 0;
    for (_, payload) in heard {
        let number: u64 = payload.parse().with_context(|| format!("{payload} is not for headquarters"))?;
        let next = newest.entry(number % DEVICES).or_insert(number % DEVICES);
        anyhow::ensure!(number <= *next, "{number} came where {next} was due");
        if number == *next {
            *next += DEVICES;
            count += 1;
        }
    }
    anyhow::ensure!(count == numbers, "{count} of {numbers} arrived");
    Ok(())
}

/// First nobody has ever met the central broker; then it comes, goes for a while, and this program is killed, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_while_the_central_broker_is_away_arrives_there_after_a_crash_here()
-> anyhow::Result<()> {
    let mut central = Mosquitto::start().await?;
    let mut hearer = Careful::new("headquarters");
    hearer.connect(central.port).await?;
    hearer.subscribe("munich/#", 1).await?;
    central.stop().await?;

    let mut program = Program::start(bridged(central.port)).await?;
    wait_for(&program, "down").await?;
    publish(&program, 0..500).await?;
    central.restart().await?;
    assert!(hearer.connect(central.port).await?, "the session is there");
    wait_for(&program, "up").await?;
    let come = |own: &Careful, number: u64| {
        own.heard.iter().rev().take(1000).any(|(_, payload)| payload.parse() == Ok(number - 1))
    };
    hearer.take_until(PATIENCE, |own| come(own, 500)).await?;

    central.stop().await?;
    wait_for(&program, "down").await?;
    publish(&program, 500..3_000).await?;
    program.kill()?;
    program.restart().await?;
    publish(&program, 3_000..4_000).await?;
    central.restart().await?;
    assert!(hearer.connect(central.port).await?, "the session is there");
    // Again in the midst of forwarding.
    hearer.take_until(PATIENCE, |own| own.heard.len() > 1_000).await?;
    program.kill()?;
    program.restart().await?;
    for device in 0..DEVICES {
        hearer.take_until(PATIENCE, |own| come(own, 4_000 - device)).await?;
    }
    all_in_order(&hearer.heard, 4_000)
}
