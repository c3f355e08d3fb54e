//! History over HTTP, held against naive computations over what was put in.

use std::collections::BTreeMap;

use egiz_model::{Quality, Timestamp};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::RowAccessor as _;
use serde_json::{Value, json};

use crate::harness::{Answer, START_MICROS, Server};

const OVEN: &str = "factory:oven-001";
const ROUTE: &str = "/api/v1/things/oven-001/history";
const MINUTE: i64 = 60_000_000;

fn at(micros: i64) -> String {
    Timestamp::from_micros(START_MICROS + micros).to_string()
}

/// An oven that spoke every minute of the last hour: sealed in part, with a gap of ten minutes and doubts.
async fn oven() -> Server {
    let server = Server::with_history(|_| ()).await;
    server.put_oven(OVEN).await;
    for minute in (-60..0).filter(|minute| !(-30..-20).contains(minute)) {
        let zone = f64::from(minute) / 2.0;
        let quality = if minute == -5 { Quality::Uncertain } else { Quality::Good };
        let quality = if minute == -4 { Quality::Bad } else { quality };
        let state = if minute < -40 { "heating" } else { "running" };
        let values = [
            ("thermal", "zone", json!(zone), quality),
            ("thermal", "zones", json!([minute, minute * 2]), Quality::Good),
            ("machine", "state", json!(state), Quality::Good),
            ("machine", "door", json!(minute % 10 == 0), Quality::Good),
        ];
        server.past().say_judged(OVEN, i64::from(minute) * MINUTE, i64::from(minute == -7) * 90, &values);
        if minute == -33 {
            server.past().seal();
        }
    }
    server
}

/// What the oven said of `thermal/zone`, by minute, the bad one left out.
fn naive() -> BTreeMap<i64, f64> {
    let minutes = (-60_i64..0).filter(|minute| !(-30..-20).contains(minute) && *minute != -4);
    #[expect(clippy::cast_precision_loss, reason = "minutes of an hour")]
    minutes.map(|minute| (minute, minute as f64 / 2.0)).collect()
}

async fn read(server: &Server, query: &str) -> Value {
    server.read(&format!("{ROUTE}?{query}")).await
}

fn property<'a>(answer: &'a Value, path: &str) -> &'a Value {
    let found = answer["properties"].as_array().expect("properties").iter().find(|entry| {
        let item = entry["item"].as_u64().map(|item| format!("/{item}")).unwrap_or_default();
        let (feature, name) = (entry["feature"].as_str(), entry["property"].as_str());
        format!("{}/{}{item}", feature.unwrap_or("?"), name.unwrap_or("?")) == path
    });
    found.unwrap_or_else(|| panic!("no {path} in {answer}"))
}

fn numbers(entry: &Value) -> Vec<(String, Option<f64>)> {
    let samples = entry["samples"].as_array().expect("samples").iter();
    samples
        .map(|sample| (sample["time"].as_str().expect("a time").to_owned(), sample["value"].as_f64()))
        .collect()
}

#[tokio::test]
async fn without_history_it_is_said_to_be_off() {
    let server = Server::start().await;
    server.put_oven(OVEN).await;
    let at = "/api/v1/things/oven-001?at=0";
    for path in [ROUTE, "/api/v1/state?at=0", at, "/api/v1/things/oven-001/features/thermal?at=0"] {
        let problem = Answer::of(server.get(path)).await.problem("history-off");
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.contains("switched off")),
            "{problem}"
        );
    }
    let query = json!({"things": [OVEN], "agg": "avg"});
    server.send("POST", "/api/v1/history/query", &query).await.problem("history-off");
}

#[tokio::test]
async fn samples_are_what_was_said_with_doubts_and_gaps() {
    let server = oven().await;
    let answer = read(&server, "property=thermal/zone").await;
    assert_eq!((&answer["from"], &answer["to"]), (&json!(at(-60 * MINUTE)), &json!(at(0))), "the last hour");
    let entry = property(&answer, "thermal/zone");
    let mut expected: BTreeMap<i64, f64> = naive();
    expected.insert(-4, -2.0);
    let expected: Vec<_> =
        expected.into_iter().map(|(minute, value)| (at(minute * MINUTE), Some(value))).collect();
    assert_eq!(numbers(entry), expected);
    assert_eq!(entry["known"], true);
    let few = read(&server, &format!("from={}&to={}", at(-8 * MINUTE), at(-3 * MINUTE))).await;
    insta::assert_json_snapshot!("samples", few);
    let typed: egiz_api::History = serde_json::from_value(few.clone()).expect("the documented form");
    assert_eq!(serde_json::to_value(&typed).expect("JSON"), few);
}

#[tokio::test]
async fn times_are_rfc_3339_or_seconds_or_milliseconds() {
    let server = oven().await;
    let second = START_MICROS / 1_000_000;
    let expected =
        read(&server, &format!("from={}&to={}&feature=thermal", at(-5 * MINUTE), at(-MINUTE))).await;
    for (from, to) in [
        ((second - 300).to_string(), (second - 60).to_string()),
        (((second - 300) * 1000).to_string(), format!("{}.0", second - 60)),
        ("2024-01-27T11:45:00%2B01:00".to_owned(), "2024-01-27T11:49:00+01:00".to_owned()),
    ] {
        assert_eq!(read(&server, &format!("from={from}&to={to}&feature=thermal")).await, expected);
    }
}

#[tokio::test]
async fn properties_are_chosen_in_every_form_and_unknown_ones_are_called_so() {
    let server = oven().await;
    let paths = |answer: &Value| -> Vec<String> {
        let entries = answer["properties"].as_array().expect("properties").iter();
        entries
            .map(|entry| {
                let item = entry["item"].as_u64().map(|item| format!("/{item}")).unwrap_or_default();
                format!(
                    "{}/{}{item}",
                    entry["feature"].as_str().unwrap_or("?"),
                    entry["property"].as_str().unwrap_or("?")
                )
            })
            .collect()
    };
    let all = ["machine/door", "machine/state", "thermal/zone", "thermal/zones"];
    for (query, expected) in [
        ("", &all[..]),
        ("feature=machine", &["machine/door", "machine/state"]),
        ("feature=thermal&property=zones/1,zone", &["thermal/zones/1", "thermal/zone"]),
        ("property=thermal/zone,machine/door", &["thermal/zone", "machine/door"]),
        ("property=thermal/zone,thermal/zone_9", &["thermal/zone", "thermal/zone_9"]),
    ] {
        let answer = read(&server, query).await;
        assert_eq!(paths(&answer), expected, "{query}");
    }
    // What was said at another time only is no part of the answer.
    server.past().say(OVEN, -90 * MINUTE, &[("machine", "note", json!("early"))]);
    assert_eq!(paths(&read(&server, "").await), all);
    let csv = Answer::of(server.get(ROUTE).header("accept", "text/csv")).await;
    assert_eq!(
        csv.text.lines().next(),
        Some("time,received_after_s,machine/door,machine/state,thermal/zone,thermal/zones,quality")
    );
    let answer = read(&server, "property=thermal/zones/1,thermal/zone_9,thermal/setpoint").await;
    assert_eq!(property(&answer, "thermal/zones/1")["samples"][0]["value"], -120);
    let unknown = property(&answer, "thermal/zone_9");
    assert_eq!((&unknown["known"], &unknown["samples"]), (&json!(false), &json!([])));
    assert_eq!(property(&answer, "thermal/setpoint")["known"], true, "the live Thing has it");
    // Known of another time.
    let earlier = read(&server, &format!("to={}&property=thermal/zone", at(-90 * MINUTE))).await;
    let entry = property(&earlier, "thermal/zone");
    assert_eq!((&entry["known"], &entry["samples"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn a_thing_that_only_history_knows_is_served_and_one_that_nobody_knows_is_not() {
    let server = oven().await;
    server.past().say("factory:gone", -MINUTE, &[("f", "x", json!(1))]);
    let answer = server.read("/api/v1/things/gone/history").await;
    assert_eq!(property(&answer, "f/x")["samples"][0]["value"], 1);
    Answer::of(server.get("/api/v1/things/nobody/history")).await.problem("thing-not-found");
    server.send("PUT", "/api/v1/things/silent", &json!({})).await;
    assert_eq!(server.read("/api/v1/things/silent/history").await["properties"], json!([]));
}

#[tokio::test]
async fn the_unit_is_that_of_the_live_thing() {
    let server = Server::with_history(|_| ()).await;
    let template = json!({"definition": "openegiz:tunnel-oven:1.0.0", "title": "Oven", "devices": ["oven-*"],
        "features": {"thermal": {"setpoint": {"unit": "°C"}}}});
    assert_eq!(server.send("PUT", "/api/v1/templates/tunnel-oven", &template).await.status, 201);
    server.put_oven(OVEN).await;
    server.past().say(OVEN, -MINUTE, &[("thermal", "setpoint", json!(195.5))]);
    for query in ["", "width=100", "agg=avg"] {
        let answer = read(&server, query).await;
        assert_eq!(property(&answer, "thermal/setpoint")["unit"], "°C", "{answer}");
    }
}

#[tokio::test]
async fn every_refusal_names_the_parameter_and_what_is_allowed() {
    let server = oven().await;
    let table: &[(&str, &str, &str, &str)] = &[
        ("from=yesterday", "invalid-parameter", "from", "`yesterday` is no time: write RFC 3339"),
        ("to=2024-13-01T00:00:00Z", "invalid-parameter", "to", "no time"),
        ("from=2024-01-27T10:00:00Z&to=2024-01-27T10:00:00Z", "invalid-parameter", "from", "before `to`"),
        ("from=2010-01-01T00:00:00Z", "history-too-large", "from", "more than 3660 days"),
        ("property=zone", "invalid-parameter", "property", "`zone` is no feature/property"),
        ("property=thermal/zones/64", "invalid-parameter", "property", "0 to 63"),
        ("resolution=15x&agg=avg", "invalid-parameter", "resolution", "`15x` is not a resolution"),
        ("resolution=1ms&agg=avg", "history-too-large", "resolution", "at most 20000 are allowed"),
        ("resolution=1m", "invalid-parameter", "resolution", "say which in `agg`"),
        ("agg=mean", "invalid-parameter", "agg", "`mean` is not an aggregate: allowed are min, max, avg"),
        ("agg=avg,avg", "invalid-parameter", "agg", "twice"),
        ("agg=avg,duration", "invalid-parameter", "agg", "stands alone"),
        ("agg=avg&fill=nothing", "invalid-parameter", "fill", "none, null, previous, linear"),
        ("agg=duration&fill=0", "invalid-parameter", "fill", "unknownS"),
        ("agg=avg&tz=Mars/Olympus", "invalid-parameter", "tz", "`Mars/Olympus` is no time zone"),
        ("agg=avg&hold=1d", "invalid-parameter", "hold", "`1d` is no length of time"),
        ("hold=15s", "invalid-parameter", "hold", "`agg` or `width`"),
        ("agg=avg&limit=5", "invalid-parameter", "limit", "belongs to samples"),
        ("width=0", "invalid-parameter", "width", "1 to 20000"),
        ("width=20001", "invalid-parameter", "width", "it is 20001"),
        ("width=100&agg=avg", "invalid-parameter", "agg", "does not go with `width`"),
        ("limit=0", "invalid-parameter", "limit", "at least 1"),
        ("limit=10001", "page-too-large", "limit", "1 to 10000"),
        ("cursor=abc", "invalid-cursor", "", ""),
        ("propery=x", "invalid-parameter", "propery", "known are: from, to"),
    ];
    let mut texts = BTreeMap::new();
    for (query, code, parameter, part) in table {
        let problem = Answer::of(server.get(&format!("{ROUTE}?{query}"))).await.problem(code);
        if !parameter.is_empty() {
            let error = &problem["errors"][0];
            assert_eq!(error["parameter"], *parameter, "{query}: {problem}");
            assert!(
                error["reason"].as_str().is_some_and(|reason| reason.contains(part)),
                "{query}: {problem}"
            );
        }
        texts.insert(*query, problem["detail"].as_str().unwrap_or_default().to_owned());
    }
    insta::assert_json_snapshot!("refusals", texts);
    let document = server.get(ROUTE).header("accept", "application/pdf");
    Answer::of(document).await.problem("not-acceptable");
    Answer::of(server.request("PUT", ROUTE)).await.problem("method-not-allowed");
}

#[tokio::test]
async fn pages_neither_lose_nor_repeat_a_row_and_their_cursors_are_bound_to_the_question() {
    let server = oven().await;
    let whole = read(&server, "").await;
    for limit in [1, 7, 50] {
        let mut seen: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let (mut cursor, mut pages) = (String::new(), 0);
        loop {
            let page = read(&server, &format!("limit={limit}{cursor}")).await;
            let mut times = std::collections::BTreeSet::new();
            for entry in page["properties"].as_array().expect("properties") {
                let samples = entry["samples"].as_array().expect("samples");
                times.extend(samples.iter().map(|sample| sample["time"].to_string()));
                let path = format!("{}/{}", entry["feature"], entry["property"]);
                seen.entry(path).or_default().extend(samples.iter().cloned());
            }
            assert!(times.len() <= limit, "a page of {limit} has {} rows", times.len());
            pages += 1;
            // What is put away meanwhile is not told twice.
            server.past().seal();
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(pages, 50_usize.div_ceil(limit));
        for entry in whole["properties"].as_array().expect("properties") {
            let path = format!("{}/{}", entry["feature"], entry["property"]);
            assert_eq!(json!(seen[&path]), entry["samples"], "{path} by {limit}");
        }
    }
    let page = read(&server, "limit=7").await;
    let cursor = page["cursor"].as_str().expect("there is more");
    for other in ["feature=thermal&", "from=0&to=100&"] {
        let answer = Answer::of(server.get(&format!("{ROUTE}?{other}cursor={cursor}"))).await;
        answer.problem("invalid-cursor");
    }
    server.past().say("factory:oven-002", -MINUTE, &[("thermal", "zone", json!(1))]);
    let other = format!("/api/v1/things/oven-002/history?cursor={cursor}");
    Answer::of(server.get(&other)).await.problem("invalid-cursor");
}

#[tokio::test]
async fn aggregates_equal_a_naive_computation() {
    let server = oven().await;
    let query =
        "property=thermal/zone&resolution=15m&agg=min,max,avg,sum,count,first,last,median,range,good-share";
    let answer = read(&server, query).await;
    let buckets = property(&answer, "thermal/zone")["buckets"].as_array().expect("buckets").clone();
    // 10:50 minus an hour begins five minutes into a bucket.
    let starts: Vec<i64> = (0..5).map(|index| -65 + index * 15).collect();
    assert_eq!(buckets.len(), starts.len());
    for (bucket, start) in buckets.iter().zip(starts) {
        assert_eq!(bucket["start"], at(start * MINUTE));
        let mut values: Vec<f64> = naive().range(start..start + 15).map(|(_, value)| *value).collect();
        assert_eq!(bucket["count"], values.len());
        let (first, last) = (values.first().copied(), values.last().copied());
        values.sort_by(f64::total_cmp);
        let sum: f64 = values.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "a few samples")]
        let count = values.len() as f64;
        let is_near = |name: &str, expected: Option<f64>| {
            let value = bucket["values"][name].as_f64();
            let near = match (value, expected) {
                (Some(value), Some(expected)) => (value - expected).abs() < 1e-9,
                (value, expected) => value == expected,
            };
            assert!(near, "{name} of {bucket}: wanted {expected:?}");
        };
        let some = |value: f64| (count > 0.0).then_some(value);
        is_near("min", values.first().copied());
        is_near("max", values.last().copied());
        is_near("avg", some(sum / count));
        is_near("sum", some(sum));
        is_near("count", Some(count));
        is_near("first", first);
        is_near("last", last);
        is_near("range", values.first().zip(values.last()).map(|(min, max)| max - min));
        let middle = values.len() / 2;
        let odd = values.len() % 2 == 1;
        let median = if values.is_empty() {
            None
        } else if odd {
            Some(values[middle])
        } else {
            Some((values[middle - 1] + values[middle]) / 2.0)
        };
        is_near("median", median);
    }
    let doubts = ["excluded", "quality", "partial"].map(|name| &buckets[4][name]);
    assert_eq!(doubts, [&json!(1), &json!("uncertain"), &json!(true)]);
    let doubts = ["excluded", "quality", "partial"].map(|name| &buckets[3][name]);
    assert_eq!(doubts, [&Value::Null; 3]);
    let last = read(&server, "property=thermal/zone&resolution=10m&agg=avg,last").await;
    insta::assert_json_snapshot!("buckets", last);
}

#[tokio::test]
async fn lists_are_reckoned_item_by_item_and_what_has_no_numbers_is_left_out() {
    let server = oven().await;
    let answer = read(&server, "agg=max").await;
    let entries = answer["properties"].as_array().expect("properties");
    assert_eq!(entries.len(), 3, "zone and both zones: {answer}");
    let one = &property(&answer, "thermal/zones/1")["buckets"];
    assert_eq!((&one[0]["values"]["max"], &one[0]["count"]), (&json!(-2.0), &json!(50)));
    let named = read(&server, "property=thermal/zones/0,machine/state&agg=max").await;
    assert_eq!(property(&named, "thermal/zones/0")["buckets"][0]["values"]["max"], -1.0);
    let text = &property(&named, "machine/state")["buckets"][0];
    assert_eq!(
        (&text["values"]["max"], &text["count"], &text["excluded"]),
        (&Value::Null, &json!(0), &json!(50))
    );
}

#[tokio::test]
async fn fillings_stand_where_there_is_no_value() {
    let server = oven().await;
    for (fill, expected) in [
        ("null", json!([-15.5, null, null, -8.0])),
        ("none", json!([-15.5, -8.0])),
        ("previous", json!([-15.5, -15.5, -15.5, -8.0])),
        ("linear", json!([-15.5, -13.0, -10.5, -8.0])),
        ("0.5", json!([-15.5, 0.5, 0.5, -8.0])),
    ] {
        let range = format!("from={}&to={}", at(-35 * MINUTE), at(-15 * MINUTE));
        let query = format!("{range}&property=thermal/zone&resolution=5m&agg=max&fill={fill}");
        let answer = read(&server, &query).await;
        let buckets = property(&answer, "thermal/zone")["buckets"].as_array().expect("buckets");
        let values: Vec<&Value> = buckets.iter().map(|bucket| &bucket["values"]["max"]).collect();
        let expected: Vec<f64> =
            expected.as_array().expect("a list").iter().map(|value| value.as_f64().unwrap_or(1e9)).collect();
        let values: Vec<f64> = values.iter().map(|value| value.as_f64().unwrap_or(1e9)).collect();
        assert!(
            values.len() == expected.len() && values.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-9),
            "{fill}: {values:?}, wanted {expected:?}"
        );
    }
}

#[tokio::test]
async fn a_value_from_before_the_range_counts_for_as_long_as_it_is_held() {
    let server = Server::with_history(|_| ()).await;
    server.put_oven(OVEN).await;
    server.past().say(
        OVEN,
        -90 * MINUTE,
        &[("thermal", "zone", json!(10)), ("machine", "state", json!("idle"))],
    );
    server.past().seal();
    server.past().say(
        OVEN,
        -30 * MINUTE,
        &[("thermal", "zone", json!(20)), ("machine", "state", json!("running"))],
    );
    let answer = read(&server, "property=thermal/zone&agg=twa,integral").await;
    let values = &property(&answer, "thermal/zone")["buckets"][0]["values"];
    assert_eq!(values, &json!({"twa": 15.0, "integral": 15.0}));
    let held = read(&server, "property=thermal/zone&agg=twa&hold=10m").await;
    assert_eq!(property(&held, "thermal/zone")["buckets"][0]["values"]["twa"], 20.0);
    let states = read(&server, "property=machine/state&agg=duration").await;
    let bucket = &property(&states, "machine/state")["buckets"][0];
    assert_eq!(
        bucket["states"],
        json!([
            {"state": "idle", "durationS": 1800.0, "entries": 0},
            {"state": "running", "durationS": 1800.0, "entries": 1},
        ])
    );
}

#[tokio::test]
async fn durations_of_states_add_up() {
    let server = oven().await;
    let answer = read(&server, "feature=machine&agg=duration").await;
    insta::assert_json_snapshot!("durations", answer);
}

#[tokio::test]
async fn days_are_those_of_the_zone() {
    let server = Server::with_history(|_| ()).await;
    server.put_oven(OVEN).await;
    for hour in 0..48 {
        let micros = -(48 - hour) * 60 * MINUTE;
        server.past().say(OVEN, micros, &[("thermal", "zone", json!(hour))]);
    }
    let range = format!("from={}&to={}", at(-48 * 60 * MINUTE), at(0));
    let query = format!("{range}&property=thermal/zone&resolution=1d&agg=count");
    let starts = |answer: &Value| -> Vec<String> {
        let buckets = property(answer, "thermal/zone")["buckets"].as_array().expect("buckets").clone();
        buckets.iter().map(|bucket| bucket["start"].as_str().expect("a start").to_owned()).collect()
    };
    let utc = read(&server, &query).await;
    assert_eq!(starts(&utc)[1], "2024-01-26T00:00:00.000Z");
    let kolkata = read(&server, &format!("{query}&tz=Asia/Kolkata")).await;
    assert_eq!(starts(&kolkata)[1], "2024-01-25T18:30:00.000Z");
    let total = |answer: &Value| -> u64 {
        let buckets = property(answer, "thermal/zone")["buckets"].as_array().expect("buckets").clone();
        buckets.iter().map(|bucket| bucket["count"].as_u64().expect("a count")).sum()
    };
    assert_eq!((total(&utc), total(&kolkata)), (48, 48));
}

#[tokio::test]
async fn a_chart_keeps_the_extremes_and_shows_the_gap() {
    let server = Server::with_history(|_| ()).await;
    server.put_oven(OVEN).await;
    let (mut least, mut greatest) = (f64::MAX, f64::MIN);
    for second in (0..3600).filter(|second| !(1200..1500).contains(second)) {
        let value = if second == 1777 { 999.0 } else { f64::from(second * 7919 % 1000) / 10.0 };
        (least, greatest) = (least.min(value), greatest.max(value));
        let micros = i64::from(second - 3600) * 1_000_000;
        server.past().say(
            OVEN,
            micros,
            &[("thermal", "zone", json!(value)), ("machine", "state", json!("on"))],
        );
    }
    let answer = read(&server, "width=50&hold=1m").await;
    let entries = answer["properties"].as_array().expect("properties");
    assert_eq!(entries.len(), 1, "a text is no line");
    let points = numbers(property(&answer, "thermal/zone"));
    assert!(points.len() <= 50 * 5, "{}", points.len());
    let values: Vec<f64> = points.iter().filter_map(|(_, value)| *value).collect();
    assert_eq!(values.iter().copied().fold(f64::MAX, f64::min), least);
    assert_eq!(values.iter().copied().fold(f64::MIN, f64::max), greatest);
    assert_eq!(points.iter().filter(|(_, value)| value.is_none()).count(), 1, "one gap");
}

#[tokio::test]
async fn parquet_is_a_file_of_all_samples() {
    const PARQUET: &str = "application/vnd.apache.parquet";
    let server = oven().await;
    let file = |query: String| {
        let request = server.get(&format!("{ROUTE}?{query}")).header("accept", PARQUET);
        async move {
            let answer = request.send().await.expect("an answer").error_for_status().expect("a file");
            assert_eq!(answer.headers()["content-type"], PARQUET);
            assert_eq!(
                answer.headers()["content-disposition"],
                "attachment; filename=\"factory_oven-001.parquet\""
            );
            SerializedFileReader::new(answer.bytes().await.expect("all of it")).expect("Parquet")
        }
    };
    let names = |file: &SerializedFileReader<_>| -> Vec<String> {
        let columns = file.metadata().file_metadata().schema_descr().columns().to_vec();
        columns.iter().map(|column| column.name().to_owned()).collect()
    };
    let all = file(String::new()).await;
    assert_eq!(
        names(&all),
        [
            "thing",
            "time",
            "received_after_s",
            "machine.door:bool",
            "machine.state:text",
            "thermal.zone/2",
            "thermal.zone:quality",
            "thermal.zones.length",
            "thermal.zones[0]",
            "thermal.zones[1]"
        ]
    );
    let rows: Vec<_> = all.get_row_iter(None).expect("rows").map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), 50);
    let halves = rows.iter().map(|row| row.get_long(5).expect("a number") as f64 / 2.0);
    let expected = (-60..0).filter(|minute| !(-30..-20).contains(minute));
    assert_eq!(
        halves.collect::<Vec<_>>(),
        expected.map(|minute| f64::from(minute) / 2.0).collect::<Vec<_>>()
    );
    assert_eq!(rows[49].get_string(0).expect("an id"), OVEN);

    let few = file("property=machine/state&limit=3".to_owned()).await;
    assert_eq!(names(&few), ["thing", "time", "received_after_s", "machine.state:text"]);
    assert_eq!(few.metadata().file_metadata().num_rows(), 3);
    // A range without samples is a file without rows.
    let none = file(format!("from={}&to={}", at(-25 * MINUTE), at(-24 * MINUTE))).await;
    assert_eq!(none.metadata().file_metadata().num_rows(), 0);

    for query in ["agg=avg", "width=100", "cursor=x", "limit=0"] {
        let refused = server.get(&format!("{ROUTE}?{query}")).header("accept", PARQUET);
        Answer::of(refused).await.problem("invalid-parameter");
    }
}

#[tokio::test]
async fn csv_is_a_row_a_message_or_a_bucket() {
    let server = oven().await;
    server.past().say(OVEN, -30 * 1_000_000, &[("machine", "note", json!("wait, \"hot\"\nstop"))]);
    let csv = |query: String| {
        let request = server.get(&format!("{ROUTE}?{query}")).header("accept", "text/csv");
        async move {
            let answer = Answer::of(request).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/csv")));
            answer.text
        }
    };
    let range = format!("from={}&to={}", at(-8 * MINUTE), at(0));
    let all = csv(range.clone()).await;
    insta::assert_snapshot!("csv_samples", all.replace("\r\n", "\n"));
    assert!(all.lines().count() >= 10 && all.ends_with("\r\n"));
    let named = csv(format!("{range}&property=thermal/zones/1,thermal/zone_9&limit=2")).await;
    assert_eq!(
        named.lines().collect::<Vec<_>>(),
        [
            "time,received_after_s,thermal/zones/1,thermal/zone_9,quality",
            "2024-01-27T10:42:00.000Z,0,-16,,",
            "2024-01-27T10:43:00.000Z,90,-14,,",
        ]
    );
    let buckets = csv("feature=thermal&resolution=10m&agg=avg,max&fill=none".to_owned()).await;
    insta::assert_snapshot!("csv_buckets", buckets.replace("\r\n", "\n"));
    let states = csv("property=machine/state&agg=duration".to_owned()).await;
    insta::assert_snapshot!("csv_states", states.replace("\r\n", "\n"));
    let points = csv("property=thermal/zone&width=4".to_owned()).await;
    assert_eq!(points.lines().next(), Some("property,time,value,quality"));
    let refused = server.get(&format!("{ROUTE}?cursor=x")).header("accept", "text/csv");
    Answer::of(refused).await.problem("invalid-parameter");
}

#[tokio::test]
async fn a_long_csv_has_every_row_once() {
    let server = Server::with_history(|_| ()).await;
    server.put_oven(OVEN).await;
    let count = 30_000;
    for index in 0..count {
        server.past().say(OVEN, (index - count) * 10_000_000, &[("thermal", "zone", json!(index))]);
        if index % 9_000 == 8_999 {
            server.past().seal();
        }
    }
    let path = format!("{ROUTE}?from={}&property=thermal/zone", at(-count * 10_000_000));
    let answer = Answer::of(server.get(&path).header("accept", "text/csv")).await;
    let values: Vec<i64> = answer
        .text
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(2).and_then(|value| value.parse().ok()).expect("a number"))
        .collect();
    assert_eq!(values, (0..count).collect::<Vec<_>>());
    let page = server.read(&format!("{path}&limit=10000")).await;
    assert_eq!(numbers(property(&page, "thermal/zone")).len(), 10_000);
    assert!(page["cursor"].is_string());
}

#[tokio::test]
async fn everything_is_shown_as_it_stood() {
    let server = oven().await;
    for number in 0..5 {
        let id = format!("factory:m-{number}");
        server.past().say(&id, -i64::from(number) * 10 * MINUTE, &[("f", "x", json!(number))]);
    }
    let now = server.read(&format!("/api/v1/state?at={}", at(-15 * MINUTE))).await;
    let ids = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("items").iter();
        items.map(|item| item["thingId"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&now), ["factory:m-2", "factory:m-3", "factory:m-4", OVEN]);
    let oven = now["items"].as_array().and_then(|items| items.last()).expect("the oven");
    let zone = &oven["features"]["thermal"]["properties"]["zone"];
    assert_eq!(zone, &json!({"value": -7.5, "time": at(-15 * MINUTE)}));
    // In the gap, what was said last before it.
    let gap = server.read(&format!("/api/v1/state?at={}", at(-25 * MINUTE))).await;
    let oven = gap["items"].as_array().and_then(|items| items.last()).expect("the oven");
    assert_eq!(oven["features"]["thermal"]["properties"]["zone"]["time"], at(-31 * MINUTE));

    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.read(&format!("/api/v1/state?at={}&limit=2{cursor}", at(0))).await;
        seen.extend(ids(&page));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["factory:m-0", "factory:m-1", "factory:m-2", "factory:m-3", "factory:m-4", OVEN]);

    for (query, part) in [
        ("", "missing"),
        ("?at=soon", "no time"),
        ("?at=2030-01-01T00:00:00Z", "lies in the future; it is 2024-01-27T10:50:00.000Z now"),
    ] {
        let problem =
            Answer::of(server.get(&format!("/api/v1/state{query}"))).await.problem("invalid-parameter");
        assert_eq!(problem["errors"][0]["parameter"], "at");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(part)), "{problem}");
    }
    let page = server.read(&format!("/api/v1/state?at={}&limit=2", at(0))).await;
    let cursor = page["cursor"].as_str().expect("there is more");
    let other = format!("/api/v1/state?at={}&cursor={cursor}", at(-MINUTE));
    Answer::of(server.get(&other)).await.problem("invalid-cursor");
}

#[tokio::test]
async fn a_thing_and_a_feature_are_shown_as_they_stood() {
    let server = oven().await;
    let then = at(-7 * MINUTE + 30_000_000);
    let path = format!("/api/v1/things/oven-001?at={then}&metadata=true");
    let answer = Answer::of(server.get(&path)).await;
    assert_eq!((answer.status, answer.header("etag")), (200, None));
    insta::assert_json_snapshot!("thing_at", answer.json());
    let feature = server.read(&format!("/api/v1/things/oven-001/features/thermal?at={then}")).await;
    assert_eq!(feature, json!({"at": then, "properties": {"zone": -3.5, "zones": [-7, -14]}}));

    let get = |path: String| Answer::of(server.get(&path));
    get(format!("/api/v1/things/oven-001?at={}", at(-90 * MINUTE))).await.problem("thing-not-found");
    get(format!("/api/v1/things/nobody?at={then}")).await.problem("thing-not-found");
    get(format!("/api/v1/things/oven-001/features/none?at={then}")).await.problem("path-not-found");
    get("/api/v1/things/oven-001?at=2030-01-01T00:00:00Z".to_owned()).await.problem("invalid-parameter");
    get("/api/v1/things/oven-001?at=".to_owned()).await.problem("invalid-parameter");
    get("/api/v1/things/oven-001?at=never".to_owned()).await.problem("invalid-parameter");
    for other in ["features/thermal/properties/zone?", "attributes?", "?fields=thingId&", "?condition=x&"] {
        let slash = if other.starts_with('?') { "" } else { "/" };
        get(format!("/api/v1/things/oven-001{slash}{other}at={then}")).await.problem("invalid-parameter");
    }
    let conditional = server.get(&format!("/api/v1/things/oven-001?at={then}")).header("if-none-match", "*");
    Answer::of(conditional).await.problem("invalid-parameter");
}

#[tokio::test]
async fn several_things_are_asked_at_once_each_for_itself_or_together() {
    let server = Server::with_history(|_| ()).await;
    let mut all: Vec<f64> = Vec::new();
    for number in 0..4 {
        let id = format!("factory:m-{number}");
        let kind = if number < 3 { "mixer" } else { "oven" };
        server.send("PUT", &format!("/api/v1/things/{id}"), &json!({"attributes": {"type": kind}})).await;
        for minute in 1..=30 {
            let value = f64::from(number * 100 + minute);
            server.past().say(
                &id,
                -i64::from(minute) * MINUTE,
                &[("f", "x", json!(value)), ("f", "s", json!("on"))],
            );
            if number < 3 {
                all.push(value);
            }
        }
    }
    let ask = |body: Value| {
        let server = &server;
        async move { server.send("POST", "/api/v1/history/query", &body).await }
    };
    let each = ask(json!({"filter": {"type": "mixer"}, "properties": ["f/x"], "agg": "max,count"})).await;
    assert_eq!(each.status, 200, "{}", each.text);
    let each = each.json();
    assert_eq!((&each["things"], each["groups"].as_array().map(Vec::len)), (&json!(3), Some(3)));
    assert_eq!(each["groups"][2]["thingId"], "factory:m-2");
    assert_eq!(
        each["groups"][2]["properties"][0]["buckets"][0]["values"],
        json!({"max": 230.0, "count": 30.0})
    );

    let together = ask(json!({"filter": "eq(attributes/type,\"mixer\")", "properties": ["f/x"],
        "agg": "min,max,avg,count,sum,stddev,twa", "groupBy": "none"}))
    .await
    .json();
    let values = &together["groups"][0]["properties"][0]["buckets"][0]["values"];
    let sum: f64 = all.iter().sum();
    let mean = sum / 90.0;
    let deviation = (all.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 89.0).sqrt();
    for (name, expected) in
        [("min", 1.0), ("max", 230.0), ("avg", mean), ("count", 90.0), ("sum", sum), ("stddev", deviation)]
    {
        let value = values[name].as_f64().expect(name);
        assert!((value - expected).abs() < 1e-6, "{name}: {value}, wanted {expected}");
    }
    assert!((values["twa"].as_f64().expect("twa") - mean).abs() < 1e-6, "each value holds a minute");

    let mut seen = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let page =
            ask(json!({"filter": "", "properties": ["f/x"], "agg": "last", "limit": 3, "cursor": cursor}))
                .await;
        assert_eq!(page.status, 200, "{}", page.text);
        let page = page.json();
        for group in page["groups"].as_array().expect("groups") {
            seen.push(group["thingId"].as_str().expect("an id").to_owned());
        }
        cursor = page["cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(seen, ["factory:m-0", "factory:m-1", "factory:m-2", "factory:m-3"]);

    let ids: Vec<String> = (0..1001).map(|number| format!("factory:n-{number}")).collect();
    let table = [
        (json!({"agg": "avg"}), "invalid-value", "/things"),
        (json!({"things": ["factory:m-0"], "filter": "", "agg": "avg"}), "invalid-value", "/things"),
        (json!({"things": ids, "agg": "avg"}), "history-too-large", "/things"),
        (json!({"things": ["factory:m-0"]}), "invalid-value", "/agg"),
        (json!({"things": ["factory:m-0"], "agg": "mean"}), "invalid-value", "/agg"),
        (json!({"things": ["factory:m-0"], "agg": "p95", "groupBy": "none"}), "invalid-value", "/agg"),
        (json!({"things": ["factory:m-0"], "agg": "duration", "groupBy": "none"}), "invalid-value", "/agg"),
        (
            json!({"things": ["factory:m-0"], "agg": "avg", "resolution": "1ms"}),
            "history-too-large",
            "/resolution",
        ),
        (json!({"things": ["factory:m-0"], "agg": "avg", "fill": "x"}), "invalid-value", "/fill"),
        (json!({"things": ["factory:m-0"], "agg": "avg", "from": "x"}), "invalid-value", "/from"),
        (json!({"things": ["factory:m-0"], "agg": "avg", "to": true}), "invalid-value", "/to"),
        (json!({"things": ["factory:m-0"], "agg": "avg", "tz": "x"}), "invalid-value", "/tz"),
        (
            json!({"things": ["factory:m-0"], "agg": "avg", "properties": ["f/x", ""]}),
            "invalid-value",
            "/properties/1",
        ),
        (
            json!({"things": ["factory:m-0"], "agg": "avg", "groupBy": "none", "limit": 5}),
            "invalid-value",
            "/limit",
        ),
        (json!({"things": ["factory:m-0"], "agg": "avg", "groupBy": "line"}), "invalid-value", "/groupBy"),
    ];
    for (body, code, pointer) in table {
        let problem = ask(body.clone()).await.problem(code);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
    }
    ask(json!({"things": ["factory:nobody"], "agg": "avg"})).await.problem("thing-not-found");
    ask(json!({"filter": "eq(a", "agg": "avg"})).await.problem("malformed-filter");
    // 4 Things with one property of 3,600 × 15 values each, and one more aggregate than fits.
    let many = "min,max,avg,sum,count,first,last,median,range,good-share,p1,p2,p3,p4,p5";
    let problem = ask(json!({"filter": "", "properties": ["f/x"], "agg": many, "resolution": "1s"})).await;
    assert_eq!(problem.problem("history-too-large")["limit"], 200_000);
}

#[tokio::test]
async fn a_part_that_cannot_be_read_is_said_so() {
    let server = oven().await;
    server.past().seal();
    for entry in std::fs::read_dir(server.past().folder.path()).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|kind| kind == "parquet") {
            let length = std::fs::metadata(&path).expect("there").len();
            std::fs::write(&path, vec![0; usize::try_from(length).expect("small")]).expect("written");
        }
    }
    let answer = Answer::of(server.get(ROUTE)).await;
    let problem = answer.problem("unavailable");
    assert!(!problem.to_string().contains("parquet"), "internals stay inside: {problem}");
}

#[tokio::test]
async fn a_viewer_may_read_all_of_it() {
    use egiz_server::{Anonymous, ApiToken, Role};
    use sha2::Digest as _;
    let server = Server::with_history(|settings| {
        let sha256 = sha2::Sha256::digest(b"the-viewers-token").into();
        settings.tokens = vec![ApiToken { name: "grafana".to_owned(), sha256, role: Role::Viewer }];
        settings.anonymous = Anonymous::Never;
    })
    .await;
    server.past().say(OVEN, -MINUTE, &[("f", "x", json!(1))]);
    let get = |path: &str| Answer::of(server.get(path).bearer_auth("the-viewers-token"));
    assert_eq!(get(ROUTE).await.status, 200);
    assert_eq!(get("/api/v1/state?at=0").await.status, 200);
    let query = server.request("POST", "/api/v1/history/query").bearer_auth("the-viewers-token");
    assert_eq!(Answer::of(query.json(&json!({"things": [OVEN], "agg": "avg"}))).await.status, 200);
    Answer::of(server.get(ROUTE)).await.problem("unauthenticated");
}

const DAY: i64 = 86_400_000_000;
const HOUR: i64 = 3_600_000_000;

/// An oven that spoke every hour for forty days, of which the first ten are left as rollups only. Returns when the first day
/// began, from the start on, and what was said by hour after that.
async fn old_oven() -> (Server, i64, Vec<f64>) {
    let server = Server::with_history(|_| ()).await;
    server.put_oven(OVEN).await;
    let begin = -START_MICROS.rem_euclid(DAY) - 40 * DAY;
    let mut said = Vec::new();
    for day in 0..40 {
        for hour in 0..24 {
            let value = f64::from((day * 7 + hour * 13) % 90) / 2.0;
            let time = begin + i64::from(day) * DAY + i64::from(hour) * HOUR + MINUTE;
            server.past().say_judged(OVEN, time, 0, &[("thermal", "zone", json!(value), Quality::Good)]);
            said.push(value);
        }
        let now = begin + i64::from(day + 1) * DAY + 2 * HOUR;
        server.past().seal_at(now);
    }
    server.past().seal_at(0);
    (server, begin, said)
}

#[tokio::test]
async fn long_ranges_have_answers_when_the_samples_are_gone() {
    let (server, begin, said) = old_oven().await;
    let range = format!("property=thermal/zone&from={}&to={}", at(begin), at(begin + 40 * DAY));
    let samples = read(&server, &format!("{range}&limit=10000")).await;
    let left = numbers(property(&samples, "thermal/zone"));
    assert_eq!(left.len(), 30 * 24, "the others are not kept any more");

    let answer = read(&server, &format!("{range}&resolution=1d&agg=count,min,max,avg,twa,stddev")).await;
    let buckets = property(&answer, "thermal/zone")["buckets"].as_array().expect("buckets");
    assert_eq!(buckets.len(), 40);
    let all = &said;
    for (day, (bucket, said)) in buckets.iter().zip(said.chunks(24)).enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let mean = said.iter().sum::<f64>() / said.len() as f64;
        let variance = said.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 23.0;
        let (min, max) = said.iter().fold((f64::MAX, f64::MIN), |(min, max), v| (min.min(*v), max.max(*v)));
        let is_near = |name: &str, expected: f64, most: f64| {
            let found = bucket["values"][name].as_f64().expect(name);
            assert!((found - expected).abs() <= most, "{name} of day {day}: {found}, wanted {expected}");
        };
        is_near("count", 24.0, 0.0);
        is_near("min", min, 0.0);
        is_near("max", max, 0.0);
        is_near("avg", mean, 1e-9);
        is_near("stddev", variance.sqrt(), 0.01);
        // The last value of a day is held through the first minute of the next.
        let of_day = said[..23].iter().sum::<f64>() * 3600.0 + said[23] * 3540.0;
        let twa = match day {
            0 => of_day / (86_400.0 - 60.0),
            _ => (of_day + all[day * 24 - 1] * 60.0) / 86_400.0,
        };
        is_near("twa", twa, 0.01);
    }

    let one = read(&server, &format!("{range}&agg=sum,count")).await;
    let one = &property(&one, "thermal/zone")["buckets"][0]["values"];
    assert_eq!((one["count"].as_f64(), one["sum"].as_f64()), (Some(960.0), Some(said.iter().sum())));

    let percentiles = read(&server, &format!("{range}&resolution=1d&agg=median")).await;
    let medians = property(&percentiles, "thermal/zone")["buckets"].as_array().expect("buckets");
    let known: Vec<bool> = medians.iter().map(|bucket| bucket["values"]["median"].is_number()).collect();
    assert_eq!(known, [vec![false; 10], vec![true; 30]].concat(), "they need every sample");
}

#[tokio::test]
async fn what_was_held_when_a_range_began_is_known_from_rollups_too() {
    let (server, begin, said) = old_oven().await;
    let range = format!("from={}&to={}", at(begin + 2 * DAY), at(begin + 2 * DAY + HOUR / 2));
    let answer = read(&server, &format!("property=thermal/zone&{range}&resolution=15m&agg=twa")).await;
    let buckets = property(&answer, "thermal/zone")["buckets"].as_array().expect("buckets");
    let expected = (said[47] * 60.0 + said[48] * 840.0) / 900.0;
    let found: Vec<f64> =
        buckets.iter().map(|bucket| bucket["values"]["twa"].as_f64().expect("a number")).collect();
    assert!((found[0] - expected).abs() < 0.01 && (found[1] - said[48]).abs() < 0.01, "{found:?}");
}

#[tokio::test]
async fn a_chart_reaches_back_to_what_is_left_as_rollups() {
    let (server, begin, said) = old_oven().await;
    let range = format!("property=thermal/zone&from={}&to={}", at(begin), at(begin + 40 * DAY));
    for hold in ["", "&hold=2h"] {
        let chart = read(&server, &format!("{range}&width=2000{hold}")).await;
        let points = numbers(property(&chart, "thermal/zone"));
        assert_eq!(points.first(), Some(&(at(begin + MINUTE), Some(said[0]))));
        let values: Vec<f64> = points.iter().filter_map(|(_, value)| *value).collect();
        assert_eq!(values, said, "each hour has a pixel of its own");
        assert!(points.iter().all(|(_, value)| value.is_some()), "nothing breaks the line{hold}");
    }
}

#[tokio::test]
async fn many_things_are_summed_up_from_rollups() {
    let (server, begin, said) = old_oven().await;
    let question = json!({
        "things": [OVEN], "properties": ["thermal/zone"], "from": at(begin), "to": at(begin + 40 * DAY),
        "agg": "sum,count", "groupBy": "none",
    });
    let answer = server.send("POST", "/api/v1/history/query", &question).await.json();
    let values = &answer["groups"][0]["properties"][0]["buckets"][0]["values"];
    assert_eq!((values["count"].as_f64(), values["sum"].as_f64()), (Some(960.0), Some(said.iter().sum())));
}
