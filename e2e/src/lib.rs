//! The harness of the black-box tests and of the benchmarks: starts the shipped program as a user would, talks to it
//! over its public interfaces only, and ends what it started.
//!
//! Knows no crate of the platform: what is not reachable from outside is not tested here.

pub mod careful;
pub mod certificates;
pub mod crowd;
pub mod hearer;
pub mod load;
pub mod measure;
pub mod mosquitto;
pub mod mqtt;
pub mod program;
pub mod web_socket;

pub use mosquitto::Mosquitto;
pub use program::{Program, ProgramOptions, end_after_kill};
