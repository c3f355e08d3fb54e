//! InfluxDB's protocols: what Telegraf and client libraries send, and what they are answered.

use std::io::Write as _;
use std::sync::atomic::Ordering;

use egiz_server::{Anonymous, ApiToken, Role, SubmitError};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Answer, START_MICROS, Server};

async fn write(server: &Server, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    Answer::of(server.request("POST", path).body(body)).await
}

/// The error of an answer in the form of the first version.
fn error_of(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    assert!(
        answer.header("x-influxdb-version").is_some_and(|version| version.starts_with("1.8")),
        "{answer:?}"
    );
    let error = answer.json()["error"].as_str().expect("an error").to_owned();
    assert!(answer.header("x-influxdb-error").is_some(), "{answer:?}");
    error
}

fn line(thing: &str, second: i64) -> String {
    let nanos = (START_MICROS - 10_000_000 + second * 1_000_000) * 1_000;
    format!("thermal,host={thing} zone={}.5 {nanos}\n", 190 + second)
}

#[tokio::test]
async fn ping_says_who_answers() {
    let server = Server::start().await;
    for method in ["GET", "HEAD"] {
        let answer = Answer::of(server.request(method, "/ping")).await;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("x-influxdb-version"), Some("1.8.10-openegiz"));
        assert_eq!(answer.header("x-influxdb-build"), Some("OSS"));
    }
    assert_eq!(server.read("/ping?verbose=true").await, json!({"version": "1.8.10-openegiz"}));
}

#[tokio::test]
async fn lines_become_values_of_things() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let body = format!("{}{}", line("oven-001", 1), line("oven-001", 2));
    let answer = write(&server, "/write?db=telegraf&rp=autogen&precision=ns&consistency=any", body).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{answer:?}");
    assert!(answer.header("x-influxdb-version").is_some());
    let thing = server.read("/api/v1/things/oven-001").await;
    assert_eq!(thing["features"]["thermal"]["properties"]["zone"], json!(192.5));

    let seconds = START_MICROS / 1_000_000 - 1;
    let body = format!("cpu,host=oven-001,cpu=cpu0 idle=98i {seconds}");
    let answer = write(&server, "/api/v2/write?org=o&bucket=b&precision=s", body).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    let thing = server.read("/api/v1/things/oven-001").await;
    assert_eq!(thing["features"]["cpu,cpu=cpu0"]["properties"]["idle"], json!(98));
}

#[tokio::test]
async fn an_unknown_device_is_discovered() {
    let server = Server::start().await;
    assert_eq!(write(&server, "/write", line("new-001", 1)).await.status, 204);
    let found = server.read("/api/v1/devices/discovered").await;
    assert_eq!(found["items"][0]["thingId"], "factory:new-001", "{found}");
}

#[tokio::test]
async fn packed_bodies_are_unpacked() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(line("oven-001", 3).as_bytes()).expect("memory takes it");
    let packed = encoder.finish().expect("memory takes it");
    let request = server.request("POST", "/write").header("content-encoding", "gzip").body(packed);
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    let thing = server.read("/api/v1/things/oven-001").await;
    assert_eq!(thing["features"]["thermal"]["properties"]["zone"], json!(193.5));

    let request = server.request("POST", "/write").header("content-encoding", "gzip").body("m v=1");
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 400);
    assert!(error_of(&answer).contains("not gzip"));
    let request = server.request("POST", "/write").header("content-encoding", "br").body("m v=1");
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 415);
    assert!(error_of(&answer).contains("`br`; allowed are gzip"));
}

#[tokio::test]
async fn good_lines_are_kept_and_bad_ones_named() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let body = format!("foo\n{}m,host=oven-001 v=NaN\n", line("oven-001", 4));
    let answer = write(&server, "/write?db=x", body.clone()).await;
    assert_eq!(answer.status, 400);
    let error = error_of(&answer);
    assert!(error.starts_with("partial write: unable to parse 'foo': missing fields (line 1)\n"), "{error}");
    assert!(error.contains("'m,host=oven-001 v=NaN': invalid number: the field `v` is `NaN`"), "{error}");
    assert!(error.ends_with("(line 3) dropped=2"), "{error}");
    let thing = server.read("/api/v1/things/oven-001").await;
    assert_eq!(thing["features"]["thermal"]["properties"]["zone"], json!(194.5));

    let answer = write(&server, "/api/v2/write", body).await;
    assert_eq!(answer.status, 400);
    let json = answer.json();
    assert_eq!(json["code"], "invalid");
    assert!(json["message"].as_str().is_some_and(|text| text.starts_with("partial write: ")), "{json}");

    let answer = write(&server, "/write", "foo\nbar").await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        error_of(&answer),
        "unable to parse 'foo': missing fields (line 1)\nunable to parse 'bar': missing fields (line 2)"
    );
    let answer = write(&server, "/write", "x\n".repeat(1_000)).await;
    assert!(error_of(&answer).ends_with("and 980 more lines"), "{answer:?}");
    assert_eq!(write(&server, "/write", "").await.status, 204);
    let answer = write(&server, "/write?precision=d", "m v=1").await;
    assert_eq!(answer.status, 400);
    assert!(error_of(&answer).contains("precision"), "{answer:?}");
}

#[tokio::test]
async fn sizes_are_bounded() {
    let server = Server::with(|settings| {
        settings.influx.body_bytes_max = 1_000;
        settings.influx.unpacked_bytes_max = 2_000;
    })
    .await;
    let answer = write(&server, "/write", "x".repeat(1_001)).await;
    assert_eq!(answer.status, 413);
    assert!(error_of(&answer).contains("1000"));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b'x'; 1_000_000]).expect("memory takes it");
    let bomb = encoder.finish().expect("memory takes it");
    assert!(bomb.len() > 900);
    let request = server.request("POST", "/api/v2/write").header("content-encoding", "gzip");
    let answer = Answer::of(request.body(bomb)).await;
    assert_eq!((answer.status, &answer.json()["code"]), (413, &json!("request too large")), "{answer:?}");
}

#[tokio::test]
async fn back_pressure_and_a_full_disk_ask_for_another_try() {
    let server = Server::start().await;
    for (refusal, retry_after) in [
        (SubmitError::Busy { retry_after_s: 1 }, "1"),
        (SubmitError::NoSpace, "30"),
        (SubmitError::ShuttingDown, "5"),
        (SubmitError::Failed("no".to_owned()), "5"),
    ] {
        *server.gate.refuse.lock() = Some(refusal.clone());
        let answer = write(&server, "/write", line("oven-001", 1)).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some(retry_after)), "{refusal:?}");
        error_of(&answer);
        let answer = write(&server, "/api/v2/write", line("oven-001", 1)).await;
        assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("unavailable")), "{refusal:?}");
    }
    *server.gate.refuse.lock() = None;
    server.gate.delay_ms.store(-1, Ordering::Relaxed);
    assert_eq!(write(&server, "/write", line("oven-001", 1)).await.status, 500);
}

/// Telegraf drops what a 429 answers, and tries again after a 503.
#[tokio::test]
async fn more_than_the_rate_asks_for_another_try() {
    let server = Server::with(|settings| {
        settings.rate_limit = Some(egiz_server::RateLimit { per_second: 1, burst: 1 });
        settings.rate_limit_loopback = true;
    })
    .await;
    assert_eq!(write(&server, "/write", line("oven-001", 1)).await.status, 204);
    let answer = write(&server, "/write", line("oven-001", 1)).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    let answer = write(&server, "/api/v2/write", line("oven-001", 1)).await;
    assert_eq!((answer.status, &answer.json()["code"]), (429, &json!("too many requests")));
}

#[tokio::test]
async fn tokens_come_in_influxdbs_ways() {
    let token = |name: &str, role| ApiToken {
        name: name.to_owned(),
        sha256: Sha256::digest(format!("secret-of-{name}")).into(),
        role,
    };
    let server = Server::with(|settings| {
        settings.anonymous = Anonymous::Never;
        settings.tokens = vec![token("telegraf", Role::Service), token("grafana", Role::Viewer)];
    })
    .await;
    let with = |path: &str, field: Option<&str>| {
        let mut request = server.request("POST", path).body(line("oven-001", 1));
        if let Some(field) = field {
            request = request.header("authorization", field);
        }
        Answer::of(request)
    };
    for (path, field) in [
        ("/write", Some("Token secret-of-telegraf")),
        ("/api/v2/write", Some("Token secret-of-telegraf")),
        ("/api/v2/write", Some("Bearer secret-of-telegraf")),
        ("/write", Some("Basic YW55Ym9keTpzZWNyZXQtb2YtdGVsZWdyYWY=")),
        ("/write?u=anybody&p=secret-of-telegraf", None),
    ] {
        let answer = with(path, field).await;
        assert_eq!(answer.status, 204, "{path} {field:?} {answer:?}");
    }
    let answer = with("/write", None).await;
    assert_eq!(answer.status, 401);
    error_of(&answer);
    let answer = with("/api/v2/write", Some("Token wrong")).await;
    assert_eq!((answer.status, &answer.json()["code"]), (401, &json!("unauthorized")));
    let answer = with("/api/v2/write", Some("Token secret-of-grafana")).await;
    assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("forbidden")));
    assert_eq!(Answer::of(server.get("/ping")).await.status, 204, "who asks for life needs no token");
    let answer = Answer::of(server.get("/write")).await;
    assert_eq!((answer.status, answer.json().get("error").is_some_and(Value::is_string)), (401, true));
}
