//! The broker as its clients see it: specification statements over real sockets with raw packets, and real clients.
//!
//! Tests of one statement carry its id in their name: `mqtt_…` for one that both versions have, `mqtt5_…` for one of 5.0.
//! Outside suites and clients of other languages are tried against the whole program, not here.

mod acknowledging;
mod certificates;
mod clients;
mod connecting;
mod harness;
mod journal;
mod letter;
mod limits;
mod listening;
mod packets;
mod publishing;
mod retaining;
mod rights;
mod sessions;
mod statements;
mod subscribing;
mod tls;
mod web_socket;
mod wills;
