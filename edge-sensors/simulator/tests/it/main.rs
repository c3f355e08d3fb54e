//! The simulator from outside: what it publishes over real sockets, what it keeps when the broker goes away,
//! how it refuses wrong configuration, and that the files in `configs/` describe exactly its machines.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says where and why")]

mod broker;
mod config;
mod files;
mod publishing;
