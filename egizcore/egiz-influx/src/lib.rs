//! The languages that InfluxDB's surroundings speak, as text and as meaning: the line protocol that Telegraf and client
//! libraries write, the names of series, InfluxQL as dashboards ask in it, and what its functions reckon.
//!
//! It refuses to know Things, journals and HTTP: `egiz-ingest` makes records of lines, `egiz-server` answers requests. No
//! I/O, no clock, no panic on any input; what is too long or too many is refused with the bound in the text.

pub mod answer;
mod body;
pub mod influxql;
pub mod isolate;
pub mod line;
mod precision;
pub mod reckon;
pub mod series;
pub mod write;

pub use body::{Lines, MappedLines, RejectedLine, THING_TAG};
pub use precision::Precision;
