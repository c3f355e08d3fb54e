//! The nouns of OpenEgiz, shared by every room above.
//!
//! A [`ThingId`] names a machine, a [`Value`] is what one of its properties holds, a [`Timestamp`] says when and a
//! [`Quality`] how far to trust it; a [`record::Record`] is one thing that happened, as the journal keeps it.
//!
//! Pure: no socket, file, thread, clock, random source or async. What JSON looks like on the outside is decided in
//! `egiz-api`; the only bytes defined here are those of the journal's records ([`record::format`]).

mod identity;
mod quality;
pub mod record;
mod time;
mod value;

pub use identity::{InvalidName, InvalidThingId, Name, ThingId};
pub use quality::{Quality, QualityReason};
pub use time::{InvalidTimestamp, Timestamp};
pub use value::{EncodedList, EncodedMap, Value, ValueRef};

/// The position of one record in the journal: consecutive from 0, never reused.
pub type Offset = u64;
