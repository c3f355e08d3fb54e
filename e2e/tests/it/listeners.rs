//! Listeners with TLS and WebSocket, their certificates, and the broker alone, with a client library that people use.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::certificates::{Authority, ServerFiles};
use e2e::crowd::Crowd;
use e2e::python::{python, said};
use e2e::{Program, ProgramOptions, program};

/// Publishes with QoS 1 over TLS and over WebSocket with TLS, and subscribes; prints what it was told.
const PAHO: &str = r#"
import sys, threading, paho.mqtt.client as mqtt
transport, port, authority = sys.argv[1], int(sys.argv[2]), sys.argv[3]
heard, granted = threading.Event(), threading.Event()
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="paho-" + transport, transport=transport, protocol=mqtt.MQTTv5)
client.tls_set(ca_certs=authority)
client.on_subscribe = lambda *arguments: granted.set()
client.on_message = lambda client, data, message: heard.set() if message.payload == b"x" * 100000 else None
client.connect("localhost", port)
client.loop_start()
client.subscribe("talk/" + transport, 1)
assert granted.wait(20), "no SUBACK"
client.publish("talk/" + transport, "x" * 100000, 1).wait_for_publish(20)
assert heard.wait(20), "not heard"
client.disconnect()
"#;

fn listeners(tls: u16, web: u16, files: &ServerFiles) -> String {
    let keys = format!("certificate_file = {:?}, key_file = {:?}", files.certificate, files.key);
    format!(
        "mqtt.listeners = [{{ address = \"127.0.0.1:{tls}\", {keys} }}, {{ address = \"127.0.0.1:{web}\", transport = \"websocket\", {keys} }}]"
    )
}

#[tokio::test]
async fn paho_speaks_over_tls_and_over_websocket() -> anyhow::Result<()> {
    let (folder, [tls, web]) = (tempfile::tempdir()?, program::free_ports()?);
    let files = Authority::new()?.server(folder.path())?;
    let _program = Program::start(ProgramOptions::default().with(listeners(tls, web, &files))).await?;
    for (transport, port) in [("tcp", tls), ("websockets", web)] {
        let authority = files.authority.clone();
        let speaking = tokio::task::spawn_blocking(move || {
            said(python().args(["-c", PAHO, transport]).arg(port.to_string()).arg(authority))
        });
        speaking.await?.with_context(|| format!("over {transport}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_renewed_on_sighup_and_a_broken_one_shows_in_health() -> anyhow::Result<()> {
    let (folder, [tls, web]) = (tempfile::tempdir()?, program::free_ports()?);
    let (old, new) = (Authority::new()?, Authority::new()?);
    let files = old.server(folder.path())?;
    let program = Program::start(ProgramOptions::default().with(listeners(tls, web, &files))).await?;
    let mut first = Crowd::new(1, tls, Some(&old.client()?));
    first.gather(1).await?;

    std::fs::write(&files.certificate, "no certificate")?;
    hang_up(&program)?;
    part_is(&program, "degraded", "holds no usable certificate").await?;
    Crowd::new(1, tls, Some(&old.client()?)).gather(1).await?;

    new.server(folder.path())?;
    hang_up(&program)?;
    part_is(&program, "up", "").await?;
    Crowd::new(1, tls, Some(&new.client()?)).gather(1).await?;
    Ok(())
}

fn hang_up(program: &Program) -> anyhow::Result<()> {
    let status = Command::new("kill").args(["-HUP", &program.id().to_string()]).status()?;
    anyhow::ensure!(status.success(), "the program is gone");
    Ok(())
}

async fn part_is(program: &Program, status: &str, detail: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let health = program.get("/health").await?;
        let parts = health["parts"].as_array().context("no parts")?;
        let part = parts.iter().find(|part| part["name"] == "mqtt-certificates").context("no such part")?;
        let said = part["detail"].as_str().unwrap_or_default();
        if part["status"] == status && said.contains(detail) {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(60), "{part}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_broker_alone_says_when_it_is_ready_and_stops_when_told() -> anyhow::Result<()> {
    let (folder, [port]) = (tempfile::tempdir()?, program::free_ports()?);
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/broker-conformance.toml");
    let output = folder.path().join("output");
    let mut broker = Command::new(program::binary()?)
        .args(["broker", "--config", config, "--port", &port.to_string()])
        .env("EGIZ__DATA__DIR", folder.path().join("data"))
        .stdout(std::fs::File::create(&output)?)
        .stderr(Stdio::null())
        .spawn()?;
    let tried = async {
        Crowd::new(3, port, None).gather(3).await?;
        let said = std::fs::read_to_string(&output)?;
        assert_eq!(said, format!("the broker is ready at mqtt://127.0.0.1:{port}\n"));
        Command::new("kill").args(["-TERM", &broker.id().to_string()]).status()?;
        anyhow::Ok(())
    };
    let tried = tried.await;
    if tried.is_err() {
        broker.kill()?;
    }
    let status = tokio::task::spawn_blocking(move || broker.wait()).await??;
    tried?;
    assert_eq!(status.code(), Some(0));
    Ok(())
}
