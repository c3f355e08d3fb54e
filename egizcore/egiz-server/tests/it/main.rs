//! The HTTP side as a client sees it: a real listener, a real client, the real engine and registry, and in place of
//! journal and apply thread a gate that applies at once.

mod assets;
mod backups;
mod bulk;
mod conditional;
mod corrections;
mod description;
mod devices;
mod errors;
mod harness;
mod history;
mod history_context;
mod hostile;
mod idempotency;
mod influx;
mod influx_query;
mod layout;
mod limits;
mod lists;
mod query;
mod stop;
mod things;
mod tokens;
