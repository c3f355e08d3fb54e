//! Server-sent events, as `curl` and browsers read them.

use std::time::Duration;

use egiz_server::live::HubSettings;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{Server, as_described};

/// Reads events until `wanted` of them have come: name, id, data.
async fn events(
    server: &Server,
    path: &str,
    last_id: Option<&str>,
    wanted: usize,
) -> Vec<(String, String, Value)> {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut request = client.get(format!("http://{}/api/v1{path}", server.address));
    if let Some(id) = last_id {
        request = request.header("Last-Event-ID", id);
    }
    let mut answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let mut text = String::new();
    loop {
        let whole: Vec<&str> = text.split("\n\n").collect();
        let (_, complete) = whole.split_last().expect("at least one part");
        let read: Vec<_> = complete
            .iter()
            .filter(|event| event.contains("data:"))
            .map(|event| {
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .unwrap_or_default()
                        .trim()
                        .to_owned()
                };
                let data: Value = serde_json::from_str(&field("data:")).expect("JSON");
                let mut event = data.clone();
                event["event"] = json!(field("event:"));
                as_described(event);
                (field("event:"), field("id:"), data)
            })
            .collect();
        if read.len() >= wanted {
            return read;
        }
        let chunk = tokio::time::timeout(Duration::from_secs(20), answer.chunk()).await.expect("it goes on");
        text.push_str(&String::from_utf8_lossy(&chunk.expect("readable").expect("not at its end")));
    }
}

#[tokio::test]
async fn the_present_comes_first_and_a_reader_goes_on_where_it_was() {
    let server = Server::start().await;
    server.silo("s:a", 1);
    server.silo("s:b", 1);
    let first = events(&server, "/events?thingId=s:a", None, 1).await;
    assert_eq!((first[0].0.as_str(), &first[0].2["things"][0]["thingId"]), ("Snapshot", &json!("s:a")));

    for level in 2..=4 {
        server.level("s:a", level);
    }
    let missed = events(&server, "/events?thingId=s:a", Some(&first[0].1), 3).await;
    let levels: Vec<_> =
        missed.iter().map(|(name, _, data)| (name.as_str(), data["properties"]["percent"].clone())).collect();
    assert_eq!(levels, [("StateChanged", json!(2)), ("StateChanged", json!(3)), ("StateChanged", json!(4))]);
}

#[tokio::test]
async fn wrong_parameters_get_a_problem() {
    let server = Server::start().await;
    for query in ["?filter=eq(", "?thingId=a%20b", "?surprise=1", "?from=x"] {
        let answer =
            reqwest::get(format!("http://{}/api/v1/events{query}", server.address)).await.expect("an answer");
        assert_eq!(answer.status(), 400, "{query}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}

#[tokio::test]
async fn a_things_own_address_has_its_events() {
    let server = Server::start().await;
    server.silo("factory:a", 1);
    server.silo("factory:b", 1);
    for path in ["/things/factory:a/events", "/things/a/events?fields=level"] {
        let first = events(&server, path, None, 1).await;
        assert_eq!(first[0].2["things"].as_array().map(Vec::len), Some(1), "{path}");
        assert_eq!(first[0].2["things"][0]["thingId"], "factory:a");
    }
    let answer = reqwest::get(format!("http://{}/api/v1/things/a/events?thingId=b", server.address)).await;
    assert_eq!(answer.expect("an answer").status(), 400, "the path says which Thing");
}

#[tokio::test]
async fn only_the_end_of_a_snapshot_is_a_place_to_come_back_to() {
    let server = Server::start().await;
    for silo in 0..1000 {
        server.silo(&format!("s:{silo}"), 1);
    }
    let pieces = events(&server, "/events", None, 2).await;
    let more: Vec<_> = pieces.iter().map(|(_, id, data)| (data["more"] == true, id.is_empty())).collect();
    assert!(more.len() > 1 && more.iter().all(|(more, no_id)| more == no_id), "{more:?}");
}

#[tokio::test]
async fn who_comes_back_too_late_is_told_to_forget() {
    let server = Server::with(HubSettings { ring_events: 2, ..HubSettings::default() }).await;
    for level in 0..9 {
        server.silo("s:a", level);
    }
    let heard = events(&server, "/events", Some("1"), 2).await;
    assert_eq!((heard[0].0.as_str(), heard[0].1.as_str()), ("Resync", "1"), "not a place to go on from yet");
    assert_eq!((heard[1].0.as_str(), heard[1].1.as_str()), ("Snapshot", "9"));
}

/// A client that asks and then reads nothing is owed newest states, not a backlog.
#[tokio::test]
async fn a_client_that_reads_nothing_makes_no_backlog() {
    let server = Server::with(HubSettings { mailbox_events: 16, ..HubSettings::default() }).await;
    server.silo("factory:silo-1", 0);
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(65_536).expect("a small buffer");
    let mut stalled = socket.connect(server.address.parse().expect("an address")).await.expect("connected");
    stalled.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    stalled.readable().await.expect("an answer begins");
    // More than what fits into the sockets' buffers.
    for number in 0..600 {
        server.put("factory:silo-1", "/attributes/note", &json!(format!("{number:060000}")));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let conflated = server.metric("egiz_server_live_conflated_changes_total");
    assert!(conflated > 200.0, "only {conflated} of 600 changes were left out");
}
