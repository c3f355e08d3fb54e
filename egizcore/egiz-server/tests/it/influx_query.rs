//! InfluxQL as Grafana's data source sends it, over history and live Things.

use serde_json::{Value, json};

use crate::harness::{Answer, START_MICROS, Server};

/// Two ovens that measure each ten seconds for two minutes, and a host with two processors.
async fn plant() -> Server {
    let server = Server::with_history(|_| ()).await;
    for oven in ["oven-001", "oven-002"] {
        server.put_oven(&format!("factory:{oven}")).await;
    }
    let past = server.past();
    for step in 0..12_i64 {
        let at = (step - 12) * 10_000_000;
        let zone = |more: f64| json!(190.0 + more + step as f64);
        let word = if step < 6 { "heating" } else { "running" };
        let oven = |more| {
            vec![
                ("thermal", "zone", zone(more)),
                ("thermal", "zones", json!([step, 100 + step])),
                ("machine", "state", json!(word)),
            ]
        };
        past.say("factory:oven-001", at, &oven(0.0));
        past.say("factory:oven-002", at, &oven(100.0));
        let cpu = [("cpu,cpu=cpu0", "idle", json!(step)), ("cpu,cpu=cpu1", "idle", json!(2 * step))];
        past.say("factory:server01", at, &cpu);
    }
    for oven in ["factory:oven-001", "factory:oven-002"] {
        server.telemetry(oven, -10, "thermal", &[("zone", 201.0)]);
        for (path, body) in
            [("thermal/properties/zones", json!([11, 111])), ("machine/properties/state", json!("running"))]
        {
            let (feature, rest) = path.split_once('/').expect("two");
            let path = format!("/api/v1/things/{oven}/features/{feature}");
            server
                .send(
                    "PATCH",
                    &path,
                    &json!({ "properties": { rest.rsplit('/').next().expect("one"): body } }),
                )
                .await;
        }
    }
    server
}

async fn ask(server: &Server, q: &str) -> Value {
    let request = server.get("/query").query(&[("db", "telegraf"), ("q", q), ("epoch", "s")]);
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 200, "{q}: {}", answer.text);
    assert!(answer.header("x-influxdb-version").is_some());
    answer.json()
}

/// The series of the only statement.
async fn series(server: &Server, q: &str) -> Vec<Value> {
    let answer = ask(server, q).await;
    assert!(answer["results"][0].get("error").is_none(), "{q}: {answer}");
    answer["results"][0]["series"].as_array().cloned().unwrap_or_default()
}

/// The values of the only series, without times.
async fn values(server: &Server, q: &str) -> Value {
    let series = series(server, q).await;
    assert_eq!(series.len(), 1, "{q}: {series:?}");
    let rows = series[0]["values"].as_array().expect("rows").iter();
    rows.map(|row| {
        if row.as_array().expect("a row").len() == 2 {
            row[1].clone()
        } else {
            json!(row.as_array().expect("a row")[1..])
        }
    })
    .collect()
}

/// Seconds from the beginning of the test.
fn second(of: i64) -> i64 {
    START_MICROS / 1_000_000 + of
}

#[tokio::test]
async fn what_there_is_is_listed() {
    let server = plant().await;
    let all = ask(
        &server,
        "SHOW DATABASES; SHOW RETENTION POLICIES on \"openegiz\"; CREATE DATABASE \"telegraf\"; SHOW MEASUREMENTS LIMIT 2",
    )
    .await;
    assert_eq!(
        all["results"][0],
        json!({"statement_id": 0, "series": [{"name": "databases", "columns": ["name"], "values": [["openegiz"]]}]})
    );
    assert_eq!(
        all["results"][1]["series"][0]["values"],
        json!([["autogen", "720h0m0s", "24h0m0s", 1, true]])
    );
    assert_eq!(all["results"][2], json!({"statement_id": 2}));
    assert_eq!(all["results"][3]["series"][0]["values"], json!([["cpu"], ["machine"]]));
    for (q, expected) in [
        ("SHOW MEASUREMENTS", json!(["cpu", "machine", "thermal"])),
        ("SHOW MEASUREMENTS WITH MEASUREMENT =~ /(?i)^THERM/ LIMIT 100", json!(["thermal"])),
        ("SHOW MEASUREMENTS WHERE \"host\" = 'server01'", json!(["cpu"])),
        ("SHOW TAG KEYS FROM \"cpu\"", json!(["cpu", "device_id", "host", "thing_id"])),
        ("SHOW TAG KEYS FROM \"thermal\"", json!(["definition", "device_id", "host", "thing_id"])),
        (
            "SHOW TAG VALUES FROM \"thermal\" WITH KEY = \"host\"",
            json!([["host", "oven-001"], ["host", "oven-002"]]),
        ),
        (
            "SHOW TAG VALUES FROM \"cpu\" WITH KEY = \"cpu\" WHERE host =~ /^server/ LIMIT 1",
            json!([["cpu", "cpu0"]]),
        ),
        (
            "SHOW TAG VALUES WITH KEY = \"thing_id\" WHERE \"definition\" != '' AND \"thing_id\" = 'oven-002'",
            json!(["x"]),
        ),
    ] {
        if expected == json!(["x"]) {
            let found = series(&server, q).await;
            assert_eq!(found.len(), 2, "{q}: {found:?}");
            assert_eq!(found[0]["values"], json!([["thing_id", "factory:oven-002"]]));
            continue;
        }
        let found = series(&server, q).await;
        let rows: Value = found[0]["values"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| if row.as_array().expect("a row").len() == 1 { row[0].clone() } else { row.clone() })
            .collect();
        assert_eq!(rows, expected, "{q}");
    }
    let fields = series(&server, "SHOW FIELD KEYS FROM \"autogen\".\"thermal\"").await;
    let rows = fields[0]["values"].as_array().expect("rows");
    assert!(
        rows.contains(&json!(["zone", "float"])) && rows.contains(&json!(["zones_1", "float"])),
        "{rows:?}"
    );
    assert!(series(&server, "SHOW TAG VALUES FROM nothing WITH KEY = host").await.is_empty());
    let keys = series(&server, "SHOW SERIES FROM cpu").await;
    assert_eq!(
        keys[0]["values"][0],
        json!(["cpu,cpu=cpu0,device_id=server01,host=server01,thing_id=factory:server01"])
    );
}

#[tokio::test]
async fn a_panel_gets_its_lines() {
    let server = plant().await;
    let range = format!("time >= {}ms and time <= {}ms", second(-120) * 1000, second(-1) * 1000);
    let lines = series(
        &server,
        &format!("SELECT mean(\"zone\") FROM \"thermal\" WHERE (\"host\"::tag =~ /^oven/) AND {range} GROUP BY time(1m), \"host\"::tag fill(null) ORDER BY time ASC"),
    )
    .await;
    assert_eq!(
        json!(lines),
        json!([
            {"name": "thermal", "tags": {"host": "oven-001"}, "columns": ["time", "mean"],
             "values": [[second(-120), 192.5], [second(-60), 198.5]]},
            {"name": "thermal", "tags": {"host": "oven-002"}, "columns": ["time", "mean"],
             "values": [[second(-120), 292.5], [second(-60), 298.5]]},
        ])
    );
    let lines = series(
        &server,
        &format!("SELECT max(\"idle\") FROM \"cpu\" WHERE \"host\" = 'server01' AND {range} GROUP BY time(1m), \"cpu\" fill(none)"),
    )
    .await;
    assert_eq!(json!(lines[0]["tags"]), json!({"cpu": "cpu0"}));
    assert_eq!(lines[1]["values"], json!([[second(-120), 10], [second(-60), 22]]));
    let pooled = values(&server, &format!("SELECT count(idle), sum(idle) FROM cpu WHERE {range}")).await;
    assert_eq!(pooled, json!([[24, 198]]));
}

#[tokio::test]
async fn every_function_reckons() {
    let server = plant().await;
    let of = |call: &str| format!("SELECT {call} FROM cpu WHERE cpu = 'cpu0' AND time > now() - 1h");
    for (call, expected) in [
        ("mean(idle)", json!([5.5])),
        ("min(idle)", json!([0])),
        ("max(idle)", json!([11])),
        ("sum(idle)", json!([66])),
        ("count(idle)", json!([12])),
        ("first(idle)", json!([0])),
        ("last(idle)", json!([11])),
        ("median(idle)", json!([5.5])),
        ("percentile(idle, 50)", json!([5])),
        ("spread(idle)", json!([11])),
        ("stddev(idle)", json!([3.605_551_275_463_989])),
        ("last(idle) * 2 + 1", json!([23])),
        ("min(idle), max(idle)", json!([[0, 11]])),
        ("mean(*)", json!([5.5])),
    ] {
        assert_eq!(values(&server, &of(call)).await, expected, "{call}");
    }
    let by_time = |call: &str, fill: &str| {
        format!(
            "SELECT {call} FROM cpu WHERE cpu = 'cpu0' AND time >= {}s AND time < {}s GROUP BY time(30s) {fill}",
            second(-150),
            second(0)
        )
    };
    for (call, fill, expected) in [
        ("last(idle)", "", json!([null, 2, 5, 8, 11])),
        ("count(idle)", "", json!([0, 3, 3, 3, 3])),
        ("last(idle)", "fill(none)", json!([2, 5, 8, 11])),
        ("last(idle)", "fill(7)", json!([7, 2, 5, 8, 11])),
        ("derivative(mean(idle), 10s)", "", json!([1, 1, 1])),
        ("non_negative_derivative(mean(idle), 1s)", "", json!([0.1, 0.1, 0.1])),
        ("difference(max(idle))", "fill(none)", json!([3, 3, 3])),
        ("cumulative_sum(count(idle))", "fill(none)", json!([3, 6, 9, 12])),
        ("mean(idle)", "ORDER BY time DESC LIMIT 2 OFFSET 1", json!([7, 4])),
    ] {
        assert_eq!(values(&server, &by_time(call, fill)).await, expected, "{call} {fill}");
    }
    let q = format!("SELECT last(idle) FROM cpu WHERE cpu = 'cpu0' AND time < {}s", second(-60));
    let found = series(&server, &q).await;
    assert_eq!(found[0]["values"], json!([[second(-70), 5]]), "a selector alone has the time of its sample");
    let q = "SELECT last(state) FROM machine GROUP BY host";
    assert_eq!(series(&server, q).await[0]["values"][0][1], "running");
}

#[tokio::test]
async fn samples_come_as_they_were() {
    let server = plant().await;
    let range = format!("time >= {}s AND time < {}s", second(-120), second(-90));
    assert_eq!(
        values(&server, &format!("SELECT idle FROM cpu WHERE {range}")).await,
        json!([0, 0, 1, 2, 2, 4])
    );
    assert_eq!(
        values(&server, &format!("SELECT idle, cpu FROM cpu WHERE {range} ORDER BY time DESC LIMIT 2")).await,
        json!([[4, "cpu1"], [2, "cpu0"]])
    );
    assert_eq!(
        values(&server, &format!("SELECT zones_1, state FROM thermal WHERE host = 'oven-001' AND {range}"))
            .await,
        json!([[100, null], [101, null], [102, null]])
    );
    let all = series(&server, &format!("SELECT * FROM cpu WHERE {range} AND cpu = 'cpu1' LIMIT 1")).await;
    assert_eq!(all[0]["columns"], json!(["time", "cpu", "device_id", "host", "idle", "thing_id"]));
    assert_eq!(
        all[0]["values"][0],
        json!([second(-120), "cpu1", "server01", "server01", 0, "factory:server01"])
    );
    assert_eq!(
        values(&server, &format!("SELECT difference(idle) FROM cpu WHERE cpu = 'cpu1' AND {range}")).await,
        json!([2, 2])
    );
    let grouped = series(&server, "SELECT idle FROM cpu GROUP BY * LIMIT 1 SLIMIT 1 SOFFSET 1").await;
    assert_eq!(grouped.len(), 1);
    assert_eq!(grouped[0]["tags"]["cpu"], "cpu1");
    assert!(series(&server, "SELECT nothing FROM cpu").await.is_empty());
    assert!(series(&server, "SELECT idle FROM cpu WHERE cpu = 'cpu9'").await.is_empty());
    let texts = series(&server, "SELECT /^st/ FROM /^mach/ WHERE device_id = 'oven-001' LIMIT 1").await;
    assert_eq!(texts[0]["columns"], json!(["time", "state"]));
}

#[tokio::test]
async fn answers_come_in_the_asked_form() {
    let server = plant().await;
    let q = "SELECT idle FROM cpu WHERE cpu = 'cpu0'";
    let answer = Answer::of(server.get("/query").query(&[("q", q)])).await;
    assert_eq!(answer.json()["results"][0]["series"][0]["values"][0][0], "2024-01-27T10:48:00Z");
    let answer = Answer::of(server.get("/query").query(&[("q", q), ("epoch", "ns")])).await;
    assert_eq!(answer.json()["results"][0]["series"][0]["values"][0][0], (START_MICROS - 120_000_000) * 1000);
    let answer = Answer::of(server.get("/query").query(&[("q", q), ("pretty", "true")])).await;
    assert!(answer.text.contains("\n  "), "{answer:?}");
    let chunked = [("q", q), ("chunked", "true"), ("chunk_size", "5"), ("epoch", "s")];
    let answer = Answer::of(server.get("/query").query(&chunked)).await;
    let lines = answer.lines();
    let rows: Vec<usize> = lines
        .iter()
        .map(|line| line["results"][0]["series"][0]["values"].as_array().map_or(0, Vec::len))
        .collect();
    assert_eq!(rows, [5, 5, 2]);
    let request = server
        .request("POST", "/query?db=x&epoch=s")
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = Answer::of(request.body("q=SHOW+DATABASES%3BSHOW%20MEASUREMENTS")).await;
    assert_eq!(answer.json()["results"].as_array().map(Vec::len), Some(2), "{answer:?}");
    let answer = Answer::of(server.request("POST", "/query?q=SHOW+DATABASES")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn errors_are_in_influxdbs_form() {
    let server = plant().await;
    for (query, status, part) in [
        ("", 400, "missing required parameter \"q\""),
        ("q=SELECT", 400, "error parsing query: found EOF"),
        ("q=DROP+DATABASE+x", 400, "error parsing query: not supported: DROP"),
        ("q=SHOW+DATABASES&epoch=d", 400, "`d`; allowed are ns, us"),
        ("q=SHOW+DATABASES&chunked=true&chunk_size=0", 400, "chunk_size"),
    ] {
        let answer = Answer::of(server.get(&format!("/query?{query}"))).await;
        assert_eq!(answer.status, status, "{query} {answer:?}");
        assert!(answer.json()["error"].as_str().is_some_and(|error| error.contains(part)), "{answer:?}");
    }
    let q = format!(
        "SELECT mean(idle) FROM cpu WHERE time >= {}s GROUP BY time(1u); SHOW DATABASES",
        second(-10)
    );
    let answer = ask(&server, &q).await;
    assert!(
        answer["results"][0]["error"].as_str().is_some_and(|error| error.contains("more than 500000")),
        "{answer}"
    );
    assert!(answer["results"][1]["series"].is_array(), "{answer}");
    let off = Server::start().await;
    let answer = ask(&off, "SELECT v FROM m; SHOW DATABASES").await;
    assert!(
        answer["results"][0]["error"].as_str().is_some_and(|error| error.contains("no history")),
        "{answer}"
    );
    assert!(answer["results"][1]["series"].is_array(), "{answer}");
}
