//! `docs/metrics.md` lists every metric of the program. Run with `EGIZ_BLESS=1` after a change.
//!
//! It is made from the sources: a name and the help text beside it, as they are registered.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const HEAD: &str = "\
# Metrics

`GET /metrics` answers in the OpenMetrics text format, with a token where one is needed. Counters end in `_total`, histograms have
`_bucket`, `_sum` and `_count`; seconds and bytes are in the name. A thing that was dropped, refused or forgotten is always counted.
This page is made from the sources by a test of `openegiz`.

";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// Names with their help texts: `"egiz_…"`, a comma, a text.
fn registered(source: &str, found: &mut BTreeMap<String, String>) {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    for (at, _) in code.match_indices("\"egiz_") {
        let mut quoted = code[at + 1..].splitn(2, '"');
        let (Some(name), Some(rest)) = (quoted.next(), quoted.next()) else { continue };
        let Some(rest) = rest.trim_start().strip_prefix(',') else { continue };
        let Some(help) = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
            continue;
        };
        if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
            found.insert(name.to_owned(), help.to_owned());
        }
    }
}

#[test]
fn every_metric_is_documented() {
    let mut files = Vec::new();
    sources(&root().join("openegiz/src"), &mut files);
    for part in std::fs::read_dir(root().join("egizcore")).expect("the parts").flatten() {
        sources(&part.path().join("src"), &mut files);
    }
    let mut found = BTreeMap::new();
    for file in files {
        registered(&std::fs::read_to_string(file).expect("a source"), &mut found);
    }
    let counters = egiz_twin::Engine::new(egiz_twin::Limits::default()).counters().named();
    for (name, _) in counters {
        found.insert(
            format!("egiz_twin_{name}"),
            format!("Counted by the twin engine: {}", name.replace('_', " ")),
        );
    }
    assert!(found.len() > 50, "only {} metrics were found", found.len());

    let mut text = HEAD.to_owned();
    let mut part = "";
    for (name, help) in &found {
        let of = name.split('_').nth(1).unwrap_or_default();
        if of != part {
            let gap = if part.is_empty() { "" } else { "\n" };
            let _ = write!(text, "{gap}## {of}\n\n| metric | what |\n|---|---|\n");
            part = of;
        }
        let _ = writeln!(text, "| `{name}` | {help} |");
    }
    let page = root().join("docs/metrics.md");
    if std::env::var_os("EGIZ_BLESS").is_some() {
        std::fs::write(&page, &text).expect("docs/metrics.md can be written");
    }
    let committed = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        committed == text,
        "docs/metrics.md is out of date: run `EGIZ_BLESS=1 cargo test -p openegiz --test documentation`"
    );
}
