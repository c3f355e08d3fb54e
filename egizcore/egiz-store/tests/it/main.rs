//! The registry from outside: one suite of behaviours, run against every backend.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test, and the line tells which")]

mod conformance;
mod golden;
mod sqlite;
mod support;
