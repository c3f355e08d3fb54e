//! Bearer tokens and roles.

use std::time::Duration;

use egiz_server::{Anonymous, ApiToken, Role, ServerSettings};
use futures::StreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{Answer, Server};

fn tokens(settings: &mut ServerSettings) {
    settings.anonymous = Anonymous::Never;
    for (name, role) in [("view", Role::Viewer), ("operate", Role::Operator), ("admin", Role::Admin)] {
        settings.tokens.push(ApiToken { name: name.to_owned(), sha256: Sha256::digest(name).into(), role });
    }
}

#[tokio::test]
async fn a_role_opens_its_routes() {
    let server = Server::with(tokens).await;
    let table = [
        ("GET", "/api/v1/things", 200, 200, 200),
        ("PUT", "/api/v1/things/a", 403, 201, 204),
        ("POST", "/api/v1/query", 200, 200, 200),
        ("POST", "/api/v1/things/bulk", 403, 403, 400),
        ("PUT", "/api/v1/templates/x", 403, 403, 400),
        ("GET", "/api/v1/registry/export", 403, 403, 200),
        ("GET", "/api/v1/tokens", 403, 403, 200),
        ("GET", "/api/v1/audit", 403, 403, 200),
        ("GET", "/api/v1/backups", 403, 403, 404),
        ("POST", "/api/v1/backups", 403, 403, 404),
        ("PUT", "/api/v1/layout", 403, 403, 201),
        ("GET", "/metrics", 200, 200, 200),
        ("GET", "/health", 200, 200, 200),
    ];
    for (method, path, view, operate, admin) in table {
        for (token, wanted) in [("view", view), ("operate", operate), ("admin", admin)] {
            let answer = Answer::of(server.request(method, path).bearer_auth(token).json(&json!({}))).await;
            assert_eq!(answer.status, wanted, "{method} {path} as {token}: {}", answer.text);
            if wanted == 403 {
                answer.problem("forbidden");
            }
        }
        for request in [server.request(method, path), server.request(method, path).bearer_auth("eve")] {
            let answer = Answer::of(request.json(&json!({}))).await;
            answer.problem("unauthenticated");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"openegiz\""));
        }
    }
    for path in ["/health/live", "/health/ready", "/", "/api/docs/"] {
        assert_eq!(Answer::of(server.get(path)).await.status, 200, "{path}");
    }
    let other_host = server.get("/api/v1/things").bearer_auth("view").header("host", "egiz.example");
    assert_eq!(Answer::of(other_host).await.status, 200, "a token cannot be had by rebinding");
}

#[tokio::test]
async fn a_cursor_belongs_to_its_user() {
    let server = Server::with(tokens).await;
    for name in ["a", "b", "c"] {
        let put = server.request("PUT", &format!("/api/v1/things/{name}")).bearer_auth("admin");
        assert_eq!(Answer::of(put.json(&json!({}))).await.status, 201);
    }
    let page = Answer::of(server.get("/api/v1/things?limit=1").bearer_auth("view")).await.json();
    let path = format!("/api/v1/things?limit=1&cursor={}", page["cursor"].as_str().expect("a cursor"));
    assert_eq!(Answer::of(server.get(&path).bearer_auth("view")).await.status, 200);
    Answer::of(server.get(&path).bearer_auth("admin")).await.problem("invalid-cursor");
}

#[tokio::test]
async fn a_token_is_made_shown_once_switched_off_and_deleted() {
    let server = Server::start().await;
    let made = server.send("POST", "/api/v1/tokens", &json!({"name": "grafana", "role": "viewer"})).await;
    assert_eq!((made.status, made.header("location")), (201, Some("/api/v1/tokens/grafana")), "{made:?}");
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let token = made.json()["token"].as_str().expect("its text").to_owned();
    let with_token = || server.get("/api/v1/things").bearer_auth(&token);
    assert_eq!(Answer::of(with_token()).await.status, 200);
    let change = server.request("PUT", "/api/v1/things/a").bearer_auth(&token).json(&json!({}));
    Answer::of(change).await.problem("forbidden");

    let again = server.send("POST", "/api/v1/tokens", &json!({"name": "grafana", "role": "admin"})).await;
    again.problem("already-exists");
    for (body, place) in [
        (json!({"name": "api", "role": "viewer"}), "/name"),
        (json!({"name": "a b", "role": "viewer"}), "/name"),
        (json!({"name": "x", "role": "king"}), "/role"),
        (json!({"name": "x"}), "/role"),
        (json!({"name": "x", "role": "viewer", "rôle": 1}), "/rôle"),
        (json!([]), ""),
    ] {
        let problem = server.send("POST", "/api/v1/tokens", &body).await.problem("invalid-value");
        assert_eq!(problem["errors"][0]["pointer"], place, "{problem}");
    }
    let listed = server.read("/api/v1/tokens").await;
    assert_eq!(listed["items"][0]["name"], "grafana");
    assert!(!listed.to_string().contains(&token) && listed["items"][0].get("token").is_none());

    let switch = async |enabled: bool| {
        server.send("PATCH", "/api/v1/tokens/grafana", &json!({"enabled": enabled})).await.status
    };
    assert_eq!(switch(false).await, 204);
    let refused = Answer::of(with_token()).await;
    refused.problem("unauthenticated");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"openegiz\""));
    assert_eq!(server.read("/api/v1/tokens/grafana").await["enabled"], false);
    assert_eq!(switch(true).await, 204);
    assert_eq!(Answer::of(with_token()).await.status, 200);
    assert_eq!(Answer::of(server.request("DELETE", "/api/v1/tokens/grafana")).await.status, 204);
    Answer::of(with_token()).await.problem("unauthenticated");
    Answer::of(server.request("DELETE", "/api/v1/tokens/grafana")).await.problem("entry-not-found");
    let as_text = server.request("PATCH", "/api/v1/tokens/grafana").header("content-type", "text/plain");
    let refused = Answer::of(as_text.body("x")).await;
    refused.problem("unsupported-media-type");
    assert_eq!(refused.header("accept-patch"), Some("application/merge-patch+json, application/json"));

    let trail = server.read("/api/v1/audit?limit=2").await;
    assert_eq!(trail["items"][0]["action"], "api_token.delete");
    assert_eq!(trail["items"][0]["principal"], "anonymous");
    let path = format!("/api/v1/audit?cursor={}", trail["cursor"].as_str().expect("there is more"));
    let rest = server.read(&path).await;
    assert_eq!(
        rest["items"].as_array().and_then(|items| items.last()).expect("more")["action"],
        "api_token.create"
    );
    assert!(!(trail.to_string() + &rest.to_string()).contains(&token));
}

#[tokio::test]
async fn what_a_token_has_opened_ends_with_it() {
    let server = Server::with(tokens).await;
    let make = server.request("POST", "/api/v1/tokens").bearer_auth("admin");
    let made = Answer::of(make.json(&json!({"name": "screen", "role": "viewer"}))).await;
    let token = made.json()["token"].as_str().expect("its text").to_owned();

    let address = server.base.replace("http://", "ws://") + "/api/v1/ws";
    let mut request = address.as_str().into_client_request().expect("a request");
    let offered = format!("openegiz.v1, openegiz.bearer.{token}");
    request.headers_mut().insert("sec-websocket-protocol", offered.parse().expect("a value"));
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("let in");
    let stream = server.get("/api/v1/events").bearer_auth(&token).send().await.expect("an answer");
    assert_eq!(stream.status(), 200);
    let other = server.get("/api/v1/events").bearer_auth("view").send().await.expect("an answer");

    let delete = server.request("DELETE", "/api/v1/tokens/screen").bearer_auth("admin");
    assert_eq!(Answer::of(delete).await.status, 204);
    let patience = Duration::from_secs(20);
    let closed = tokio::time::timeout(patience, async {
        loop {
            if let Message::Close(frame) = socket.next().await.expect("a frame").expect("whole") {
                break frame.expect("a reason");
            }
        }
    });
    let closed = closed.await.expect("closed soon");
    assert_eq!((u16::from(closed.code), closed.reason.as_str()), (1008, "token-revoked"));
    let ended = tokio::time::timeout(patience, stream.text()).await.expect("it ends");
    assert!(ended.is_ok(), "in order");
    assert!(tokio::time::timeout(Duration::from_millis(100), other.text()).await.is_err(), "others go on");
}
