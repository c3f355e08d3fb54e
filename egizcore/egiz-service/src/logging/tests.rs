use super::*;
use std::io;
use std::sync::{Arc, Mutex};

use egiz_model::Timestamp;
use serde_json::{Value, json};

/// Keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs with logging and gives the lines.
fn lines(format: LogFormat, level: &str, work: impl FnOnce(LevelHandle)) -> Vec<String> {
    let kept = Kept::default();
    let writer = kept.clone();
    let clock: Clock = Arc::new(|| Timestamp::from_seconds(1_706_352_600));
    let (subscriber, handle) = subscriber(format, level, clock, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || work(handle));
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_json_line_has_the_documented_members() {
    let lines = lines(LogFormat::Json, "info", |_| {
        let span = tracing::info_span!(
            "request",
            correlation_id = "batch-7",
            thing.id = "f:a",
            late = tracing::field::Empty
        );
        let _entered = span.enter();
        span.record("late", 5);
        let error = io::Error::other("disk \"x\"\nfull");
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::warn!(target: "egiz_test", { thing.id = "f:b", count = 3, ratio = 0.5, ok = true, error = error }, "took {} ms", 7);
    });
    assert_eq!(lines.len(), 1, "a line feed in a value stays inside the line");
    let prefix = "{\"ts\":\"2024-01-27T10:50:00.000Z\",\"level\":\"warn\",\"target\":\"egiz_test\",\"msg\":\"took 7 ms\",";
    assert!(lines[0].starts_with(prefix), "{}", lines[0]);
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["correlation_id"], "batch-7");
    let expected = json!({"thing.id": "f:b", "late": 5, "count": 3, "ratio": 0.5, "ok": true, "error": "disk \"x\"\nfull"});
    assert_eq!(line["fields"], expected);
}

#[test]
fn a_line_without_fields_has_none_and_a_long_text_is_cut() {
    let lines = lines(LogFormat::Json, "info", |_| {
        tracing::info!("plain");
        tracing::info!(text = "é".repeat(10_000));
    });
    let plain: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((plain.get("fields"), plain.get("correlation_id")), (None, None));
    let long: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(long["fields"]["text"].as_str().unwrap().chars().count(), 4_097);
}

#[test]
fn a_human_line_reads_alone() {
    let lines =
        lines(LogFormat::Human, "info", |_| tracing::info!(target: "egiz_test", port = 1883, "listening"));
    assert_eq!(lines, ["2024-01-27T10:50:00.000Z  INFO egiz_test: listening port=1883"]);
}

#[test]
fn the_level_holds_by_part_and_can_be_changed() {
    let lines = lines(LogFormat::Human, "warn,egiz_test::part=debug", |handle| {
        tracing::info!(target: "egiz_test", "no");
        tracing::debug!(target: "egiz_test::part", "one");
        handle.set("info").unwrap();
        tracing::info!(target: "egiz_test", "two");
        tracing::debug!(target: "egiz_test::part", "no");
        assert!(handle.set("loud").is_err());
        handle.set("off").unwrap();
        tracing::error!("no");
    });
    let ends: Vec<_> = lines.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(ends, ["one", "two"]);
}

#[test]
fn only_known_words_are_levels() {
    for text in
        ["off", "error", "info", "trace", "info,egiz_broker=debug", "egiz_broker::session=trace, warn"]
    {
        assert!(is_level(text), "{text}");
    }
    for text in
        ["", "loud", "INFO", "3", "info,", "info,=debug", "a b=info", "egiz_broker=", "egiz_broker=loud"]
    {
        assert!(!is_level(text), "{text}");
    }
}
