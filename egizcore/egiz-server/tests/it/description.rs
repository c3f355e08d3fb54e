//! The committed documents are those of the program: OpenAPI, and the user's guide with its examples.

use std::collections::BTreeSet;

use reqwest::header::{HeaderName, HeaderValue};
use serde_json::json;

use crate::harness::{Answer, Server, oven};

const OPENAPI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api/openapi.json");
const GUIDE: &str = include_str!("../../../../docs/api/rest.md");

/// Run with `EGIZ_BLESS=1` after a change of the API.
#[test]
fn the_committed_description_is_fresh() {
    let mut fresh = egiz_server::document().to_pretty_json().expect("the description is JSON");
    fresh.push('\n');
    if std::env::var_os("EGIZ_BLESS").is_some() {
        std::fs::write(OPENAPI, &fresh).expect("docs/api/openapi.json can be written");
    }
    let committed = std::fs::read_to_string(OPENAPI).unwrap_or_default();
    assert!(
        committed == fresh,
        "docs/api/openapi.json is out of date: run the tests of egiz-server with EGIZ_BLESS=1"
    );
}

/// With the table in `docs.rs`, which goes the other way, no route is undocumented and no documentation without a route.
#[tokio::test]
async fn what_is_described_is_served_with_the_same_methods() {
    let server = Server::start().await;
    let document: serde_json::Value =
        serde_json::from_str(&egiz_server::document().to_json().expect("JSON")).expect("JSON");
    for (path, item) in document["paths"].as_object().expect("paths") {
        let concrete = path
            .replace("{thingId}", "factory:oven-001")
            .replace("{deviceId}", "factory:oven-001")
            .replace("{name}", "tunnel-oven")
            .replace("{path}", "attributes/line");
        let allowed = Answer::of(server.request("OPTIONS", &concrete)).await;
        let allow = allowed.header("allow").unwrap_or_else(|| panic!("{path} is not served: {allowed:?}"));
        let served: BTreeSet<&str> =
            allow.split(',').filter(|method| !["HEAD", "OPTIONS"].contains(method)).collect();
        let described: BTreeSet<String> =
            item.as_object().expect("an item").keys().map(|key| key.to_uppercase()).collect();
        assert_eq!(served, described.iter().map(String::as_str).collect(), "{path}");
    }
}

/// Every `curl` of the guide is sent, in order, and answered with the status that the line before it names.
#[tokio::test]
async fn the_guides_examples_work() {
    let server = Server::with_history(|settings| settings.layout = Some("{}".into())).await;
    for minute in -60..0 {
        let values = [("thermal", "zone", json!(195.5)), ("machine", "state", json!("running"))];
        server.past().say("factory:oven-001", minute * 60_000_000, &values);
    }
    server.put_oven("factory:mixer-001").await;
    server.telemetry("factory:oven-002", 1, "thermal", &[("setpoint", 195.0)]);
    let mut sent = 0;
    let mut cursor = String::new();
    for block in GUIDE.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default().replace("\\\n", " ");
        let mut wanted = None;
        for line in block.lines().map(str::trim) {
            if let Some(status) = line.strip_prefix("# → ") {
                wanted = status.split_whitespace().next().and_then(|status| status.parse::<u16>().ok());
            } else if line.starts_with("curl ") {
                let wanted = wanted.take().unwrap_or_else(|| panic!("no status before {line}"));
                let answer = curl(&server, &line.replace("$CURSOR", &cursor)).await;
                assert_eq!(answer.status, wanted, "{line}: {}", answer.text);
                if let Some(next) = serde_json::from_str::<serde_json::Value>(&answer.text)
                    .ok()
                    .and_then(|json| json.get("cursor")?.as_str().map(str::to_owned))
                {
                    cursor = next;
                }
                sent += 1;
            }
        }
    }
    assert!(sent >= 25, "only {sent} examples were found");
}

/// Does what curl would with the options that the guide uses.
async fn curl(server: &Server, line: &str) -> Answer {
    let mut words = words(line).into_iter().skip(1);
    let (mut method, mut url, mut body) = (None, String::new(), None);
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    let mut query = Vec::new();
    let mut get = false;
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} lacks its value in {line}"));
        match word.as_str() {
            "-X" => method = Some(value()),
            "-H" => {
                let text = value();
                let (name, value) = text.split_once(": ").expect("a header");
                headers.push((name.to_lowercase().parse().expect("a name"), value.parse().expect("a value")));
            }
            "-d" | "--data-binary" => body = Some(value().replace("\\n", "\n")),
            "--data-urlencode" => query.push(value()),
            "-G" => get = true,
            "-I" => method = Some("HEAD".to_owned()),
            "-s" | "-i" | "-N" => {}
            text => url = text.to_owned(),
        }
    }
    let path = url
        .strip_prefix("http://localhost:8080")
        .unwrap_or_else(|| panic!("another host in {line}"))
        .to_owned();
    let method = method.unwrap_or_else(|| if body.is_some() && !get { "POST" } else { "GET" }.to_owned());
    let mut request = server.request(&method, &path);
    let pairs: Vec<(&str, &str)> = query.iter().filter_map(|pair| pair.split_once('=')).collect();
    if !pairs.is_empty() {
        let mut url = reqwest::Url::parse(&format!("{}{path}", server.base)).expect("a URL");
        url.query_pairs_mut().extend_pairs(pairs);
        request = server.client.get(url);
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if let Some(body) = body {
        request = request.body(body);
    }
    Answer::of(request).await
}

/// Splits a line as a shell does, with quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[tokio::test]
async fn the_examples_thing_is_in_the_documented_form() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let thing: egiz_api::Thing =
        serde_json::from_value(server.read("/api/v1/things/oven-001?metadata=true").await)
            .expect("the documented form");
    assert_eq!(serde_json::to_value(&thing.attributes).expect("JSON"), oven()["attributes"]);
}
