//! Server-sent events, as `curl` and browsers read them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Server;

/// Reads events until `wanted` of them have come: name, id, data.
async fn events(
    server: &Server,
    query: &str,
    last_id: Option<&str>,
    wanted: usize,
) -> Vec<(String, String, Value)> {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut request = client.get(format!("http://{}/api/v1/events{query}", server.address));
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
                (field("event:"), field("id:"), serde_json::from_str(&field("data:")).expect("JSON"))
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
    let first = events(&server, "?thingId=s:a", None, 1).await;
    assert_eq!((first[0].0.as_str(), &first[0].2["thing"]["thingId"]), ("Snapshot", &json!("s:a")));

    for level in 2..=4 {
        server.level("s:a", level);
    }
    let missed = events(&server, "?thingId=s:a", Some(&first[0].1), 3).await;
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
