//! Bearer tokens and roles.

use egiz_server::{ApiToken, Role, ServerSettings};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::harness::{Answer, Server};

fn tokens(settings: &mut ServerSettings) {
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
