//! The factory's layout: that of the configuration, and the one that was put over it.

use serde_json::json;

use crate::harness::{Answer, Server};

#[tokio::test]
async fn a_layout_is_put_kept_and_taken_back() {
    let server = Server::start().await;
    let path = "/api/v1/layout";
    Answer::of(server.get(path)).await.problem("entry-not-found");
    Answer::of(server.request("DELETE", path)).await.problem("entry-not-found");
    let put = async |fields: &[(&'static str, &str)], text: &'static str| {
        let request = server.request("PUT", path).header("content-type", "application/json").body(text);
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request).await
    };
    put(&[("if-match", "*")], "{}").await.problem("if-match-failed");
    let first = put(&[("if-none-match", "*")], "{ \"title\": \"A\" }").await;
    assert_eq!(first.status, 201);
    let tag = first.header("etag").expect("a tag").to_owned();
    let read = Answer::of(server.get(path)).await;
    assert_eq!((read.text.as_str(), read.header("etag")), ("{ \"title\": \"A\" }", Some(tag.as_str())));
    assert_eq!(Answer::of(server.get(path).header("if-none-match", &tag)).await.status, 304);

    put(&[("if-none-match", "*")], "{}").await.problem("if-none-match-failed");
    put(&[("if-match", "\"other\"")], "{}").await.problem("if-match-failed");
    put(&[("if-match", "other")], "{}").await.problem("malformed-entity-tag");
    assert_eq!(put(&[("if-match", &tag)], "{ \"title\": \"A\" }").await.status, 204, "the same again");
    assert_eq!(put(&[("if-match", &tag)], "{\"title\":\"B\"}").await.status, 204);
    put(&[("if-match", &tag)], "{\"title\":\"C\"}").await.problem("if-match-failed");
    let problem = put(&[], "{\"equipment\":[{\"thingId\":\"f:a\"}]}").await.problem("invalid-value");
    assert_eq!(problem["errors"][0]["pointer"], "/equipment/0/position/x");
    put(&[], "{").await.problem("malformed-json");
    assert_eq!(server.read(path).await, json!({"title": "B"}));

    assert_eq!(Answer::of(server.request("DELETE", path)).await.status, 204);
    Answer::of(server.get(path)).await.problem("entry-not-found");
    let trail = server.read("/api/v1/audit").await;
    let actions: Vec<_> =
        trail["items"].as_array().expect("entries").iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["layout.delete", "layout.put", "layout.put"]);
}

#[tokio::test]
async fn the_configured_layout_is_there_until_another_is_put() {
    let server = Server::with(|settings| settings.layout = Some("{\"title\":\"file\"}".into())).await;
    let path = "/api/v1/layout";
    let tag = Answer::of(server.get(path)).await.header("etag").expect("a tag").to_owned();
    let put = server.request("PUT", path).header("if-match", &tag).json(&json!({"title": "put"}));
    assert_eq!(Answer::of(put).await.status, 204);
    assert_eq!(server.read(path).await["title"], "put");
    assert_eq!(Answer::of(server.request("DELETE", path)).await.status, 204);
    assert_eq!(server.read(path).await["title"], "file");
}
