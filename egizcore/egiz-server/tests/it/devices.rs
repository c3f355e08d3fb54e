//! Devices, discovered ones, templates, the registry, refused messages.

use serde_json::{Value, json};

use crate::harness::{Answer, Server};

fn template() -> Value {
    json!({
        "definition": "openegiz:tunnel-oven:1.0.0",
        "title": "Tunnel oven",
        "devices": ["oven-*"],
        "attributes": {"type": "oven", "line": "line-1"},
        "features": {"thermal": {"setpoint": {"unit": "°C", "min": 0, "max": 400}}}
    })
}

#[tokio::test]
async fn a_discovered_device_becomes_a_thing() {
    let server = Server::start().await;
    assert_eq!(server.send("PUT", "/api/v1/templates/tunnel-oven", &template()).await.status, 201);
    for name in ["oven-001", "oven-002", "press-1"] {
        server.telemetry(&format!("factory:{name}"), 1, "thermal", &[("setpoint", 195.0)]);
    }
    let first = server.read("/api/v1/devices/discovered?limit=2").await;
    insta::assert_json_snapshot!("discovered", first["items"][0]);
    let cursor = first["cursor"].as_str().expect("more");
    let second = server.read(&format!("/api/v1/devices/discovered?cursor={cursor}")).await;
    assert_eq!(second["items"][0]["thingId"], "factory:press-1");
    assert!(second.get("cursor").is_none());

    let accept = "/api/v1/devices/discovered/factory:oven-001/accept";
    let accepted = server
        .send("POST", accept, &json!({"template": "tunnel-oven", "attributes": {"line": "line-7"}}))
        .await;
    assert_eq!(accepted.status, 201, "{}", accepted.text);
    let thing = accepted.json();
    assert_eq!(thing["attributes"], json!({"type": "oven", "line": "line-7"}));
    assert_eq!(thing["features"]["thermal"]["properties"]["setpoint"], 195.0, "with what was heard");
    let unit = server.read("/api/v1/things/oven-001/_metadata/thermal/setpoint/unit").await;
    assert_eq!(unit, "°C", "the template's unit");
    server.send("POST", accept, &json!({})).await.problem("already-exists");
    server
        .send("POST", "/api/v1/devices/discovered/factory:none/accept", &json!({}))
        .await
        .problem("not-discovered");
    let unknown =
        server.send("POST", "/api/v1/devices/discovered/oven-002/accept", &json!({"template": "x"})).await;
    assert_eq!(unknown.problem("invalid-value")["errors"][0]["pointer"], "/template");

    let forget = "/api/v1/devices/discovered/press-1";
    assert_eq!(Answer::of(server.request("DELETE", forget)).await.status, 204);
    Answer::of(server.request("DELETE", forget)).await.problem("not-discovered");
}

#[tokio::test]
async fn a_device_gets_a_password_once() {
    let server = Server::start().await;
    let created = server.send("POST", "/api/v1/devices", &json!({"deviceId": "oven-001"})).await;
    assert_eq!((created.status, created.header("location")), (201, Some("/api/v1/devices/factory:oven-001")));
    server.send("POST", "/api/v1/devices", &json!({"deviceId": "oven-001"})).await.problem("already-exists");
    let credential = server.send("POST", "/api/v1/devices/oven-001/credentials", &json!({})).await;
    assert_eq!((credential.status, credential.header("cache-control")), (201, Some("no-store")));
    let credential = credential.json();
    assert_eq!(credential["username"], "factory:oven-001");
    let password = credential["password"].as_str().expect("a password");
    let key = egiz_store::DeviceKey::new("factory", "oven-001");
    assert!(server.store.authenticate_device(&key, password).await.expect("a check").is_some());
    let shown = server.read("/api/v1/devices/oven-001").await;
    assert_eq!(shown["hasCredential"], true);
    assert!(!shown.to_string().contains(password));
    assert_eq!(server.read("/api/v1/devices").await["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        Answer::of(server.request("DELETE", "/api/v1/devices/oven-001/credentials")).await.status,
        204
    );
    assert!(server.store.authenticate_device(&key, password).await.expect("a check").is_none());
    assert_eq!(Answer::of(server.request("DELETE", "/api/v1/devices/oven-001")).await.status, 204);
    Answer::of(server.request("DELETE", "/api/v1/devices/oven-001")).await.problem("entry-not-found");
}

#[tokio::test]
async fn templates_have_versions_and_name_every_fault() {
    let server = Server::start().await;
    let path = "/api/v1/templates/tunnel-oven";
    let put = |fields: &'static [(&'static str, &'static str)], body: Value| {
        let mut request = server.request("PUT", path).json(&body);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Answer::of(request)
    };
    assert_eq!(put(&[("if-match", "*")], template()).await.problem("if-match-failed")["status"], 412);
    let created = put(&[("if-none-match", "*")], template()).await;
    assert_eq!((created.status, created.header("etag")), (201, Some("\"rev:1@1706352600000000\"")));
    put(&[("if-none-match", "*")], template()).await.problem("if-none-match-failed");
    let read = Answer::of(server.get(path)).await;
    assert_eq!(read.json()["name"], "tunnel-oven");
    assert_eq!(Answer::of(server.get(path).header("if-none-match", "\"rev:1\"")).await.status, 304);
    let mut back = read.json();
    back["title"] = json!("Oven");
    assert_eq!(put(&[("if-match", "\"rev:1\"")], back).await.status, 204, "what was read can be put back");
    put(&[("if-match", "\"rev:1\"")], template()).await.problem("if-match-failed");
    let broken = json!({"definition": 7, "featurs": {}});
    let problem = put(&[], broken).await.problem("invalid-value");
    assert!(problem["errors"].as_array().is_some_and(|errors| errors.len() >= 2), "{problem}");
    assert_eq!(server.read("/api/v1/templates").await["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(Answer::of(server.request("DELETE", path)).await.status, 204);
    Answer::of(server.request("DELETE", path)).await.problem("entry-not-found");
    Answer::of(server.get(path)).await.problem("entry-not-found");
}

#[tokio::test]
async fn the_registry_moves_as_one_document() {
    let from = Server::start().await;
    from.send("PUT", "/api/v1/templates/tunnel-oven", &template()).await;
    from.send("POST", "/api/v1/devices", &json!({"deviceId": "oven-001"})).await;
    let mut document = from.read("/api/v1/registry/export").await;
    document["things"] = json!([{"thing_id": "factory:oven-001", "attributes": {"line": "line-1"}}]);

    let to = Server::start().await;
    let dry = to.send("POST", "/api/v1/registry/import?dryRun=true", &document).await.json();
    assert_eq!((&dry["applied"], dry["items"].as_array().map(Vec::len)), (&json!(false), Some(3)));
    Answer::of(to.get("/api/v1/templates/tunnel-oven")).await.problem("entry-not-found");
    let real = to.send("POST", "/api/v1/registry/import", &document).await.json();
    assert_eq!(
        (&real["applied"], &real["things"][0]["outcome"]),
        (&json!(true), &json!("created")),
        "{real}"
    );
    assert_eq!(to.read("/api/v1/things/oven-001/attributes/line").await, "line-1");
    let again = to.send("POST", "/api/v1/registry/import?onExisting=keep", &document).await.json();
    assert_eq!(again["things"][0]["outcome"], "kept");
    to.send("POST", "/api/v1/registry/import?onExisting=x", &document).await.problem("invalid-parameter");
    to.send("POST", "/api/v1/registry/import", &json!({"format": "other"})).await.problem("invalid-value");
}

#[tokio::test]
async fn refused_messages_can_be_looked_at() {
    let server = Server::start().await;
    let page = server.read("/api/v1/rejected?limit=3").await;
    assert_eq!(page["items"][0]["reason"], "the payload is not JSON");
    let cursor = page["cursor"].as_str().expect("more");
    let rest = server.read(&format!("/api/v1/rejected?limit=3&cursor={cursor}")).await;
    assert_eq!((rest["items"].as_array().map(Vec::len), rest.get("cursor")), (Some(2), None));
}

#[tokio::test]
async fn site_and_layout_are_shown() {
    let server = Server::with(|settings| settings.layout = Some("{\"floor\":[]}".into())).await;
    insta::assert_json_snapshot!("site", server.read("/api/v1/site").await);
    let layout = Answer::of(server.get("/api/v1/layout")).await;
    assert_eq!(layout.json(), json!({"floor": []}));
    let tag = layout.header("etag").expect("a tag");
    assert_eq!(Answer::of(server.get("/api/v1/layout").header("if-none-match", tag)).await.status, 304);
    Answer::of(Server::start().await.get("/api/v1/layout")).await.problem("entry-not-found");
}
