//! Where lines go to by values; and that an engine of the writer's own, wherever it goes on from, comes to the same lines.

use std::sync::Arc;

use egiz_journal::{Batch, FileJournal, Journal, JournalConfig, JournalMetrics};
use egiz_model::record::{Header, TelemetryWriter};
use egiz_model::{Quality, QualityReason, Timestamp, Value};
use egiz_twin::{Engine, Limits};
use parking_lot::RwLock;
use prometheus_client::registry::Registry;
use serde_json::json;

use super::naming::NamingRules;
use super::shadow::Shadow;
use super::writer::live_snapshot;
use super::*;

fn config(text: &str) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("openegiz.toml");
    std::fs::write(&path, text).expect("written");
    let loaded = egiz_service::config::load(Some(&path), [("", ""); 0]).expect("a configuration");
    loaded.config
}

#[test]
fn lines_go_where_the_version_takes_them() {
    let first = config("influxdb.database = \"a b\"\n");
    let policy = config("influxdb.retention_policy = \"year\"\n");
    let second = config("influxdb.api = \"v2\"\ninfluxdb.org = \"o&o\"\ninfluxdb.bucket = \"b\"\n");
    for (url, config, expected) in [
        ("http://db:8086", &first, "http://db:8086/write?db=a+b&precision=u"),
        ("http://db:8086/", &policy, "http://db:8086/write?db=openegiz&rp=year&precision=u"),
        (
            "https://[::1]/influx/",
            &second,
            "https://[::1]/influx/api/v2/write?org=o%26o&bucket=b&precision=us",
        ),
    ] {
        let (uri, address) = target(url, config).expect("an address");
        assert_eq!(uri.to_string(), expected);
        assert_eq!(address, url.trim_end_matches('/'));
    }
    for (url, problem) in [
        ("db:8086", "has the scheme db"),
        ("db", "is no address: relative URL without a base"),
        ("http://a:b@db", "names a user; that is what influxdb.username and influxdb.password_file are for"),
        ("http://db?db=x", "has parameters; the database is influxdb.database"),
    ] {
        assert_eq!(target(url, &first), Err(problem.to_owned()), "{url}");
    }
}

fn telemetry(number: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let at = Timestamp::from_seconds(1_800_000_000 + number);
    let header = Header { received: at, principal: "tester", correlation: "" };
    let thing = format!("factory:oven-{}", number % 3);
    let mut writer = TelemetryWriter::begin(&mut out, &header, &thing, at, QualityReason::None);
    writer.feature("m");
    writer.sample("level", Quality::Good);
    writer.value(&Value::from_json(&json!(number)));
    writer.finish();
    out
}

fn accept(thing: &str) -> Vec<u8> {
    use egiz_model::record::{Body, Preconditions, Record, ThingWrite, WriteOperation};
    let header =
        Header { received: Timestamp::from_seconds(1_800_000_000), principal: "tester", correlation: "" };
    let preconditions = Preconditions::default();
    let operation = WriteOperation::Accept;
    let write = ThingWrite { thing, operation, path: "", content: b"{}", preconditions };
    Record { header, body: Body::ThingWrite(write) }.to_bytes()
}

/// A journal with groups of a record each: some Things are accepted on the way, so that what came before is not written.
fn journal(folder: &std::path::Path, records: i64) -> Arc<dyn Journal> {
    let config = JournalConfig { durability: egiz_journal::Durability::Memory, ..JournalConfig::default() };
    let metrics = JournalMetrics::register(&mut Registry::default());
    let (journal, _) = FileJournal::open(folder, config, metrics, Arc::new(|| 0)).expect("it opens");
    for number in 0..records {
        let mut batch = Batch::new();
        batch.push(&match number {
            20 => accept("factory:oven-0"),
            30 => accept("factory:oven-1"),
            number => telemetry(number),
        });
        let (done, waits) = std::sync::mpsc::channel();
        let permit = journal.reserve_blocking(batch.byte_len());
        journal.submit(batch, permit, Box::new(move |result| done.send(result.is_ok()).expect("it waits")));
        assert_eq!(waits.recv(), Ok(true));
    }
    Arc::new(journal)
}

fn rules() -> NamingRules {
    NamingRules { site: "factory".to_owned(), device_tags: vec!["thing_id".to_owned()] }
}

fn shadow(journal: &Arc<dyn Journal>, snapshot: &crate::snapshot::Snapshot) -> Shadow {
    Shadow::restore(Arc::clone(journal), snapshot, Limits::default(), rules()).expect("a snapshot")
}

fn all_lines(shadow: &mut Shadow, lines_max: usize) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let gathered = shadow.gather(lines_max).expect("readable");
        let lines = &gathered.lines;
        assert!(lines.len() <= lines_max, "a group is a record");
        all.extend((0..lines.len()).map(|at| lines.text(at..at + 1).to_owned()));
        if gathered.is_end {
            return all;
        }
    }
}

#[test]
fn from_wherever_it_goes_on_the_lines_are_the_same() {
    const RECORDS: i64 = 60;
    let folder = tempfile::tempdir().expect("a folder");
    let journal = journal(folder.path(), RECORDS);
    let empty = live_snapshot(&RwLock::new(Engine::new(Limits::default())));
    let whole = all_lines(&mut shadow(&journal, &empty), 7);
    // The Thing's own first sample is the message that it was discovered by last.
    assert!(whole.len() > 20 && whole[0].contains("oven-0"), "{whole:?}");
    assert!(whole.iter().all(|line| !line.contains("oven-2")), "nobody accepted it");
    for kept in [0, 5, 19, 21, 40, RECORDS] {
        for at in [kept, kept + 1, 33, RECORDS] {
            let (kept, at) = (u64::try_from(kept).expect("small"), u64::try_from(at).expect("small"));
            if at < kept || at > journal.status().next {
                continue;
            }
            let mut before = shadow(&journal, &empty);
            before.pass_over(kept).expect("readable");
            let snapshot = crate::snapshot::Snapshot {
                next_offset: kept,
                engine: before.snapshot(),
                retained: Vec::new(),
                sessions: Vec::new(),
            };
            let mut first = shadow(&journal, &empty);
            let mut written = Vec::new();
            while first.next() < at {
                let gathered = first.gather(1).expect("readable");
                let lines = gathered.lines;
                written.extend((0..lines.len()).map(|line| lines.text(line..line + 1).to_owned()));
            }
            let mut resumed = shadow(&journal, &snapshot);
            let (records, _) = resumed.pass_over(first.next()).expect("readable");
            assert_eq!(records, first.next() - kept);
            written.extend(all_lines(&mut resumed, 1_000));
            assert_eq!(written, whole, "kept at {kept}, cursor at {at}");
        }
    }
}
