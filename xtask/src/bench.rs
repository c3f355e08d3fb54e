//! `cargo xtask bench`: what is promised, measured on the shipped program beside real peers.

use clap::Args;

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the rows whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

/// The command.
///
/// # Errors
/// Where a part cannot be built or started.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let _ = options.only;
    anyhow::bail!("the benches are not written yet")
}
