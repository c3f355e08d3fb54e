//! How a connection is kept, given up and left.

use std::time::Duration;

use egiz_server::ServerSettings;
use egiz_server::live::HubSettings;
use futures::StreamExt as _;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::Server;

#[tokio::test]
async fn writes_need_not_wait_for_each_other_and_are_answered_in_order() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for number in 0..50 {
        let value = json!({"attributes": {"n": number}});
        client
            .say(&json!({"id": number, "action": "put", "thingId": "s:a", "path": "", "value": value}))
            .await;
    }
    for number in 0..50 {
        let answer = client.next().await;
        assert_eq!((&answer["id"], &answer["revision"]), (&json!(number), &json!(number + 1)), "{answer}");
    }
}

#[tokio::test]
async fn a_large_snapshot_holds_up_no_command() {
    let server = Server::start().await;
    for silo in 0..3000 {
        server.silo(&format!("s:{silo}"), 1);
    }
    let mut client = server.client().await;
    client.say(&json!({"id": 1, "action": "subscribe"})).await;
    client.say(&json!({"id": 2, "action": "ping"})).await;
    let mut before = 0;
    while client.next().await["event"] != "Pong" {
        before += 1;
    }
    let mut after = 0;
    while client.next().await["more"] != false {
        after += 1;
    }
    assert!(after > 0, "{before} frames came before");
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed() {
    let settings = HubSettings { ping_interval: Duration::from_millis(100), ..HubSettings::default() };
    let server = Server::with(settings).await;
    let mut client = server.client().await;
    // This client answers only while it reads.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut pings = 0;
    loop {
        let message =
            tokio::time::timeout(Duration::from_secs(20), client.stream.next()).await.expect("it ends");
        match message {
            Some(Ok(Message::Ping(_))) => pings += 1,
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!(u16::from(frame.code), 1001);
                break;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(pings, 2, "two pings, then the end");
}

#[tokio::test]
async fn a_client_that_floods_commands_is_closed() {
    let settings = HubSettings { commands_per_second_max: 2, ..HubSettings::default() };
    let server = Server::with(settings).await;
    let mut client = server.client().await;
    for _ in 0..100 {
        client.say_raw(r#"{"action":"ping"}"#).await;
    }
    let mut last = client.next().await;
    while last.get("close").is_none() {
        last = client.next().await;
    }
    assert_eq!(last, json!({"close": 1008}));
}

#[tokio::test]
async fn a_stopping_server_tells_streams_when_to_come_back_and_ends_them() {
    let server = Server::start().await;
    let mut stream =
        reqwest::get(format!("http://{}/api/v1/events", server.address)).await.expect("an answer");
    stream.chunk().await.expect("the snapshot");
    server.hub.shut_down();
    let mut text = String::new();
    while let Some(chunk) = stream.chunk().await.expect("whole") {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(text.lines().any(|line| line.starts_with("retry:")), "{text}");
}

#[tokio::test]
async fn only_the_known_protocol_is_agreed_on() {
    let server = Server::start().await;
    for (offered, agreed) in
        [("openegiz.v1", true), ("openegiz.v9, openegiz.v1", true), ("openegiz.v9", false)]
    {
        let client = server.client_at("/api/v1/ws", &[("sec-websocket-protocol", offered)]).await;
        assert_eq!(client.is_ok(), agreed, "{offered}");
    }
}

#[tokio::test]
async fn on_a_strict_site_writes_of_what_exists_need_a_condition() {
    let settings = ServerSettings { strict_sites: vec!["factory".to_owned()], ..ServerSettings::default() };
    let server = Server::with_both(HubSettings::default(), settings).await;
    let mut client = server.client().await;
    let put =
        json!({"id": 1, "action": "put", "thingId": "silo-1", "value": {"attributes": {"type": "silo"}}});
    client.say(&put).await;
    assert_eq!(client.next().await["outcome"], "created");
    let merge = json!({"action": "merge", "thingId": "silo-1", "value": {"attributes": {"line": "a"}}});
    let delete = json!({"action": "delete", "thingId": "silo-1"});
    for command in [put, merge.clone(), delete.clone()] {
        client.say(&command).await;
        let answer = client.next().await;
        assert_eq!(answer["problem"]["code"], "precondition-required", "{answer}");
        assert_eq!(answer["problem"]["status"], 428);
    }
    for (mut command, member, value) in
        [(merge, "condition", "eq(attributes/type,\"silo\")"), (delete, "ifMatch", "\"rev:2\"")]
    {
        command[member] = json!(value);
        client.say(&command).await;
        assert_eq!(client.next().await["ok"], true, "{command}");
    }
}
