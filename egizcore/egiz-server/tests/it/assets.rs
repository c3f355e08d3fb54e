//! EgizVision's files, or the page in their place.

use crate::harness::{Answer, Server};

#[tokio::test]
async fn a_page_is_served_at_the_root_and_at_every_page_route() {
    let server = Server::start().await;
    let root = Answer::of(server.get("/")).await;
    assert_eq!((root.status, root.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(root.header("cache-control"), Some("no-cache"));
    let tag = root.header("etag").expect("a tag");
    assert_eq!(Answer::of(server.get("/").header("if-none-match", tag)).await.status, 304);
    assert_eq!(Answer::of(server.get("/things/factory:oven-001")).await.text, root.text);
    Answer::of(server.get("/missing.js")).await.problem("route-not-found");
    Answer::of(server.get("/../../Cargo.toml")).await.problem("route-not-found");
    Answer::of(server.get("/%2e%2e/%2e%2e/egiz-server/Cargo.toml")).await.problem("route-not-found");
    assert_eq!(Answer::of(server.request("HEAD", "/")).await.status, 200);
}

#[tokio::test]
async fn the_api_page_works_offline() {
    let server = Server::start().await;
    let page = Answer::of(server.get("/api/docs/")).await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains("https://"), "nothing is loaded from elsewhere");
    assert!(!page.text.contains("<script>"), "no inline script, which the policy would refuse");
    for part in page.text.split("src=\"./").skip(1) {
        let file = part.split('"').next().expect("a name");
        assert_eq!(Answer::of(server.get(&format!("/api/docs/{file}"))).await.status, 200, "{file}");
    }
    assert_eq!(server.read("/api/v1/openapi.json").await["openapi"], "3.1.0");
}
