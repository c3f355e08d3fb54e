//! Keeps what machines said, small and open to every tool, and gives it back: rows between two times, arithmetic over
//! them, and the whole factory at any past moment.
//!
//! ```text
//!  journal ──► head (memory) ──► parts: immutable Parquet files, named in a manifest
//!                   └──────────┬──────────┘
//!                    rows, states, series arithmetic
//! ```
//!
//! It is a consumer of the journal: what is not sealed yet is read from there after a restart. It refuses to know the
//! journal and the twins, to have a clock or a thread, and to change a file that was written.

mod cell;
mod column;
mod corrections;
pub mod disk;
mod export;
mod head;
mod leb128;
mod manifest;
mod part;
mod rolled;
mod scale;
pub mod series;
mod store;
mod table;

pub use column::ITEMS_MAX;
pub use corrections::{Correction, Corrections};
pub use export::{Export, Shape};
pub use head::RowWriter;
pub use manifest::ManifestError;
pub use part::PartError;
pub use store::{
    Cast, Counts, FileInForce, Historian, HistoryError, Intake, Passage, PropertyState, Recovery, Rolled,
    Rows, Settings, States, Status, Stretch, ThingState, View, Window,
};
pub use table::Reading;
