//! Live subscriptions over real sockets, held against the engine.

mod columns;
mod corners;
mod events;
mod harness;
mod resume;
mod stream;
