//! The twin engine: a pure function from journal records to the live state of every Thing.
//!
//! [`Engine::apply`] takes one record and its offset, changes the state, and says what came of it ([`Outcome`]) and what
//! became different ([`Change`]). Same records, same state, same revisions, on every replica and after every restart.
//!
//! There is no socket, file, thread, lock, clock, random source or async here. Time comes with the records; whoever owns
//! the engine decides about locks, and writes [`Engine::snapshot`]s where it likes.
//!
//! Filters ([`Filter`]) are one language for queries, conditions of writes, and subscriptions ([`interest`]).

mod change;
mod counters;
mod deadlines;
mod discovered;
mod document;
mod engine;
pub mod filter;
pub mod format;
pub mod interest;
mod judge;
mod limits;
mod names;
mod order;
mod patch;
mod path;
mod precondition;
mod presence;
mod principals;
mod query;
mod recording;
mod telemetry;
mod template;
mod thing;
mod view;
mod write;

pub use change::{Change, ChangeKind, Outcome, Refusal, TelemetryOutcome, WriteOutcome};
pub use counters::Counters;
pub use discovered::Discovered;
pub use engine::Engine;
pub use filter::{Filter, FilterError, PropertyFilter};
pub use judge::{Judged, Trust};
pub use limits::Limits;
pub use path::Path;
pub use precondition::{ReadCheck, entity_tag, evaluate_read, is_same_tag};
pub use query::{
    Aggregate, AggregateFunction, AggregateQuery, Group, Page, Position, Query, QueryError, SortKey,
};
pub use recording::{RecordedSample, RecordingRule, RecordingRules};
pub use thing::Connection;
pub use view::{AttributeRef, FeatureRef, PropertyRef, ThingRef};
