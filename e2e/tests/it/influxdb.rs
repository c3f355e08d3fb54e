//! Every sample of history is in a real InfluxDB as well, once and with the same value, whatever is killed on the way; and what
//! InfluxDB does not take is counted and holds nothing up.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::careful::Careful;
use e2e::influxdb::{LineServer, query};
use e2e::{Program, ProgramOptions, end_after_kill, rounds};
use rand::Rng as _;
use serde_json::{Value, json};

use crate::history::{Ledger, device, now_ms};

const PATIENCE: Duration = Duration::from_secs(60);
const DATABASE: &str = "plant";
const ROUNDS: u64 = 6;
const DEVICES: usize = 4;
const DAY_MS: u64 = 86_400_000;

fn options(server: &LineServer) -> ProgramOptions {
    ProgramOptions::default()
        .with(format!("influxdb.url = \"{}\"", server.url("")))
        .with(format!("influxdb.database = \"{DATABASE}\""))
        .with("influxdb.flush_interval_ms = 50")
}

async fn create_database(server: &LineServer) -> anyhow::Result<()> {
    server.query("", &format!("CREATE DATABASE {DATABASE}")).await.map(|_| ())
}

/// A number among the program's metrics; 0 where it is not there.
async fn metric(program: &Program, name: &str) -> anyhow::Result<f64> {
    let text = reqwest::get(program.url("/metrics")).await?.text().await?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    Ok(value.unwrap_or_default())
}

async fn health(program: &Program) -> anyhow::Result<Value> {
    let health: Value = reqwest::get(program.url("/health")).await?.json().await?;
    let parts = health["parts"].as_array().context("parts")?;
    parts.iter().find(|part| part["name"] == "influxdb").cloned().context("the part")
}

/// Waits until the writer's health is as wanted, and gives its words.
async fn wait_for_health(program: &Program, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<String> {
    let begun = Instant::now();
    loop {
        let part = health(program).await?;
        if wanted(&part) {
            return Ok(part["detail"].as_str().unwrap_or_default().to_owned());
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{part}\n{}", program.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until both say the same of a statement; returns what.
async fn same(program: &Program, server: &LineServer, statement: &str) -> anyhow::Result<Value> {
    let begun = Instant::now();
    loop {
        let ours = query(&program.url(""), "openegiz", statement).await?;
        let theirs = server.query(DATABASE, statement).await?;
        if ours == theirs {
            return Ok(ours);
        }
        if begun.elapsed() > PATIENCE {
            let shown = |value: &Value| value.to_string().chars().take(2_000).collect::<String>();
            anyhow::bail!(
                "{statement}:\nhistory {}\nInfluxDB {}\n{}",
                shown(&ours),
                shown(&theirs),
                program.log()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Makes Things, so that already the first sample is one of a Thing.
async fn make(program: &Program, names: &[&str]) -> anyhow::Result<()> {
    for name in names {
        let url = program.url(&format!("/api/v1/things/factory:{name}"));
        let made = reqwest::Client::new().put(url).json(&json!({})).send().await?;
        anyhow::ensure!(made.status() == 201, "{}", made.text().await?);
    }
    Ok(())
}

/// A device that publishes a sample and waits for the acknowledgement.
async fn publish(publisher: &mut Careful, topic: &str, payload: &Value) -> anyhow::Result<()> {
    publisher.publish(topic, &payload.to_string(), 1, false).await?;
    publisher.take_until(PATIENCE, |own| own.under_way() == 0).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_every_acknowledged_sample_is_in_influxdb_once() -> anyhow::Result<()> {
    let mut server = LineServer::influxdb().await?;
    create_database(&server).await?;
    let options = options(&server)
        .with("influxdb.batch_lines = 200")
        .with("twin.snapshot_every_records = 1000")
        .with("twin.snapshot_interval_s = 1")
        .with("journal.segment_bytes = 1048576");
    let mut program = Program::start(options).await?;
    let begin_ms = now_ms()? - DAY_MS;
    let names: Vec<String> = (0..DEVICES).map(|index| format!("dev-{index}")).collect();
    make(&program, &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let ledger = Ledger::default();
    for round in 0..rounds(ROUNDS)? {
        let mut tasks = Vec::new();
        for name in &names {
            let ledger = ledger.clone();
            tasks.push(tokio::spawn(device(program.mqtt_port, name.clone(), (begin_ms, 5), ledger)));
        }
        let moment = |most| Duration::from_millis(rand::rng().random_range(20..most));
        tokio::time::sleep(moment(800)).await;
        // InfluxDB goes first, the program first, or only one of them.
        let which = round % 4;
        if which != 1 {
            server.kill()?;
            tokio::time::sleep(moment(600)).await;
        }
        program.kill()?;
        end_after_kill(tasks).await.with_context(|| format!("round {round}"))?;
        if which == 2 {
            server.restart().await?;
            program.restart().await?;
        } else {
            program.restart().await?;
            tokio::time::sleep(moment(600)).await;
            server.restart().await?;
        }
    }
    for name in &names {
        for (measurement, fields) in [("counter", "number"), ("zones", "all_0, all_1")] {
            let statement = format!("SELECT {fields} FROM {measurement} WHERE device_id = '{name}'");
            let found = same(&program, &server, &statement).await?;
            let rows = found[0]["values"].as_array().context("values")?;
            let numbers: Vec<u64> =
                rows.iter().filter_map(|row| row[1].as_f64()).map(|number| number as u64).collect();
            let fault = ledger.fault(name, &numbers);
            anyhow::ensure!(fault.is_none(), "{name}: {}", fault.unwrap_or_default());
            anyhow::ensure!(numbers.len() > 100, "{name}: only {} numbers", numbers.len());
        }
    }
    wait_for_health(&program, |part| part["status"] == "up").await?;
    assert_eq!(metric(&program, "egiz_influxdb_skipped_records_total").await?, 0.0);
    assert_eq!(metric(&program, "egiz_influxdb_rejected_values_total").await?, 0.0);
    assert_eq!(program.stop().await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn an_influxdb_shows_what_the_program_itself_shows() -> anyhow::Result<()> {
    let server = LineServer::influxdb().await?;
    create_database(&server).await?;
    let program = Program::start(options(&server)).await?;
    make(&program, &["oven-001"]).await?;
    let mut publisher = Careful::new("oven-001");
    publisher.connect(program.mqtt_port).await?;
    let topic = "sensors/factory/oven-001/telemetry";
    let begin_ms = now_ms()? - 100_000;
    for step in 0..20_u64 {
        let payload = json!({"timestamp": begin_ms + step * 1_000, "thermal": {
            "zone": 190.5 + step as f64, "whole": step, "zones": [1, 2.5, step], "tiny": 1e-300, "big": 9_007_199_254_740_991_u64,
            "word": format!("say \"{step}\" \\ c:\\temp, a=b\nü"), "door open": step % 2 == 0,
            "nested": {"a": [1, {"b": step}]},
        }, "electrical": {"power,kW=a b": -0.25}, "broken": {"never": null}});
        publish(&mut publisher, topic, &payload).await?;
    }
    // A correction of a sample, a sample that comes late, and one of the same time.
    for (number, value) in [(3, 1.0), (3, 2.0), (0, 7.0)] {
        let payload = json!({"timestamp": begin_ms + number * 1_000, "thermal": {"zone": value}});
        publish(&mut publisher, topic, &payload).await?;
    }
    let client = reqwest::Client::new();
    let lines = format!(
        "cpu,host=server01,cpu=cpu\\ 0,path=C:\\dir usage=1i,ok=t {0}\ncpu,host=server01,cpu=cpu1 usage=2.5 {0}\n",
        begin_ms * 1_000
    );
    let answer = client.post(program.url("/write?db=any&precision=u")).body(lines).send().await?;
    anyhow::ensure!(answer.status() == 204, "{}", answer.text().await?);
    let put = |value: Value| {
        let url = program.url("/api/v1/things/factory:written/features/set/properties/mode");
        client.put(url).json(&value).send()
    };
    let thing =
        json!({"definition": "openegiz:oven:1.0.0", "features": {"set": {"properties": {"mode": "auto"}}}});
    let made = client.put(program.url("/api/v1/things/factory:written")).json(&thing).send().await?;
    anyhow::ensure!(made.status() == 201, "{}", made.text().await?);
    anyhow::ensure!(put(json!("manual")).await?.status().is_success());

    for measurement in ["thermal", "electrical", "cpu", "\"set\""] {
        let found = same(&program, &server, &format!("SELECT * FROM {measurement}")).await?;
        let rows = found[0]["values"].as_array().context("values")?;
        anyhow::ensure!(!rows.is_empty(), "{measurement}: {found}");
    }
    let grouped = "SELECT mean(zone), max(zone), count(zone) FROM thermal GROUP BY device_id, thing_id, host";
    let found = same(&program, &server, grouped).await?;
    assert_eq!(found[0]["tags"]["thing_id"], "factory:oven-001", "{found}");
    assert_eq!(found[0]["values"][0][3], 20, "{found}");
    wait_for_health(&program, |part| part["status"] == "up").await?;
    Ok(())
}

#[tokio::test]
async fn a_value_of_another_type_is_counted_and_all_others_are_there() -> anyhow::Result<()> {
    let server = LineServer::influxdb().await?;
    create_database(&server).await?;
    let program = Program::start(options(&server)).await?;
    make(&program, &["dev"]).await?;
    let mut publisher = Careful::new("dev");
    publisher.connect(program.mqtt_port).await?;
    let begin_ms = now_ms()? - 100_000;
    for step in 0..300_u64 {
        let mode = if step == 150 || step == 151 { json!("text") } else { json!(step) };
        let payload = json!({"timestamp": begin_ms + step * 100, "m": {"mode": mode, "level": step}});
        publish(&mut publisher, "sensors/factory/dev/telemetry", &payload).await?;
    }
    let level = same(&program, &server, "SELECT level FROM m").await?;
    assert_eq!(level[0]["values"].as_array().map(Vec::len), Some(300));
    let detail = wait_for_health(&program, |part| part["status"] == "degraded").await?;
    assert!(detail.contains("2 values were not taken") && detail.contains("field type conflict"), "{detail}");
    let mode = server.query(DATABASE, "SELECT count(mode) FROM m").await?;
    assert_eq!(mode[0]["values"][0][1], 298);
    assert_eq!(metric(&program, "egiz_influxdb_rejected_values_total").await?, 2.0);
    assert_eq!(metric(&program, "egiz_influxdb_written_values_total").await?, 598.0);
    let log = program.log();
    assert!(log.contains("does not take some values") && !log.contains("\"text\""), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_missing_database_and_a_wrong_password_are_waited_for() -> anyhow::Result<()> {
    const PASSWORD: &str = "correct-horse-battery";
    let server = LineServer::influxdb_with_users().await?;
    let admin = format!("CREATE USER admin WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES");
    server.query("", &admin).await?;
    let secrets = tempfile::tempdir()?;
    let password = secrets.path().join("password");
    std::fs::write(&password, "not-the-right-one\n")?;
    let options = options(&server)
        .with("influxdb.username = \"admin\"")
        .with(format!("influxdb.password_file = {password:?}"));
    let program = Program::start(options).await?;
    make(&program, &["dev"]).await?;
    let mut publisher = Careful::new("dev");
    publisher.connect(program.mqtt_port).await?;
    let begin_ms = now_ms()? - 100_000;
    for step in 0..50_u64 {
        let payload = json!({"timestamp": begin_ms + step * 100, "m": {"level": step}});
        publish(&mut publisher, "sensors/factory/dev/telemetry", &payload).await?;
    }
    let detail = wait_for_health(&program, |part| part["status"] == "down").await?;
    assert!(detail.contains("status 401") && detail.contains("nothing is lost"), "{detail}");
    std::fs::write(&password, PASSWORD)?;
    let has =
        |words: &'static str| move |part: &Value| part["detail"].as_str().is_some_and(|d| d.contains(words));
    wait_for_health(&program, has("status 404: database not found")).await?;
    let as_admin = [("u", "admin"), ("p", PASSWORD)];
    let ask = async |statement: &str| -> anyhow::Result<Value> {
        let parameters = [as_admin[0], as_admin[1], ("db", DATABASE), ("q", statement)];
        let answer = reqwest::Client::new().post(server.url("/query")).query(&parameters).send().await?;
        Ok(answer.json().await?)
    };
    ask(&format!("CREATE DATABASE {DATABASE}")).await?;
    wait_for_health(&program, |part| part["status"] == "up").await?;
    let begun = Instant::now();
    loop {
        let count = ask("SELECT count(level) FROM m").await?;
        if count["results"][0]["series"][0]["values"][0][1] == 50 {
            break;
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{count}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(metric(&program, "egiz_influxdb_retries_total").await? >= 2.0);
    let log = program.log();
    assert!(!log.contains(PASSWORD) && !log.contains("not-the-right-one"), "a password is in the log");
    Ok(())
}

#[tokio::test]
async fn what_is_more_than_may_wait_goes_and_is_counted_and_the_plant_goes_on() -> anyhow::Result<()> {
    let mut server = LineServer::influxdb().await?;
    create_database(&server).await?;
    let options = options(&server)
        .with("journal.segment_bytes = 1048576")
        .with("journal.max_total_bytes = 8388608")
        .with("influxdb.max_behind_bytes = 3145728")
        .with("twin.snapshot_interval_s = 1");
    let program = Program::start(options).await?;
    make(&program, &["dev"]).await?;
    let mut publisher = Careful::new("dev");
    publisher.connect(program.mqtt_port).await?;
    let begin_ms = now_ms()? - DAY_MS;
    let mut number = 0_u64;
    let mut send = async |count: u64| -> anyhow::Result<u64> {
        for _ in 0..count / 50 {
            for _ in 0..50 {
                number += 1;
                let filler = "x".repeat(2_000);
                let payload =
                    json!({"timestamp": begin_ms + number * 10, "m": {"level": number, "filler": filler}});
                publisher.publish("sensors/factory/dev/telemetry", &payload.to_string(), 1, false).await?;
            }
            publisher.take_until(PATIENCE, |own| own.under_way() == 0).await?;
        }
        Ok(number)
    };
    send(100).await?;
    same(&program, &server, "SELECT level FROM m").await.context("before the outage")?;
    server.kill()?;
    // More than the journal may hold at all: it is never full for all that.
    for _ in 0..24 {
        send(250).await.with_context(|| program.log())?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let detail =
        wait_for_health(&program, |part| part["detail"].as_str().is_some_and(|d| d.contains("went without")))
            .await?;
    assert!(detail.contains("behind"), "{detail}");
    server.restart().await?;
    wait_for_health(&program, |part| part["status"] == "degraded").await?;
    let last = send(50).await?;
    let begun = Instant::now();
    let numbers: Vec<u64> = loop {
        let found = server.query(DATABASE, "SELECT level FROM m").await?;
        let rows = found[0]["values"].as_array().context("values")?;
        let numbers: Vec<u64> = rows.iter().filter_map(|row| row[1].as_f64()).map(|n| n as u64).collect();
        if numbers.last() == Some(&last) {
            break numbers;
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{:?}\n{}", numbers.last(), program.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    // The oldest of the outage are missing, as many as were counted, and none beside.
    let skipped = metric(&program, "egiz_influxdb_skipped_values_total").await? / 2.0;
    assert!(skipped > 100.0, "{skipped}");
    assert_eq!(numbers.len() as f64 + skipped, last as f64);
    assert_eq!(numbers[..100], (1..=100).collect::<Vec<u64>>());
    let gap = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!((1..=24).contains(&gap), "{gap} gaps");
    assert!(metric(&program, "egiz_influxdb_journal_bytes").await? <= 3_145_728.0 + 1_048_576.0);
    Ok(())
}

#[tokio::test]
async fn what_the_journal_let_go_while_nothing_was_written_is_missing_and_said_to_be() -> anyhow::Result<()> {
    let server = LineServer::influxdb().await?;
    create_database(&server).await?;
    let options = options(&server)
        .with("journal.segment_bytes = 1048576")
        .with("journal.max_total_bytes = 4194304")
        .with("twin.snapshot_interval_s = 1");
    let mut program = Program::start(options).await?;
    make(&program, &["dev"]).await?;
    let begin_ms = now_ms()? - DAY_MS;
    let topic = "sensors/factory/dev/telemetry";
    let sample = |number: u64, filler: usize| json!({"timestamp": begin_ms + number, "m": {"level": number, "filler": "x".repeat(filler)}});
    let mut publisher = Careful::new("dev");
    publisher.connect(program.mqtt_port).await?;
    publish(&mut publisher, topic, &sample(1, 1)).await?;
    same(&program, &server, "SELECT level FROM m").await?;
    let url = format!("influxdb.url = \"{}\"", server.url(""));
    assert_eq!(program.stop().await?, Some(0));
    program.set("influxdb.url = \"\"");
    program.restart().await?;
    publisher.connect(program.mqtt_port).await?;
    for number in 2..60 {
        publish(&mut publisher, topic, &sample(number, 100_000)).await?;
        // So that a snapshot comes in time, and the journal is trimmed and not full.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_eq!(program.stop().await?, Some(0));
    program.set(&url);
    program.restart().await?;
    let detail = wait_for_health(&program, |part| part["status"] == "degraded").await?;
    assert!(detail.contains("records went without having been written there"), "{detail}");
    assert!(program.log().contains("the journal does not reach back"), "{}", program.log());
    assert!(metric(&program, "egiz_influxdb_skipped_records_total").await? > 50.0);
    publisher.connect(program.mqtt_port).await?;
    publish(&mut publisher, topic, &sample(60, 1)).await?;
    let begun = Instant::now();
    loop {
        let found = server.query(DATABASE, "SELECT level FROM m").await?;
        let rows = found[0]["values"].as_array().context("values")?;
        let numbers: Vec<f64> = rows.iter().filter_map(|row| row[1].as_f64()).collect();
        if numbers == [1.0, 60.0] {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{numbers:?}\n{}", program.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victoria_metrics_takes_everything_too_over_either_version() -> anyhow::Result<()> {
    for api in ["v1", "v2"] {
        let mut server = LineServer::victoria_metrics().await?;
        let options = ProgramOptions::default()
            .with(format!("influxdb.url = \"{}\"", server.url("")))
            .with(format!("influxdb.api = \"{api}\""))
            .with(if api == "v2" { "influxdb.bucket = \"plant\"" } else { "influxdb.database = \"plant\"" })
            .with("influxdb.flush_interval_ms = 50");
        let mut program = Program::start(options).await?;
        make(&program, &["dev-0"]).await?;
        let begin_ms = now_ms()? - DAY_MS;
        let ledger = Ledger::default();
        for _ in 0..2 {
            let publishing =
                tokio::spawn(device(program.mqtt_port, "dev-0".to_owned(), (begin_ms, 5), ledger.clone()));
            tokio::time::sleep(Duration::from_millis(700)).await;
            // It acknowledges from memory, so that a kill would lose what it has acknowledged.
            server.stop().await?;
            tokio::time::sleep(Duration::from_millis(300)).await;
            program.kill()?;
            end_after_kill(vec![publishing]).await?;
            program.restart().await?;
            server.restart().await?;
        }
        let statement = "SELECT number FROM counter WHERE device_id = 'dev-0'";
        let begun = Instant::now();
        loop {
            let ours = query(&program.url(""), "openegiz", statement).await?;
            let ours: Vec<(u64, u64)> = ours[0]["values"]
                .as_array()
                .context("values")?
                .iter()
                .filter_map(|row| Some((row[0].as_u64()? / 1_000, row[1].as_f64()? as u64)))
                .collect();
            let theirs = export(&server, "counter_number").await?;
            if ours == theirs && ours.len() > 100 {
                assert_eq!(
                    ledger.fault("dev-0", &ours.iter().map(|(_, number)| *number).collect::<Vec<_>>()),
                    None
                );
                break;
            }
            anyhow::ensure!(
                begun.elapsed() < PATIENCE,
                "{api}: {} samples in history, {} in VictoriaMetrics\n{}",
                ours.len(),
                theirs.len(),
                program.log()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

/// The samples of a metric, each time once: what is written twice is there twice until VictoriaMetrics puts it together.
async fn export(server: &LineServer, metric: &str) -> anyhow::Result<Vec<(u64, u64)>> {
    let selector = format!("{{__name__=\"{metric}\"}}");
    let parameters = [("match[]", selector.as_str()), ("start", "0")];
    let answer = reqwest::Client::new().get(server.url("/api/v1/export")).query(&parameters).send().await?;
    let mut samples = Vec::new();
    for line in answer.text().await?.lines() {
        let series: Value = serde_json::from_str(line)?;
        let (times, values) = (series["timestamps"].as_array(), series["values"].as_array());
        let (times, values) = (times.context("times")?, values.context("values")?);
        let pairs = times.iter().zip(values);
        samples.extend(pairs.filter_map(|(time, value)| Some((time.as_u64()?, value.as_f64()? as u64))));
    }
    samples.sort_unstable();
    samples.dedup();
    Ok(samples)
}
