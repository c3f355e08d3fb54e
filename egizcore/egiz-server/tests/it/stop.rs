//! How the server ends.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::harness::Server;

#[tokio::test]
async fn an_answer_under_way_is_finished_and_nothing_new_is_taken() {
    let server = Server::start().await;
    server.gate.delay_ms.store(100, Ordering::Relaxed);
    let body = json!({});
    let slow = server.send("PUT", "/api/v1/things/factory:oven-001", &body);
    let stop = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        server.stop();
    };
    let (slow, ()) = tokio::join!(slow, stop);
    assert_eq!(slow.status, 201);
    let fresh = reqwest::Client::builder().no_proxy().build().expect("a client");
    assert!(fresh.get(format!("{}/health/live", server.base)).send().await.is_err());
}

#[tokio::test]
async fn a_server_with_all_connections_taken_still_stops() {
    let server = Server::within_connections(1).await;
    let address = server.base.trim_start_matches("http://").to_owned();
    let _held = tokio::net::TcpStream::connect(&address).await.expect("a connection");
    tokio::time::sleep(Duration::from_millis(30)).await;
    server.stop();
    tokio::time::timeout(Duration::from_secs(10), server.ended()).await.expect("it ends");
}
