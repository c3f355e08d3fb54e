//! Messages that come by a real Mosquitto: they reach live state as those of the program's own broker do, and what breaks on
//! either side loses nothing that the other had taken.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::web_socket::Client;
use e2e::{Mosquitto, Program, ProgramOptions, mqtt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

fn external(port: u16, more: &str) -> ProgramOptions {
    ProgramOptions::default()
        .with(format!("mqtt.external = [{{ name = \"plant\", url = \"mqtt://127.0.0.1:{port}\"{more} }}]"))
}

/// Publishes numbers as one device, all acknowledged.
async fn publish(port: u16, device: &str, numbers: std::ops::RangeInclusive<u64>) -> anyhow::Result<()> {
    publish_all(port, device, numbers.map(|number| (device.to_owned(), number))).await
}

/// Publishes numbers of any devices as one client, all acknowledged.
async fn publish_all(
    port: u16,
    client: &str,
    numbers: impl Iterator<Item = (String, u64)>,
) -> anyhow::Result<()> {
    let (mut reader, mut writer) = mqtt::connect(port, &format!("test-{client}")).await?;
    let (mut count, mut out) = (0, Vec::new());
    for (device, number) in numbers {
        let topic = format!("sensors/factory/{device}/telemetry");
        let payload = json!({"timestamp": 1_706_352_600 + number, "counter": {"number": number}}).to_string();
        count += 1;
        mqtt::push_publish(&mut out, &topic, u16::try_from(count % 65_535 + 1)?, payload.as_bytes());
    }
    writer.write_all(&out).await?;
    let (mut acknowledged, mut buffer) = (0, Vec::new());
    while acknowledged < count {
        anyhow::ensure!(reader.read_buf(&mut buffer).await? > 0, "the broker went away");
        mqtt::take_acknowledgements(&mut buffer, |_| acknowledged += 1)?;
    }
    Ok(())
}

async fn number_of(program: &Program, device: &str) -> Option<u64> {
    let thing = program.get(&format!("/api/v1/things/factory:{device}")).await.ok()?;
    thing["features"]["counter"]["properties"]["number"].as_u64()
}

async fn wait_for_number(program: &Program, device: &str, number: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    while number_of(program, device).await != Some(number) {
        anyhow::ensure!(
            begun.elapsed() < PATIENCE,
            "{device} has {:?} instead of {number}:\n{}",
            number_of(program, device).await,
            program.log()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn part(program: &Program, name: &str) -> anyhow::Result<Value> {
    // What is asked for is one part; the whole may be starting.
    let health: Value = reqwest::get(program.url("/health")).await?.json().await?;
    let parts = health["parts"].as_array().context("parts")?;
    parts.iter().find(|part| part["name"] == name).cloned().with_context(|| format!("no {name}: {health}"))
}

async fn wait_for_part(program: &Program, name: &str, status: &str) -> anyhow::Result<Value> {
    let begun = Instant::now();
    loop {
        let part = part(program, name).await?;
        if part["status"] == status {
            return Ok(part);
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{part}:\n{}", program.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn metric(program: &Program, series: &str) -> anyhow::Result<u64> {
    let text = reqwest::get(program.url("/metrics")).await?.text().await?;
    let line = text.lines().find(|line| line.starts_with(series)).with_context(|| format!("no {series}"))?;
    Ok(line.rsplit(' ').next().context("a value")?.parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telemetry_by_another_broker_reaches_live_state() -> anyhow::Result<()> {
    for protocol in ["5", "3.1.1"] {
        let mosquitto = Mosquitto::start().await?;
        let options = external(mosquitto.port, &format!(", protocol = \"{protocol}\""));
        let mut program = Program::start(options).await?;
        wait_for_part(&program, "mqtt-external-plant", "up").await?;
        publish(mosquitto.port, "oven-001", 1..=500).await?;
        wait_for_number(&program, "oven-001", 500).await?;
        let acknowledged = "egiz_ingest_external_acknowledged_messages_total{broker=\"plant\"}";
        assert_eq!(metric(&program, acknowledged).await?, 500);
        // What arrives while the program is away waits in its session.
        assert_eq!(program.stop().await?, Some(0));
        publish(mosquitto.port, "oven-001", 501..=800).await?;
        program.restart().await?;
        wait_for_number(&program, "oven-001", 800).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_on_through_another_broker() -> anyhow::Result<()> {
    let mosquitto = Mosquitto::start().await?;
    let program = Program::start(external(mosquitto.port, "")).await?;
    wait_for_part(&program, "mqtt-external-plant", "up").await?;
    publish(mosquitto.port, "oven-001", 1..=1).await?;
    wait_for_number(&program, "oven-001", 1).await?;
    let mut client = Client::connect(&program.web_socket_url()).await?;
    client.send(&json!({"action": "subscribe", "thingId": "oven-001", "snapshot": false})).await?;
    client.until(|frame| frame["ok"] == true).await?;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let status = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &mosquitto.port.to_string(), "-V", "5", "-q", "1"])
        .args(["-D", "publish", "user-property", "traceparent", &format!("00-{trace}-00f067aa0ba902b7-01")])
        .args(["-t", "sensors/factory/oven-001/telemetry", "-m", "{\"counter\":{\"number\":2}}"])
        .status()
        .await?;
    assert!(status.success(), "{status}");
    let event = client.until(|frame| frame["properties"]["number"] == 2).await?;
    assert_eq!(event["cause"]["correlationId"], trace, "{event}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_names_a_broker() -> anyhow::Result<()> {
    let mosquitto = Mosquitto::start().await?;
    let options = ProgramOptions {
        environment: vec![("MQTT_BROKER".into(), format!("127.0.0.1:{}", mosquitto.port))],
        ..ProgramOptions::default()
    };
    let program = Program::start(options).await?;
    wait_for_part(&program, "mqtt-external-env", "up").await?;
    publish(mosquitto.port, "oven-001", 1..=5).await?;
    wait_for_number(&program, "oven-001", 5).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_returns_is_met_within_ten_seconds_and_has_kept_what_we_had_not_taken()
-> anyhow::Result<()> {
    let mut mosquitto = Mosquitto::start().await?;
    let program = Program::start(external(mosquitto.port, "")).await?;
    wait_for_part(&program, "mqtt-external-plant", "up").await?;
    for round in 1..=3_u64 {
        // Stopped in the midst of messages: some were delivered and not acknowledged yet, some wait.
        publish(mosquitto.port, "oven-001", (round * 3_000 - 2_999)..=(round * 3_000 - 1_000)).await?;
        mosquitto.stop().await?;
        let down = wait_for_part(&program, "mqtt-external-plant", "down").await?;
        assert!(down["detail"].as_str().is_some_and(|text| text.contains("mqtt://127.0.0.1")), "{down}");
        // Long enough that the delays between attempts have grown to their cap.
        tokio::time::sleep(Duration::from_secs(3)).await;
        mosquitto.restart().await?;
        let returned = Instant::now();
        wait_for_part(&program, "mqtt-external-plant", "up").await?;
        assert!(returned.elapsed() < Duration::from_secs(10), "back after {:?}", returned.elapsed());
        publish(mosquitto.port, "oven-001", (round * 3_000 - 999)..=(round * 3_000)).await?;
        wait_for_number(&program, "oven-001", round * 3_000).await?;
    }
    // Nothing is missing in between: a message that came twice is recognised and makes no revision.
    let thing = program.get("/api/v1/things/factory:oven-001").await?;
    let applied = metric(&program, "egiz_twin_telemetry_messages_total").await?;
    assert!(applied >= 9_000, "{applied} of 9000 messages were applied: {thing}");
    // Killed as by a power cut it forgets what it held, and our session with it; we come back all the same.
    mosquitto.kill()?;
    wait_for_part(&program, "mqtt-external-plant", "down").await?;
    mosquitto.restart().await?;
    wait_for_part(&program, "mqtt-external-plant", "up").await?;
    publish(mosquitto.port, "oven-001", 9_001..=9_010).await?;
    wait_for_number(&program, "oven-001", 9_010).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_the_program_gets_again_what_it_had_not_kept() -> anyhow::Result<()> {
    const ROUNDS: u64 = 5;
    const PUBLISHERS: u64 = 4;
    const DEVICES: u64 = 1_500;
    let mosquitto = Mosquitto::start().await?;
    let mut program = Program::start(external(mosquitto.port, ", receive_maximum = 300")).await?;
    wait_for_part(&program, "mqtt-external-plant", "up").await?;
    for round in 1..=e2e::rounds(ROUNDS)? {
        // One message of each device: a newer one could hide that an older one is missing.
        let publishing: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let numbers = (0..DEVICES).map(move |device| (format!("dev-{publisher}-{device}"), round));
                let port = mosquitto.port;
                tokio::spawn(async move { publish_all(port, &publisher.to_string(), numbers).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20 * round)).await;
        program.kill()?;
        for task in publishing {
            task.await??;
        }
        program.restart().await?;
        let (expected, begun) = (PUBLISHERS * DEVICES, Instant::now());
        let path = format!("/api/v1/things/count?filter=eq(features/counter/properties/number,{round})");
        loop {
            let count = program.get(&path).await?["count"].as_u64().context("a count")?;
            if count == expected {
                break;
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "round {round}: {count} of {expected} messages");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_of_a_group_share_the_messages() -> anyhow::Result<()> {
    const MESSAGES: u64 = 2_000;
    let mosquitto = Mosquitto::start().await?;
    let options = external(mosquitto.port, ", group = \"twins\"");
    let programs = [Program::start(options.clone()).await?, Program::start(options).await?];
    for program in &programs {
        wait_for_part(program, "mqtt-external-plant", "up").await?;
    }
    publish(mosquitto.port, "oven-001", 1..=MESSAGES).await?;
    let begun = Instant::now();
    loop {
        let mut shares = [0; 2];
        for (share, program) in shares.iter_mut().zip(&programs) {
            *share = metric(program, "egiz_ingest_telemetry_messages_total").await?;
        }
        if shares.iter().sum::<u64>() == MESSAGES {
            assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{shares:?} of {MESSAGES}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The shipped configuration on a folder of the test's own, with the users `openegiz`, `oven-001` and `oven-002`.
async fn shipped() -> anyhow::Result<Mosquitto> {
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge-sensors/broker");
    let config = std::fs::read_to_string(shipped.join("mosquitto.conf"))?;
    let acl = std::fs::read_to_string(shipped.join("mosquitto.acl"))?;
    Mosquitto::with_settings(|folder| {
        let passwords = folder.join("openegiz.passwords");
        std::fs::write(folder.join("openegiz.acl"), acl).expect("the folder is ours");
        std::fs::write(&passwords, "").expect("the folder is ours");
        for user in ["openegiz", "oven-001", "oven-002"] {
            let made = std::process::Command::new("mosquitto_passwd")
                .args(["-b", &passwords.display().to_string(), user, &format!("secret of {user}")])
                .status();
            assert!(made.is_ok_and(|status| status.success()), "mosquitto_passwd works");
        }
        config
            .replace("listener 1883\n", "")
            .replace("persistence_location /var/lib/mosquitto/\n", "")
            .replace("/etc/mosquitto", &folder.display().to_string())
    })
    .await
}

/// Publishes as a user with Debian's own client; whether the broker let it in.
async fn publish_as(port: u16, user: &str, device: &str, number: u64) -> anyhow::Result<bool> {
    let payload = json!({"timestamp": 1_706_352_600 + number, "counter": {"number": number}}).to_string();
    let status = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-u", user, "-P", &format!("secret of {user}")])
        .args(["-q", "1", "-t", &format!("sensors/factory/{device}/telemetry"), "-m", &payload])
        .stderr(std::process::Stdio::null())
        .status()
        .await?;
    Ok(status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_shipped_configuration_devices_publish_under_their_own_topics_only() -> anyhow::Result<()> {
    let mosquitto = shipped().await?;
    let password = mosquitto.folder().join("openegiz-password");
    std::fs::write(&password, "secret of openegiz\n")?;
    let more = format!(", username = \"openegiz\", password_file = {:?}", password.display().to_string());
    let program = Program::start(external(mosquitto.port, &more)).await?;
    wait_for_part(&program, "mqtt-external-plant", "up").await?;
    assert!(!publish_as(mosquitto.port, "stranger", "oven-001", 1).await?);
    publish_as(mosquitto.port, "oven-002", "oven-001", 2).await?;
    publish_as(mosquitto.port, "oven-001", "oven-001", 3).await?;
    publish_as(mosquitto.port, "oven-002", "oven-002", 4).await?;
    wait_for_number(&program, "oven-002", 4).await?;
    assert_eq!(number_of(&program, "oven-001").await, Some(3));
    let received = "egiz_ingest_external_messages_total{broker=\"plant\"}";
    assert_eq!(metric(&program, received).await?, 2, "the message under another's name went nowhere");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_told_once_and_tried_at_leisure_and_right_ones_need_no_restart()
-> anyhow::Result<()> {
    let mosquitto = shipped().await?;
    let password = mosquitto.folder().join("openegiz-password");
    std::fs::write(&password, "a guess\n")?;
    let more = format!(", username = \"openegiz\", password_file = {:?}", password.display().to_string());
    for protocol in ["5", "3.1.1"] {
        let more = format!("{more}, protocol = \"{protocol}\"");
        std::fs::write(&password, "a guess\n")?;
        let program = Program::start(external(mosquitto.port, &more)).await?;
        let down = wait_for_part(&program, "mqtt-external-plant", "down").await?;
        let detail = down["detail"].as_str().context("a detail")?.to_owned();
        assert!(detail.contains("check username and password") && !detail.contains("a guess"), "{detail}");
        tokio::time::sleep(Duration::from_secs(6)).await;
        let attempts = metric(&program, "egiz_ingest_external_failures_total{broker=\"plant\"}").await?;
        assert!((2..=7).contains(&attempts), "{attempts} attempts in six seconds");
        let lines = program.log().matches("not connected to a broker elsewhere").count();
        assert_eq!(lines, 1, "{}", program.log());
        let health = program.get("/health").await?;
        assert_eq!(health["status"], "degraded", "{health}");
        std::fs::write(&password, "secret of openegiz\n")?;
        wait_for_part(&program, "mqtt-external-plant", "up").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_with_one_client_id_do_not_storm_the_broker() -> anyhow::Result<()> {
    let mosquitto = Mosquitto::start().await?;
    let options = external(mosquitto.port, ", client_id = \"the-same\"");
    let programs = [Program::start(options.clone()).await?, Program::start(options).await?];
    tokio::time::sleep(Duration::from_secs(6)).await;
    for program in &programs {
        let failures = metric(program, "egiz_ingest_external_failures_total{broker=\"plant\"}").await?;
        assert!((1..=20).contains(&failures), "{failures} connections lost in six seconds");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_cannot_work_is_refused_with_every_reason() -> anyhow::Result<()> {
    let settings = "mqtt.external = [{ name = \"plant\", url = \"mqtt://me:secret@host\", topics = [\"a/#/b\"], \
                    username = \"me\", password_file = \"/does/not/exist\" }]";
    let error = match Program::start(ProgramOptions::default().with(settings)).await {
        Ok(_) => anyhow::bail!("it started"),
        Err(error) => error.to_string(),
    };
    for part in
        ["mqtt.external[0].url", "mqtt.external[0].topics", "mqtt.external[0].password_file", "3 faults"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("secret@"), "{error}");
    Ok(())
}
