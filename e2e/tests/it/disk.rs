//! A full disk, and space again: nothing is acknowledged that is not kept, the program stays up and goes on by itself.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::careful::Careful;
use e2e::{Program, ProgramOptions};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(60);

/// Writes until the disk takes no more.
pub(crate) fn fill(path: &Path) -> anyhow::Result<()> {
    let (mut file, piece) = (fs::File::create(path)?, vec![0; 4096]);
    loop {
        match file.write_all(&piece) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What Debian's client says to a publish with MQTT 5.
async fn publish_by_version_5(port: u16) -> anyhow::Result<String> {
    let output = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", "5", "-q", "1", "-t", "notes/a", "-m", "x"])
        .output()
        .await?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

async fn put(program: &Program, number: u64) -> anyhow::Result<reqwest::Response> {
    let url = program.url("/api/v1/things/factory:oven-001");
    let thing = json!({"features": {"set": {"properties": {"number": number}}}});
    Ok(reqwest::Client::new().put(url).json(&thing).send().await?)
}

async fn wait_for_journal(program: &Program, wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    wait_for_part(program, "journal", wanted).await
}

/// Waits until a part's health is as wanted.
pub(crate) async fn wait_for_part(
    program: &Program,
    name: &str,
    wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let health: Value = reqwest::get(program.url("/health")).await?.json().await?;
        let parts = health["parts"].as_array().context("parts")?;
        let part = parts.iter().find(|part| part["name"] == name).context("the part")?;
        if part["status"].as_str().is_some_and(&wanted) {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_acknowledges_nothing_and_space_heals_it() -> anyhow::Result<()> {
    let options = ProgramOptions { disk_bytes: Some(48 << 20), ..ProgramOptions::default() };
    let program = Program::start(options.with("journal.segment_bytes = 1048576")).await?;
    let mut hearer = Careful::new("hearer");
    hearer.connect(program.mqtt_port).await?;
    hearer.subscribe("plan/#", 1).await?;
    hearer.drop_connection();
    assert!(put(&program, 1).await?.status().is_success());
    let mut publisher = Careful::new("publisher");
    publisher.connect(program.mqtt_port).await?;
    for number in 0..100 {
        publisher.publish("plan/a", &format!("before {number}"), 1, false).await?;
    }
    publisher.take_until(PATIENCE, |own| own.acknowledged.len() == 100).await?;

    fill(&program.disk().join("filler")).context("filling the disk")?;
    // The file that is being written may have room that it took before.
    let (ballast, begun) = ("x".repeat(50_000), Instant::now());
    for number in 0.. {
        let text = format!("during {number} {ballast}");
        let published = publisher.publish("plan/a", &text, 1, false).await;
        let answered = publisher.take_until(Duration::from_secs(5), |own| own.under_way() == 0).await;
        if published.is_err() || answered.is_err() {
            break;
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{number} messages were acknowledged on a full disk");
    }
    let acknowledged = publisher.acknowledged.len();
    let said = publish_by_version_5(program.mqtt_port).await?;
    assert!(said.contains("Quota exceeded"), "{said}");
    let refused = put(&program, 2).await?;
    assert_eq!(refused.status(), StatusCode::INSUFFICIENT_STORAGE);
    let problem: Value = refused.json().await?;
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("disk is full")), "{problem}");
    // It can be read all the while, and says what is the matter.
    let thing = program.get("/api/v1/things/factory:oven-001").await?;
    assert_eq!(thing["features"]["set"]["properties"]["number"], 1);
    wait_for_journal(&program, |status| status != "up").await?;
    assert_eq!(publisher.acknowledged.len(), acknowledged);

    fs::remove_file(program.disk().join("filler"))?;
    let begun = Instant::now();
    loop {
        let answer = put(&program, 3).await?;
        if answer.status().is_success() {
            break;
        }
        anyhow::ensure!(
            begun.elapsed() < PATIENCE,
            "no recovery: {}:\n{}",
            answer.text().await?,
            program.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(publish_by_version_5(program.mqtt_port).await?, "");
    publisher.connect(program.mqtt_port).await?;
    publisher.publish("plan/a", "after", 1, false).await?;
    publisher.take_until(PATIENCE, |own| own.under_way() == 0).await?;
    wait_for_journal(&program, |status| status == "up").await?;

    // Everything that was acknowledged, in its order; what was not may be there as well.
    assert!(hearer.connect(program.mqtt_port).await?, "the session is there");
    hearer.take_until(PATIENCE, |own| own.heard.last().is_some_and(|(_, text)| text == "after")).await?;
    let mut heard = hearer.heard.iter().map(|(_, text)| text);
    for text in &publisher.acknowledged {
        assert!(heard.any(|own| own == text), "{:.20} is missing", text);
    }
    Ok(())
}
