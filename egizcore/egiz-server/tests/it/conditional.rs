//! Conditional requests (RFC 9110 §13, RFC 6585), row by row.

use crate::harness::{Answer, Server, oven};
use serde_json::{Value, json};

const THING: &str = "/api/v1/things/factory:oven-001";
/// Stands for the tag of the oven that the request goes to.
const OWN: &str = "\"own\"";

/// Method, whether the Thing is there, header fields, the status wanted.
type Row<'r> = (&'r str, bool, &'r [(&'r str, &'r str)], u16);
/// Method, header fields, the status wanted.
type PartRow<'r> = (&'r str, &'r [(&'r str, &'r str)], u16);

/// Sends one conditional request to a fresh oven at revision 1, or to nothing.
async fn status(server: &Server, exists: bool, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    server.request("DELETE", THING).send().await.expect("an answer");
    let mut own = OWN.to_owned();
    if exists {
        let created = server.put_oven("factory:oven-001").await;
        assert_eq!(created.status, 201);
        created.header("etag").expect("a tag").clone_into(&mut own);
    }
    let mut request = server.request(method, &format!("{THING}{path}"));
    for (name, value) in fields {
        request = request.header(*name, value.replace(OWN, &own));
    }
    let body = match (method, path) {
        ("PUT", "") => Some(json!({"attributes": {"line": "line-2"}})),
        ("PUT", _) => Some(json!("line-2")),
        ("PATCH", "") => Some(json!({"attributes": {"line": "line-2"}})),
        _ => None,
    };
    if let Some(body) = body {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        request = request.header("content-type", kind).body(body.to_string());
    }
    Answer::of(request).await
}

#[tokio::test]
async fn every_precondition_is_decided_as_the_standard_says() {
    let server = Server::start().await;
    let own = OWN;
    let part = own;
    let weak = format!("W/{own}");
    let both = format!("\"rev:99\", {own}");
    let other = "\"rev:99\"";
    let (im, inm) = ("if-match", "if-none-match");
    let table: &[Row<'_>] = &[
        ("GET", true, &[], 200),
        ("GET", true, &[(im, own)], 200),
        ("GET", true, &[(im, &both)], 200),
        ("GET", true, &[(im, "*")], 200),
        ("GET", true, &[(im, other)], 412),
        ("GET", true, &[(im, &weak)], 412),
        ("GET", true, &[(inm, own)], 304),
        ("GET", true, &[(inm, &weak)], 304),
        ("GET", true, &[(inm, &both)], 304),
        ("GET", true, &[(inm, "*")], 304),
        ("GET", true, &[(inm, other)], 200),
        ("GET", true, &[(im, own), (inm, own)], 304),
        ("GET", true, &[(im, own), (inm, other)], 200),
        ("GET", true, &[(im, other), (inm, own)], 412),
        ("GET", true, &[(im, "rev:1")], 400),
        ("GET", true, &[(inm, "\"rev:1")], 400),
        ("GET", false, &[], 404),
        ("GET", false, &[(im, "*")], 404),
        ("GET", false, &[(im, own)], 404),
        ("GET", false, &[(inm, "*")], 404),
        ("HEAD", true, &[], 200),
        ("HEAD", true, &[(inm, own)], 304),
        ("HEAD", true, &[(im, other)], 412),
        ("HEAD", false, &[(im, "*")], 404),
        ("PUT", true, &[], 204),
        ("PUT", true, &[(im, own)], 204),
        ("PUT", true, &[(im, &both)], 204),
        ("PUT", true, &[(im, "*")], 204),
        ("PUT", true, &[(im, other)], 412),
        ("PUT", true, &[(im, &weak)], 412),
        ("PUT", true, &[(inm, "*")], 412),
        ("PUT", true, &[(inm, own)], 412),
        ("PUT", true, &[(inm, &weak)], 412),
        ("PUT", true, &[(inm, other)], 204),
        ("PUT", true, &[(im, own), (inm, other)], 204),
        ("PUT", true, &[(im, own), (inm, own)], 412),
        ("PUT", true, &[(im, "rev")], 400),
        ("PUT", true, &[(inm, "'a'")], 400),
        ("PUT", false, &[], 201),
        ("PUT", false, &[(im, "*")], 412),
        ("PUT", false, &[(im, own)], 412),
        ("PUT", false, &[(inm, "*")], 201),
        ("PUT", false, &[(inm, own)], 201),
        ("PATCH", true, &[], 204),
        ("PATCH", true, &[(im, own)], 204),
        ("PATCH", true, &[(im, other)], 412),
        ("PATCH", true, &[(inm, "*")], 412),
        ("PATCH", true, &[(im, "\"")], 400),
        ("PATCH", false, &[], 201),
        ("PATCH", false, &[(im, "*")], 412),
        ("PATCH", false, &[(inm, "*")], 201),
        ("DELETE", true, &[], 204),
        ("DELETE", true, &[(im, own)], 204),
        ("DELETE", true, &[(im, "*")], 204),
        ("DELETE", true, &[(im, other)], 412),
        ("DELETE", true, &[(im, &weak)], 412),
        ("DELETE", true, &[(inm, "*")], 412),
        ("DELETE", true, &[(inm, other)], 204),
        ("DELETE", false, &[], 404),
        ("DELETE", false, &[(im, "*")], 404),
        ("DELETE", false, &[(im, own)], 404),
    ];
    for (method, exists, fields, wanted) in table {
        let answer = status(&server, *exists, method, "", fields).await;
        assert_eq!(answer.status, *wanted, "{method} exists={exists} {fields:?}: {}", answer.text);
        if answer.status == 400 {
            answer.problem("malformed-entity-tag");
        }
        if answer.status == 304 {
            assert!(answer.header("etag").is_some_and(|tag| tag.starts_with("\"rev:1@")));
            assert!(answer.text.is_empty());
        }
    }
    // The same holds for a part.
    let rows: &[PartRow<'_>] = &[
        ("GET", &[(im, part)], 200),
        ("GET", &[(inm, part)], 304),
        ("GET", &[(im, other)], 412),
        ("PUT", &[(im, part)], 204),
        ("PUT", &[(im, other)], 412),
        ("PUT", &[(inm, "*")], 412),
        ("DELETE", &[(im, other)], 412),
        ("DELETE", &[(im, part)], 204),
    ];
    for (method, fields, wanted) in rows {
        let answer = status(&server, true, method, "/attributes/line", fields).await;
        assert_eq!(answer.status, *wanted, "{method} part {fields:?}: {}", answer.text);
    }
    let rows: &[PartRow<'_>] = &[
        ("GET", &[(inm, "*")], 404),
        ("PUT", &[(im, "*")], 412),
        ("PUT", &[(inm, "*")], 201),
        ("PUT", &[], 201),
        ("DELETE", &[(im, "*")], 404),
    ];
    for (method, fields, wanted) in rows {
        let answer = status(&server, true, method, "/attributes/colour", fields).await;
        assert_eq!(answer.status, *wanted, "{method} missing part {fields:?}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_part_keeps_its_tag_while_others_change() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let tag = |path: &'static str| {
        let request = server.get(&format!("{THING}{path}"));
        async move { Answer::of(request).await.header("etag").map(str::to_owned) }
    };
    let before = (tag("").await, tag("/attributes/line").await, tag("/features/thermal").await);
    server.send("PUT", &format!("{THING}/features/thermal/properties/setpoint"), &json!(200)).await;
    assert_ne!(tag("").await, before.0);
    assert_eq!(tag("/attributes/line").await, before.1);
    assert_ne!(tag("/features/thermal").await, before.2);
}

#[tokio::test]
async fn failed_conditions_have_codes_of_their_own_and_name_the_revision() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let put = |fields: &'static [(&'static str, &'static str)]| {
        let mut request = server.request("PUT", &format!("{THING}/attributes/line")).json(&json!("line-2"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Answer::of(request)
    };
    let wrong = "eq(attributes/type,\"mixer\")";
    assert_eq!(put(&[("if-match", "\"rev:99\"")]).await.problem("if-match-failed")["revision"], 1);
    assert_eq!(put(&[("if-none-match", "*")]).await.problem("if-none-match-failed")["revision"], 1);
    put(&[("condition", "eq(attributes/type,\"mixer\")")]).await.problem("condition-failed");
    // Entity tags come first.
    put(&[("if-match", "\"rev:99\""), ("condition", "eq(attributes/type,\"mixer\")")])
        .await
        .problem("if-match-failed");
    put(&[("condition", "eq(attributes/type")]).await.problem("malformed-filter");
    assert_eq!(put(&[("condition", "eq(attributes/type,\"oven\")")]).await.status, 204);
    let query = format!("{THING}/attributes/line?condition={}", wrong.replace('"', "%22"));
    server.send("PUT", &query, &json!("line-3")).await.problem("condition-failed");
}

#[tokio::test]
async fn a_read_can_be_conditional_on_the_state_too() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let get = async |condition: &str| {
        let part = server.get(&format!("{THING}/features/thermal"));
        Answer::of(part.header("condition", condition)).await
    };
    assert_eq!(get("eq(attributes/type,\"oven\")").await.status, 200);
    get("eq(attributes/type,\"mixer\")").await.problem("condition-failed");
    let problem = get("eq(attributes/type").await.problem("malformed-filter");
    assert_eq!(problem["errors"][0]["parameter"], "condition");
    let path = format!("{THING}?condition=eq(attributes/type,%22mixer%22)");
    Answer::of(server.get(&path)).await.problem("condition-failed");
    let same = server.get(&path).header("if-none-match", "*");
    assert_eq!(Answer::of(same).await.status, 304, "the tags come first");
}

#[tokio::test]
async fn a_tag_does_not_hold_for_a_thing_that_was_made_again() {
    let server = Server::start().await;
    let tag = server.put_oven("factory:oven-001").await.header("etag").expect("a tag").to_owned();
    assert_eq!(Answer::of(server.get(THING).header("if-none-match", &tag)).await.status, 304);
    assert_eq!(Answer::of(server.request("DELETE", THING)).await.status, 204);
    let again = server.put_oven("factory:oven-001").await;
    assert_eq!((again.header("egiz-revision"), again.header("etag")), (Some("1"), Some("\"rev:1@2\"")));
    assert_eq!(Answer::of(server.get(THING).header("if-none-match", &tag)).await.status, 200);
    let put = server.request("PUT", THING).header("if-match", &tag).json(&json!({}));
    assert_eq!(Answer::of(put).await.problem("if-match-failed")["revision"], 1);
    let short = server.request("PUT", THING).header("if-match", "\"rev:1\"").json(&json!({}));
    assert_eq!(Answer::of(short).await.status, 204, "a person may leave the offset out");
}

#[tokio::test]
async fn writing_what_is_there_makes_no_revision() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let again = server.put_oven("factory:oven-001").await;
    assert_eq!(
        (again.status, again.header("egiz-revision"), again.header("etag")),
        (204, Some("1"), Some("\"rev:1@0\""))
    );
    let skip = server.request("PUT", THING).header("if-equal", "skip").json(&oven());
    assert_eq!(Answer::of(skip).await.problem("unchanged")["revision"], 1);
    let minimising = server.request("PUT", THING).header("if-equal", "skip-minimizing-merge").json(&oven());
    assert_eq!(Answer::of(minimising).await.status, 204);
    let unknown = server.request("PUT", THING).header("if-equal", "maybe").json(&oven());
    Answer::of(unknown).await.problem("invalid-parameter");
    let thing: Value = server.read(THING).await;
    assert_eq!(thing["_revision"], 1);
}

#[tokio::test]
async fn a_condition_that_is_said_twice_or_is_empty_is_refused_and_never_passed_over() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let (holds, other) = ("eq(attributes/type,%22oven%22)", "eq(attributes/type,\"mixer\")");
    for method in ["GET", "PUT"] {
        let request = |query: &str| {
            let request = server.request(method, &format!("{THING}/attributes/line{query}"));
            if method == "PUT" { request.json(&json!("line-7")) } else { request }
        };
        let both = request(&format!("?condition={holds}")).header("condition", other);
        let twice = request("").header("condition", "exists(attributes)").header("condition", other);
        for request in [both, twice, request("?condition="), request("").header("condition", "")] {
            let problem = Answer::of(request).await.problem("invalid-parameter");
            assert_eq!(problem["errors"][0]["parameter"], "condition");
        }
    }
    assert_eq!(server.read(THING).await["_revision"], 1);
}

#[tokio::test]
async fn what_would_be_answered_as_if_it_had_not_been_asked_for_is_refused() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    for name in ["at-historical-revision", "at-historical-timestamp", "merge-thing-patch-conditions"] {
        let get = Answer::of(server.get(THING).header(name, "1")).await.problem("invalid-parameter");
        assert_eq!(get["errors"][0]["parameter"], name);
        let put = server.request("PUT", THING).json(&oven()).header(name, "{}");
        Answer::of(put).await.problem("invalid-parameter");
    }
    for (labels, status) in
        [("twin-persisted, search-persisted", 204), ("[\"twin-persisted\",\"other\"]", 424)]
    {
        let put = server.request("PUT", THING).json(&oven()).header("requested-acks", labels);
        assert_eq!(Answer::of(put).await.status, status);
    }
    Answer::of(server.get(THING).header("requested-acks", "other")).await.problem("invalid-parameter");
    assert_eq!(server.read(THING).await["_revision"], 1);
}

/// Sends a merge patch with conditions for its parts.
async fn partwise(server: &Server, conditions: &Value, patch: &Value) -> Answer {
    let request = server.request("PATCH", THING).header("content-type", "application/merge-patch+json");
    let request = request.header("merge-thing-patch-conditions", conditions.to_string());
    Answer::of(request.body(patch.to_string())).await
}

#[tokio::test]
async fn parts_of_a_merge_patch_apply_where_their_conditions_hold() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    let patch = json!({"attributes": {"line": "line-7", "maker": "Example", "a/b": 1}});
    let conditions = json!({
        "/attributes/line": "eq(attributes/type,\"mixer\")",
        "attributes/maker": "eq(attributes/type,\"oven\")",
        "/attributes/a~1b": "not(exists(attributes/type))",
        "/attributes/not-in-the-patch": "exists(attributes/type)",
    });
    let before = server.read(THING).await;
    assert_eq!(partwise(&server, &conditions, &patch).await.status, 204);
    let after = server.read(THING).await;
    assert_eq!(after["attributes"]["maker"], "Example");
    assert_eq!(after["attributes"]["line"], before["attributes"]["line"]);
    assert_eq!(after["attributes"].get("a/b"), None);
    assert_eq!(after["_revision"], 2);

    // Nothing is left, so nothing changes; the request's own condition still counts.
    let none = json!({"/attributes": "eq(attributes/type,\"mixer\")"});
    assert_eq!(partwise(&server, &none, &patch).await.status, 204);
    assert_eq!(server.read(THING).await["_revision"], 2);
    let request = server.request("PATCH", &format!("{THING}?condition=eq(attributes/type,%22mixer%22)"));
    let request =
        request.header("merge-thing-patch-conditions", "{}").json(&json!({"attributes": {"line": 1}}));
    Answer::of(request).await.problem("condition-failed");

    for (field, reason) in [
        ("no JSON", "JSON object"),
        ("{\"/attributes\":1}", "JSON object"),
        ("{\"/attributes\":\"eq(\"}", ""),
    ] {
        let request = server.request("PATCH", THING).header("merge-thing-patch-conditions", field);
        let answer = Answer::of(request.json(&patch)).await;
        assert_eq!(answer.status, 400, "{field}");
        assert!(answer.json().to_string().contains(reason), "{field}: {}", answer.json());
    }
}

#[tokio::test]
async fn parts_are_decided_on_the_state_that_they_change_however_many_write_at_once() {
    let server = Server::start().await;
    server.put_oven("factory:oven-001").await;
    server.send("PUT", &format!("{THING}/attributes/count"), &json!(0)).await;
    // Each adds one where the count is what it read; a part decided on an older state would lose a step.
    let writers = (0..4).map(|_| async {
        let mut done = 0;
        while done < 10 {
            let count = server.read(&format!("{THING}/attributes/count")).await.as_i64().expect("a number");
            let conditions = json!({"/attributes/count": format!("eq(attributes/count,{count})")});
            let patch = json!({"attributes": {"count": count + 1, "touched": true}});
            let answer = partwise(&server, &conditions, &patch).await;
            if answer.status == 503 {
                continue;
            }
            assert_eq!(answer.status, 204);
            done += 1;
        }
    });
    futures::future::join_all(writers).await;
    let count = server.read(&format!("{THING}/attributes/count")).await.as_i64().expect("a number");
    assert!((10..=40).contains(&count), "{count}");
}

#[tokio::test]
async fn on_a_strict_site_what_exists_is_changed_only_under_a_condition() {
    let server = Server::with(|settings| settings.strict_sites = vec!["factory".to_owned()]).await;
    let made = server.put_oven("factory:oven-001").await;
    assert_eq!(made.status, 201, "what is new needs none");
    let tag = made.header("etag").expect("a tag").to_owned();
    let line = "/api/v1/things/oven-001/attributes/line";
    for (method, path, kind, body) in [
        ("PUT", "/api/v1/things/oven-001", "application/json", json!({})),
        ("PUT", line, "application/json", json!("line-9")),
        ("PUT", "/api/v1/things/oven-001/attributes/new", "application/json", json!(1)),
        (
            "PATCH",
            "/api/v1/things/oven-001",
            "application/merge-patch+json",
            json!({"attributes": {"line": "x"}}),
        ),
        ("PATCH", line, "application/json-patch+json", json!([{"op": "replace", "path": "", "value": "x"}])),
        ("DELETE", line, "application/json", json!(null)),
        ("DELETE", "/api/v1/things/oven-001", "application/json", json!(null)),
    ] {
        let request = || server.request(method, path).header("content-type", kind).body(body.to_string());
        let problem = Answer::of(request()).await.problem("precondition-required");
        assert_eq!((&problem["status"], &problem["revision"]), (&json!(428), &json!(1)), "{method} {path}");
    }
    let parts = server
        .request("PATCH", "/api/v1/things/oven-001")
        .header("merge-thing-patch-conditions", r#"{"/attributes/line":"eq(attributes/type,\"oven\")"}"#)
        .json(&json!({"attributes": {"line": "x"}}));
    Answer::of(parts).await.problem("precondition-required");

    let put = |value: &str| server.request("PUT", line).json(&value);
    assert_eq!(Answer::of(put("a").header("if-match", &tag)).await.status, 204);
    Answer::of(put("b").header("if-match", &tag)).await.problem("if-match-failed");
    assert_eq!(Answer::of(put("c").header("if-match", "*")).await.status, 204);
    assert_eq!(Answer::of(put("d").header("condition", "eq(attributes/type,\"oven\")")).await.status, 204);
    Answer::of(put("e").header("if-none-match", "*")).await.problem("if-none-match-failed");
    server.send("POST", "/api/v1/things", &json!({"thingId": "oven-001"})).await.problem("already-exists");
    let missing = "/api/v1/things/oven-009";
    Answer::of(server.request("DELETE", missing)).await.problem("thing-not-found");
    server.send("PUT", &format!("{missing}/attributes/line"), &json!(1)).await.problem("thing-not-found");
    assert_eq!(server.send("PATCH", missing, &json!({"attributes": {"line": "a"}})).await.status, 201);

    // Another site is none of its business, and `*` is every site.
    for (strict, wanted) in [("other", 204), ("*", 428)] {
        let server = Server::with(|settings| settings.strict_sites = vec![strict.to_owned()]).await;
        server.put_oven("factory:oven-001").await;
        assert_eq!(server.send("PUT", line, &json!("x")).await.status, wanted, "{strict}");
    }
}

#[tokio::test]
async fn on_a_strict_site_who_is_second_overwrites_nothing() {
    let server = Server::with(|settings| settings.strict_sites = vec!["*".to_owned()]).await;
    server.gate.delay_ms.store(100, std::sync::atomic::Ordering::Relaxed);
    // All look before any of them is applied.
    let server = &server;
    let put = |name: &'static str| async move {
        server.send("PUT", "/api/v1/things/oven-001", &json!({"attributes": {"by": name}})).await
    };
    let answers = futures::future::join_all(["a", "b", "c"].map(put)).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        answer.problem("precondition-required");
    }
    assert_eq!(server.read("/api/v1/things/oven-001").await["_revision"], 1);
}
