//! What nobody should send.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Answer, Server};

const THING: &str = "/api/v1/things/factory:oven-001";

async fn put(server: &Server, body: impl Into<reqwest::Body>) -> Answer {
    let request =
        server.request("PUT", &format!("{THING}/attributes/x")).header("content-type", "application/json");
    Answer::of(request.body(body)).await
}

#[tokio::test]
async fn odd_json_is_refused_with_its_place() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(put(&server, deep(33)).await.problem("json-too-deep")["limit"], 32);
    put(&server, deep(100_000)).await.problem("json-too-deep");
    put(&server, "{\"a\":".repeat(50_000)).await.problem("json-too-deep");
    assert_eq!(
        put(&server, "{\"a\":{\"b\":1,\"b\":2}}").await.problem("duplicate-key")["errors"][0]["pointer"],
        "/a/b"
    );
    put(&server, "NaN").await.problem("malformed-json");
    put(&server, "Infinity").await.problem("malformed-json");
    put(&server, "1e999").await.problem("malformed-json");
    put(&server, "").await.problem("malformed-json");
    put(&server, "{\"a\":1}}").await.problem("malformed-json");
    put(&server, &b"\"\xff\xfe\""[..]).await.problem("invalid-utf8");
    put(&server, &b"\"\\ud800\""[..]).await.problem("malformed-json");
    let problem = put(&server, "{\n  \"a\": tru\n}").await.problem("malformed-json");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.starts_with("line ")), "{problem}");
    assert_eq!(
        put(&server, "123456789012345678901234567890").await.status,
        201,
        "a large number is a number"
    );
    assert_eq!(put(&server, "-1e308").await.status, 204);
    assert_eq!(server.read(&format!("{THING}/attributes/x")).await, -1e308);
}

#[tokio::test]
async fn odd_names_are_refused_or_kept_as_they_are() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    for id in ["a%20b", "a%2Fb", "factory:", ":x", "x%00", "%22", "a:b%23"] {
        let answer = server.send("PUT", &format!("/api/v1/things/{id}"), &serde_json::json!({})).await;
        answer.problem("invalid-thing-id");
    }
    server
        .send("PUT", &format!("{THING}/attributes/%ff"), &serde_json::json!(1))
        .await
        .problem("invalid-utf8");
    server
        .send("PUT", &format!("{THING}/features/_x"), &serde_json::json!({}))
        .await
        .problem("invalid-value");
    for name in ["%C2%B0C", "..", "%2e%2e", "a;b=c", "__proto__"] {
        let path = format!("{THING}/attributes/{name}");
        let put = server.send("PUT", &path, &serde_json::json!("kept")).await;
        // A client may fold dots away before it sends them.
        if put.status == 201 && !name.contains('.') && !name.contains("2e") {
            assert_eq!(server.read(&path).await, "kept");
        }
    }
}

/// Sends bytes as they are and reads what comes until the server closes.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let address = server.base.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    // The server may close while we are still writing.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(5), reading).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn broken_http_is_answered_and_the_server_goes_on() {
    let server = Server::start().await;
    let refused = |answer: &str| answer.is_empty() || answer.starts_with("HTTP/1.1 4");
    for bytes in [&b"\x00\x01\x02garbage\r\n\r\n"[..], b"GET /api/v1/things HTTP/9.9\r\n\r\n", b"GET\r\n\r\n"]
    {
        let answer = raw(&server, bytes).await;
        assert!(refused(&answer), "{answer}");
    }
    let broken_off =
        b"PUT /api/v1/things/factory:a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\nnot-a-length\r\n{}\r\n0\r\n\r\n";
    let answer = raw(&server, broken_off).await;
    assert!(answer.contains("\"code\":\"malformed-request\"") || refused(&answer), "{answer}");
    let many = "X-A: b\r\n".repeat(5_000);
    let answer = raw(&server, format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let smuggled = b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\
        Connection: close\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = raw(&server, smuggled).await;
    assert!(answer.matches("HTTP/1.1 ").count() <= 1, "one answer at most: {answer}");
    let encoded =
        b"PUT /api/v1/things/factory:a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Content-Length: 99999999999999999999\r\nConnection: close\r\n\r\n{}";
    assert!(!raw(&server, encoded).await.starts_with("HTTP/1.1 2"));
    assert_eq!(Answer::of(server.get("/api/v1/things")).await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = Server::with(|settings| settings.request_timeout_ms = 200).await;
    let head =
        b"PUT /api/v1/things/factory:a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Content-Length: 10\r\nConnection: close\r\n\r\n{";
    let answer = raw(&server, head).await;
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("\"code\":\"request-timeout\""),
        "{answer}"
    );
}

#[tokio::test]
async fn an_import_that_pauses_frees_its_place() {
    let server = Server::with(|settings| {
        settings.stream_pause_ms = 200;
        settings.concurrent_streams_max = 1;
    })
    .await;
    let head =
        b"POST /api/v1/things/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
        Content-Length: 100\r\nConnection: close\r\n\r\n{\"thingId\":\"factory:a\"}\n{";
    let import = server.request("POST", "/api/v1/things/import").body("{}\n");
    let (stalled, other) = tokio::join!(raw(&server, head), async {
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        Answer::of(import).await
    });
    other.problem("overloaded");
    assert!(stalled.contains("\"created\"") && stalled.contains("\"code\":\"request-timeout\""), "{stalled}");
    assert!(stalled.contains("\"complete\":false"), "{stalled}");
    let later =
        Answer::of(server.request("POST", "/api/v1/things/import").body("{\"thingId\":\"b\"}\n")).await;
    assert_eq!(later.status, 200, "{}", later.text);
}

#[tokio::test]
async fn costly_questions_are_bounded() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let nested = format!("{}eq(a,1){}", "not(".repeat(1_000), ")".repeat(1_000));
    server
        .send("POST", "/api/v1/query", &serde_json::json!({"filter": nested}))
        .await
        .problem("malformed-filter");
    let wide = format!("or({})", vec!["eq(attributes/a,1)"; 2_000].join(","));
    server
        .send("POST", "/api/v1/query", &serde_json::json!({"filter": wide}))
        .await
        .problem("malformed-filter");
    let names: serde_json::Map<String, serde_json::Value> =
        (0..2_000).map(|number| (format!("a{number}"), number.into())).collect();
    server
        .send("POST", "/api/v1/query", &serde_json::json!({"filter": names}))
        .await
        .problem("malformed-filter");
    let stars = format!("like(attributes/name,\"{}x\")", "*a".repeat(200));
    let answer = server.send("POST", "/api/v1/query", &serde_json::json!({"filter": stars})).await;
    assert!([200, 400].contains(&answer.status));
    server
        .send("POST", "/api/v1/query", &serde_json::json!({"sort": "a,b,c,d,e"}))
        .await
        .problem("invalid-parameter");
}
