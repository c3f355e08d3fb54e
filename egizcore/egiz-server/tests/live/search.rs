//! Searches over WebSocket, whose pages come by demand.

use egiz_server::ServerSettings;
use egiz_server::live::HubSettings;
use serde_json::{Value, json};

use crate::harness::{Client, Server};

impl Client {
    /// Sends a command and gives its answer, which must be the next frame.
    async fn ask(&mut self, command: &Value) -> Value {
        self.say(command).await;
        let answer = self.next().await;
        assert_eq!((&answer["id"], answer.get("seq")), (&command["id"], None), "{answer}");
        answer
    }

    /// Begins a search; its number.
    async fn search(&mut self, mut wish: Value) -> Value {
        wish["action"] = json!("search");
        wish["id"] = json!("begin");
        let answer = self.ask(&wish).await;
        assert_eq!(answer["ok"], true, "{answer}");
        answer["search"].clone()
    }

    async fn request(&mut self, search: &Value, pages: u32) -> Value {
        self.ask(&json!({"id": "more", "action": "request", "search": search, "pages": pages})).await
    }

    /// Whether nothing is on its way: a ping is answered by the next frame.
    async fn is_quiet(&mut self) -> bool {
        self.say(&json!({"id": "quiet?", "action": "ping"})).await;
        self.next().await["event"] == "Pong"
    }
}

/// So many silos, every other one even.
fn silos(server: &Server, count: i64) {
    for number in 0..count {
        let attributes = json!({"type": "silo", "number": number, "even": number % 2 == 0});
        server.put(&format!("factory:silo-{number:03}"), "", &json!({"attributes": attributes}));
    }
}

fn numbers(page: &Value) -> Vec<i64> {
    let items = page["items"].as_array().expect("items");
    items.iter().map(|thing| thing["attributes"]["number"].as_i64().expect("a number")).collect()
}

#[tokio::test]
async fn pages_come_when_they_are_asked_for_and_no_more_than_that() {
    let server = Server::start().await;
    silos(&server, 23);
    let mut client = server.client().await;
    let search =
        client.search(json!({"filter": {"type": "silo"}, "limit": 5, "fields": "thingId,attributes"})).await;
    assert!(client.is_quiet().await, "nothing before it is asked for");
    let answer = client.request(&search, 2).await;
    assert_eq!(answer, json!({"id": "more", "ok": true, "search": search}));
    for seq in 1..=2_i64 {
        let page = client.next().await;
        assert_eq!(
            (&page["event"], &page["seq"], &page["offset"]),
            (&json!("Next"), &json!(seq), &json!(23))
        );
        assert_eq!(numbers(&page), Vec::from_iter((seq - 1) * 5..seq * 5));
    }
    assert!(client.is_quiet().await);
    // What is asked for adds up; what is too much is not missed.
    client.request(&search, 1).await;
    let mut seen = numbers(&client.next().await);
    client.request(&search, 100).await;
    for _ in 0..2 {
        seen.extend(numbers(&client.next().await));
    }
    assert_eq!(seen, Vec::from_iter(10..23));
    assert_eq!(client.next().await, json!({"event": "Complete", "search": search, "seq": 6}));
    assert_eq!(client.request(&search, 1).await["problem"]["code"], "malformed-request", "it is over");
}

#[tokio::test]
async fn a_search_that_finds_nothing_is_complete_at_once_when_it_is_asked() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let search = client.search(json!({"filter": "eq(attributes/type,\"none\")"})).await;
    assert!(client.is_quiet().await, "no end before the first request");
    client.request(&search, 1).await;
    assert_eq!(client.next().await, json!({"event": "Complete", "search": search, "seq": 1}));
}

#[tokio::test]
async fn searches_go_side_by_side_in_their_own_order_and_end_when_they_are_cancelled() {
    let server = Server::start().await;
    silos(&server, 9);
    let mut client = server.client().await;
    let down = client.search(json!({"sort": "-attributes/number", "limit": 4})).await;
    let even = client.search(json!({"filter": "eq(attributes/even,true)", "limit": 2})).await;
    client.request(&down, 1).await;
    assert_eq!(numbers(&client.next().await), [8, 7, 6, 5]);
    client.request(&even, 1).await;
    let page = client.next().await;
    assert_eq!((&page["search"], &page["seq"], numbers(&page)), (&even, &json!(1), vec![0, 2]));
    let cancel = json!({"id": "end", "action": "cancel", "search": even});
    assert_eq!(client.ask(&cancel).await, json!({"id": "end", "ok": true, "search": even}));
    assert_eq!(client.ask(&cancel).await["problem"]["code"], "malformed-request", "it is gone");
    client.request(&down, 1).await;
    assert_eq!(numbers(&client.next().await), [4, 3, 2, 1]);
    assert!(client.is_quiet().await);
}

#[tokio::test]
async fn a_cursor_goes_on_over_another_connection_and_over_rest() {
    let server = Server::start().await;
    silos(&server, 9);
    let mut client = server.client().await;
    let search = client.search(json!({"limit": 4})).await;
    client.request(&search, 1).await;
    let cursor = client.next().await["cursor"].clone();
    drop(client);
    let mut client = server.client().await;
    let search = client.search(json!({"limit": 4, "cursor": cursor})).await;
    client.request(&search, 1).await;
    assert_eq!(numbers(&client.next().await), [4, 5, 6, 7]);
    let cursor = cursor.as_str().expect("a text");
    let url = format!("http://{}/api/v1/things?limit=4&cursor={cursor}", server.address);
    let page = reqwest::get(url).await.expect("an answer").text().await.expect("a page");
    assert_eq!(numbers(&serde_json::from_str(&page).expect("JSON")), [4, 5, 6, 7]);
    let other = json!({"id": 1, "action": "search", "filter": {"type": "silo"}, "cursor": cursor});
    assert_eq!(client.ask(&other).await["problem"]["code"], "invalid-cursor");
}

#[tokio::test]
async fn searches_of_a_client_are_bounded_and_what_is_wrong_is_named() {
    let server = Server::with(HubSettings { searches_per_client_max: 2, ..HubSettings::default() }).await;
    let mut client = server.client().await;
    let first = client.search(json!({})).await;
    client.search(json!({})).await;
    let third = json!({"id": 3, "action": "search"});
    assert_eq!(client.ask(&third).await["problem"]["code"], "limit-reached");
    client.ask(&json!({"id": 4, "action": "cancel", "search": first})).await;
    assert_eq!(client.ask(&third).await["ok"], true);
    for (command, code) in [
        (json!({"id": 5, "action": "search", "filter": "eq("}), "malformed-filter"),
        (json!({"id": 6, "action": "search", "limit": 201}), "page-too-large"),
        (json!({"id": 7, "action": "search", "cursor": "x"}), "limit-reached"),
        (json!({"id": 8, "action": "request", "search": 99}), "malformed-request"),
    ] {
        assert_eq!(client.ask(&command).await["problem"]["code"], code, "{command}");
    }
}

#[tokio::test]
async fn a_search_sees_what_was_acknowledged_or_fails() {
    let settings = ServerSettings { min_offset_wait_ms: 50, ..ServerSettings::default() };
    let server = Server::with_both(HubSettings::default(), settings).await;
    silos(&server, 1);
    let mut client = server.client().await;
    let search = client.search(json!({})).await;
    server.progress.durable_before(2);
    client.request(&search, 1).await;
    let failed = client.next().await;
    assert_eq!((&failed["event"], &failed["problem"]["code"]), (&json!("Failed"), &json!("not-yet-applied")));
    assert!(failed["problem"]["traceId"].is_string(), "{failed}");
    assert_eq!(client.request(&search, 1).await["problem"]["code"], "malformed-request", "it is over");

    let search = client.search(json!({"filter": "eq(attributes/number,0)"})).await;
    server.level("factory:silo-000", 5);
    client.request(&search, 1).await;
    assert_eq!(client.next().await["items"][0]["features"]["level"]["properties"]["percent"], 5);
}
