//! `cargo xtask demo`: from a fresh checkout to a page with live values.

use clap::Args;

use crate::process::{self, cargo, command, say, target_dir};
use crate::web;

/// How to start.
#[derive(Args)]
pub(crate) struct Options {
    /// Passed on to `openegiz up --demo`, for example `--data /tmp/demo`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Builds and starts; returns when the platform is stopped with Ctrl-C.
///
/// # Errors
/// Where something cannot be built or the platform stops with an error.
pub(crate) fn run_program(arguments: &[String]) -> anyhow::Result<()> {
    let mut program = command(target_dir().join("release/openegiz"));
    process::run(program.args(["up", "--demo"]).args(arguments))
}

/// Builds the web client and the program.
///
/// # Errors
/// Where either fails.
pub(crate) fn build() -> anyhow::Result<()> {
    say("building the web client");
    web::build()?;
    say("building the program");
    process::run(cargo().args(["build", "--release", "--package", "openegiz"]))
}

/// The command.
///
/// # Errors
/// Where something cannot be built or the platform stops with an error.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    build()?;
    run_program(&options.rest)
}
