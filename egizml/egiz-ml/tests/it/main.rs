#![expect(clippy::unwrap_used, reason = "a failed step is a failed test, and the line tells which")]
//! The methods against published libraries' numbers, and against naive models of themselves.

mod hostile;
mod learning;
mod reference;
mod shares;
