//! Sizes, rates, concurrency.

use std::sync::atomic::Ordering;

use egiz_server::RateLimit;
use egiz_twin::Limits;
use serde_json::json;

use crate::harness::{Answer, Server};

const THING: &str = "/api/v1/things/factory:oven-001";

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_declared_or_not() {
    let server = Server::with(|settings| settings.body_bytes_max = 10_000).await;
    let large = format!("\"{}\"", "x".repeat(20_000));
    let declared =
        server.request("PUT", &format!("{THING}/attributes/x")).header("content-type", "application/json");
    assert_eq!(Answer::of(declared.body(large.clone())).await.problem("body-too-large")["limit"], 10_000);
    let pieces: Vec<Result<String, std::io::Error>> =
        large.as_bytes().chunks(1000).map(|piece| Ok(String::from_utf8_lossy(piece).into_owned())).collect();
    let streamed =
        server.request("PUT", &format!("{THING}/attributes/x")).header("content-type", "application/json");
    let streamed = streamed.body(reqwest::Body::wrap_stream(futures::stream::iter(pieces)));
    Answer::of(streamed).await.problem("body-too-large");
    server.put_oven("factory:oven-001").await;
    let just_right = server.send("PUT", &format!("{THING}/attributes/x"), &json!("x".repeat(9_000))).await;
    assert_eq!(just_right.status, 201, "{}", just_right.text);
}

#[tokio::test]
async fn urls_and_headers_have_bounds() {
    let server = Server::start().await;
    let long = format!("/api/v1/things?filter={}", "x".repeat(9_000));
    assert_eq!(Answer::of(server.get(&long)).await.problem("uri-too-long")["limit"], 8_192);
    let fat = server.get("/api/v1/things").header("x-fat", "y".repeat(40_000));
    assert_eq!(Answer::of(fat).await.problem("headers-too-large")["limit"], 32_768);
    // Far beyond it, the protocol's own layer answers, without a body.
    let giant = server.get("/api/v1/things").header("x-giant", "y".repeat(400_000)).send().await;
    assert!(giant.map_or(true, |answer| answer.status() == 431));
    assert_eq!(Answer::of(server.get("/api/v1/things")).await.status, 200, "and goes on");
}

#[tokio::test]
async fn a_client_has_its_rate() {
    let server = Server::with(|settings| {
        settings.rate_limit = Some(RateLimit { per_second: 1, burst: 3 });
        settings.rate_limit_loopback = true;
    })
    .await;
    for left in ["2", "1", "0"] {
        let answer = Answer::of(server.get("/api/v1/things")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"client\";q=3;w=3"));
        assert!(
            answer.header("ratelimit").is_some_and(|text| text.starts_with(&format!("\"client\";r={left};")))
        );
    }
    let refused = Answer::of(server.get("/api/v1/things")).await;
    refused.problem("rate-limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(Answer::of(server.get("/health/live")).await.status, 200, "probes are not limited");
}

#[tokio::test]
async fn loopback_is_not_limited_unless_asked() {
    let server =
        Server::with(|settings| settings.rate_limit = Some(RateLimit { per_second: 1, burst: 1 })).await;
    for _ in 0..5 {
        assert_eq!(Answer::of(server.get("/api/v1/things")).await.status, 200);
    }
}

#[tokio::test]
async fn too_many_requests_at_once_are_shed() {
    let server = Server::with(|settings| settings.concurrent_requests_max = 1).await;
    server.gate.delay_ms.store(1_000, Ordering::Relaxed);
    let nothing = json!({});
    let slow = server.send("PUT", THING, &nothing);
    let quick = async {
        let mut codes = Vec::new();
        for _ in 0..50 {
            let answer = Answer::of(server.get("/api/v1/things")).await;
            if answer.status == 503 {
                answer.problem("overloaded");
                assert_eq!(Answer::of(server.get("/health")).await.status, 200, "health is always answered");
                codes.push(answer.status);
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        codes
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!((slow.status, quick), (201, vec![503]));
}

#[tokio::test]
async fn a_foreign_page_may_neither_write_nor_read() {
    let server =
        Server::with(|settings| settings.allowed_origins = vec!["https://erp.example".to_owned()]).await;
    let put = |origin: &'static str| {
        Answer::of(server.request("PUT", THING).header("origin", origin).json(&json!({})))
    };
    put("http://evil.example").await.problem("foreign-origin");
    let allowed = put("https://erp.example").await;
    assert_eq!(
        (allowed.status, allowed.header("access-control-allow-origin")),
        (201, Some("https://erp.example"))
    );
    let own = server.request("PUT", THING).header("origin", server.base.clone()).json(&json!({}));
    assert_eq!(Answer::of(own).await.status, 204);
    let read = Answer::of(server.get(THING).header("origin", "http://evil.example")).await;
    assert!(read.header("access-control-allow-origin").is_none());
    let preflight = server
        .request("OPTIONS", THING)
        .header("origin", "https://erp.example")
        .header("access-control-request-method", "PUT");
    let preflight = Answer::of(preflight).await;
    assert_eq!(
        (preflight.status, preflight.header("access-control-allow-origin")),
        (204, Some("https://erp.example"))
    );
    let rebound = server.get("/api/v1/things").header("host", "evil.example:8080");
    Answer::of(rebound).await.problem("host-not-allowed");
}

#[tokio::test]
async fn things_and_their_number_have_bounds() {
    let limits = Limits { things_max: 2, thing_bytes_max: 1_000, ..Limits::default() };
    let server = Server::within(limits, |_| ()).await;
    server.put_oven("factory:oven-001").await;
    let large = server.send("PUT", &format!("{THING}/attributes/x"), &json!("x".repeat(1_000))).await;
    assert_eq!(large.problem("thing-too-large")["limit"], 1_000);
    assert_eq!(server.put_oven("factory:oven-002").await.status, 201);
    assert_eq!(server.put_oven("factory:oven-003").await.problem("limit-reached")["limit"], 2);
}
