//! `Idempotency-Key`: a request that is sent again is not carried out again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use egiz_server::{Anonymous, ApiToken, IdempotencySettings, Role};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Answer, Server};

async fn post(server: &Server, key: &str, path: &str, body: &Value) -> Answer {
    Answer::of(server.request("POST", path).header("idempotency-key", key).json(body)).await
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_answered_as_before() {
    let server = Server::start().await;
    let oven = json!({"thingId": "factory:oven-001", "attributes": {"n": 1}});
    let first = post(&server, "k-1", "/api/v1/things", &oven).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None));
    server.send("PATCH", "/api/v1/things/oven-001", &json!({"attributes": {"n": 2}})).await;
    for key in ["k-1", "\"k-1\""] {
        let again = post(&server, key, "/api/v1/things", &oven).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")));
        assert_eq!(again.text, first.text);
        for name in ["etag", "location", "egiz-revision", "egiz-offset", "content-type"] {
            assert_eq!(again.header(name), first.header(name), "{name}");
        }
        assert_ne!(again.header("correlation-id"), first.header("correlation-id"));
    }
    post(&server, "k-2", "/api/v1/things", &oven).await.problem("already-exists");

    let other = json!({"thingId": "factory:oven-002"});
    let problem = post(&server, "k-1", "/api/v1/things", &other).await.problem("idempotency-key-reused");
    assert_eq!(problem["errors"][0]["parameter"], "Idempotency-Key");
    let device = json!({"deviceId": "factory:oven-001"});
    post(&server, "k-1", "/api/v1/devices", &device).await.problem("idempotency-key-reused");
    assert_eq!(post(&server, "k-3", "/api/v1/devices", &device).await.status, 201);
    assert_eq!(post(&server, "k-3", "/api/v1/devices", &device).await.status, 201);
    post(&server, "k-4", "/api/v1/devices", &device).await.problem("already-exists");
}

#[tokio::test]
async fn an_error_frees_the_key() {
    let server = Server::start().await;
    post(&server, "k", "/api/v1/things", &json!({"thingId": "a b"})).await.problem("invalid-thing-id");
    server.gate.delay_ms.store(-1, Ordering::Relaxed);
    post(&server, "k", "/api/v1/things", &json!({"thingId": "f:a"})).await.problem("internal");
    server.gate.delay_ms.store(0, Ordering::Relaxed);
    let done = post(&server, "k", "/api/v1/things", &json!({"thingId": "f:a"})).await;
    assert_eq!((done.status, done.header("idempotent-replayed")), (201, None));
}

#[tokio::test]
async fn what_was_begun_goes_on_when_the_client_goes() {
    let server = Server::with(|settings| settings.request_timeout_ms = 300).await;
    server.gate.delay_ms.store(700, Ordering::Relaxed);
    let oven = json!({"thingId": "f:a"});
    post(&server, "k", "/api/v1/things", &oven).await.problem("timeout");
    let problem = post(&server, "k", "/api/v1/things", &oven).await.problem("idempotency-key-in-flight");
    assert_eq!((problem["status"].as_u64(), problem["retryAfterS"].as_u64()), (Some(409), Some(1)));
    let mut last = None;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let answer = post(&server, "k", "/api/v1/things", &oven).await;
        if answer.status == 201 {
            last = Some(answer);
            break;
        }
        answer.problem("idempotency-key-in-flight");
    }
    assert_eq!(last.expect("it was carried out").header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn keys_belong_to_their_user_and_are_bounded() {
    let server = Server::with(|settings| {
        settings.anonymous = Anonymous::Never;
        for name in ["ada", "bob"] {
            let (name, sha256) = (name.to_owned(), Sha256::digest(name).into());
            settings.tokens.push(ApiToken { name, sha256, role: Role::Admin });
        }
        settings.idempotency = IdempotencySettings { entries_max: 2, ..IdempotencySettings::default() };
    })
    .await;
    let made = async |user: &str, key: &str, thing: &str| {
        let request =
            server.request("POST", "/api/v1/things").bearer_auth(user).header("idempotency-key", key);
        let answer = Answer::of(request.json(&json!({"thingId": thing}))).await;
        (answer.status, answer.header("idempotent-replayed").is_some())
    };
    assert_eq!(made("ada", "k", "f:a").await, (201, false));
    assert_eq!(made("bob", "k", "f:b").await, (201, false), "the key of another");
    assert_eq!(made("ada", "k", "f:a").await, (201, true));
    assert_eq!(made("ada", "l", "f:c").await, (201, false));
    assert_eq!(made("ada", "k", "f:a").await, (409, false), "forgotten: it exists already");
}

#[tokio::test]
async fn a_key_is_refused_where_it_could_not_be_kept() {
    let server = Server::start().await;
    for path in [
        "/api/v1/things/import",
        "/api/v1/things/bulk",
        "/api/v1/tokens",
        "/api/v1/devices/oven-001/credentials",
    ] {
        let problem = post(&server, "k", path, &json!({})).await.problem("invalid-parameter");
        assert_eq!(problem["errors"][0]["parameter"], "Idempotency-Key", "{path}");
    }
    for key in ["", "\"\"", &"x".repeat(256), "\u{e9}"] {
        post(&server, key, "/api/v1/things", &json!({})).await.problem("invalid-parameter");
    }
    let twice = server.request("POST", "/api/v1/things").header("idempotency-key", "a");
    Answer::of(twice.header("idempotency-key", "b").json(&json!({}))).await.problem("invalid-parameter");
    for _ in 0..2 {
        let query = post(&server, "k", "/api/v1/query", &json!({})).await;
        assert_eq!((query.status, query.header("idempotent-replayed")), (200, None), "it changes nothing");
    }
}
