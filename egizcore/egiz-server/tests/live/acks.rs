//! Writes whose answer waits for others to acknowledge them.

use std::time::{Duration, Instant};

use egiz_server::live::HubSettings;
use egiz_server::{Anonymous, ApiToken, Role, ServerSettings};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Client, Server};

const LINE: &str = "/things/silo-1/attributes/line";

impl Client {
    /// Sends a command and gives its answer, which must be the next frame.
    async fn command(&mut self, command: Value) -> Value {
        self.say(&command).await;
        self.next().await
    }

    async fn declare(&mut self, labels: &[&str]) -> Value {
        self.command(json!({"id": "d", "action": "declare", "acks": labels})).await
    }

    /// What is asked next must be an acknowledgement; it is given with this status.
    async fn acknowledge(&mut self, status: u16, payload: &Value) -> Value {
        let asked = self.next().await;
        self.give(&asked, status, payload).await;
        asked
    }

    /// Gives the acknowledgement that was asked for; nothing else may be on its way.
    async fn give(&mut self, asked: &Value, status: u16, payload: &Value) {
        serde_json::from_value::<egiz_api::live::AckFrame>(asked.clone()).expect("the documented form");
        let ack =
            json!({"id": "a", "action": "ack", "ack": asked["ack"], "status": status, "payload": payload});
        let answer = self.command(ack).await;
        assert_eq!(answer, json!({"id": "a", "ok": true, "ack": asked["ack"], "awaited": true}));
    }
}

/// Puts a line, and gives status and body of the answer when it comes.
fn put(server: &Server, line: &'static str, query: &str, fields: &[(&'static str, &str)]) -> Writing {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("http://{}/api/v1{LINE}{query}", server.address);
    let mut request = client.put(url).json(&line).header("correlation-id", "order-7");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    tokio::spawn(async move {
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.expect("a body");
        (status, headers, serde_json::from_str(&text).unwrap_or(Value::Null))
    })
}

type Writing = tokio::task::JoinHandle<(u16, reqwest::header::HeaderMap, Value)>;

async fn with_silo() -> Server {
    let server = Server::start().await;
    server.silo("factory:silo-1", 40);
    server.put("factory:silo-1", "/attributes/line", &json!("none"));
    server
}

#[tokio::test]
async fn an_answer_waits_until_the_write_is_acknowledged() {
    let server = with_silo().await;
    let mut plc = server.client().await;
    assert_eq!(plc.declare(&["plc:switched", "scale.read"]).await, json!({"id": "d", "ok": true}));
    let writing = put(&server, "a", "", &[("requested-acks", "twin-persisted,plc:switched,scale.read")]);
    let (asked, other) = (plc.next().await, plc.next().await);
    plc.give(&asked, 200, &json!({"relay": 3})).await;
    assert_eq!(
        (&asked["label"], &asked["thingId"], &asked["path"], &asked["correlationId"]),
        (&json!("plc:switched"), &json!("factory:silo-1"), &json!("/attributes/line"), &json!("order-7"))
    );
    assert_eq!(
        server.engine.read().thing("factory:silo-1").expect("it is there").revision(),
        asked["revision"]
    );
    assert!(!writing.is_finished(), "one is missing");
    assert_eq!(other["label"], "scale.read");
    plc.give(&other, 204, &json!(null)).await;
    let (status, headers, body) = writing.await.expect("an answer");
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        body,
        json!({
            "plc:switched": {"status": 200, "payload": {"relay": 3}},
            "scale.read": {"status": 204, "payload": null},
            "twin-persisted": {"status": 204}
        })
    );
    for name in ["etag", "egiz-revision", "egiz-offset"] {
        assert!(headers.contains_key(name), "{name} is missing");
    }
}

#[tokio::test]
async fn a_failed_or_missing_acknowledgement_is_told_and_takes_nothing_back() {
    let server = with_silo().await;
    let mut plc = server.client().await;
    plc.declare(&["plc:switched", "scale.read"]).await;
    let writing = put(&server, "b", "?requested-acks=plc:switched,scale.read", &[]);
    let (asked, other) = (plc.next().await, plc.next().await);
    plc.give(&asked, 500, &json!("the relay hangs")).await;
    plc.give(&other, 200, &json!(null)).await;
    let (status, _, body) = writing.await.expect("an answer");
    assert_eq!((status, &body["code"]), (424, &json!("acknowledgement-failed")), "{body}");
    assert_eq!(
        body["acknowledgements"]["plc:switched"],
        json!({"status": 500, "payload": "the relay hangs"})
    );
    assert_eq!(body["acknowledgements"]["scale.read"]["status"], 200);
    assert!(body["revision"].is_u64(), "{body}");

    let writing = put(&server, "c", "?requested-acks=plc:switched&timeout=100ms", &[]);
    let asked = plc.next().await;
    let (status, _, body) = writing.await.expect("an answer");
    assert_eq!((status, &body["code"]), (408, &json!("acknowledgement-timeout")), "{body}");
    let late = plc.command(json!({"action": "ack", "ack": asked["ack"]})).await;
    assert_eq!(late["awaited"], false, "nobody waits any more");

    // Both missing and failed: failed.
    let writing = put(&server, "d", "?requested-acks=plc:switched,nobody:has-it&timeout=100ms", &[]);
    plc.next().await;
    let (status, _, body) = writing.await.expect("an answer");
    assert_eq!((status, &body["acknowledgements"]["plc:switched"]["status"]), (424, &json!(408)));
    assert_eq!(body["acknowledgements"]["nobody:has-it"]["status"], 404);

    let writing = put(&server, "e", "?requested-acks=plc:switched", &[]);
    plc.next().await;
    drop(plc);
    let (status, _, body) = writing.await.expect("an answer");
    assert_eq!(
        (status, &body["acknowledgements"]["plc:switched"]["status"]),
        (424, &json!(503)),
        "it went away"
    );
    let engine = server.engine.read();
    let line = engine.thing("factory:silo-1").and_then(|thing| thing.get("/attributes/line"));
    assert_eq!(line, Some(json!("e")), "every write was done");
}

#[tokio::test]
async fn who_needs_no_answer_gets_202() {
    let server = with_silo().await;
    let mut plc = server.client().await;
    plc.declare(&["plc:switched"]).await;
    let waits = [("requested-acks", "[\"plc:switched\"]"), ("response-required", "false")];
    let writing = put(&server, "a", "", &waits);
    plc.acknowledge(500, &json!(null)).await;
    let (status, headers, body) = writing.await.expect("an answer");
    assert_eq!((status, body), (202, Value::Null));
    assert!(headers.contains_key("egiz-offset"));
    let at_once = put(&server, "b", "?timeout=0", &waits);
    assert_eq!(at_once.await.expect("an answer").0, 202);
    assert_eq!(put(&server, "c", "?response-required=false", &[]).await.expect("an answer").0, 202);
}

#[tokio::test]
async fn what_is_wrong_is_refused_before_anything_is_written() {
    let server = with_silo().await;
    let many: Vec<String> = (0..9).map(|number| format!("label-{number}")).collect();
    for query in [
        "requested-acks=a",
        "requested-acks=plc%20switched%21",
        &format!("requested-acks={}", many.join(",")),
        "requested-acks=plc:switched&timeout=0",
        "requested-acks=plc:switched&timeout=10s",
        "requested-acks=plc:switched&timeout=soon",
        "response-required=maybe",
    ] {
        let (status, _, body) = put(&server, "x", &format!("?{query}"), &[]).await.expect("an answer");
        assert_eq!((status, &body["code"]), (400, &json!("invalid-parameter")), "{query}: {body}");
    }
    let (status, _, body) = put(&server, "x", "?requested-acks=plc:switched", &[("if-match", "\"rev:99\"")])
        .await
        .expect("an answer");
    assert_eq!(
        (status, &body["code"]),
        (412, &json!("if-match-failed")),
        "what is not written needs no acknowledgement"
    );
}

#[tokio::test]
async fn a_write_over_web_socket_waits_too() {
    let server = with_silo().await;
    let mut plc = server.client().await;
    plc.declare(&["plc:switched"]).await;
    let mut writer = server.client().await;
    let mut put = json!({"id": 1, "action": "put", "thingId": "silo-1", "path": "/attributes/line", "value": "a",
        "requestedAcks": ["plc:switched", "twin-persisted"], "timeoutMs": 5000, "correlationId": "c-9"});
    writer.say(&put).await;
    assert_eq!(plc.acknowledge(200, &json!("done")).await["correlationId"], "c-9");
    let answer = writer.next().await;
    assert_eq!(answer["outcome"], "changed");
    assert_eq!(answer["acknowledgements"], json!({"plc:switched": {"status": 200, "payload": "done"}}));
    put["timeoutMs"] = json!(50);
    writer.say(&put).await;
    let answer = writer.next().await;
    assert_eq!(answer["problem"]["code"], "acknowledgement-timeout", "{answer}");
    assert!(answer["problem"]["acknowledgements"].is_object());
}

#[tokio::test]
async fn a_label_belongs_to_one_client_as_long_as_it_is_there() {
    let server = with_silo().await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    assert_eq!(first.declare(&["plc:switched"]).await["ok"], true);
    assert_eq!(first.declare(&["plc:switched", "plc:second"]).await["ok"], true, "its own again");
    let taken = second.declare(&["other:label", "plc:switched"]).await;
    assert_eq!(taken["problem"]["code"], "already-exists");
    let many: Vec<String> = (0..33).map(|number| format!("label-{number}")).collect();
    let too_many = second.command(json!({"action": "declare", "acks": many})).await;
    assert_eq!(too_many["problem"]["code"], "limit-reached");
    for acks in [json!([]), json!(["x"]), json!("plc:switched"), Value::Null] {
        let answer = second.command(json!({"action": "declare", "acks": acks})).await;
        assert_eq!(answer["problem"]["code"], "malformed-request", "{answer}");
    }
    // An acknowledgement is of whom it was asked.
    let writing = put(&server, "a", "?requested-acks=plc:switched&timeout=200ms", &[]);
    let asked = first.next().await;
    let forged = second.command(json!({"action": "ack", "ack": asked["ack"]})).await;
    assert_eq!(forged["awaited"], false);
    assert_eq!(writing.await.expect("an answer").0, 408);
    drop(first);
    let begun = Instant::now();
    while second.declare(&["plc:switched"]).await["ok"] != true {
        assert!(begun.elapsed() < Duration::from_secs(10), "it is free when its client is gone");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn who_may_only_read_acknowledges_nothing() {
    let token = ApiToken { name: "view".into(), sha256: Sha256::digest("view").into(), role: Role::Viewer };
    let settings =
        ServerSettings { tokens: vec![token], anonymous: Anonymous::Never, ..ServerSettings::default() };
    let server = Server::with_both(HubSettings::default(), settings).await;
    let mut client =
        server.client_at("/api/v1/ws", &[("authorization", "Bearer view")]).await.expect("it upgrades");
    assert_eq!(client.declare(&["plc:switched"]).await["problem"]["code"], "forbidden");
}
