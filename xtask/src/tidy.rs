//! House rules that no linter knows, each with its reason in the message.
//!
//! The layers of ARCHITECTURE.md are held here: a crate may use only rooms below its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::process::{cargo, command, output, root};

/// The rooms from the ground up. A crate may depend on crates of lower floors only; rooms on one floor do not know
/// each other.
const FLOORS: &[&[&str]] = &[
    &["egiz-model"],
    &["egiz-journal", "egiz-twin", "egiz-historian", "egiz-store", "egiz-influx", "egiz-backup", "egiz-ml"],
    &["egiz-api"],
    &["egiz-service", "egiz-broker", "egiz-ingest", "egiz-server", "egiz-simulator"],
    &["openegiz"],
    &["e2e", "xtask"],
];

/// Crates that are pure: what they must not name in their sources.
const PURE: &[&str] =
    &["egizcore/egiz-model", "egizcore/egiz-twin", "egizcore/egiz-influx", "egizml/egiz-ml"];
const IMPURE: &[&str] = &[
    "std::net",
    "std::fs",
    "std::thread",
    "std::env",
    "SystemTime",
    "Instant::now",
    "tokio",
    "async fn",
    "rand::",
    "getrandom",
];

/// Checks every rule and reports every breach at once.
///
/// # Errors
/// Lists the breaches.
pub(crate) fn check() -> anyhow::Result<()> {
    let mut breaches = layers()?;
    for path in tracked_files()? {
        if let Ok(text) = std::fs::read_to_string(root().join(&path)) {
            breaches.extend(file_rules(&path, &text));
        }
    }
    if breaches.is_empty() {
        return Ok(());
    }
    bail!("{} house rules are broken:\n  {}", breaches.len(), breaches.join("\n  "))
}

fn tracked_files() -> anyhow::Result<Vec<PathBuf>> {
    let listed = output(command("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))
        .context("git cannot list the files of the checkout")?;
    Ok(listed.lines().map(PathBuf::from).collect())
}

fn file_rules(path: &Path, text: &str) -> Vec<String> {
    let shown = path.display();
    let mut breaches = Vec::new();
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    if is_rust {
        let is_test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        if !is_test && !text.starts_with("//!") {
            breaches.push(format!(
                "{shown}: a module opens with `//!`: what it is for and what it refuses to do"
            ));
        }
        if path.ends_with("mod.rs") {
            breaches.push(format!(
                "{shown}: modules are `name.rs` beside `name/`, so that editor tabs show names"
            ));
        }
        if PURE.iter().any(|pure| path.starts_with(format!("{pure}/src"))) && !is_test {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code = code.take_while(|line| !line.contains("#[cfg(test)]")).collect::<Vec<_>>().join("\n");
            for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                breaches.push(format!(
                    "{shown}: a pure crate names `{word}`; time, chance and files are passed in"
                ));
            }
        }
    }
    let is_source =
        is_rust || path.extension().is_some_and(|extension| extension == "ts" || extension == "svelte");
    if is_source && !path.starts_with("xtask") {
        for (number, line) in text.lines().enumerate() {
            let marks = ["TODO", "FIXME", "XXX"];
            if marks.iter().any(|mark| line.contains(mark)) && !line.contains('#') {
                breaches.push(format!("{shown}:{}: a note for later names its issue, as in #12", number + 1));
            }
        }
    }
    breaches
}

/// The package graph against [`FLOORS`].
fn layers() -> anyhow::Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(serde::Deserialize)]
    struct Package {
        name: String,
        dependencies: Vec<Dependency>,
    }
    #[derive(serde::Deserialize)]
    struct Dependency {
        name: String,
        kind: Option<String>,
        path: Option<String>,
    }
    let text = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))
        .context("cargo cannot describe the workspace")?;
    let metadata: Metadata = serde_json::from_str(&text)?;
    let floor_of: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor)))
        .collect();
    let mut breaches = Vec::new();
    for package in &metadata.packages {
        let Some(&floor) = floor_of.get(package.name.as_str()) else {
            breaches.push(format!("{}: the crate has no floor in xtask/src/tidy.rs", package.name));
            continue;
        };
        let used = package.dependencies.iter();
        for dependency in used.filter(|used| used.path.is_some() && used.kind.as_deref() != Some("dev")) {
            if floor_of.get(dependency.name.as_str()).is_none_or(|&below| below >= floor) {
                breaches.push(format!("{} uses {}: rooms look only downward", package.name, dependency.name));
            }
        }
    }
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expected: &str) {
        let breaches = file_rules(Path::new(path), text);
        match expected {
            "" => assert!(breaches.is_empty(), "{breaches:?}"),
            part => assert!(breaches.len() == 1 && breaches[0].contains(part), "{breaches:?}"),
        }
    }

    #[test]
    fn the_rules_catch_what_they_are_for() {
        check("a/src/x.rs", "//! Why.\n", "");
        check("a/src/x.rs", "fn x() {}\n", "opens with");
        check("a/src/x/tests.rs", "fn x() {}\n", "");
        check("a/src/x/mod.rs", "//! Why.\n", "name.rs");
        check("egizcore/egiz-twin/src/x.rs", "//! Why.\nuse std::fs;\n", "std::fs");
        check("egizcore/egiz-twin/src/x.rs", "//! No tokio here.\n", "");
        check("a/src/x.ts", "// TODO later\n", "names its issue");
        check("a/src/x.ts", "// TODO(#12) later\n", "");
    }
}
