//! Whole lists as one stream, as NDJSON and as server-sent events.

use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Answer, Server};

const LINES: &str = "application/x-ndjson";
const EVENTS: &str = "text/event-stream";

/// So many silos, each with its number and a text that makes it larger.
async fn silos(server: &Server, count: usize, note: &str) {
    let line = |number: usize| {
        let attributes =
            json!({"type": "silo", "number": number, "even": number.is_multiple_of(2), "note": note});
        json!({"thingId": format!("factory:silo-{number:04}"), "attributes": attributes}).to_string() + "\n"
    };
    let body: String = (0..count).map(line).collect();
    let request = server.request("POST", "/api/v1/things/import").header("content-type", LINES).body(body);
    assert_eq!(Answer::of(request).await.lines().len(), count + 1);
}

fn ids(things: &[Value]) -> Vec<&str> {
    things.iter().map(|thing| thing["thingId"].as_str().expect("an id")).collect()
}

/// The events of a stream: id, name and data of each.
fn events(text: &str) -> Vec<(String, String, Value)> {
    let event = |block: &str| {
        let field = |name: &str| {
            block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
        };
        let data = serde_json::from_str(field("data")).ok()?;
        Some((field("id").to_owned(), field("event").to_owned(), data))
    };
    text.split("\n\n").filter_map(event).collect()
}

#[tokio::test]
async fn a_list_comes_whole_a_thing_a_line_in_the_order_of_ids() {
    let server = Server::start().await;
    silos(&server, 1_203, &"n".repeat(500)).await;
    let answer = Answer::of(server.get("/api/v1/things").header("accept", LINES)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(LINES)));
    assert_eq!(answer.header("egiz-offset"), Some("1202"));
    let things = answer.lines();
    let wanted: Vec<String> = (0..1_203).map(|number| format!("factory:silo-{number:04}")).collect();
    assert_eq!(ids(&things), wanted);
    let one = server.read("/api/v1/things/silo-0007").await;
    assert_eq!(things[7], one, "in the form of a single Thing");

    let path = "/api/v1/things?filter=eq(attributes/even,true)&fields=thingId,_metadata&metadata=true";
    let some = Answer::of(server.get(path).header("accept", LINES)).await.lines();
    assert_eq!(some.len(), 602);
    assert_eq!(some[1], json!({"thingId": "factory:silo-0002", "_metadata": {}}));
    let by_body = server.request("POST", "/api/v1/query").header("accept", LINES);
    let body = json!({"filter": "eq(attributes/even,true)", "fields": "thingId"});
    assert_eq!(ids(&Answer::of(by_body.json(&body)).await.lines()), ids(&some));
    let none =
        Answer::of(server.get("/api/v1/things?filter=eq(attributes/x,1)").header("accept", LINES)).await;
    assert_eq!((none.status, none.text.as_str()), (200, ""));
}

#[tokio::test]
async fn a_stream_of_events_goes_on_behind_the_last_id() {
    let server = Server::start().await;
    silos(&server, 450, "").await;
    let stream = |last: &'static str| {
        let request = server.get("/api/v1/things?fields=thingId").header("accept", EVENTS);
        Answer::of(if last.is_empty() { request } else { request.header("last-event-id", last) })
    };
    let whole = stream("").await;
    assert_eq!(whole.header("content-type"), Some(EVENTS));
    assert_eq!(whole.header("cache-control"), Some("no-store"));
    assert!(whole.text.starts_with("retry: 2000\n\n"), "{}", &whole.text[..60]);
    let told = events(&whole.text);
    assert_eq!(told.len(), 451);
    for (number, (id, name, data)) in told[..450].iter().enumerate() {
        let wanted = format!("factory:silo-{number:04}");
        assert_eq!((id, name.as_str(), &data["thingId"]), (&wanted, "", &json!(wanted)));
    }
    assert_eq!(told[450], (String::new(), "complete".to_owned(), json!({})));

    let rest = stream("factory:silo-0099").await;
    assert_eq!(events(&rest.text)[..], told[100..]);
    // The place counts, also where the Thing is gone meanwhile.
    Answer::of(server.request("DELETE", "/api/v1/things/silo-0099")).await;
    assert_eq!(events(&stream("factory:silo-0099").await.text)[..], told[100..]);
    assert_eq!(stream("factory:silo-0449").await.status, 204, "a browser stops coming back");
    stream("not an id").await.problem("invalid-parameter");
    let lines = server.get("/api/v1/things").header("accept", LINES).header("last-event-id", "silo-0447");
    assert_eq!(ids(&Answer::of(lines).await.lines()), ["factory:silo-0448", "factory:silo-0449"]);
}

#[tokio::test]
async fn what_is_of_pages_is_refused_beside_a_stream() {
    let server = Server::start().await;
    silos(&server, 1, "").await;
    for name in ["sort", "limit", "cursor"] {
        let path = format!("/api/v1/things?{name}=1");
        let problem =
            Answer::of(server.get(&path).header("accept", LINES)).await.problem("invalid-parameter");
        assert_eq!(problem["errors"][0]["parameter"], name);
    }
    for (name, value) in [
        ("sort", json!("thingId")),
        ("limit", json!(5)),
        ("cursor", json!("x")),
        ("aggregate", json!({"paths": []})),
    ] {
        let request = server.request("POST", "/api/v1/query").header("accept", EVENTS);
        let answer = Answer::of(request.json(&json!({name: value}))).await;
        assert_eq!(answer.problem("invalid-value")["errors"][0]["pointer"], format!("/{name}"));
    }
    Answer::of(server.get("/api/v1/things").header("accept", "text/html")).await.problem("not-acceptable");
    let both = server.get("/api/v1/things").header("accept", "text/html, */*;q=0.1");
    assert_eq!(Answer::of(both).await.json()["items"][0]["thingId"], "factory:silo-0000");
}

#[tokio::test]
async fn things_that_come_and_go_do_not_disturb_a_stream() {
    let server = Server::start().await;
    silos(&server, 2_000, &"n".repeat(2_000)).await;
    let response = server.get("/api/v1/things?fields=thingId,attributes").header("accept", LINES).send();
    let mut stream = response.await.expect("an answer").bytes_stream();
    let mut text = stream.next().await.expect("a piece").expect("whole").to_vec();
    for number in 0..50 {
        server.put_oven(&format!("factory:a-{number}")).await;
        let path = format!("/api/v1/things/silo-{:04}", 1_000 + number * 2);
        Answer::of(server.request("DELETE", &path)).await;
    }
    while let Some(piece) = stream.next().await {
        text.extend_from_slice(&piece.expect("whole"));
    }
    let text = String::from_utf8(text).expect("UTF-8");
    let seen: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let seen = ids(&seen);
    assert!(seen.is_sorted_by(|a, b| a < b), "in order, nothing twice");
    for number in (0..2_000).filter(|number| !(1_000..1_100).contains(number)) {
        let id = format!("factory:silo-{number:04}");
        assert!(seen.binary_search(&id.as_str()).is_ok(), "{id} is missing");
    }
}

#[tokio::test]
async fn a_browser_reads_the_events_with_a_ticket() {
    let server = Server::start().await;
    silos(&server, 1, "").await;
    let ticket = server.send("POST", "/api/v1/tickets", &json!({})).await.json();
    let path = format!("/api/v1/things?ticket={}", ticket["ticket"].as_str().expect("a ticket"));
    let list = || Answer::of(server.get(&path).header("accept", EVENTS));
    assert_eq!(events(&list().await.text).len(), 2);
    list().await.problem("unauthenticated");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off_and_its_place_is_free_again() {
    let server = Server::with(|settings| {
        settings.stream_pause_ms = 100;
        settings.concurrent_streams_max = 1;
    })
    .await;
    // More than what fits into the sockets' buffers.
    silos(&server, 200, &"n".repeat(90_000)).await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(65_536).expect("a small buffer");
    let address = server.base.strip_prefix("http://").and_then(|address| address.parse().ok());
    let mut stalled = socket.connect(address.expect("an address")).await.expect("connected");
    let request = format!(
        "GET /api/v1/things HTTP/1.1\r\nhost: localhost\r\naccept: {LINES}\r\nconnection: close\r\n\r\n"
    );
    stalled.write_all(request.as_bytes()).await.expect("sent");
    let list = || Answer::of(server.get("/api/v1/things").header("accept", LINES));
    stalled.readable().await.expect("an answer begins");
    assert_eq!(list().await.problem("overloaded")["limit"], 1);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(list().await.lines().len(), 200);
    let mut text = Vec::new();
    // However the connection ends.
    let _ = stalled.read_to_end(&mut text).await;
    assert!(!text.ends_with(b"\r\n0\r\n\r\n"), "what is not whole does not end as if it were");
}
