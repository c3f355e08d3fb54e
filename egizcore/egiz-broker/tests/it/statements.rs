//! Which test shows which normative statement: `tests/mqtt3.tsv` and `tests/mqtt5.tsv`, one line a statement.
//!
//! ```text
//! statement  TAB  server | client  TAB  tests, or "because" and why none can show it; nothing for a client's
//! ```
//!
//! `docs/mqtt-conformance.md` is made from it; `EGIZ_BLESS=1` writes it anew.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;

const VERSIONS: [(&str, &str); 2] =
    [("3.1.1", include_str!("../mqtt3.tsv")), ("5.0", include_str!("../mqtt5.tsv"))];
const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

struct Statement<'a> {
    id: &'a str,
    binds_server: bool,
    shown_by: &'a str,
}

fn statements(table: &'static str) -> Vec<Statement<'static>> {
    let read = |line: &'static str| {
        let mut columns = line.split('\t');
        let mut next = || columns.next().unwrap_or_else(|| panic!("{line}: three columns"));
        let (id, binds, shown_by) = (next(), next(), next());
        let binds_server = match binds {
            "server" => true,
            "client" => false,
            other => panic!("{line}: {other} is neither server nor client"),
        };
        Statement { id, binds_server, shown_by }
    };
    table.lines().map(read).collect()
}

/// The names of all functions in the crate's sources and tests that are marked as tests, with the file of each.
fn tests(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            tests(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("sources are text");
        let file = path.strip_prefix(FOLDER).expect("it is below").display().to_string();
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            let name = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
            match name.and_then(|rest| rest.split_once('(')) {
                Some((name, _)) if marked => {
                    found.insert(name.to_owned(), file.clone());
                    marked = false;
                }
                Some(_) => marked = false,
                None => marked |= line == "#[test]" || line.starts_with("#[tokio::test"),
            }
        }
    }
}

#[test]
fn every_statement_that_binds_a_server_is_shown_or_says_why_it_cannot_be() {
    let mut known = BTreeMap::new();
    for folder in ["tests/it", "src"] {
        tests(&Path::new(FOLDER).join(folder), &mut known);
    }
    let mut page = String::from(
        "# MQTT, statement by statement\n\n\
         Which test of `egizcore/egiz-broker` shows which normative statement of the OASIS standards (their appendix B). Made by\n\
         `EGIZ_BLESS=1 cargo test -p egiz-broker --test it statements`, and held true by the same test: a test that is named here\n\
         exists. Statements that bind clients only are left out.\n",
    );
    for (version, table) in VERSIONS {
        writeln!(page, "\n## MQTT {version}\n\n| statement | shown by |\n|---|---|").expect("to memory");
        let mut seen = HashSet::new();
        for statement in statements(table) {
            assert!(seen.insert(statement.id), "{} is there twice", statement.id);
            if let Some(line) = line(&statement, &known) {
                writeln!(page, "| MQTT-{} | {line} |", statement.id).expect("to memory");
            }
        }
    }
    let path = Path::new(FOLDER).join("../../docs/mqtt-conformance.md");
    if std::env::var_os("EGIZ_BLESS").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/mqtt-conformance.md is out of date; EGIZ_BLESS=1 writes it anew");
}

/// What the page says of a statement, if it binds a server.
fn line(statement: &Statement<'_>, known: &BTreeMap<String, String>) -> Option<String> {
    let Statement { id, binds_server, shown_by } = statement;
    if !binds_server {
        assert!(shown_by.is_empty(), "{id} is a client's");
        return None;
    }
    if let Some(reason) = shown_by.strip_prefix("because ") {
        assert!(reason.len() > 10, "{id}: why?");
        return Some(format!("no test: {reason}"));
    }
    let shown = shown_by.split(", ").map(|name| {
        let file = known.get(name).unwrap_or_else(|| panic!("{id}: there is no test {name}"));
        format!("`{name}` ({file})")
    });
    Some(shown.collect::<Vec<_>>().join("<br>"))
}
