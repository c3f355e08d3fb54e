//! One door for people and CI: `cargo xtask demo | test | check | bench | build | fuzz | soak`.
//!
//! Each command says what it runs, installs or locates what it needs, and says so when it can't. Nothing is cached
//! outside the checkout: tools that it installs for itself live under `target/tools`.

mod bench;
mod check;
mod demo;
mod fuzz;
mod process;
mod soak;
mod test;
mod tidy;
mod tools;
mod web;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "One door for people and CI", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything, start the platform with a simulated food factory, and print its address.
    Demo(demo::Options),
    /// Run all tests, installing or locating what they need.
    Test(test::Options),
    /// Run what reviewers would otherwise have to: format, lints, docs, dependencies, house rules.
    Check(check::Options),
    /// Measure what is promised, beside Mosquitto in the same run, and write docs/benchmarks.md.
    Bench(bench::Options),
    /// Build the web client and the program for release.
    Build,
    /// Fuzz everything that parses outside bytes, a bounded time each.
    Fuzz(fuzz::Options),
    /// Kill the program at random moments, for long.
    Soak(soak::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Build => demo::build(),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Soak(options) => soak::run(&options),
    }
}
