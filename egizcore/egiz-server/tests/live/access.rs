//! Who may listen: tokens, tickets for browsers, and what happens to a listener whose token is revoked.

use std::time::Duration;

use egiz_server::live::HubSettings;
use egiz_server::{Anonymous, ApiToken, Role, ServerSettings};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::Server;

async fn guarded() -> Server {
    let token =
        |name: &str, role| ApiToken { name: name.to_owned(), sha256: Sha256::digest(name).into(), role };
    let settings = ServerSettings {
        anonymous: Anonymous::Never,
        tokens: vec![token("view", Role::Viewer), token("admin", Role::Admin)],
        ..ServerSettings::default()
    };
    let server = Server::with_both(HubSettings::default(), settings).await;
    server.silo("factory:a", 1);
    server
}

async fn ticket(server: &Server, token: &str) -> String {
    let answer = reqwest::Client::new()
        .post(format!("http://{}/api/v1/tickets", server.address))
        .bearer_auth(token)
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["cache-control"]),
        (201, &"no-store".parse().expect("a value"))
    );
    let body: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    assert_eq!(body["expiresInS"], 30);
    body["ticket"].as_str().expect("a text").to_owned()
}

async fn status(server: &Server, path: &str) -> u16 {
    reqwest::get(format!("http://{}/api/v1{path}", server.address))
        .await
        .expect("an answer")
        .status()
        .as_u16()
}

#[tokio::test]
async fn a_ticket_opens_a_live_route_once_and_nothing_else() {
    let server = guarded().await;
    for path in ["/events", "/things/a/events"] {
        assert_eq!(status(&server, path).await, 401);
        let ticket = ticket(&server, "view").await;
        assert_eq!(status(&server, &format!("/things?ticket={ticket}")).await, 401, "REST takes none");
        assert_eq!(status(&server, &format!("{path}?ticket={ticket}")).await, 200);
        assert_eq!(status(&server, &format!("{path}?ticket={ticket}")).await, 401, "used");
    }
    assert_eq!(status(&server, "/events?ticket=made-up").await, 401);
    let anonymous = reqwest::Client::new().post(format!("http://{}/api/v1/tickets", server.address));
    assert_eq!(anonymous.send().await.expect("an answer").status(), 401);
}

#[tokio::test]
async fn a_ticket_carries_the_rights_of_its_token() {
    let server = guarded().await;
    for (token, ok) in [("view", false), ("admin", true)] {
        let ticket = ticket(&server, token).await;
        let mut client =
            server.client_at(&format!("/api/v1/ws?ticket={ticket}"), &[]).await.expect("it upgrades");
        let put = json!({"id": 1, "action": "put", "thingId": "a", "path": "/attributes/x", "value": 1});
        client.say(&put).await;
        assert_eq!(client.next().await["ok"], ok, "{token}");
    }
}

#[tokio::test]
async fn a_browser_may_offer_its_token_as_a_subprotocol() {
    let server = guarded().await;
    let offered = |list: &'static str| [("sec-websocket-protocol", list)];
    let mut client = server
        .client_at("/api/v1/ws", &offered("openegiz.v1, openegiz.bearer.view"))
        .await
        .expect("it upgrades");
    client.subscribe(json!({})).await;
    assert!(server.client_at("/api/v1/ws", &offered("openegiz.v1, openegiz.bearer.eve")).await.is_err());
}

#[tokio::test]
async fn a_listener_ends_with_its_token() {
    let server = guarded().await;
    let author = egiz_store::Author::new("test", egiz_model::Timestamp::from_micros(0));
    let token =
        server.store.create_api_token("tablet", egiz_store::Role::Viewer, &author).await.expect("made");
    let bearer = format!("Bearer {}", token.expose());
    let mut client =
        server.client_at("/api/v1/ws", &[("authorization", &bearer)]).await.expect("it upgrades");
    client.subscribe(json!({"snapshot": false})).await;
    let mut stream = reqwest::Client::new()
        .get(format!("http://{}/api/v1/events", server.address))
        .header("authorization", &bearer)
        .send()
        .await
        .expect("an answer");
    let unused = ticket(&server, token.expose()).await;

    server.store.delete_api_token("tablet", &author).await.expect("there");
    assert_eq!(client.next().await, json!({"close": 1008}));
    let to_its_end = async { while let Ok(Some(_)) = stream.chunk().await {} };
    tokio::time::timeout(Duration::from_secs(20), to_its_end).await.expect("it ends");
    assert_eq!(status(&server, &format!("/events?ticket={unused}")).await, 401);
}
