//! History is files that any tool reads: what pandas, DuckDB, Polars and pyarrow find in them, and in the file that REST
//! answers, is what REST says.

use e2e::python::{python, said};
use e2e::{Program, ProgramOptions};
use serde_json::{Value, json};

/// Reads the folder given first with each tool, and prints what they found of one Thing as JSON. The one-liners are those
/// of docs/history.md.
const READERS: &str = r#"
import glob, json, sys
import duckdb, pandas as pd, polars as pl, pyarrow.parquet as pq

folder, thing = sys.argv[1:]
[file] = glob.glob(f"{folder}/*.parquet")
found = {}

rows = duckdb.sql(f"""SELECT "thermal.zone/10" / 10, "status.word:text", "thermal.zones[1]/16" / 16, "thermal.zone:quality"
    FROM '{file}' WHERE thing = '{thing}' ORDER BY time""").fetchall()
found["duckdb"] = [list(row) for row in rows]

day = pd.read_parquet(file)
day = pd.DataFrame({name.split("/")[0]: column / int(name.split("/")[1]) if "/" in name else column for name, column in day.items()})
day = day[day["thing"] == thing].sort_values("time")[["thermal.zone", "status.word:text", "thermal.zones[1]", "thermal.zone:quality"]]
found["pandas"] = json.loads(day.to_json(orient="values", double_precision=15))

day = pl.read_parquet(file)
day = day.select(*(pl.col(n) / int(n.split("/")[1]) if "/" in n else pl.col(n) for n in day.columns))
day = day.filter(pl.col("thing") == thing).sort("time").select("thermal.zone/10", "status.word:text", "thermal.zones[1]/16", "thermal.zone:quality")
found["polars"] = [list(row) for row in day.rows()]

table = pq.read_table(file, page_checksum_verification=True)
found["checked_rows"] = table.num_rows
print(json.dumps(found))
"#;

#[tokio::test]
async fn pandas_duckdb_and_polars_read_what_rest_answers() -> anyhow::Result<()> {
    let mut program = Program::start(ProgramOptions::default()).await?;
    let client = reqwest::Client::new();
    let mut expected = Vec::new();
    for step in 0..5 {
        let zone = if step == 3 { Value::Null } else { json!(190.1 + f64::from(step)) };
        let features = json!({
            "thermal": {"properties": {"zone": zone, "zones": [190, 192.0625 + f64::from(step)]}},
            "status": {"properties": {"word": if step < 2 { "heating" } else { "running" }}},
        });
        let body = json!({"features": features});
        let answer = client.put(program.url("/api/v1/things/factory:oven-001")).json(&body).send().await?;
        anyhow::ensure!(answer.status().is_success(), "{}", answer.text().await?);
    }
    let path = "/api/v1/things/oven-001/history?property=thermal/zone,status/word,thermal/zones/1";
    let history = program.get(path).await?;
    let samples =
        |index: usize| history["properties"][index]["samples"].as_array().cloned().unwrap_or_default();
    // Unchanged words are no samples; the files have them where they changed.
    for (index, sample) in samples(0).iter().enumerate() {
        let at = |of: usize| {
            let found = samples(of).into_iter().find(|other| other["time"] == sample["time"]);
            found.map_or(Value::Null, |other| other["value"].clone())
        };
        let quality = if index == 3 { json!("bad/no-value") } else { Value::Null };
        expected.push(json!([sample["value"], at(1), at(2), quality]));
    }
    assert_eq!(expected.len(), 5, "{history}");
    let answer = program.folder().join("answer");
    std::fs::create_dir(&answer)?;
    let request = client.get(program.url("/api/v1/things/oven-001/history"));
    let file = request.header("accept", "application/vnd.apache.parquet").send().await?.error_for_status()?;
    std::fs::write(answer.join("oven.parquet"), file.bytes().await?)?;
    program.stop().await?;
    check(&program.folder().join("data/history"), &expected)?;
    check(&answer, &expected)
}

/// Reads the one file in a folder with every tool.
fn check(folder: &std::path::Path, expected: &[Value]) -> anyhow::Result<()> {
    let found = said(python().args(["-c", READERS]).arg(folder).arg("factory:oven-001"))?;
    let found: Value = serde_json::from_slice(&found)?;
    for reader in ["duckdb", "pandas"] {
        assert_eq!(found[reader], json!(expected), "{reader}");
    }
    // Polars multiplies with the reciprocal instead of dividing, which may cost the last bit.
    let rounded = |rows: &Value| -> Value {
        let round = |value: &Value| {
            value.as_f64().map_or_else(|| value.clone(), |number| json!((number * 1e9).round() / 1e9))
        };
        let row = |row: &Value| row.as_array().into_iter().flatten().map(round).collect::<Value>();
        rows.as_array().into_iter().flatten().map(row).collect()
    };
    assert_eq!(rounded(&found["polars"]), rounded(&json!(expected)));
    assert_eq!(found["checked_rows"], json!(expected.len()), "pyarrow checks the checksum of every page");
    Ok(())
}
