//! Live subscriptions over real sockets, held against the engine.

mod columns;
mod events;
mod harness;
mod stream;
