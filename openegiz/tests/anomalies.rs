//! `openegiz ml evaluate` on labelled data of real machines, against the figures that docs/adr/0015-anomaly-detection.md
//! claims. The data is not in the repository: it is found by `EGIZ_ANOMALY_DATA`, or beside the checkout, and where it is not
//! these tests say that they were skipped.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn evaluate(folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_openegiz"))
        .args(["ml", "evaluate", "--json", "--data"])
        .arg(folder)
        .output()
        .expect("the program starts")
}

/// Not by `println!`, which is kept back where a test passes: what was skipped has to be seen.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error takes a line");
}

fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/anomaly");
    let folder = std::env::var_os("EGIZ_ANOMALY_DATA").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    say(&format!(
        "SKIPPED: {} is not there; EGIZ_ANOMALY_DATA says where the labelled data is",
        folder.display()
    ));
    None
}

fn pooled<'a>(found: &'a Value, protocol: &str, detector: &str) -> &'a Value {
    let all = found["measured"].as_array().expect("a list");
    let one = all.iter().find(|one| one["protocol"] == protocol && one["detector"] == detector);
    &one.unwrap_or_else(|| panic!("{protocol} {detector} is not there"))["pooled"]
}

/// What has to be reached: F1 at least, false alarm rate at most.
fn check(found: &Value, protocol: &str, detector: &str, least_f1: f64, most_false: f64) {
    let pooled = pooled(found, protocol, detector);
    let (f1, false_alarm_rate) =
        (pooled["f1"].as_f64().expect("a number"), pooled["false_alarm_rate"].as_f64().expect("a number"));
    say(&format!("{protocol} {detector}: F1 {f1:.3} at {:.1} %", false_alarm_rate * 100.0));
    assert!(f1 >= least_f1, "{protocol} {detector}: F1 {f1}");
    assert!(false_alarm_rate <= most_false, "{protocol} {detector}: false alarm rate {false_alarm_rate}");
}

#[test]
fn real_machines_faults_are_found_at_the_rates_that_are_claimed() {
    let Some(folder) = data() else { return };
    let output = evaluate(&folder);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    check(&found, "skab_benchmark", "fused", 0.72, 0.05);
    check(&found, "skab_operational", "fused", 0.85, 0.05);
    check(&found, "tep", "autoencoder", 0.95, 0.02);
    check(&found, "tep", "ledoit_wolf", 0.93, 0.02);
    check(&found, "tep", "isolation_forest", 0.85, 0.03);
    check(&found, "nab", "ledoit_wolf", 0.4, 0.02);
    assert_eq!(pooled(&found, "nab", "ledoit_wolf")["events_found"], 4);
    let operational = pooled(&found, "skab_operational", "fused");
    assert!(operational["events_found"].as_u64() >= Some(16), "{operational}");
    // The same again, to the last bit.
    assert_eq!(evaluate(&folder).stdout, output.stdout);
}

#[test]
fn a_folder_without_labelled_files_and_a_broken_file_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |part: &str| {
        let output = evaluate(folder.path());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(part), "{text}");
    };
    refused("has no labelled CSV files");
    let file = folder.path().join("other-01.csv");
    for (content, part) in [
        ("time,a,anomaly\n2020-01-01T00:00:00Z,1,0\n", "1 rows are too few: at least 401"),
        ("time,a,anomaly\nyesterday,1,0\n", "line 2: \"yesterday\" is not a time"),
        ("time,a,anomaly\n2020-01-01T00:00:00Z,warm,0\n", "line 2, a: \"warm\" is not a number"),
        ("time,a,anomaly\n2020-01-01T00:00:00Z,1,perhaps\n", "\"perhaps\" is neither 0 nor 1"),
        ("time,a,a,anomaly\n2020-01-01T00:00:00Z,1,1,0\n", "the signal \"a\" is there twice"),
    ] {
        std::fs::write(&file, content).expect("it is written");
        refused(part);
    }
}
