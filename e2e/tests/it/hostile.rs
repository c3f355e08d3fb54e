//! Hostile input: each piece gets a clear error or is counted, and the program stays up within its memory.

use std::time::{Duration, Instant};

use e2e::{Program, ProgramOptions, measure, mqtt};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn still_serves(program: &Program) -> anyhow::Result<()> {
    program.get("/api/v1/things").await.map(|_| ())
}

#[tokio::test]
async fn garbage_on_the_mqtt_port_only_closes_its_own_connection() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    let pieces: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64],
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0x30, 0x00],
        &[
            0x10, 0x10, 0x00, 0x04, b'M', b'Q', b'T', b'T', 0x09, 0x02, 0x00, 0x3c, 0x00, 0x04, b'a', b'b',
            b'c', b'd',
        ],
        &[0x00; 1024],
        &[0x10, 0x0e, 0x00, 0x04, b'M', b'Q', b'T', b'T', 0x04, 0x02, 0x00, 0x3c, 0x00, 0x02, 0xff, 0xfe],
    ];
    for piece in pieces {
        let mut stream = TcpStream::connect(("127.0.0.1", program.mqtt_port)).await?;
        // The broker may close before everything is written; both are fine.
        let _ = stream.write_all(piece).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the connection that sent {piece:?} is closed");
    }
    still_serves(&program).await
}

#[tokio::test]
async fn an_oversize_packet_is_refused_before_it_is_read() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default().with("mqtt.max_packet_bytes = 65536")).await?;
    let (mut reader, mut writer) = mqtt::connect(program.mqtt_port, "large").await?;
    let mut out = Vec::new();
    mqtt::push_publish(&mut out, "sensors/factory/large/telemetry", 1, &vec![b' '; 200_000]);
    let _ = writer.write_all(&out).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(15), reader.read_to_end(&mut answer)).await?;
    assert!(answer.is_empty(), "no acknowledgement: {answer:?}");
    still_serves(&program).await
}

#[tokio::test]
async fn a_flood_of_topics_stays_within_memory_and_is_counted() -> anyhow::Result<()> {
    const TOPICS: usize = 100_000;
    let options =
        ProgramOptions::default().with("twin.max_things = 1000").with("ingest.max_discovered = 500");
    let program = Program::start(options).await?;
    let before = measure::resident_bytes(program.id()).expect("it runs");
    let (mut reader, mut writer) = mqtt::connect(program.mqtt_port, "flood").await?;
    let acknowledged = tokio::spawn(async move {
        let mut buffer = Vec::new();
        let mut count = 0;
        while count < TOPICS && reader.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
            mqtt::take_acknowledgements(&mut buffer, |_| count += 1).expect("only acknowledgements");
        }
        count
    });
    for chunk in 0..TOPICS / 500 {
        let mut out = Vec::new();
        for index in chunk * 500..(chunk + 1) * 500 {
            let payload = format!("{{\"feature-{index}\":{{\"property-{index}\":{index}}}}}");
            let packet_id = (index % 65_535 + 1) as u16;
            mqtt::push_publish(
                &mut out,
                &format!("sensors/factory/flood-{index}/telemetry"),
                packet_id,
                payload.as_bytes(),
            );
        }
        writer.write_all(&out).await?;
    }
    assert_eq!(acknowledged.await?, TOPICS);
    still_serves(&program).await?;
    let grown = measure::resident_bytes(program.id()).expect("it runs").saturating_sub(before);
    assert!(grown < 200 << 20, "grew by {} MiB", grown >> 20);
    let metrics = reqwest::get(program.url("/metrics")).await?.text().await?;
    assert!(metrics.contains("egiz_twin_discovered_evicted_total"), "{metrics}");
    Ok(())
}

/// The value of a metric, its labels included in the name; 0 where it is not listed.
async fn metric(program: &Program, name: &str) -> anyhow::Result<u64> {
    let text = reqwest::get(program.url("/metrics")).await?.text().await?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    Ok(value.unwrap_or(0))
}

/// Waits until a metric has a value: what is acknowledged is durable, and applied and counted right after.
async fn comes_to(program: &Program, name: &str, expected: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let value = metric(program, name).await?;
        if value == expected {
            return Ok(());
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{name} is {value}, not {expected}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Half of them devices that nobody knows, half retained messages: each is taken, and what is not kept of it is counted.
#[tokio::test]
async fn a_million_topics_leave_behind_no_more_than_is_allowed() -> anyhow::Result<()> {
    const CLIENTS: u64 = 4;
    const EACH: u64 = 250_000;
    const HALF: u64 = CLIENTS * EACH / 2;
    const ALLOWED: u64 = 1000;
    let options = ProgramOptions::default()
        .with(format!("mqtt.max_retained_messages = {ALLOWED}"))
        // Nobody takes devices out of the list meanwhile.
        .with("ingest.unknown_devices = \"discover\"")
        .with(format!("ingest.max_discovered = {ALLOWED}"));
    let program = Program::start(options).await?;
    let before = measure::resident_bytes(program.id()).expect("it runs");
    let port = program.mqtt_port;
    let clients: Vec<_> = (0..CLIENTS).map(|client| tokio::spawn(flood(port, client, EACH))).collect();
    for client in clients {
        tokio::time::timeout(Duration::from_secs(600), client).await???;
    }
    comes_to(&program, "egiz_twin_discovered_evicted_total", HALF - ALLOWED).await?;
    comes_to(&program, "egiz_broker_dropped_messages_total{reason=\"retained-full\"}", HALF - ALLOWED)
        .await?;
    comes_to(&program, "egiz_broker_retained_messages", ALLOWED).await?;
    still_serves(&program).await?;
    let grown = measure::resident_bytes(program.id()).expect("it runs").saturating_sub(before);
    assert!(grown < 128 << 20, "grew by {} MiB", grown >> 20);
    Ok(())
}

/// Publishes to `count` topics of its own, and waits for the acknowledgements.
async fn flood(port: u16, client: u64, count: u64) -> anyhow::Result<()> {
    const RETAIN: u8 = 1;
    const AT_ONCE: u64 = 500;
    let (mut reader, mut writer) = mqtt::connect(port, &format!("flood-{client}")).await?;
    let acknowledged = tokio::spawn(async move {
        let (mut buffer, mut left) = (Vec::new(), count);
        while left > 0 && reader.read_buf(&mut buffer).await? > 0 {
            mqtt::take_acknowledgements(&mut buffer, |_| left -= 1)?;
        }
        anyhow::ensure!(left == 0, "{left} of {count} were not acknowledged");
        Ok(())
    });
    for chunk in 0..count / AT_ONCE {
        let mut out = Vec::new();
        for number in chunk * AT_ONCE..(chunk + 1) * AT_ONCE {
            let packet_id = u16::try_from(number % 65_535 + 1)?;
            let at = out.len();
            if number % 2 == 0 {
                let topic = format!("sensors/factory/d-{client}-{number}/telemetry");
                mqtt::push_publish(&mut out, &topic, packet_id, b"{\"a\":{\"b\":1}}");
            } else {
                mqtt::push_publish(&mut out, &format!("notes/{client}/{number}"), packet_id, b"x");
                out[at] |= RETAIN;
            }
        }
        writer.write_all(&out).await?;
    }
    acknowledged.await?
}

#[tokio::test]
async fn a_hostile_payload_is_acknowledged_and_counted_with_its_reason() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    let deep = format!("{{\"a\":{{\"b\":{}1{}}}}}", "[".repeat(10_000), "]".repeat(10_000));
    let shallow = format!("{{\"a\":{{\"b\":{}1{}}}}}", "[".repeat(40), "]".repeat(40));
    let digits = format!("{{\"a\":{{\"b\":1{}}}}}", "0".repeat(400));
    let many: Vec<String> = (0..2000).map(|number| format!("\"p{number}\":1")).collect();
    let many = format!("{{\"a\":{{{}}}}}", many.join(","));
    let cases: [(&[u8], &str); 14] = [
        (b"{\"a\":{\"b\":NaN}}", "not-json"),
        (b"{\"a\":{\"b\":-Infinity}}", "not-json"),
        (b"{\"a\":{\"b\":1e999}}", "not-json"),
        (digits.as_bytes(), "not-json"),
        (b"{\"a\":{\"b\":\"\xff\xfe\"}}", "not-json"),
        (b"\x00\x00", "not-json"),
        (b"", "not-json"),
        (b"{\"a\":{\"b\":1}} {}", "not-json"),
        (deep.as_bytes(), "limit"),
        (shallow.as_bytes(), "limit"),
        (many.as_bytes(), "limit"),
        (b"[1]", "shape"),
        (b"{\"device_id\":\"somebody-else\"}", "device-id"),
        (b"{\"a\":{\"_revision\":1}}", "name"),
    ];
    let (mut reader, mut writer) = mqtt::connect(program.mqtt_port, "hostile").await?;
    let mut out = Vec::new();
    for (packet_id, (payload, _)) in (1..).zip(cases) {
        mqtt::push_publish(&mut out, "sensors/factory/hostile/telemetry", packet_id, payload);
    }
    let numbers = b"{\"a\":{\"u\":18446744073709551616,\"f\":-1e308}}";
    mqtt::push_publish(&mut out, "sensors/factory/hostile/telemetry", 99, numbers);
    writer.write_all(&out).await?;
    let (mut buffer, mut count) = (Vec::new(), 0);
    while count <= cases.len() {
        let read = tokio::time::timeout(Duration::from_secs(30), reader.read_buf(&mut buffer)).await??;
        assert!(read > 0, "the connection stays: {count} were acknowledged");
        mqtt::take_acknowledgements(&mut buffer, |_| count += 1)?;
    }
    for reason in ["not-json", "limit", "shape", "device-id", "name"] {
        let expected = cases.iter().filter(|(_, expected)| *expected == reason).count() as u64;
        let name = format!("egiz_ingest_rejected_messages_total{{reason=\"{reason}\"}}");
        assert_eq!(metric(&program, &name).await?, expected, "{reason}");
    }
    let taken = metric(&program, "egiz_ingest_telemetry_messages_total").await?;
    assert_eq!(taken, 1, "huge numbers are numbers like any other");
    still_serves(&program).await
}

#[tokio::test]
async fn a_topic_cannot_reach_where_it_does_not_belong() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    // No topic names at all: the connection ends.
    for topic in ["sensors/+/oven-001/telemetry", "sensors/#", "", "a\0b", &"/".repeat(5000)] {
        let (mut reader, mut writer) = mqtt::connect(program.mqtt_port, "injection").await?;
        let mut out = Vec::new();
        mqtt::push_publish(&mut out, topic, 1, b"{\"a\":{\"b\":1}}");
        let _ = writer.write_all(&out).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(15), reader.read_to_end(&mut answer)).await?;
        assert!(answer.is_empty(), "{topic:?}: {answer:?}");
    }
    // Names of no Thing: kept as messages, counted, and no Thing or device comes of them.
    let strange = [
        "sensors/fac tory/oven-001/telemetry",
        "sensors/../oven\"001/telemetry",
        "sensors/factory:x/oven-001/telemetry",
        "sensors//oven-001/telemetry",
        "sensors/factory//telemetry",
        "sensors/factory/oven\n001/telemetry",
    ];
    let elsewhere =
        ["sensors/factory/../../telemetry", "sensors/factory/a/b/telemetry", "/sensors/f/o/telemetry"];
    let (mut reader, mut writer) = mqtt::connect(program.mqtt_port, "strange").await?;
    let mut out = Vec::new();
    for (packet_id, topic) in (1..).zip(strange.iter().chain(&elsewhere)) {
        mqtt::push_publish(&mut out, topic, packet_id, b"{\"a\":{\"b\":1}}");
    }
    writer.write_all(&out).await?;
    let (mut buffer, mut count) = (Vec::new(), 0);
    while count < strange.len() + elsewhere.len() {
        let read = tokio::time::timeout(Duration::from_secs(30), reader.read_buf(&mut buffer)).await??;
        assert!(read > 0, "the connection stays: {count} were acknowledged");
        mqtt::take_acknowledgements(&mut buffer, |_| count += 1)?;
    }
    let rejected = metric(&program, "egiz_ingest_rejected_messages_total{reason=\"name\"}").await?;
    assert_eq!(rejected, strange.len() as u64);
    assert_eq!(metric(&program, "egiz_ingest_telemetry_messages_total").await?, 0);
    let discovered = program.get("/api/v1/devices/discovered").await?;
    assert_eq!(discovered["items"].as_array().map(Vec::len), Some(0), "{discovered}");
    still_serves(&program).await
}

#[tokio::test]
async fn hostile_http_gets_a_problem_with_a_code() -> anyhow::Result<()> {
    let program = Program::start(ProgramOptions::default()).await?;
    let http = reqwest::Client::new();
    let url = program.url("/api/v1/things/factory:x");
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let cases: [(Vec<u8>, u16); 6] = [
        (b"{\"a\": NaN}".to_vec(), 400),
        (b"\xff\xfe".to_vec(), 400),
        (deep.into_bytes(), 400),
        (b"null".to_vec(), 400),
        (b"{\"thingId\":\"factory:y\"}".to_vec(), 400),
        (vec![b' '; 3 << 20], 413),
    ];
    for (body, expected) in cases {
        let shown: String = String::from_utf8_lossy(&body).chars().take(40).collect();
        let answer = http.put(&url).header("content-type", "application/json").body(body).send().await?;
        assert_eq!(answer.status(), expected, "{shown}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{shown}");
        let problem: serde_json::Value = answer.json().await?;
        assert!(problem["code"].is_string() && problem["detail"].is_string(), "{problem}");
    }
    let created =
        http.put(&url).json(&json!({"attributes": {"n": 18_446_744_073_709_551_615_u64}})).send().await?;
    assert_eq!(created.status(), 201, "a huge integer is a number like any other");
    still_serves(&program).await
}
