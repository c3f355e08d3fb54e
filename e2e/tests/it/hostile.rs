//! Hostile input: each piece gets a clear error or is counted, and the program stays up within its memory.

use std::time::Duration;

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
