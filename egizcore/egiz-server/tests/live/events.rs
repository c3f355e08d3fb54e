//! Events over the WebSocket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use egiz_server::live::HubSettings;
use serde_json::{Value, json};

use crate::harness::{Client, Server};

/// What a client knows from the frames so far: the level of each silo.
#[derive(Default)]
struct Known {
    levels: BTreeMap<String, i64>,
    seq: u64,
    conflated: u64,
    resyncs: u64,
}

impl Known {
    fn take(&mut self, frame: &Value) {
        self.seq += 1;
        assert_eq!(frame["seq"], self.seq, "no gap: {frame}");
        self.conflated += frame["conflated"].as_u64().unwrap_or(0);
        let mut thing = |thing: &Value| {
            let level = thing["features"]["level"]["properties"]["percent"].as_i64().expect("a level");
            self.levels.insert(thing["thingId"].as_str().expect("an id").to_owned(), level);
        };
        match frame["event"].as_str().expect("an event") {
            "Snapshot" => frame["things"].as_array().expect("Things").iter().for_each(thing),
            "ThingCreated" | "ThingEntered" => thing(&frame["thing"]),
            "StateChanged" => {
                let level = frame["properties"]["percent"].as_i64().expect("a level");
                self.levels.insert(frame["thingId"].as_str().expect("an id").to_owned(), level);
            }
            "ThingDeleted" | "ThingLeft" => {
                self.levels.remove(frame["thingId"].as_str().expect("an id"));
            }
            "Resync" => {
                self.resyncs += 1;
                self.levels.clear();
            }
            "Bookmark" => {}
            other => panic!("unexpected {other}"),
        }
    }
}

fn truth(server: &Server) -> BTreeMap<String, i64> {
    let engine = server.engine.read();
    let things = engine.things().map(|thing| {
        let level = thing.get("/features/level/properties/percent").and_then(|level| level.as_i64());
        (thing.id().to_string(), level.expect("a level"))
    });
    things.collect()
}

/// Reads until the client knows what the engine holds.
async fn catch_up(client: &mut Client, known: &mut Known, server: &Server) {
    while known.levels != truth(server) {
        let frame = client.next().await;
        known.take(&frame);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_and_tail_leave_nothing_out_under_concurrent_writes() {
    let server = Arc::new(Server::start().await);
    for silo in 0..300 {
        server.silo(&format!("s:{silo}"), 0);
    }
    let writing = {
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || {
            for round in 1..=20 {
                for silo in 0..300 {
                    server.level(&format!("s:{silo}"), round);
                }
            }
        })
    };
    let mut client = server.client().await;
    let mut known = Known::default();
    client.subscribe(json!({})).await;
    let mut last = None;
    while last != Some(Value::Bool(false)) {
        let frame = client.next().await;
        last = frame.get("more").cloned();
        known.take(&frame);
    }
    writing.await.expect("no panic");
    catch_up(&mut client, &mut known, &server).await;
    assert_eq!(known.resyncs, 0);
}

#[tokio::test]
async fn an_event_says_what_when_and_why() {
    let server = Server::start().await;
    server.silo("s:a", 1);
    let mut client = server.client().await;
    let answer = client.subscribe(json!({"thingId": "s:a", "snapshot": false})).await;
    server.level("s:a", 2);
    let event = client.next().await;
    assert_eq!(
        (&event["event"], &event["feature"], &event["properties"], &event["revision"]),
        (&json!("StateChanged"), &json!("level"), &json!({"percent": 2}), &json!(2))
    );
    assert_eq!(event["offset"], answer["offset"]);
    assert_eq!(event["cause"], json!({"principal": "tester", "correlationId": "c-1"}));
    for time in ["received", "durable", "applied"] {
        assert!(event["time"][time].is_string(), "{event}");
    }
    server.delete("s:a", "/features/level/properties/percent");
    assert_eq!(client.next().await["properties"], json!({"percent": null}));
    server.put("s:a", "/attributes/line", &json!("1"));
    assert_eq!(client.next().await["attributes"], json!({"line": "1", "type": "silo"}));
    server.delete("s:a", "");
    assert_eq!(client.next().await["event"], "ThingDeleted");
    server.silo("s:a", 9);
    let created = client.next().await;
    assert_eq!((&created["event"], &created["thing"]["thingId"]), (&json!("ThingCreated"), &json!("s:a")));
}

#[tokio::test]
async fn things_enter_and_leave_a_filter() {
    let server = Server::start().await;
    server.silo("s:a", 10);
    server.silo("s:b", 90);
    let mut client = server.client().await;
    client.subscribe(json!({"filter": "gt(features/level/properties/percent,50)"})).await;
    let snapshot = client.next().await;
    assert_eq!(snapshot["things"].as_array().map(Vec::len), Some(1));
    server.level("s:a", 60);
    let entered = client.next().await;
    assert_eq!((&entered["event"], &entered["thing"]["thingId"]), (&json!("ThingEntered"), &json!("s:a")));
    server.level("s:a", 70);
    assert_eq!(client.next().await["event"], "StateChanged");
    server.level("s:a", 5);
    assert_eq!(client.next().await["event"], "ThingLeft");
    server.level("s:a", 6);
    server.level("s:b", 91);
    assert_eq!(client.next().await["thingId"], "s:b", "what has left is not heard of");
}

#[tokio::test]
async fn a_client_that_comes_back_gets_exactly_what_it_missed() {
    let server = Server::start().await;
    server.silo("s:a", 0);
    let mut client = server.client().await;
    client.subscribe(json!({"thingId": "s:a", "snapshot": false})).await;
    let mut seen = Vec::new();
    let mut last = 0;
    for level in 1..=5 {
        server.level("s:a", level);
        let event = client.next().await;
        seen.push(event["properties"]["percent"].as_i64().expect("a level"));
        last = event["offset"].as_u64().expect("an offset");
    }
    drop(client);
    for level in 6..=9 {
        server.level("s:a", level);
    }
    let mut client = server.client().await;
    let answer = client.subscribe(json!({"thingId": "s:a", "from": last + 1})).await;
    assert_eq!(answer["resumed"], true);
    for _ in 6..=9 {
        seen.push(client.next().await["properties"]["percent"].as_i64().expect("a level"));
    }
    assert_eq!(seen, (1..=9).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_no_longer_kept_is_resynced_not_skipped() {
    let server = Server::with(HubSettings { ring_events: 3, ..HubSettings::default() }).await;
    server.silo("s:a", 0);
    for level in 1..=9 {
        server.level("s:a", level);
    }
    let mut client = server.client().await;
    let answer = client.subscribe(json!({"from": 1})).await;
    assert_eq!(answer["resumed"], false);
    let mut known = Known::default();
    catch_up(&mut client, &mut known, &server).await;
    assert_eq!(known.resyncs, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_ends_with_the_newest_state() {
    let server = Server::with(HubSettings { mailbox_events: 8, ..HubSettings::default() }).await;
    for silo in 0..50 {
        server.silo(&format!("s:{silo}"), 0);
    }
    let mut client = server.client().await;
    client.subscribe(json!({})).await;
    // Far more than the sockets' buffers hold.
    for round in 1..=2000 {
        for silo in 0..50 {
            server.level(&format!("s:{silo}"), round);
        }
        if round % 200 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let mut known = Known::default();
    catch_up(&mut client, &mut known, &server).await;
    assert!(known.conflated > 0, "it was told that changes were merged");
    assert!(known.seq < 100_000, "it did not get them all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lossless_client_is_closed_rather_than_left_with_a_hole() {
    let server = Server::with(HubSettings { mailbox_events: 8, ..HubSettings::default() }).await;
    server.silo("s:a", 0);
    let mut client = server.client().await;
    client.subscribe(json!({"mode": "lossless", "snapshot": false})).await;
    for level in 1..=5000 {
        server.level("s:a", level);
    }
    let mut expected = 1;
    loop {
        let frame = client.next().await;
        if let Some(code) = frame.get("close") {
            assert_eq!(*code, 1013);
            break;
        }
        assert_eq!(frame["properties"]["percent"], expected);
        expected += 1;
    }
}

#[tokio::test]
async fn writes_are_answered_when_they_are_applied() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let put = json!({"id": 1, "action": "put", "thingId": "s:a", "path": "", "value": {"attributes": {"type": "silo"}}});
    client.say(&put).await;
    assert_eq!(
        client.next().await,
        json!({"id": 1, "ok": true, "outcome": "created", "revision": 1, "offset": 0})
    );
    client.say(&json!({"id": 2, "action": "merge", "thingId": "s:a", "path": "/attributes", "value": {"n": 1}, "ifMatch": "\"rev:1\""})).await;
    assert_eq!(client.next().await["outcome"], "changed");
    client.say(&json!({"id": 3, "action": "delete", "thingId": "s:a", "path": "/attributes/n", "condition": "eq(attributes/n,2)"})).await;
    let refused = client.next().await;
    assert_eq!((&refused["ok"], &refused["problem"]["status"]), (&json!(false), &json!(412)));
}

#[tokio::test]
async fn hostile_frames_get_a_problem_and_the_connection_stays() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for (frame, code) in [
        ("{", "malformed-json"),
        ("[]", "malformed-request"),
        ("{\"id\":7,\"action\":\"fly\"}", "malformed-request"),
    ] {
        client.say_raw(frame).await;
        let answer = client.next().await;
        assert_eq!((&answer["ok"], &answer["problem"]["code"]), (&json!(false), &json!(code)), "{frame}");
    }
    client.say(&json!({"id": 8, "action": "ping"})).await;
    assert_eq!(client.next().await, json!({"id": 8, "event": "Pong"}));
    client.say_raw(&"x".repeat(100_000)).await;
    assert!(client.ends().await, "a frame beyond the limit closes");
}

#[tokio::test]
async fn a_stopping_server_says_when_to_come_back() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe(json!({})).await;
    client.next().await;
    server.hub.shut_down();
    assert_eq!(client.next().await, json!({"close": 1012}));
}
