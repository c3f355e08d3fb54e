//! `cargo xtask fuzz`: every target of `fuzz/` for a bounded time, with libFuzzer.
//!
//! A target begins with its committed inputs (`fuzz/seeds/<target>`) and what earlier runs on this machine found
//! (`fuzz/corpus/<target>`). An input that breaks a promise ends the run with an error and is kept in
//! `fuzz/artifacts/<target>`. No sanitizer: the code that is attacked has no unsafe block, and what is looked for are
//! panics, overflows (checked in this build), broken promises, and inputs that take long or much memory.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::process::{self, cargo, command, root, say};
use crate::tools;

/// Enough to run every committed input and to find what is near them.
const BRIEF_SECONDS: u32 = 8;

/// How long.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only this target.
    target: Option<String>,
}

/// The command.
///
/// # Errors
/// Where a target finds something; libFuzzer prints the input and where it keeps it. Where a target has no seeds.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut targets = names_in(&root().join("fuzz/fuzz_targets"))?;
    if let Some(only) = &options.target {
        if !targets.contains(only) {
            bail!("there is no target `{only}`; there are {}", targets.join(", "));
        }
        targets.retain(|target| target == only);
    }
    for target in &targets {
        if names_in(&root().join("fuzz/seeds").join(target)).unwrap_or_default().is_empty() {
            bail!("fuzz/seeds/{target} is empty: give the target a few valid inputs to begin with");
        }
    }
    let programs = build(options.target.as_deref())?;
    for target in &targets {
        say(&format!("fuzzing {target} for {} s", options.seconds));
        attack(&programs.join(target), target, options.seconds)?;
    }
    Ok(())
}

/// Every target for a few seconds, as a part of the tests.
///
/// # Errors
/// As for [`run`].
pub(crate) fn run_briefly() -> anyhow::Result<()> {
    run(&Options { seconds: BRIEF_SECONDS, target: None })
}

/// Builds the targets; gives the folder with their programs.
fn build(only: Option<&str>) -> anyhow::Result<PathBuf> {
    tools::need(&[tools::CXX])?;
    let cargo_fuzz = tools::cargo_tool("cargo-fuzz", "0.13.2")?;
    let bin = cargo_fuzz.parent().context("cargo-fuzz lies in a folder")?.to_path_buf();
    let path = std::env::join_paths(
        std::iter::once(bin).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    let rustc = process::output(command("rustc").arg("-vV")).context("rustc cannot be run")?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let folder = process::target_dir().join("fuzz");
    process::run(
        cargo()
            .args(["fuzz", "build", "--sanitizer", "none", "--target", host, "--target-dir"])
            .arg(&folder)
            .args(only)
            .env("PATH", path),
    )?;
    Ok(folder.join(host).join("release"))
}

fn attack(program: &Path, target: &str, seconds: u32) -> anyhow::Result<()> {
    let fuzz = root().join("fuzz");
    let (corpus, artifacts) = (fuzz.join("corpus").join(target), fuzz.join("artifacts").join(target));
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    let dictionary = fuzz.join("dictionaries").join(target).with_extension("dict");
    let mut fuzzing = command(program);
    // What is found goes into the first folder.
    fuzzing.arg(&corpus).arg(fuzz.join("seeds").join(target));
    if dictionary.is_file() {
        fuzzing.arg(format!("-dict={}", dictionary.display()));
    }
    fuzzing
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzzing.args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    process::run_tersely(&mut fuzzing, is_worth_showing).with_context(|| {
        format!("the input that did it is in {}; fix it, then keep it as a seed", artifacts.display())
    })
}

/// libFuzzer lists every new input; where it began and ended, and whatever is wrong, is what somebody wants to see.
fn is_worth_showing(line: &str) -> bool {
    let is_listing = ["#", "\t", "\"", "INFO:", "WARNING: Failed to find function"]
        .iter()
        .any(|start| line.starts_with(start));
    !is_listing || line.contains("INITED") || line.contains("DONE")
}

/// Names of what lies in a folder, without endings, in order.
fn names_in(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = folder.read_dir().with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}
