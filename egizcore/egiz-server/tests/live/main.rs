//! Live subscriptions over real sockets, held against the engine.

mod access;
mod acks;
mod columns;
mod corners;
mod events;
mod harness;
mod manners;
mod playback;
mod resume;
mod search;
mod stream;
