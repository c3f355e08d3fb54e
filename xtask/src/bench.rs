//! `cargo xtask bench`: what is promised, measured on the shipped release build beside real peers in the same run, and
//! written to `docs/benchmarks.md` with the machine and the date.

use std::fmt::Write as _;
use std::fs;

use anyhow::Context as _;
use clap::Args;

use crate::process::{self, cargo, command, output, root, say, target_dir};
use crate::{tools, web};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the sections whose name contains this: ingest, latency, fan-out, rest, memory, replay, delivery, qos-0, overload,
    /// tls-idle, reconnect, history-stores. Prints the rows and leaves docs/benchmarks.md alone.
    #[arg(long)]
    only: Option<String>,
    /// Of history-stores: how many devices write.
    #[arg(long, default_value_t = 50)]
    things: usize,
    /// Of history-stores: for how many days.
    #[arg(long, default_value_t = 1)]
    days: usize,
}

/// Where the table of the last whole run begins and ends in the document; the text around it is written by hand.
const MARKS: (&str, &str) = ("<!-- bench:begin -->", "<!-- bench:end -->");

/// The command.
///
/// # Errors
/// Where a part cannot be built or started.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    tools::need(&[tools::MOSQUITTO, tools::WRK, tools::INFLUXDB, tools::VICTORIA_METRICS])?;
    web::build()?;
    process::run(cargo().args(["build", "--release", "--package", "openegiz", "--package", "e2e"]))?;
    let bench = target_dir().join("release/bench");
    if let Some(only) = &options.only {
        let size = [options.things.to_string(), options.days.to_string()];
        return process::run(command(bench).arg(only).args(size));
    }
    say("measuring; this takes some minutes and wants an otherwise idle machine");
    let table = output(&mut command(bench)).context("the bench failed; run it with --only to see where")?;
    say(&table);
    record(&table)
}

fn record(table: &str) -> anyhow::Result<()> {
    let path = root().join("docs/benchmarks.md");
    let document = fs::read_to_string(&path)?;
    let (before, rest) =
        document.split_once(MARKS.0).context("docs/benchmarks.md has lost its begin mark")?;
    let (_, after) = rest.split_once(MARKS.1).context("docs/benchmarks.md has lost its end mark")?;
    let mut text = before.to_owned();
    write!(text, "{}\n{}\n\n{table}\n{}{after}", MARKS.0, machine(), MARKS.1)?;
    fs::write(path, text)?;
    Ok(())
}

/// The machine, the date and the peers, for people who compare.
fn machine() -> String {
    let of = |program: &str, arguments: &[&str]| output(command(program).args(arguments)).unwrap_or_default();
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(String::new, |(_, name)| name.trim().to_owned());
    format!(
        "Measured on {}: {} cores ({processor}), Linux {}, {}, {}; commit {}. Load generator, browser-side clients and peers share \
         the same cores.",
        of("date", &["-u", "+%Y-%m-%d"]),
        of("nproc", &[]),
        of("uname", &["-r"]),
        of("rustc", &["--version"]),
        of("sh", &["-c", "mosquitto -h | head -1"]),
        of("git", &["rev-parse", "--short", "HEAD"]),
    )
}
