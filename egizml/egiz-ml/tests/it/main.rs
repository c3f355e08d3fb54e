//! The methods against published libraries' numbers, and against naive models of themselves.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test, and the line tells which")]

mod episodes;
mod evaluation;
mod explanations;
mod hostile;
mod learning;
mod pipeline;
mod plant;
mod reference;
mod shares;
