//! History by business context: only what lies within the intervals in which a batch ran, and finding those intervals.

use egiz_model::{Quality, Timestamp};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::{Value, json};

use crate::harness::{Answer, START_MICROS, Server};

const OVEN: &str = "factory:oven-001";
const LINE: &str = "factory:line-1";
const ROUTE: &str = "/api/v1/things/oven-001/history";
const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;

fn at(micros: i64) -> String {
    Timestamp::from_micros(START_MICROS + micros).to_string()
}

/// An oven that says its temperature every minute of the last two hours, the minute's number; it made batch A until 90 minutes
/// ago, B from then until 60 and A again from 45 until 30 minutes ago, when its context could not be read. Its line knows the
/// recipe.
async fn plant() -> Server {
    let server = Server::with_history(|_| ()).await;
    server.put_oven(OVEN).await;
    server.send("PUT", "/api/v1/things/line-1", &json!({"attributes": {"type": "line"}})).await;
    let batch = |minute: i64, value: Value, quality: Quality| {
        server.past().say_judged(
            OVEN,
            minute * MINUTE,
            0,
            &[("business_context", "batch_id", value, quality)],
        );
    };
    batch(-150, json!("A"), Quality::Good);
    batch(-89, json!("B"), Quality::Uncertain);
    for minute in -120..0_i64 {
        server.past().say(
            OVEN,
            minute * MINUTE,
            &[("thermal", "zone", json!(minute)), ("machine", "state", json!("on"))],
        );
        if minute == -80 {
            server.past().seal();
        }
    }
    // What was so at -90 came late.
    batch(-90, json!("B"), Quality::Good);
    batch(-60, json!("C"), Quality::Good);
    batch(-45, json!("A"), Quality::Good);
    batch(-40, json!("A"), Quality::Good);
    batch(-30, json!("A"), Quality::Bad);
    for (minute, recipe) in [(-100_i64, "rye"), (-75, "wheat")] {
        server.past().say(LINE, minute * MINUTE, &[("business_context", "recipe", json!(recipe))]);
    }
    server
}

fn samples(answer: &Value) -> Vec<i64> {
    let samples =
        answer["properties"][0]["samples"].as_array().unwrap_or_else(|| panic!("no samples: {answer}"));
    samples.iter().filter_map(|sample| sample["value"].as_f64()).map(|value| value as i64).collect()
}

fn range() -> String {
    format!("from={}&to={}", at(-2 * HOUR), at(0))
}

/// RQL as it stands in a URL.
fn rql(text: &str) -> String {
    text.replace('"', "%22")
}

async fn zone(server: &Server, rest: &str) -> Value {
    server.read(&format!("{ROUTE}?property=thermal/zone&{}&{}", range(), rql(rest))).await
}

#[tokio::test]
async fn samples_of_a_batch_are_those_of_its_intervals() {
    let server = plant().await;
    let a: Vec<i64> = (-120..-90).chain(-45..-30).collect();
    let b: Vec<i64> = (-90..-60).collect();
    let table: &[(&str, Vec<i64>)] = &[
        ("where=eq(business_context/batch_id,\"A\")", a.clone()),
        ("where=eq(business_context/batch_id,\"B\")", b.clone()),
        ("where=in(features/business_context/properties/batch_id,\"B\",\"C\")", (-90..-45).collect()),
        ("where=eq(business_context/batch_id,\"D\")", vec![]),
        ("where=not(exists(business_context/batch_id))", (-30..0).collect()),
        ("where=eq(business_context/recipe,\"rye\")&whereThing=line-1", (-100..-75).collect()),
        ("where=and(eq(business_context/batch_id,\"B\"),gt(thermal/zone,-65))", (-64..-60).collect()),
    ];
    for (query, expected) in table {
        let answer = zone(&server, query).await;
        assert_eq!(samples(&answer), *expected, "{query}");
    }
    let answer = zone(&server, "where=eq(business_context/batch_id,\"A\")").await;
    assert_eq!(answer["context"], json!({"intervals": 2, "durationS": 45.0 * 60.0}));
    assert!(zone(&server, "").await.get("context").is_none());

    // The same page by page, as CSV and as Parquet.
    let query = rql("property=thermal/zone&where=eq(business_context/batch_id,\"A\")");
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.read(&format!("{ROUTE}?{query}&{}&limit=7{cursor}", range())).await;
        paged.extend(samples(&page));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, a);
    let csv =
        Answer::of(server.get(&format!("{ROUTE}?{query}&{}", range())).header("accept", "text/csv")).await;
    let rows: Vec<i64> =
        csv.text.lines().skip(1).filter_map(|line| line.split(',').nth(2)?.parse().ok()).collect();
    assert_eq!(rows, a, "{}", csv.text);
    let media_type = "application/vnd.apache.parquet";
    let file = server.get(&format!("{ROUTE}?{query}&{}", range())).header("accept", media_type).send().await;
    let bytes = file.expect("an answer").bytes().await.expect("a file");
    let file = SerializedFileReader::new(bytes).expect("Parquet");
    assert_eq!(file.metadata().file_metadata().num_rows(), 45);
}

#[tokio::test]
async fn aggregates_of_a_batch_weigh_its_intervals_alone() {
    let server = plant().await;
    let whole =
        zone(&server, "agg=avg,twa,count,min,max,integral&where=eq(business_context/batch_id,\"A\")").await;
    let buckets = whole["properties"][0]["buckets"].as_array().expect("buckets");
    assert_eq!(buckets.len(), 1);
    let a: Vec<f64> = (-120..-90).chain(-45..-30).map(f64::from).collect();
    let mean = a.iter().sum::<f64>() / 45.0;
    let values = &buckets[0]["values"];
    for (name, expected) in [
        ("avg", mean),
        ("twa", mean),
        ("count", 45.0),
        ("min", -120.0),
        ("max", -31.0),
        ("integral", mean * 0.75),
    ] {
        let value = values[name].as_f64().unwrap_or_else(|| panic!("no {name}: {values}"));
        assert!((value - expected).abs() < 1e-9, "{name}: {value}, wanted {expected}");
    }
    assert_eq!(buckets[0]["partial"], true, "the other batches are left out");

    // From the middle of a minute on: the value of the minute before holds into it.
    let from = format!("from={}&to={}", at(-89 * MINUTE - 30_000_000), at(-88 * MINUTE));
    let query = rql("property=thermal/zone&agg=twa,count&where=eq(business_context/batch_id,\"B\")");
    let answer = server.read(&format!("{ROUTE}?{query}&{from}")).await;
    let values = &answer["properties"][0]["buckets"][0]["values"];
    let expected = (-90.0 * 30.0 + -89.0 * 60.0) / 90.0;
    assert!((values["twa"].as_f64().expect("a value") - expected).abs() < 1e-9, "{answer}");
    assert_eq!(values["count"], 1.0);

    // Buckets of which nothing counts are left out, whatever fills the others.
    for query in ["fill=previous", "fill=null", "fill=none"] {
        let query = format!("agg=count,avg&resolution=10m&where=eq(business_context/batch_id,\"A\")&{query}");
        let answer = zone(&server, &query).await;
        let buckets = answer["properties"][0]["buckets"].as_array().expect("buckets");
        let starts: Vec<&str> = buckets.iter().filter_map(|bucket| bucket["start"].as_str()).collect();
        assert_eq!(starts, [-120, -110, -100, -50, -40].map(|minute| at(minute * MINUTE)), "{query}");
        let csv = server.get(&format!("{ROUTE}?property=thermal/zone&{}&{}", range(), rql(&query)));
        let csv = Answer::of(csv.header("accept", "text/csv")).await;
        assert_eq!(csv.text.lines().count(), 6, "{}", csv.text);
    }
    let states = format!("{ROUTE}?property=business_context/batch_id&agg=duration&{}", range());
    let states = server.read(&format!("{states}&{}", rql("where=eq(business_context/batch_id,\"A\")"))).await;
    let bucket = &states["properties"][0]["buckets"][0];
    assert_eq!(
        (&bucket["states"][0]["state"], &bucket["states"][0]["durationS"]),
        (&json!("A"), &json!(2700.0))
    );
    assert_eq!((bucket["states"].as_array().map(Vec::len), &bucket["unknownS"]), (Some(1), &json!(0.0)));
}

#[tokio::test]
async fn a_chart_breaks_between_two_runs_of_a_batch() {
    let server = plant().await;
    let chart = zone(&server, "width=2000&where=eq(business_context/batch_id,\"A\")").await;
    let points = chart["properties"][0]["samples"].as_array().expect("points");
    let breaks: Vec<&Value> = points.iter().filter(|point| point["value"].is_null()).collect();
    assert_eq!(breaks.len(), 1, "{chart}");
    assert_eq!(breaks[0]["time"], at(-90 * MINUTE));
    assert_eq!(samples(&chart), (-120..-90).chain(-45..-30).collect::<Vec<i64>>());
}

#[tokio::test]
async fn the_intervals_of_a_property_are_listed_page_by_page() {
    let server = plant().await;
    let route = format!("{ROUTE}/intervals?property=business_context/batch_id&{}", range());
    let all = server.read(&route).await;
    let interval = |value: &str, from: i64, to: i64| {
        json!({"thingId": OVEN, "value": value, "from": at(from * MINUTE), "to": at(to * MINUTE),
            "durationS": (to - from) as f64 * 60.0})
    };
    let mut first = interval("A", -120, -90);
    first["begunBefore"] = json!(true);
    let expected = [first, interval("B", -90, -60), interval("C", -60, -45), interval("A", -45, -30)];
    assert_eq!(all["items"], json!(expected));
    let typed: egiz_api::HistoryIntervals = serde_json::from_value(all.clone()).expect("the documented form");
    assert_eq!(serde_json::to_value(&typed).expect("JSON"), all);

    for limit in 1..5 {
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.read(&format!("{route}&limit={limit}{cursor}")).await;
            let items = page["items"].as_array().expect("items");
            assert!(items.len() <= limit);
            paged.extend(items.iter().cloned());
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(json!(paged), json!(expected), "pages of {limit}");
    }

    let still = server.read(&format!("{ROUTE}/intervals?property=machine/state&{}", range())).await;
    assert_eq!((&still["items"][0]["goesOn"], &still["items"][0]["to"]), (&json!(true), &json!(at(0))));
    let future = format!("{ROUTE}/intervals?property=machine/state&from={}&to={}", at(-HOUR), at(HOUR));
    assert_eq!(server.read(&future).await["items"][0]["to"], at(0), "nothing is known of what is to come");
    let hot = rql("where=and(eq(business_context/batch_id,\"B\"),ge(thermal/zone,-70))");
    let hot = server.read(&format!("{ROUTE}/intervals?{hot}&{}", range())).await;
    assert_eq!(
        hot["items"],
        json!([{"thingId": OVEN, "from": at(-70 * MINUTE), "to": at(-60 * MINUTE), "durationS": 600.0}])
    );
}

#[tokio::test]
async fn a_batch_is_found_wherever_it_ran() {
    let server = plant().await;
    for number in 2..5_i64 {
        let id = format!("factory:oven-00{number}");
        server.send("PUT", &format!("/api/v1/things/{id}"), &json!({"attributes": {"type": "oven"}})).await;
        server.past().say(&id, -number * 10 * MINUTE, &[("business_context", "batch_id", json!("B"))]);
    }
    let query = rql("property=business_context/batch_id&where=eq(business_context/batch_id,\"B\")");
    let route = format!("/api/v1/history/intervals?{query}&{}", range());
    let things = |answer: &Value| -> Vec<String> {
        let items = answer["items"].as_array().expect("items").iter();
        items.filter_map(|item| item["thingId"].as_str()).map(str::to_owned).collect()
    };
    let found = server.read(&route).await;
    assert_eq!(things(&found), [OVEN, "factory:oven-002", "factory:oven-003", "factory:oven-004"]);
    let narrowed = server.read(&format!("{route}&filter=eq(thingId,%22factory:oven-003%22)")).await;
    assert_eq!(things(&narrowed), ["factory:oven-003"]);
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.read(&format!("{route}&limit=1{cursor}")).await;
        paged.extend(things(&page));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, things(&found));
}

#[tokio::test]
async fn several_things_are_asked_by_their_own_context_or_by_that_of_their_line() {
    let server = plant().await;
    let ask = |body: Value| {
        let server = &server;
        async move { server.send("POST", "/api/v1/history/query", &body).await }
    };
    let body = |conditions: Value, group: &str| {
        json!({"things": [OVEN, LINE], "properties": ["thermal/zone"], "agg": "count,max", "from": at(-2 * HOUR),
            "where": conditions, "groupBy": group})
    };
    let own = ask(body(json!("eq(business_context/batch_id,\"B\")"), "thing")).await.json();
    assert_eq!(own["groups"][0]["context"], json!({"intervals": 0, "durationS": 0.0}), "{own}");
    let bucket = &own["groups"][1]["properties"][0]["buckets"][0];
    assert_eq!(bucket["values"], json!({"count": 30.0, "max": -61.0}));
    let both = json!([{"filter": "eq(business_context/batch_id,\"B\")"},
        {"thing": "line-1", "filter": "eq(business_context/recipe,\"rye\")"}]);
    let both = ask(body(both, "none")).await.json();
    let bucket = &both["groups"][0]["properties"][0]["buckets"][0];
    assert_eq!(
        (&bucket["values"], &bucket["partial"]),
        (&json!({"count": 15.0, "max": -76.0}), &json!(true))
    );

    let table = [
        (json!(5), "invalid-value", "/where"),
        (json!([]), "invalid-value", "/where"),
        (json!([5]), "invalid-value", "/where/0"),
        (json!([{"thing": LINE}]), "invalid-value", "/where/0/filter"),
        (json!([{"thing": 5, "filter": "exists(a/b)"}]), "invalid-value", "/where/0/thing"),
        (json!([{"things": LINE, "filter": "exists(a/b)"}]), "invalid-value", "/where/0/things"),
        (json!("eq(a"), "malformed-filter", "/where"),
        (json!([{"filter": "eq(attributes/type,1)"}]), "malformed-filter", "/where/0/filter"),
        (json!(vec![json!({"filter": "exists(a/b)"}); 9]), "invalid-value", "/where"),
    ];
    for (conditions, code, pointer) in table {
        let problem = ask(body(conditions.clone(), "thing")).await.problem(code);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{conditions}: {problem}");
    }
    let nowhere = json!([{"thing": "factory:nowhere", "filter": "exists(a/b)"}]);
    ask(body(nowhere, "thing")).await.problem("thing-not-found");
}

#[tokio::test]
async fn every_refusal_names_the_parameter() {
    let server = plant().await;
    let intervals = format!("{ROUTE}/intervals");
    let all = "/api/v1/history/intervals".to_owned();
    let table: &[(&str, &str, &str, &str)] = &[
        (ROUTE, "where=eq(a", "malformed-filter", "where"),
        (ROUTE, "where=", "invalid-parameter", "where"),
        (ROUTE, "where=eq(attributes/type,1)", "malformed-filter", "where"),
        (ROUTE, "whereThing=line-1", "invalid-parameter", "whereThing"),
        (&intervals, "", "invalid-parameter", "property"),
        (&intervals, "property=a/b,c/d", "invalid-parameter", "property"),
        (&intervals, "property=a", "invalid-parameter", "property"),
        (&intervals, "property=a/b&limit=201", "page-too-large", "limit"),
        (&intervals, "property=a/b&filter=", "invalid-parameter", "filter"),
        (&intervals, "property=a/b&from=x", "invalid-parameter", "from"),
        (&all, "property=a/b&filter=eq(a", "malformed-filter", "filter"),
        (&all, "where=exists(a)", "malformed-filter", "where"),
    ];
    for (route, query, code, parameter) in table {
        let problem = Answer::of(server.get(&format!("{route}?{query}"))).await.problem(code);
        assert_eq!(problem["errors"][0]["parameter"], *parameter, "{query}: {problem}");
    }
    Answer::of(server.get(&format!("{intervals}?property=a/b&cursor=x"))).await.problem("invalid-cursor");
    Answer::of(server.get("/api/v1/things/nobody/history/intervals?property=a/b"))
        .await
        .problem("thing-not-found");
    let nowhere = format!("{ROUTE}?where=exists(a/b)&whereThing=nobody");
    Answer::of(server.get(&nowhere)).await.problem("thing-not-found");
    let off = Server::start().await;
    for path in [&intervals, &all] {
        Answer::of(off.get(&format!("{path}?property=a/b"))).await.problem("history-off");
    }
}

/// A batch that ran a thousand times is not one that history can be cut by ten thousand times.
#[tokio::test]
async fn more_intervals_than_an_answer_can_be_cut_by_are_refused() {
    let server = Server::with_history(|_| ()).await;
    server.put_oven(OVEN).await;
    for step in 0..20_004_i64 {
        server.past().say(OVEN, -HOUR + step * 100_000, &[("machine", "door", json!(step % 2 == 0))]);
    }
    let problem = Answer::of(server.get(&format!("{ROUTE}?where=eq(machine/door,true)"))).await;
    assert_eq!(problem.problem("history-too-large")["limit"], 10_000);
}
