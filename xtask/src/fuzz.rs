//! `cargo xtask fuzz`: every target for a bounded time, with libFuzzer.

use clap::Args;

use crate::process::{self, cargo, root, say};
use crate::tools;

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
/// Where a target finds something; libFuzzer prints the input and where it keeps it.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    tools::cargo_tool("cargo-fuzz", "0.13.2")?;
    let bin = process::target_dir().join("tools/bin");
    let path = std::env::join_paths(
        std::iter::once(bin).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    for target in targets()? {
        if options.target.as_ref().is_some_and(|only| *only != target) {
            continue;
        }
        say(&format!("fuzzing {target} for {} s", options.seconds));
        process::run(
            cargo()
                .args(["fuzz", "run", "--sanitizer", "none", &target, "--"])
                .arg(format!("-max_total_time={}", options.seconds))
                .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
                // The sanitizer's flags are unstable; this lets a stable compiler take them.
                .env("RUSTC_BOOTSTRAP", "1")
                .env("PATH", &path),
        )?;
    }
    Ok(())
}

/// The names of the files in `fuzz/fuzz_targets`.
fn targets() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in root().join("fuzz/fuzz_targets").read_dir()? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}
