//! The harness of the black-box tests and of the benchmarks: starts the shipped program as a user would, talks to it
//! over its public interfaces only, and ends what it started.
//!
//! Knows no crate of the platform: what is not reachable from outside is not tested here.

pub mod careful;
pub mod certificates;
pub mod crowd;
pub mod hearer;
pub mod influxdb;
pub mod load;
pub mod measure;
pub mod mosquitto;
pub mod mqtt;
mod peer;
pub mod program;
pub mod python;
pub mod web_socket;

use anyhow::Context as _;

pub use mosquitto::Mosquitto;
pub use program::{Program, ProgramOptions, end_after_kill};

/// How often a test that kills the program does so: as often as the variable `EGIZ_TEST_ROUNDS` says, which
/// `cargo xtask soak` sets, or the usual number.
///
/// # Errors
/// Where the variable is no number of 1 or more.
pub fn rounds(usual: u64) -> anyhow::Result<u64> {
    let Some(said) = std::env::var_os("EGIZ_TEST_ROUNDS") else { return Ok(usual) };
    let rounds = said.to_str().and_then(|said| said.parse().ok()).filter(|rounds| *rounds > 0);
    rounds.with_context(|| format!("EGIZ_TEST_ROUNDS is {said:?}; it must be a number of 1 or more"))
}
