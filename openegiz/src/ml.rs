//! `openegiz ml`: what anomaly detection is worth, measured on labelled files.
//!
//! Files are read and results are printed here; every figure is made in `egiz-ml`, which the running program uses in the
//! same way. Nothing is learned here that would be kept.

mod figures;
mod labelled;
mod table;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};

/// What to do.
#[derive(Subcommand)]
pub(crate) enum MlCommand {
    /// Measure the detectors on a folder of labelled files: F1, false and missing alarm rate, ROC-AUC, events found and delay.
    Evaluate(EvaluateOptions),
}

/// What to measure.
#[derive(Args, Debug, Clone)]
pub(crate) struct EvaluateOptions {
    /// Folder with labelled CSV files, in it or in folders of it; docs/anomalies.md says how they look.
    #[arg(long)]
    data: PathBuf,
    /// Print JSON in place of tables.
    #[arg(long)]
    json: bool,
    /// Choose windows, floors, detectors and limits anew, by cross-validation over the files, and say what that gives. Takes minutes.
    #[arg(long)]
    cross_validate: bool,
}

/// Does what the command says, and returns what is to be printed.
///
/// # Errors
/// Where there are no files, one cannot be read, or one cannot be learned from.
pub(crate) fn run(command: &MlCommand) -> anyhow::Result<String> {
    let MlCommand::Evaluate(options) = command;
    let files = labelled::read(&options.data)?;
    if files.is_empty() {
        bail!("{} has no labelled CSV files; docs/anomalies.md says how they look", options.data.display());
    }
    let found = figures::measure(&files, options.cross_validate)?;
    if options.json { Ok(serde_json::to_string_pretty(&found)?) } else { Ok(table::render(&found)) }
}
