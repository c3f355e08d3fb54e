//! InfluxDB's own client libraries write and read the shipped program as they would a server of theirs, and Grafana's data
//! source finds what Telegraf wrote, after a crash, too.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use e2e::python::{python, said};
use e2e::{Program, ProgramOptions};
use serde_json::{Value, json};

use crate::disk::fill;

const TOKEN: &str = "a-token-for-influx-clients";

/// Writes with the client libraries of both versions, reads with that of the first, and prints what was read as JSON.
const CLIENTS: &str = r#"
import json, sys
from influxdb import InfluxDBClient
from influxdb.exceptions import InfluxDBClientError
from influxdb_client import InfluxDBClient as SecondClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS

port, token, begin = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
found = {}

first = InfluxDBClient("127.0.0.1", port, "telegraf", token, "plant", gzip=True)
found["version"] = first.ping()
first.create_database("plant")
points = [
    {"measurement": "thermal", "tags": {"device_id": "oven-777"}, "time": (begin + step) * 1_000_000_000,
     "fields": {"zone": 190.5 + step, "door open": step == 2, "word": 'say "hi"', "count": step}}
    for step in range(10)
]
assert first.write_points(points)
lines = "".join(f"cpu,host=server01,cpu=cpu{n} usage_idle={90 + n}i {begin + step}\n" for n in range(2) for step in range(10))
assert first.write(lines, {"db": "plant", "precision": "s"}, protocol="line")
try:
    first.write(f"foo\ncpu,host=server01,cpu=cpu9 usage_idle=1i {begin}\n", {"db": "plant", "precision": "s"}, protocol="line")
    found["refused"] = "nothing"
except InfluxDBClientError as error:
    found["refused"] = [error.code, error.content]
found["databases"] = first.get_list_database()
found["measurements"] = first.get_list_measurements()
found["thermal"] = list(first.query('SELECT zone, "door open", word, "count" FROM thermal ORDER BY time DESC LIMIT 2', epoch="s").get_points())
found["mean"] = [[tags, list(rows)] for (_, tags), rows in first.query(
    f"SELECT mean(usage_idle) FROM cpu WHERE host = 'server01' AND time >= {begin}s AND time < {begin + 10}s GROUP BY time(5s), cpu", epoch="s").items()]
found["chunked"] = sum(len(list(part.get_points())) for part in first.query("SELECT usage_idle FROM cpu", chunked=True, chunk_size=5))

second = SecondClient(url=f"http://127.0.0.1:{port}", token=token, org="factory", enable_gzip=True)
assert second.ping()
point = Point("vibration").tag("thing_id", "factory:mixer-777").field("rms", 1.25).time(begin, WritePrecision.S)
second.write_api(write_options=SYNCHRONOUS).write(bucket="plant", record=point, write_precision=WritePrecision.S)
found["second"] = list(first.query("SELECT rms, thing_id FROM vibration", epoch="s").get_points())
print(json.dumps(found))
"#;

#[tokio::test]
async fn influxdbs_clients_write_and_read() -> anyhow::Result<()> {
    let (mut program, _token) = start().await?;
    let begin = now_s()? - 100;
    let arguments = ["-c", CLIENTS, &program.http_port.to_string(), TOKEN, &begin.to_string()];
    let found: Value = serde_json::from_slice(&said(python().args(arguments))?)?;
    assert_eq!(found["version"], "1.8.10-openegiz");
    assert_eq!(found["databases"], json!([{"name": "openegiz"}]));
    assert_eq!(found["measurements"], json!([{"name": "cpu"}, {"name": "thermal"}]));
    assert_eq!(
        found["thermal"],
        json!([
            {"time": begin + 9, "zone": 199.5, "door open": false, "word": "say \"hi\"", "count": 9},
            {"time": begin + 8, "zone": 198.5, "door open": false, "word": "say \"hi\"", "count": 8},
        ])
    );
    assert_eq!(found["refused"][0], 400);
    let refused = found["refused"][1].as_str().unwrap_or_default();
    assert!(
        refused.contains("partial write: unable to parse 'foo': missing fields (line 1) dropped=1"),
        "{refused}"
    );
    let mean = found["mean"].as_array().context("series")?;
    assert_eq!(mean.len(), 3, "the good line of the refused body is there: {mean:?}");
    assert_eq!(mean[1][0], json!({"cpu": "cpu1"}));
    assert_eq!(mean[1][1].as_array().and_then(|rows| rows.last()).map(|row| &row["mean"]), Some(&json!(91)));
    assert_eq!(found["chunked"], 21, "each sample once, those that made the device known, too");
    assert_eq!(found["second"], json!([{"time": begin, "rms": 1.25, "thing_id": "factory:mixer-777"}]));

    program.kill()?;
    program.restart().await?;
    let count = ask(&program, "SELECT count(usage_idle) FROM cpu WHERE host = 'server01'").await?;
    assert_eq!(
        count["results"][0]["series"][0]["values"][0][1], 21,
        "what was answered 204 outlives a crash: {count}"
    );
    Ok(())
}

/// What Grafana's data source sends, word for word but for names and times.
#[tokio::test]
async fn grafanas_queries_are_answered() -> anyhow::Result<()> {
    let (program, _token) = start().await?;
    let begin = now_s()? - 300;
    let mut lines = String::new();
    for step in 0..30 {
        for host in ["a", "b"] {
            lines.push_str(&format!(
                "cpu,host={host},cpu=cpu-total usage_idle={}.25 {}\n",
                step,
                (begin + step * 10) * 1_000_000_000
            ));
        }
    }
    let written = reqwest::Client::new()
        .post(program.url("/write?db=telegraf&rp=autogen"))
        .header("authorization", format!("Token {TOKEN}"))
        .body(lines)
        .send()
        .await?;
    assert_eq!(written.status(), 204, "{}", written.text().await?);
    let names = |answer: &Value| answer["results"][0]["series"][0]["values"].clone();
    for (q, expected) in [
        ("SHOW DATABASES", json!([["openegiz"]])),
        ("SHOW measurements", json!([["cpu"]])),
        ("SHOW MEASUREMENTS LIMIT 1", json!([["cpu"]])),
        ("SHOW RETENTION POLICIES on \"telegraf\"", json!([["autogen", "720h0m0s", "24h0m0s", 1, true]])),
        ("SHOW MEASUREMENTS WITH MEASUREMENT =~ /(?i)cp/ LIMIT 100", json!([["cpu"]])),
        ("SHOW FIELD KEYS FROM \"cpu\"", json!([["usage_idle", "float"]])),
        ("SHOW TAG KEYS FROM \"cpu\"", json!([["cpu"], ["device_id"], ["host"], ["thing_id"]])),
        (
            "SHOW TAG VALUES FROM \"cpu\" WITH KEY = \"host\" WHERE \"cpu\"::tag = 'cpu-total'",
            json!([["host", "a"], ["host", "b"]]),
        ),
        ("SHOW TAG VALUES FROM \"cpu\" WITH KEY = \"host\" WHERE \"host\" =~ /^b$/", json!([["host", "b"]])),
    ] {
        assert_eq!(names(&ask(&program, q).await?), expected, "{q}");
    }
    let (from, to) = (begin * 1000, (begin + 299) * 1000);
    let q = format!(
        "SELECT mean(\"usage_idle\") FROM \"cpu\" WHERE (\"host\"::tag =~ /^(a|b)$/ AND \"cpu\"::tag = 'cpu-total') AND time >= {from}ms \
         and time <= {to}ms GROUP BY time(2m), \"host\"::tag fill(null)"
    );
    let answer = ask(&program, &q).await?;
    let series = answer["results"][0]["series"].as_array().context("series")?;
    assert_eq!(series.len(), 2, "{answer}");
    assert_eq!(series[1]["tags"], json!({"host": "b"}));
    assert_eq!(series[0]["columns"], json!(["time", "mean"]));
    let count: usize = series[0]["values"].as_array().map_or(0, Vec::len);
    assert!((3..=4).contains(&count), "{answer}");
    let q = format!(
        "SELECT last(\"usage_idle\") FROM \"cpu\" WHERE time >= {from}ms and time <= {to}ms GROUP BY \"host\""
    );
    let answer = ask(&program, &q).await?;
    assert_eq!(answer["results"][0]["series"][0]["values"][0][1], 29.25, "{answer}");
    Ok(())
}

/// As Telegraf wants it: 503 while the disk is full, after which it sends the same again, and 204 once there is space.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_asks_for_another_try() -> anyhow::Result<()> {
    let options = ProgramOptions { disk_bytes: Some(48 << 20), ..ProgramOptions::default() };
    let program = Program::start(options.with("journal.segment_bytes = 1048576")).await?;
    let begin = now_s()? - 1_000;
    let client = reqwest::Client::new();
    let write = |number: i64| {
        let line = format!("m,host=a text=\"{}\",number={number}i {}\n", "x".repeat(20_000), begin + number);
        client.post(program.url("/write?precision=s")).body(line).send()
    };
    assert_eq!(write(0).await?.status(), 204);
    let filler = program.disk().join("filler");
    fill(&filler)?;
    // The segment at hand has room for some.
    let mut number = 1;
    let refused = loop {
        let answer = write(number).await?;
        if answer.status() != 204 {
            break answer;
        }
        number += 1;
        anyhow::ensure!(number < 900, "the disk is not full");
    };
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
    assert!(refused.json::<Value>().await?["error"].is_string());
    std::fs::remove_file(&filler)?;
    let begun = std::time::Instant::now();
    while write(number).await?.status() != 204 {
        anyhow::ensure!(begun.elapsed().as_secs() < 60, "space does not heal it");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let answer = client.get(program.url("/query?q=SELECT+count(number)+FROM+m")).send().await?;
    let answer: Value = answer.json().await?;
    assert_eq!(answer["results"][0]["series"][0]["values"][0][1], number + 1, "{answer}");
    Ok(())
}

/// The program, and the file with its token.
async fn start() -> anyhow::Result<(Program, tempfile::NamedTempFile)> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), TOKEN)?;
    let options = ProgramOptions::default()
        .with(format!("http.api_token_file = {:?}", file.path().display().to_string()))
        .with("http.allow_anonymous = \"never\"");
    Ok((Program::start(options).await?, file))
}

async fn ask(program: &Program, q: &str) -> anyhow::Result<Value> {
    let answer = reqwest::Client::new()
        .get(program.url("/query"))
        .query(&[("db", "telegraf"), ("q", q), ("epoch", "ms")])
        .basic_auth("grafana", Some(TOKEN))
        .send()
        .await?;
    let status = answer.status();
    let text = answer.text().await?;
    anyhow::ensure!(status.is_success(), "{q}: {status} {text}");
    Ok(serde_json::from_str(&text)?)
}

fn now_s() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}
