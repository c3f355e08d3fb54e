//! Import line by line and change by filter.

use crate::harness::{Answer, Server};
use serde_json::{Value, json};

async fn import(server: &Server, query: &str, text: impl Into<reqwest::Body>) -> Answer {
    let request = server.request("POST", &format!("/api/v1/things/import{query}"));
    Answer::of(request.header("content-type", "application/x-ndjson").body(text)).await
}

#[tokio::test]
async fn each_line_is_carried_out_or_reported_with_its_number() {
    let server = Server::start().await;
    let text = "{\"thingId\":\"factory:a\",\"attributes\":{\"x\":1}}\n\n{\"thingId\":\"b\"}\n{broken\n{\"attributes\":{}}\n\
        {\"thingId\":\"factory:a\",\"attributes\":{\"x\":1}}\n{\"thingId\":\"factory:a\",\"attributes\":{\"x\":2}}\n\
        {\"thingId\":\"factory:c\",\"features\":7}\r\n{\"thingId\":\"factory:d\"}";
    let answer = import(&server, "", text).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
    let short: Vec<Value> = answer
        .lines()
        .iter()
        .map(|line| match line.get("summary") {
            Some(summary) => summary.clone(),
            None => json!([line["line"], line["thingId"], line["outcome"], line["problem"]["code"]]),
        })
        .collect();
    assert_eq!(
        short,
        [
            json!([1, "factory:a", "created", null]),
            json!([3, "factory:b", "created", null]),
            json!([4, null, "refused", "malformed-json"]),
            json!([5, null, "refused", "invalid-value"]),
            json!([6, "factory:a", "unchanged", null]),
            json!([7, "factory:a", "changed", null]),
            json!([8, "factory:c", "refused", "invalid-value"]),
            json!([9, "factory:d", "created", null]),
            json!({"items": 8, "created": 3, "changed": 1, "unchanged": 1, "deleted": 0, "refused": 3, "complete": true}),
        ]
    );
    let again = import(&server, "?mode=create", "{\"thingId\":\"factory:a\"}\n").await;
    assert_eq!(again.lines()[0]["problem"]["code"], "already-exists");
}

#[tokio::test]
async fn a_long_stream_goes_through_in_small_pieces() {
    let server = Server::with(|settings| settings.body_bytes_max = 4096).await;
    let lines: Vec<Result<String, std::io::Error>> = (0..2_000)
        .map(|number| {
            Ok(format!("{{\"thingId\":\"factory:n-{number}\",\"attributes\":{{\"n\":{number}}}}}\n"))
        })
        .collect();
    let answer = import(&server, "", reqwest::Body::wrap_stream(futures::stream::iter(lines))).await;
    let lines = answer.lines();
    assert_eq!(lines.len(), 2_001);
    assert_eq!(lines[2_000]["summary"]["created"], 2_000);
    assert_eq!(server.read("/api/v1/things/count").await["count"], 2_000);
}

#[tokio::test]
async fn a_line_that_is_too_long_ends_the_import() {
    let server = Server::with(|settings| settings.body_bytes_max = 1024).await;
    let text = format!("{{\"thingId\":\"factory:a\"}}\n{{\"thingId\":\"{}", "x".repeat(5_000));
    let lines = import(&server, "", text).await.lines();
    assert_eq!(lines[0]["outcome"], "created");
    assert_eq!(lines[1]["problem"]["code"], "body-too-large");
    assert_eq!((&lines[1]["line"], &lines[2]["summary"]["complete"]), (&json!(2), &json!(false)));
}

#[tokio::test]
async fn a_filter_changes_many_and_a_dry_run_says_what() {
    let server = Server::start().await;
    for (name, line) in [("a", "line-1"), ("b", "line-2"), ("c", "line-1")] {
        server.send("PUT", &format!("/api/v1/things/{name}"), &json!({"attributes": {"line": line}})).await;
    }
    let bulk = |body: Value| {
        let server = &server;
        async move { server.send("POST", "/api/v1/things/bulk", &body).await }
    };
    let dry = bulk(
        json!({"filter": {"line": "line-1"}, "patch": {"attributes": {"line": "line-9"}}, "dryRun": true}),
    )
    .await;
    insta::assert_json_snapshot!("bulk_dry_run", dry.lines());
    assert_eq!(server.read("/api/v1/things/a/attributes/line").await, "line-1", "nothing was done");
    let real = bulk(json!({"filter": {"line": "line-1"}, "patch": {"attributes": {"line": "line-9"}}})).await;
    let lines = real.lines();
    assert_eq!(
        (&lines[0]["thingId"], &lines[0]["outcome"], &lines[0]["revision"]),
        (&json!("factory:a"), &json!("changed"), &json!(2))
    );
    assert_eq!(lines[2]["summary"]["changed"], 2);
    let none = bulk(json!({"filter": {"line": "line-1"}, "delete": true})).await;
    assert_eq!(none.lines().len(), 1, "only the summary");
    let deleted = bulk(json!({"filter": {}, "delete": true})).await;
    assert_eq!(deleted.lines()[3]["summary"]["deleted"], 3);
    assert_eq!(server.read("/api/v1/things/count").await["count"], 0);

    bulk(json!({"filter": {}})).await.problem("invalid-value");
    bulk(json!({"filter": null, "delete": true})).await.problem("invalid-value");
    bulk(json!({"filter": {}, "delete": true, "patch": {}})).await.problem("invalid-value");
    bulk(json!({"filter": "eq(", "delete": true})).await.problem("malformed-filter");
}

#[tokio::test]
async fn a_dry_run_asked_for_in_the_wrong_place_changes_nothing() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let delete = json!({"filter": {"type": "oven"}, "delete": true});
    let answer = server.send("POST", "/api/v1/things/bulk?dryRun=true", &delete).await;
    assert_eq!(answer.problem("invalid-parameter")["errors"][0]["parameter"], "dryRun");
    assert_eq!(Answer::of(server.get("/api/v1/things/oven-001")).await.status, 200);
}

#[tokio::test]
async fn no_route_of_the_registry_passes_over_a_parameter() {
    let server = Server::start().await;
    for (method, path) in [
        ("GET", "templates/x"),
        ("PUT", "templates/x"),
        ("DELETE", "templates/x"),
        ("POST", "devices"),
        ("GET", "devices/x"),
        ("DELETE", "devices/x"),
        ("POST", "devices/x/credentials"),
        ("DELETE", "devices/x/credentials"),
        ("GET", "layout"),
        ("PUT", "layout"),
        ("DELETE", "layout"),
        ("POST", "tokens"),
        ("GET", "tokens/x"),
        ("PATCH", "tokens/x"),
        ("DELETE", "tokens/x"),
        ("POST", "devices/discovered/x/accept"),
        ("DELETE", "devices/discovered/x"),
        ("POST", "tickets"),
    ] {
        let request = server.request(method, &format!("/api/v1/{path}?dryRun=true")).json(&json!({}));
        Answer::of(request).await.problem("invalid-parameter");
    }
}
