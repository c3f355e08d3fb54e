//! `cargo xtask test`: every test there is, on real parts.

use clap::Args;

use crate::process::{self, cargo, say};
use crate::{fuzz, tools, web};

/// Which tests.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the tests of the Rust crates, without the shipped program, other brokers and a browser.
    #[arg(long)]
    fast: bool,
}

/// The command.
///
/// # Errors
/// Where a test fails or what it needs can't be had.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.fast {
        return process::run(cargo().args(["test", "--workspace", "--exclude", "e2e"]));
    }
    say("locating what the tests need");
    tools::need(&[
        tools::MOSQUITTO,
        tools::MOSQUITTO_CLIENTS,
        tools::CHROMIUM,
        tools::INFLUXDB,
        tools::VICTORIA_METRICS,
    ])?;
    let python = tools::python_packages()?;

    say("testing the web client");
    web::build()?;
    process::run(web::npm()?.args(["test"]))?;
    process::run(web::npm()?.args(["run", "test:browser"]))?;

    say("testing the platform");
    process::run(cargo().args(["build", "--workspace", "--bins"]))?;
    process::run(
        cargo().args(["test", "--workspace", "--no-fail-fast"]).env("EGIZ_TEST_PYTHONPATH", python),
    )?;

    say("fuzzing briefly");
    fuzz::run_briefly()
}
