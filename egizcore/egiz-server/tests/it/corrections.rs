//! What people say about the past: corrections of samples, which can be taken back, and annotations.

use egiz_model::{Quality, Timestamp};
use egiz_server::{ApiToken, Role};
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::harness::{Answer, START_MICROS, Server};

const OVEN: &str = "factory:oven-001";
const ROUTE: &str = "/api/v1/things/oven-001/history";
const CORRECTIONS: &str = "/api/v1/things/oven-001/history/corrections";
const ANNOTATIONS: &str = "/api/v1/annotations";
const MINUTE: i64 = 60_000_000;

fn at(minute: i64) -> String {
    Timestamp::from_micros(START_MICROS + minute * MINUTE).to_string()
}

/// An oven that said its temperature, 100 and more by the minute, and its zones, in the last twenty minutes; half of it is sealed.
async fn oven() -> Server {
    let server = Server::with_history(|_| ()).await;
    server.put_oven(OVEN).await;
    for minute in -20..0_i64 {
        let values =
            [("thermal", "zone", json!(100 + minute)), ("thermal", "zones", json!([minute, 2 * minute]))];
        server.past().say(OVEN, minute * MINUTE, &values);
        if minute == -10 {
            server.past().seal();
        }
    }
    server.past().say(OVEN, -5 * MINUTE, &[("machine", "state", json!("on"))]);
    server
}

fn token(name: &str, role: Role) -> ApiToken {
    ApiToken { name: name.to_owned(), sha256: sha2::Sha256::digest(name.as_bytes()).into(), role }
}

async fn correct(server: &Server, body: &Value) -> Value {
    let answer = server.send("POST", CORRECTIONS, body).await;
    assert_eq!(answer.status, 201, "{body}: {}", answer.text);
    answer.json()
}

fn samples(answer: &Value) -> Vec<Value> {
    let samples = answer["properties"][0]["samples"].as_array();
    samples.unwrap_or_else(|| panic!("no samples: {answer}")).clone()
}

#[tokio::test]
async fn a_corrected_sample_says_so_and_the_original_is_there() {
    let server = oven().await;
    let body = json!({"property": "thermal/zone", "time": at(-15), "value": 185.5, "reason": "misread"});
    let answer = server.send("POST", CORRECTIONS, &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.header("location"), Some(&*format!("{CORRECTIONS}/1")));
    let made = answer.json();
    let expected = json!({"id": 1, "thingId": OVEN, "property": "thermal/zone", "from": at(-15),
        "to": Timestamp::from_micros(START_MICROS - 15 * MINUTE + 1).to_string(), "value": 185.5, "quality": "good",
        "reason": "misread", "author": "anonymous", "created": at(0), "samples": 1});
    assert_eq!(made, expected);
    let typed: egiz_api::Correction = serde_json::from_value(made.clone()).expect("the documented form");
    assert_eq!(serde_json::to_value(&typed).expect("JSON"), made);

    let route = format!("{ROUTE}?property=thermal/zone&from={}&to={}", at(-16), at(-13));
    let read = server.read(&route).await;
    assert_eq!(
        samples(&read),
        [
            json!({"time": at(-16), "value": 84}),
            json!({"time": at(-15), "value": 185.5, "reason": "corrected"}),
            json!({"time": at(-14), "value": 86}),
        ]
    );
    assert_eq!(read["properties"][0]["corrected"], true);
    let original = server.read(&format!("{route}&corrected=false")).await;
    assert_eq!(samples(&original)[1], json!({"time": at(-15), "value": 85}));
    assert!(original["properties"][0].get("corrected").is_none());

    // Everything that is made of samples.
    for (query, corrected, original) in [("agg=max", 185.5, 86.0), ("agg=twa", 355.5 / 3.0, 85.0)] {
        let value = |answer: &Value| {
            let values = answer["properties"][0]["buckets"][0]["values"].as_object().expect("values");
            values.values().next().and_then(Value::as_f64).expect("a number")
        };
        assert!((value(&server.read(&format!("{route}&{query}")).await) - corrected).abs() < 1e-9, "{query}");
        let found = value(&server.read(&format!("{route}&{query}&corrected=false")).await);
        assert!((found - original).abs() < 1e-9, "{query}");
    }
    let chart = server.read(&format!("{route}&width=100")).await;
    assert!(samples(&chart).iter().any(|point| point["value"] == 185.5), "{chart}");
    let csv = Answer::of(server.get(&route).header("accept", "text/csv")).await;
    assert!(csv.text.contains("185.5,thermal/zone good corrected"), "{}", csv.text);
    let csv = Answer::of(server.get(&format!("{route}&corrected=false")).header("accept", "text/csv")).await;
    assert!(!csv.text.contains("185.5"), "{}", csv.text);
    let parquet = "application/vnd.apache.parquet";
    assert_eq!(Answer::of(server.get(&route).header("accept", parquet)).await.status, 200);
    let past = server.read(&format!("/api/v1/things/oven-001?at={}&metadata=true", at(-15))).await;
    assert_eq!(past["features"]["thermal"]["properties"]["zone"], 185.5);
    assert_eq!(past["_metadata"]["thermal"]["zone"]["reason"], "corrected");
    let state = server.read(&format!("/api/v1/state?at={}", at(-15))).await;
    assert_eq!(state["items"][0]["features"]["thermal"]["properties"]["zone"]["value"], 185.5);
    let body = json!({"things": [OVEN], "properties": ["thermal/zone"], "agg": "max", "from": at(-16), "to": at(-13)});
    let many = server.send("POST", "/api/v1/history/query", &body).await.json();
    assert_eq!(many["groups"][0]["properties"][0]["buckets"][0]["values"]["max"], 185.5);
    for group in ["none", "thing"] {
        let mut body = body.clone();
        (body["corrected"], body["groupBy"]) = (json!(false), json!(group));
        let many = server.send("POST", "/api/v1/history/query", &body).await.json();
        assert_eq!(many["groups"][0]["properties"][0]["buckets"][0]["values"]["max"], 86.0);
    }
}

#[tokio::test]
async fn a_span_is_made_invalid_and_what_comes_late_for_it_too() {
    let server = oven().await;
    let span = json!({"property": "thermal/zone", "from": at(-12), "to": at(-8), "quality": "bad", "reason": "cleaned"});
    let made = correct(&server, &span).await;
    assert_eq!((&made["samples"], &made["quality"], made.get("value")), (&json!(4), &json!("bad"), None));
    let late = Timestamp::from_micros(START_MICROS - 10 * MINUTE - 1)
        .micros_since(Timestamp::from_micros(START_MICROS));
    server.past().say(OVEN, late, &[("thermal", "zone", json!(99))]);
    let route = format!("{ROUTE}?property=thermal/zone&from={}&to={}", at(-13), at(-7));
    let read = samples(&server.read(&route).await);
    assert_eq!(read.len(), 7);
    for (index, sample) in read.iter().enumerate() {
        let is_inside = (1..6).contains(&index);
        let expected =
            if is_inside { (json!("bad"), json!("corrected")) } else { (Value::Null, Value::Null) };
        assert_eq!((sample["quality"].clone(), sample["reason"].clone()), expected, "{sample}");
    }
    let buckets = server.read(&format!("{route}&agg=count")).await;
    let bucket = &buckets["properties"][0]["buckets"][0];
    assert_eq!((&bucket["values"]["count"], &bucket["excluded"]), (&json!(2.0), &json!(5)));
}

#[tokio::test]
async fn items_of_lists_and_texts_are_corrected_too() {
    let server = oven().await;
    let whole = format!("from={}&to={}", at(-6), at(-4));
    correct(
        &server,
        &json!({"property": "thermal/zones/1", "from": at(-6), "to": at(-5), "value": 7, "reason": "a"}),
    )
    .await;
    correct(
        &server,
        &json!({"property": "thermal/zones/0", "time": at(-5), "quality": "bad", "reason": "b"}),
    )
    .await;
    correct(&server, &json!({"property": "machine/state", "time": at(-5), "value": "off", "reason": "c"}))
        .await;
    let zones = server.read(&format!("{ROUTE}?property=thermal/zones&{whole}")).await;
    let values: Vec<Value> = samples(&zones).into_iter().map(|sample| sample["value"].clone()).collect();
    assert_eq!(values, [json!([-6, 7]), json!([null, -10])]);
    let item = server.read(&format!("{ROUTE}?property=thermal/zones/0&agg=count,last&{whole}")).await;
    assert_eq!(item["properties"][0]["buckets"][0]["values"], json!({"count": 1.0, "last": -6.0}));
    let state = server.read(&format!("{ROUTE}?property=machine/state&{whole}")).await;
    assert_eq!(samples(&state)[0]["value"], "off");
    // A list, where one was and where none was; of two about one sample the later one holds.
    let list =
        json!({"property": "thermal/zones", "from": at(-6), "to": at(0), "value": [1, 2, 3], "reason": "d"});
    assert_eq!(correct(&server, &list).await["samples"], 6);
    let zones = server.read(&format!("{ROUTE}?property=thermal/zones&{whole}")).await;
    assert!(samples(&zones).iter().all(|sample| sample["value"] == json!([1, 2, 3])), "{zones}");
}

#[tokio::test]
async fn a_correction_is_listed_taken_back_and_audited() {
    let server = oven().await;
    for minute in [-15, -12, -3_i64] {
        let body = json!({"property": "thermal/zone", "time": at(minute), "value": minute, "reason": "r"});
        correct(&server, &body).await;
    }
    let ids = |page: &Value| -> Vec<u64> {
        page["items"].as_array().expect("items").iter().filter_map(|item| item["id"].as_u64()).collect()
    };
    assert_eq!(ids(&server.read(CORRECTIONS).await), [1, 2, 3]);
    assert_eq!(ids(&server.read(&format!("{CORRECTIONS}?from={}&to={}", at(-13), at(-3))).await), [2]);
    let first = server.read(&format!("{CORRECTIONS}?limit=2")).await;
    let next = first["cursor"].as_str().expect("another page");
    assert_eq!(ids(&server.read(&format!("{CORRECTIONS}?limit=2&cursor={next}")).await), [3]);

    let one = format!("{CORRECTIONS}/2");
    assert_eq!(Answer::of(server.request("DELETE", &one)).await.status, 204);
    let read = server.read(&format!("{ROUTE}?property=thermal/zone&from={}&to={}", at(-12), at(-11))).await;
    assert_eq!(samples(&read), [json!({"time": at(-12), "value": 88})]);
    assert_eq!(ids(&server.read(CORRECTIONS).await), [1, 3]);
    assert_eq!(ids(&server.read(&format!("{CORRECTIONS}?undone=true")).await), [1, 2, 3]);
    let undone = server.read(&one).await;
    assert_eq!((&undone["undoneBy"], &undone["undone"]), (&json!("anonymous"), &json!(at(0))));
    Answer::of(server.request("DELETE", &one)).await.problem("entry-not-found");
    // The number is not used again, and a restart finds what is in force.
    let body = json!({"property": "thermal/zone", "time": at(-12), "value": 5, "reason": "again"});
    assert_eq!(correct(&server, &body).await["id"], 4);
    let historian = &server.past().historian;
    historian.corrections().set([]);
    assert_eq!(egiz_server::restore_corrections(&server.store, historian).await.expect("readable"), 3);
    let read = server.read(&format!("{ROUTE}?property=thermal/zone&from={}&to={}", at(-12), at(-11))).await;
    assert_eq!(samples(&read)[0]["value"], 5);

    let audit = server.read("/api/v1/audit?limit=200").await;
    let trail: Vec<(&str, &str)> = audit["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|entry| Some((entry["action"].as_str()?, entry["subject"].as_str()?)))
        .filter(|(action, _)| action.starts_with("correction"))
        .collect();
    assert_eq!(
        trail,
        [
            ("correction.create", "4"),
            ("correction.undo", "2"),
            ("correction.create", "3"),
            ("correction.create", "2"),
            ("correction.create", "1")
        ]
    );
    let details =
        audit["items"].as_array().expect("items").iter().find(|entry| entry["action"] == "correction.undo");
    assert_eq!(details.map(|entry| &entry["details"]["reason"]), Some(&json!("r")));
}

#[tokio::test]
async fn what_cannot_be_corrected_is_refused_by_name() {
    let server = oven().await;
    let good = json!({"property": "thermal/zone", "time": at(-15), "value": 1, "reason": "r"});
    let with = |changes: &[(&str, Value)]| {
        let mut body = good.clone();
        for (name, value) in changes {
            body[*name] = value.clone();
        }
        body
    };
    let table = [
        (with(&[("property", json!("zone"))]), "/property"),
        (with(&[("property", json!("a/b,c/d"))]), "/property"),
        (with(&[("property", json!("thermal/zones/64"))]), "/property"),
        (with(&[("time", json!("yesterday"))]), "/time"),
        (with(&[("time", Value::Null)]), "/time"),
        (with(&[("time", json!(at(1)))]), "/time"),
        (with(&[("from", json!(at(-16)))]), "/time"),
        (with(&[("time", Value::Null), ("from", json!(at(-16)))]), "/to"),
        (with(&[("time", Value::Null), ("from", json!(at(-16))), ("to", json!(at(-16)))]), "/from"),
        (with(&[("time", Value::Null), ("from", json!(at(-16))), ("to", json!(at(5)))]), "/to"),
        (with(&[("time", Value::Null), ("from", json!(0)), ("to", json!(at(-1)))]), "/from"),
        (with(&[("value", Value::Null)]), "/value"),
        (with(&[("value", json!({"a": 1}))]), "/value"),
        (with(&[("value", json!([[1]]))]), "/value"),
        (with(&[("value", json!("x".repeat(17_000)))]), "/value"),
        (with(&[("property", json!("thermal/zones/0")), ("value", json!([1]))]), "/value"),
        (with(&[("quality", json!("bad"))]), "/quality"),
        (with(&[("quality", json!("fine"))]), "/quality"),
        (
            with(&[
                ("property", json!("thermal/zones/0")),
                ("value", Value::Null),
                ("quality", json!("uncertain")),
            ]),
            "/quality",
        ),
        (with(&[("reason", json!(""))]), "/reason"),
        (with(&[("reason", json!("x".repeat(1_001)))]), "/reason"),
        (with(&[("why", json!("x"))]), "/why"),
        (json!({"property": "thermal/zone", "time": at(-15), "value": 1}), "/reason"),
    ];
    for (body, pointer) in table {
        let problem = server.send("POST", CORRECTIONS, &body).await.problem("invalid-value");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
    }
    let nowhere = with(&[("time", json!(at(-30)))]);
    server.send("POST", CORRECTIONS, &nowhere).await.problem("sample-not-found");
    let beyond = with(&[("property", json!("thermal/zones/2"))]);
    server.send("POST", CORRECTIONS, &beyond).await.problem("sample-not-found");
    server.send("POST", "/api/v1/things/nobody/history/corrections", &good).await.problem("thing-not-found");
    Answer::of(server.get("/api/v1/things/nobody/history/corrections")).await.problem("thing-not-found");
    for id in ["1", "x", "-1"] {
        Answer::of(server.get(&format!("{CORRECTIONS}/{id}"))).await.problem("entry-not-found");
    }
    for (query, code) in [
        ("from=x", "invalid-parameter"),
        ("undone=perhaps", "invalid-parameter"),
        ("limit=0", "invalid-parameter"),
        ("limit=201", "page-too-large"),
        ("cursor=x", "invalid-cursor"),
    ] {
        Answer::of(server.get(&format!("{CORRECTIONS}?{query}"))).await.problem(code);
    }
    Answer::of(server.get(&format!("{ROUTE}?corrected=perhaps"))).await.problem("invalid-parameter");
    let off = Server::start().await;
    off.send("POST", CORRECTIONS, &good).await.problem("history-off");
    for method in ["GET", "DELETE"] {
        Answer::of(off.request(method, &format!("{CORRECTIONS}/1"))).await.problem("history-off");
    }
    Answer::of(off.get(CORRECTIONS)).await.problem("history-off");
}

#[tokio::test]
async fn an_operator_corrects_and_annotates_and_a_viewer_does_not() {
    let server = Server::with_history(|settings| {
        settings.anonymous = egiz_server::Anonymous::Never;
        settings.tokens = [("anna", Role::Operator), ("grafana", Role::Viewer)]
            .map(|(name, role)| token(name, role))
            .to_vec();
    })
    .await;
    server.past().say(OVEN, -MINUTE, &[("f", "x", json!(1))]);
    let correction = json!({"property": "f/x", "time": at(-1), "value": 2, "reason": "r"});
    let annotation = json!({"text": "seen"});
    let send = |token: &'static str, path: &'static str, body: &Value| {
        let request = server.request("POST", path).bearer_auth(token).json(body);
        async move { Answer::of(request).await }
    };
    for (path, body) in [(CORRECTIONS, &correction), (ANNOTATIONS, &annotation)] {
        send("grafana", path, body).await.problem("forbidden");
        let made = send("anna", path, body).await;
        assert_eq!((made.status, made.json()["author"].clone()), (201, json!("anna")), "{}", made.text);
        let seen = Answer::of(server.get(path).bearer_auth("grafana")).await;
        assert_eq!(seen.json()["items"].as_array().map(Vec::len), Some(1), "{}", seen.text);
    }
}

#[tokio::test]
async fn annotations_are_kept_found_changed_and_deleted() {
    let server = Server::start().await;
    let post = |body: Value| {
        let server = &server;
        async move {
            let answer = server.send("POST", ANNOTATIONS, &body).await;
            assert_eq!(answer.status, 201, "{body}: {}", answer.text);
            answer
        }
    };
    let first =
        post(json!({"thingId": "oven-001", "property": "thermal/zone", "from": at(-60), "to": at(-30),
        "category": "maintenance", "text": "Burner 2 replaced"}))
        .await;
    assert_eq!(
        (first.header("location"), first.header("etag")),
        (Some("/api/v1/annotations/1"), Some("\"1\""))
    );
    let first = first.json();
    let expected = json!({"id": 1, "thingId": OVEN, "property": "thermal/zone", "from": at(-60), "to": at(-30),
        "category": "maintenance", "text": "Burner 2 replaced", "author": "anonymous", "created": at(0)});
    assert_eq!(first, expected);
    let typed: egiz_api::Annotation = serde_json::from_value(first.clone()).expect("the documented form");
    assert_eq!(serde_json::to_value(&typed).expect("JSON"), first);
    post(json!({"thingId": OVEN, "from": at(-45), "text": "a moment", "category": "quality"})).await;
    post(json!({"text": "all of the site, now"})).await;
    post(json!({"thingId": "mixer-001", "from": at(-90), "to": at(90), "text": "planned", "category": "calibration"})).await;
    let site = server.read(&format!("{ANNOTATIONS}/3")).await;
    assert_eq!(
        site,
        json!({"id": 3, "from": at(0), "category": "note", "text": "all of the site, now",
        "author": "anonymous", "created": at(0)})
    );

    let ids = |page: &Value| -> Vec<u64> {
        page["items"].as_array().expect("items").iter().filter_map(|item| item["id"].as_u64()).collect()
    };
    let table: &[(&str, &[u64])] = &[
        ("", &[4, 1, 2, 3]),
        ("thing=oven-001", &[1, 2]),
        ("thing=oven-001&property=thermal/zone", &[1]),
        ("category=quality", &[2]),
        ("category=nothing", &[]),
        (&format!("from={}&to={}", at(-45), at(-44)), &[4, 1, 2]),
        (&format!("from={}&to={}", at(-44), at(-30)), &[4, 1]),
        (&format!("from={}", at(-30)), &[4, 3]),
        (&format!("to={}", at(-60)), &[4]),
    ];
    for (query, expected) in table {
        assert_eq!(ids(&server.read(&format!("{ANNOTATIONS}?{query}")).await), *expected, "{query}");
    }
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.read(&format!("{ANNOTATIONS}?limit=1{cursor}")).await;
        paged.extend(ids(&page));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, [4, 1, 2, 3]);

    // Changed under the version that was seen, or whatever it is.
    let one = format!("{ANNOTATIONS}/1");
    let change = |etag: Option<&'static str>, body: Value| {
        let mut request = server.request("PATCH", &one).json(&body);
        if let Some(etag) = etag {
            request = request.header("if-match", etag);
        }
        async move { Answer::of(request).await }
    };
    let changed = change(Some("\"1\""), json!({"text": "Burners 2 and 3 replaced", "to": null})).await;
    assert_eq!((changed.status, changed.header("etag")), (200, Some("\"2\"")), "{}", changed.text);
    let changed = changed.json();
    assert_eq!(
        (&changed["text"], changed.get("to"), &changed["modifiedBy"], &changed["category"]),
        (&json!("Burners 2 and 3 replaced"), None, &json!("anonymous"), &json!("maintenance"))
    );
    change(Some("\"1\""), json!({"text": "late"})).await.problem("if-match-failed");
    let moved = change(None, json!({"from": at(-50), "to": at(-40), "category": "note"})).await.json();
    assert_eq!(
        (&moved["from"], &moved["to"], &moved["category"]),
        (&json!(at(-50)), &json!(at(-40)), &json!("note"))
    );
    assert_eq!(Answer::of(server.get(&one).header("if-none-match", "\"3\"")).await.status, 304);
    Answer::of(server.get(&one).header("if-match", "\"1\"")).await.problem("if-match-failed");
    Answer::of(server.request("DELETE", &one).header("if-match", "\"1\"")).await.problem("if-match-failed");
    assert_eq!(Answer::of(server.request("DELETE", &one)).await.status, 204);
    Answer::of(server.get(&one)).await.problem("entry-not-found");
    Answer::of(server.request("DELETE", &one)).await.problem("entry-not-found");
    Answer::of(server.request("PATCH", &one).json(&json!({"text": "x"}))).await.problem("entry-not-found");
    assert_eq!(post(json!({"text": "another"})).await.json()["id"], 5, "numbers are not used again");
    let audit = server.read("/api/v1/audit?limit=200").await;
    let actions: Vec<&str> = audit["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|entry| entry["action"].as_str())
        .collect();
    assert_eq!(actions.iter().filter(|action| **action == "annotation.change").count(), 2, "{actions:?}");
    assert!(actions.contains(&"annotation.delete"));
}

#[tokio::test]
async fn annotations_that_make_no_sense_are_refused_by_name() {
    let server = Server::start().await;
    let table = [
        (json!({}), "/text"),
        (json!({"text": ""}), "/text"),
        (json!({"text": "x".repeat(4_001)}), "/text"),
        (json!({"text": "x", "category": "Big Note"}), "/category"),
        (json!({"text": "x", "category": ""}), "/category"),
        (json!({"text": "x", "property": "a/b"}), "/property"),
        (json!({"text": "x", "thingId": OVEN, "property": "a/b/1"}), "/property"),
        (json!({"text": "x", "thingId": OVEN, "property": "a"}), "/property"),
        (json!({"text": "x", "from": "yesterday"}), "/from"),
        (json!({"text": "x", "from": at(-1), "to": at(-1)}), "/to"),
        (json!({"text": "x", "to": true}), "/to"),
        (json!({"text": "x", "colour": "red"}), "/colour"),
    ];
    for (body, pointer) in table {
        let problem = server.send("POST", ANNOTATIONS, &body).await.problem("invalid-value");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
    }
    server
        .send("POST", ANNOTATIONS, &json!({"text": "x", "thingId": "a b"}))
        .await
        .problem("invalid-thing-id");
    server.send("POST", ANNOTATIONS, &json!({"text": "kept"})).await;
    for (body, pointer) in [
        (json!({"text": ""}), "/text"),
        (json!({"to": at(-1)}), "/to"),
        (json!({"from": "x"}), "/from"),
        (json!({"thingId": OVEN}), "/thingId"),
    ] {
        let problem = server.send("PATCH", "/api/v1/annotations/1", &body).await.problem("invalid-value");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
    }
    let xml =
        server.request("PATCH", "/api/v1/annotations/1").header("content-type", "text/xml").body("<a/>");
    Answer::of(xml).await.problem("unsupported-media-type");
    for (query, code) in [
        ("property=a/b", "invalid-parameter"),
        ("thing=oven-001&property=a", "invalid-parameter"),
        ("from=x", "invalid-parameter"),
        ("limit=201", "page-too-large"),
        ("cursor=x", "invalid-cursor"),
        ("colour=red", "invalid-parameter"),
    ] {
        Answer::of(server.get(&format!("{ANNOTATIONS}?{query}"))).await.problem(code);
    }
    Answer::of(server.get("/api/v1/annotations/x")).await.problem("entry-not-found");
}

#[tokio::test]
async fn quality_alone_can_be_corrected() {
    let server = Server::with_history(|_| ()).await;
    server.past().say_judged(OVEN, -MINUTE, 0, &[("f", "x", json!(1), Quality::Bad)]);
    let body =
        json!({"property": "f/x", "time": at(-1), "quality": "good", "reason": "it was right after all"});
    correct(&server, &body).await;
    let read = server.read(&format!("{ROUTE}?property=f/x")).await;
    assert_eq!(samples(&read), [json!({"time": at(-1), "value": 1, "reason": "corrected"})]);
}
