//! Real clients and readers in Python, with the packages that `cargo xtask test` installs.

use std::process::Command;

use anyhow::Context as _;

/// Python, which finds these packages.
#[must_use]
pub fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", std::env::var("EGIZ_TEST_PYTHONPATH").unwrap_or_default());
    command
}

/// Runs it to its end; what it wrote to its standard output.
///
/// # Errors
/// Where it cannot be run or fails; with what it wrote to its standard error.
pub fn said(python: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = python.output().context("python3 is needed; `cargo xtask test` sees to it")?;
    anyhow::ensure!(
        output.status.success(),
        "`cargo xtask test` installs what is missing here: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
