//! Stopping and starting: nothing is lost, nothing is in the way, and the program says what it does.

use e2e::{Program, ProgramOptions};
use serde_json::json;

#[tokio::test]
async fn a_graceful_stop_ends_cleanly_and_keeps_everything() -> anyhow::Result<()> {
    let mut program = Program::start(ProgramOptions::default()).await?;
    let http = reqwest::Client::new();
    let thing = json!({"thingId": "factory:boiler-001", "attributes": {"type": "boiler"}});
    let created = http.put(program.url("/api/v1/things/factory:boiler-001")).json(&thing).send().await?;
    assert_eq!(created.status(), 201);
    let etag = created.headers()["etag"].clone();

    assert_eq!(program.stop().await?, Some(0), "{}", program.log());
    program.restart().await?;
    let read = http.get(program.url("/api/v1/things/factory:boiler-001")).send().await?;
    assert_eq!(read.headers()["etag"], etag);
    Ok(())
}

#[tokio::test]
async fn health_names_every_part() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    let health = program.get("/health").await?;
    let text = health.to_string();
    for part in ["journal", "twin", "mqtt", "registry"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let metrics = reqwest::get(program.url("/metrics")).await?.text().await?;
    for metric in ["egiz_journal_", "egiz_broker_", "egiz_ingest_", "egiz_twin_", "egiz_server_"] {
        assert!(metrics.contains(metric), "{metric} in {metrics}");
    }
    Ok(())
}

#[tokio::test]
async fn two_programs_cannot_share_a_data_folder() -> anyhow::Result<()> {
    let first = Program::start(ProgramOptions::default()).await?;
    let output = std::process::Command::new(e2e::program::binary()?)
        .args(["up", "--config"])
        .arg(first.folder().join("openegiz.toml"))
        .output()?;
    assert!(!output.status.success());
    let told =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("data"), "it names the folder: {told}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_every_reason_at_once() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("wrong.toml");
    std::fs::write(&file, "[journal]\ndurability = \"sometimes\"\nlinger_micros = 99999\n[htttp]\nx = 1\n")?;
    let output = std::process::Command::new(e2e::program::binary()?)
        .args(["config", "check", "--config"])
        .arg(&file)
        .output()?;
    assert!(!output.status.success());
    let told =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    for part in ["durability", "sometimes", "fsync", "linger_micros", "99999", "htttp"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    Ok(())
}

#[tokio::test]
async fn a_hang_up_ends_nothing() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    let sent = std::process::Command::new("kill").args(["-HUP", &program.id().to_string()]).status()?;
    assert!(sent.success());
    let begun = std::time::Instant::now();
    while !program.log().contains("no listener has a certificate") {
        anyhow::ensure!(begun.elapsed() < std::time::Duration::from_secs(20), "{}", program.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    program.get("/health").await.map(|_| ())
}
