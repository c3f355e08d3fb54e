//! `cargo xtask soak`: the tests that kill the program, for as many rounds as there is time for. `cargo xtask test` runs the
//! same tests for a few.

use clap::Args;

use crate::process::{self, cargo, say};
use crate::{tools, web};

/// How long, and which.
#[derive(Args)]
pub(crate) struct Options {
    /// How often each test kills the program.
    #[arg(long, default_value_t = 200)]
    rounds: u64,
    /// Only tests whose names contain this, such as crash, history::killed or sessions::killed.
    #[arg(default_value = "killed")]
    only: String,
}

/// The command.
///
/// # Errors
/// Where a test fails or what it needs can't be had.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    tools::need(&[tools::MOSQUITTO, tools::INFLUXDB])?;
    web::build()?;
    process::run(cargo().args(["build", "--package", "openegiz"]))?;
    say(&format!("killing the program {} times in each test", options.rounds));
    let test = ["test", "--package", "e2e", "--test", "it", "--", "--nocapture", "--test-threads", "1"];
    let mut tests = cargo();
    tests.args(test).arg(&options.only).env("EGIZ_TEST_ROUNDS", options.rounds.to_string());
    process::run(&mut tests)
}
