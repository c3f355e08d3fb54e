//! `cargo xtask check`: the gate. The same here as in CI.

use clap::Args;

use crate::process::{self, cargo, command, say};
use crate::{tidy, tools, web};

const CARGO_DENY: (&str, &str) = ("cargo-deny", "0.20.2");

/// A workspace of its own, which `--workspace` doesn't reach.
const FUZZ: &str = "fuzz/Cargo.toml";

/// What to leave out.
#[derive(Args)]
pub(crate) struct Options {
    /// Leave out what takes minutes: dependency audit and documentation.
    #[arg(long)]
    quick: bool,
}

/// The command.
///
/// # Errors
/// At the first rule that does not hold.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    say("format");
    process::run(cargo().args(["fmt", "--all", "--check"]))?;
    process::run(cargo().args(["fmt", "--check", "--manifest-path", FUZZ]))?;
    say("house rules");
    tidy::check()?;
    say("lints");
    process::run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    say("web client");
    web::install()?;
    process::run(web::npm()?.args(["run", "--silent", "check"]))?;
    if options.quick {
        return Ok(());
    }
    say("documentation");
    process::run(
        cargo()
            .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )?;
    say("fuzz targets");
    process::run(
        cargo()
            .args(["clippy", "--locked", "--all-targets", "--manifest-path", FUZZ, "--target-dir"])
            .arg(process::target_dir())
            .args(["--", "--deny", "warnings"]),
    )?;
    say("dependencies");
    let (name, version) = CARGO_DENY;
    let deny = tools::cargo_tool(name, version)?;
    // Advisories come from a database that has to be fetched; CI with a network runs `cargo deny check` whole.
    process::run(command(deny).args(["--log-level", "error", "check", "bans", "licenses", "sources"]))?;
    say("all checks passed");
    Ok(())
}
