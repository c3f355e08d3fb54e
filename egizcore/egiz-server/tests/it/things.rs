//! Create, read, change and delete Things and their parts.

use crate::harness::{Answer, Server, oven};
use serde_json::{Value, json};

const THING: &str = "/api/v1/things/factory:oven-001";

#[tokio::test]
async fn a_thing_is_created_with_the_id_that_it_brings() {
    let server = Server::start().await;
    let mut body = oven();
    body["thingId"] = json!("factory:oven-001");
    let created = server.send("POST", "/api/v1/things", &body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.header("location"), Some(THING));
    assert_eq!(created.header("etag"), Some("\"rev:1@0\""));
    assert_eq!((created.header("egiz-revision"), created.header("egiz-offset")), (Some("1"), Some("0")));
    insta::assert_json_snapshot!("thing", created.json());
    let as_type: egiz_api::Thing = serde_json::from_value(created.json()).expect("the documented form");
    assert_eq!(as_type.revision, Some(1));

    server.send("POST", "/api/v1/things", &body).await.problem("already-exists");
    let problem = server.send("POST", "/api/v1/things", &oven()).await.problem("invalid-value");
    assert_eq!(problem["errors"][0]["pointer"], "/thingId");
    server.send("POST", "/api/v1/things", &json!({"thingId": "a b"})).await.problem("invalid-thing-id");

    let minimal = server.request("POST", "/api/v1/things").header("prefer", "return=minimal");
    let minimal = Answer::of(minimal.json(&json!({"thingId": "mixer-001"}))).await;
    assert_eq!((minimal.status, minimal.text.as_str()), (201, ""));
    assert_eq!(minimal.header("location"), Some("/api/v1/things/factory:mixer-001"));
}

#[tokio::test]
async fn every_leaf_is_a_resource() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let cases = [
        ("/thingId", json!("factory:oven-001")),
        ("/definition", json!("openegiz:tunnel-oven:1.0.0")),
        ("/attributes", json!({"type": "oven", "line": "line-1", "name": "Oven 1"})),
        ("/attributes/line", json!("line-1")),
        ("/features/thermal/properties/temperature_zones", json!([195, 192, 193])),
        ("/features/thermal/properties/temperature_zones/1", json!(192)),
        ("/features/thermal/properties/setpoint", json!(195.5)),
        ("/_revision", json!(1)),
        ("/_connection/state", json!("unknown")),
    ];
    for (path, wanted) in cases {
        assert_eq!(server.read(&format!("{THING}{path}")).await, wanted, "{path}");
        assert_eq!(
            server.read(&format!("/api/v1/things/oven-001{path}")).await,
            wanted,
            "by its bare name: {path}"
        );
    }
    for path in
        ["/attributes/colour", "/features/x", "/features/thermal/properties/temperature_zones/3", "/nothing"]
    {
        Answer::of(server.get(&format!("{THING}{path}"))).await.problem("path-not-found");
    }
    Answer::of(server.get("/api/v1/things/factory:oven-002/attributes")).await.problem("thing-not-found");
    let head = Answer::of(server.request("HEAD", THING)).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert!(head.header("content-length").is_some_and(|length| length != "0"));
}

#[tokio::test]
async fn parts_are_put_and_deleted() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let put = |path: &str, body: Value| {
        let path = format!("{THING}{path}");
        let server = &server;
        async move { server.send("PUT", &path, &body).await }
    };
    let created = put("/attributes/colour", json!("grey")).await;
    assert_eq!((created.status, created.text.as_str()), (201, "\"grey\""));
    assert_eq!(created.header("location"), Some("/api/v1/things/factory:oven-001/attributes/colour"));
    assert_eq!(put("/attributes/colour", json!("red")).await.status, 204);
    assert_eq!(put("/attributes/plan", json!({"a/b": {"c": null}})).await.status, 201);
    assert_eq!(
        server.read(&format!("{THING}/attributes/plan/a~1b")).await,
        json!({"c": null}),
        "put stores null"
    );
    assert_eq!(put("/attributes/plan/a%2Fb/c", json!(1)).await.status, 204);
    put("/attributes/a~1b", json!(1)).await.problem("invalid-value");
    assert_eq!(put("/features/status", json!({"properties": {"anomaly": false}})).await.status, 201);
    assert_eq!(put("/features/status/properties/anomaly", json!(true)).await.status, 204);
    assert_eq!(put("/features/thermal/desiredProperties/setpoint", json!(200)).await.status, 201);
    assert_eq!(server.read(&format!("{THING}/features/thermal")).await["desiredProperties"]["setpoint"], 200);
    let shown = server
        .request("PUT", &format!("{THING}/attributes/colour"))
        .header("prefer", "return=representation");
    let shown = Answer::of(shown.json(&json!("blue"))).await;
    assert_eq!((shown.status, shown.text.as_str()), (200, "\"blue\""));

    let gone = Answer::of(server.request("DELETE", &format!("{THING}/attributes/colour"))).await;
    assert_eq!(gone.status, 204);
    Answer::of(server.request("DELETE", &format!("{THING}/attributes/colour")))
        .await
        .problem("path-not-found");
    assert_eq!(Answer::of(server.request("DELETE", THING)).await.status, 204);
    Answer::of(server.request("DELETE", THING)).await.problem("thing-not-found");
    Answer::of(server.get(THING)).await.problem("thing-not-found");
}

#[tokio::test]
async fn both_kinds_of_patch_apply_whole_or_not_at_all() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let patch = |path: &str, kind: &str, body: Value| {
        let request = server
            .request("PATCH", &format!("{THING}{path}"))
            .header("content-type", kind)
            .body(body.to_string());
        Answer::of(request)
    };
    let merge = "application/merge-patch+json";
    let json_patch = "application/json-patch+json";
    let body = json!({"attributes": {"line": null, "maker": "X"}, "features": {"thermal": {"properties": {"setpoint": 200}}}});
    assert_eq!(patch("", merge, body).await.status, 204);
    let thing = server.read(THING).await;
    assert_eq!(thing["attributes"], json!({"type": "oven", "name": "Oven 1", "maker": "X"}));
    assert_eq!(thing["features"]["thermal"]["properties"]["setpoint"], 200);
    assert_eq!(thing["features"]["thermal"]["properties"]["temperature_zones"], json!([195, 192, 193]));
    assert_eq!(thing["_revision"], 2, "one patch is one change");
    assert_eq!(patch("/attributes", merge, json!({"maker": null})).await.status, 204);

    let body = json!([
        {"op": "test", "path": "/features/thermal/properties/setpoint", "value": 200},
        {"op": "replace", "path": "/features/thermal/properties/temperature_zones/0", "value": 201},
        {"op": "add", "path": "/attributes/nothing", "value": null}
    ]);
    assert_eq!(patch("", json_patch, body).await.status, 204);
    let thing = server.read(THING).await;
    assert_eq!(thing["features"]["thermal"]["properties"]["temperature_zones"][0], 201);
    assert!(thing["attributes"].as_object().expect("an object").contains_key("nothing"));

    let body = json!([
        {"op": "replace", "path": "/attributes/name", "value": "Oven 2"},
        {"op": "test", "path": "/attributes/type", "value": "mixer"}
    ]);
    patch("", json_patch, body).await.problem("patch-test-failed");
    assert_eq!(server.read(&format!("{THING}/attributes/name")).await, "Oven 1", "nothing of it applied");
    let missing = json!([{"op": "remove", "path": "/attributes/colour"}]);
    let problem = patch("", json_patch, missing).await.problem("patch-conflict");
    assert_eq!(
        (&problem["status"], &problem["errors"][0]["pointer"]),
        (&json!(409), &json!("/attributes/colour"))
    );
    patch("", json_patch, json!({"op": "add"})).await.problem("invalid-value");
    patch("", merge, json!({"thingId": "factory:other"})).await.problem("invalid-value");
    patch("", merge, json!(null)).await.problem("invalid-value");
    let refused = patch("", "text/plain", json!({})).await;
    refused.problem("unsupported-media-type");
    assert!(refused.header("accept-patch").is_some_and(|types| types.contains(json_patch)), "{refused:?}");
}

#[tokio::test]
async fn fields_and_metadata_choose_what_is_shown() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    server.telemetry("factory:oven-001", 1, "thermal", &[("setpoint", 196.0)]);
    let picked = server
        .read(&format!("{THING}?fields=thingId,attributes(type,line),features/*/properties/setpoint"))
        .await;
    assert_eq!(
        picked,
        json!({
            "thingId": "factory:oven-001",
            "attributes": {"type": "oven", "line": "line-1"},
            "features": {"thermal": {"properties": {"setpoint": 196.0}}}
        })
    );
    assert_eq!(server.read(&format!("{THING}/attributes?fields=line,none")).await, json!({"line": "line-1"}));
    let plain = server.read(THING).await;
    assert!(plain.get("_metadata").is_none());
    let full = server.read(&format!("{THING}?metadata=true")).await;
    insta::assert_json_snapshot!("thing_with_metadata", full);
    let one = server.read(&format!("{THING}/_metadata/thermal/setpoint/quality")).await;
    assert_eq!(one, "good");
    Answer::of(server.get(&format!("{THING}?fields=a("))).await.problem("invalid-parameter");
    Answer::of(server.get(&format!("{THING}?field=a"))).await.problem("invalid-parameter");
}

#[tokio::test]
async fn a_read_can_wait_for_a_write() {
    let server = Server::with(|settings| settings.min_offset_wait_ms = 50).await;
    let written = server.put_oven("factory:oven-001").await;
    let offset = written.header("egiz-offset").expect("an offset").to_owned();
    let read = Answer::of(server.get(THING).header("min-offset", &offset)).await;
    assert_eq!((read.status, read.header("egiz-offset")), (200, Some(offset.as_str())));
    Answer::of(server.get(THING).header("min-offset", "99")).await.problem("not-yet-applied");
    Answer::of(server.get(&format!("{THING}?min-offset=99"))).await.problem("not-yet-applied");
    Answer::of(server.get(THING).header("min-offset", "-1")).await.problem("invalid-parameter");
}

#[tokio::test]
async fn a_read_sees_what_was_acknowledged_before_it_began() {
    let server = Server::with(|settings| settings.min_offset_wait_ms = 10_000).await;
    server.put_oven("factory:oven-001").await;
    let post = |path: &str| server.request("POST", path).json(&json!({}));
    let reads = [
        (server.get(THING), "/features/thermal/properties/setpoint"),
        (server.get(&format!("{THING}/features/thermal")), "/properties/setpoint"),
        (server.get("/api/v1/things"), "/items/0/features/thermal/properties/setpoint"),
        (post("/api/v1/query"), "/items/0/features/thermal/properties/setpoint"),
    ];
    for (number, (request, pointer)) in (200_i32..).zip(reads) {
        // On disk and acknowledged, and not yet in the live state.
        let next = server.gate.engine.read().next_offset() + 1;
        server.gate.progress.durable_before(next);
        let reading = tokio::spawn(Answer::of(request));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!reading.is_finished(), "it waits for the record");
        server.telemetry("factory:oven-001", number.into(), "thermal", &[("setpoint", number.into())]);
        let answer = reading.await.expect("an answer");
        assert_eq!(answer.json().pointer(pointer), Some(&json!(f64::from(number))), "{answer:?}");
    }
}

#[tokio::test]
async fn a_read_that_waits_too_long_for_what_was_acknowledged_says_so() {
    let server = Server::with(|settings| settings.min_offset_wait_ms = 50).await;
    server.put_oven("factory:oven-001").await;
    server.gate.progress.durable_before(2);
    for path in [
        THING,
        "/api/v1/things",
        "/api/v1/things/count",
        "/api/v1/devices/discovered",
        "/api/v1/things/oven-001/events",
    ] {
        Answer::of(server.get(path)).await.problem("not-yet-applied");
    }
    for (path, body) in [
        ("/api/v1/query", json!({})),
        ("/api/v1/query/count", json!({})),
        ("/api/v1/query/aggregate", json!({})),
        ("/api/v1/things/bulk", json!({"filter": {}, "delete": true, "dryRun": true})),
    ] {
        server.send("POST", path, &body).await.problem("not-yet-applied");
    }
    server.telemetry("factory:oven-001", 1, "thermal", &[("setpoint", 1.0)]);
    assert_eq!(Answer::of(server.get(THING)).await.status, 200);
}

#[tokio::test]
async fn a_device_that_was_just_heard_is_waited_for_where_devices_are_accepted() {
    let heard = |server: &Server| server.telemetry("factory:oven-001", 0, "thermal", &[("setpoint", 195.0)]);
    let server = Server::with(|settings| settings.accepts_devices = true).await;
    heard(&server);
    let reading = tokio::spawn(Answer::of(server.get(THING)));
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!reading.is_finished(), "it waits for the Thing");
    let accept = "/api/v1/devices/discovered/factory:oven-001/accept";
    assert_eq!(server.send("POST", accept, &json!({})).await.status, 201);
    let answer = reading.await.expect("an answer");
    assert_eq!(answer.json()["features"]["thermal"]["properties"]["setpoint"], 195.0, "{answer:?}");
    Answer::of(server.get("/api/v1/things/oven-002")).await.problem("thing-not-found");

    let server = Server::start().await;
    heard(&server);
    let begun = std::time::Instant::now();
    Answer::of(server.get(THING)).await.problem("thing-not-found");
    assert!(begun.elapsed().as_millis() < 500, "where somebody has to accept it nobody waits");
}

#[tokio::test]
async fn the_correlation_id_goes_along() {
    let server = Server::start().await;
    let answer = Answer::of(server.get(THING).header("correlation-id", "order-7")).await;
    assert_eq!(answer.header("correlation-id"), Some("order-7"));
    assert_eq!(answer.problem("thing-not-found")["traceId"], "order-7");
}
