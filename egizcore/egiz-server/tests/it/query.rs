//! Filters, pages, counts and aggregates.

use crate::harness::{Answer, Server};
use serde_json::{Value, json};

async fn plant(server: &Server, count: usize) {
    for number in 0..count {
        let kind = if number % 2 == 0 { "oven" } else { "mixer" };
        let body = json!({
            "attributes": {"type": kind, "line": format!("line-{}", number % 3), "number": number},
            "features": {"thermal": {"properties": {"zone": number * 10, "zones": [number, number + 1]}}}
        });
        let answer = server.send("PUT", &format!("/api/v1/things/factory:m-{number:03}"), &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("items");
    items.iter().map(|item| item["thingId"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn one_filter_language_finds_things() {
    let server = Server::start().await;
    plant(&server, 6).await;
    let rql = "and(eq(attributes/type,\"oven\"),gt(features/thermal/properties/zone,0))";
    let by_url = server.read(&format!("/api/v1/things?filter={}", rql.replace('"', "%22"))).await;
    assert_eq!(ids(&by_url), ["factory:m-002", "factory:m-004"]);
    let by_body = server.send("POST", "/api/v1/query", &json!({"filter": rql})).await.json();
    assert_eq!(by_body, by_url);
    let simple = server.send("POST", "/api/v1/query", &json!({"filter": {"type": "mixer"}})).await.json();
    assert_eq!(ids(&simple), ["factory:m-001", "factory:m-003", "factory:m-005"]);
    let simple = server.read("/api/v1/things?filter=%7B%22type%22:%22mixer%22%7D&fields=thingId").await;
    assert_eq!(
        simple,
        json!({"items": [{"thingId": "factory:m-001"}, {"thingId": "factory:m-003"}, {"thingId": "factory:m-005"}]})
    );
    let sorted = server.read("/api/v1/things?sort=-attributes/line,%2BthingId&fields=thingId").await;
    assert_eq!(ids(&sorted)[..2], ["factory:m-002", "factory:m-005"]);

    Answer::of(server.get("/api/v1/things?filter=eq(a")).await.problem("malformed-filter");
    server.send("POST", "/api/v1/query", &json!({"filter": 7})).await.problem("malformed-filter");
    server.send("POST", "/api/v1/query", &json!({"filtre": "x"})).await.problem("invalid-value");
    assert_eq!(
        Answer::of(server.get("/api/v1/things?limit=201")).await.problem("page-too-large")["limit"],
        200
    );
    Answer::of(server.get("/api/v1/things?limit=0")).await.problem("invalid-parameter");
}

#[tokio::test]
async fn a_search_right_after_a_write_sees_it() {
    let server = Server::start().await;
    for number in 0..20 {
        let path = format!("/api/v1/things/factory:n-{number}");
        server.send("PUT", &path, &json!({"attributes": {"n": number}})).await;
        let page = server.read(&format!("/api/v1/things?filter=eq(attributes/n,{number})")).await;
        assert_eq!(ids(&page), [format!("factory:n-{number}")]);
    }
}

#[tokio::test]
async fn pages_neither_skip_nor_repeat_while_things_come_and_go() {
    let server = Server::start().await;
    plant(&server, 30).await;
    for sort in ["", "&sort=-attributes/line", "&sort=%2Battributes/number"] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        let mut round = 0;
        loop {
            let page = server.read(&format!("/api/v1/things?limit=7{sort}{cursor}")).await;
            seen.extend(ids(&page));
            // Newcomers before and after the place, and one that goes.
            for (place, line) in [("a", "line-9"), ("z", "line-0")] {
                let path = format!("/api/v1/things/factory:{place}-{round}");
                server.send("PUT", &path, &json!({"attributes": {"line": line, "number": -1}})).await;
            }
            round += 1;
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let mut distinct = seen.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), seen.len(), "nothing twice ({sort}): {seen:?}");
        for number in 0..30 {
            assert!(seen.contains(&format!("factory:m-{number:03}")), "m-{number:03} was skipped ({sort})");
        }
        for place in ["a", "z"] {
            for number in 0..round {
                server
                    .request("DELETE", &format!("/api/v1/things/factory:{place}-{number}"))
                    .send()
                    .await
                    .expect("an answer");
            }
        }
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_question() {
    let server = Server::start().await;
    plant(&server, 5).await;
    let page = server.read("/api/v1/things?limit=2").await;
    let cursor = page["cursor"].as_str().expect("a cursor").to_owned();
    assert_eq!(ids(&server.read(&format!("/api/v1/things?limit=3&cursor={cursor}")).await).len(), 3);
    for other in ["filter=exists(attributes)&", "sort=-thingId&"] {
        let path = format!("/api/v1/things?{other}cursor={cursor}");
        Answer::of(server.get(&path)).await.problem("invalid-cursor");
    }
    Answer::of(server.get(&format!("/api/v1/devices?cursor={cursor}"))).await.problem("invalid-cursor");
    Answer::of(server.get(&format!("/api/v1/things?cursor=A{cursor}"))).await.problem("invalid-cursor");
}

#[tokio::test]
async fn counts_and_aggregates_run_over_live_state() {
    let server = Server::start().await;
    plant(&server, 6).await;
    assert_eq!(server.read("/api/v1/things/count").await, json!({"count": 6}));
    let ovens = server.send("POST", "/api/v1/query/count", &json!({"filter": {"type": "oven"}})).await;
    assert_eq!(ovens.json(), json!({"count": 3}));
    let asked = json!({"groupBy": ["attributes/type"], "paths": ["features/thermal/properties/zone"]});
    let groups = server.send("POST", "/api/v1/query/aggregate", &asked).await;
    insta::assert_json_snapshot!("aggregate", groups.json());
    let within = server.send("POST", "/api/v1/query", &json!({"aggregate": asked})).await;
    assert_eq!(within.json(), groups.json());
    let many: Vec<String> = (0..5).map(|number| format!("attributes/a{number}")).collect();
    server.send("POST", "/api/v1/query/aggregate", &json!({"groupBy": many})).await.problem("invalid-value");
}

#[tokio::test]
async fn counts_and_groups_say_how_far_the_state_goes_and_wait_for_it_too() {
    let server = Server::start().await;
    plant(&server, 2).await;
    for path in ["/api/v1/query/count", "/api/v1/query/aggregate"] {
        let post = |query: &str| server.request("POST", &format!("{path}{query}")).json(&json!({}));
        assert_eq!(Answer::of(post("")).await.header("egiz-offset"), Some("1"));
        assert_eq!(Answer::of(post("?min-offset=1")).await.status, 200);
        Answer::of(post("").header("min-offset", "99")).await.problem("not-yet-applied");
        Answer::of(post("?filter=x")).await.problem("invalid-parameter");
    }
    assert_eq!(Answer::of(server.get("/api/v1/things/count")).await.header("egiz-offset"), Some("1"));
}

#[tokio::test]
async fn what_pages_are_asked_with_is_refused_beside_an_aggregate() {
    let server = Server::start().await;
    for (name, value) in [
        ("fields", json!("thingId")),
        ("sort", json!("thingId")),
        ("limit", json!(5)),
        ("cursor", json!("x")),
    ] {
        let mut body = json!({"aggregate": {"groupBy": ["attributes/type"]}});
        body[name] = value;
        let problem = server.send("POST", "/api/v1/query", &body).await.problem("invalid-value");
        assert_eq!(problem["errors"][0]["pointer"], format!("/{name}"));
    }
}
