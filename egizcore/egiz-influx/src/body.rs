//! A body of line protocol on its way from who receives it to who knows what its lines mean, and what became of it: the words
//! that both use, who do not know each other.

use egiz_model::Timestamp;

use crate::Precision;

/// The tag whose value may be a whole Thing id.
pub const THING_TAG: &str = "thing_id";

/// A body of lines and where it came from.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a> {
    /// When the platform took it in.
    pub received: Timestamp,
    /// Who sent it.
    pub principal: &'a str,
    /// The correlation id that came along, or empty.
    pub correlation: &'a str,
    /// The route and the database that it was sent to, for the list of what was not understood.
    pub place: &'a str,
    /// The unit of its times.
    pub precision: Precision,
    /// The lines.
    pub body: &'a [u8],
}

/// A line that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedLine {
    /// Its number, counting from 1.
    pub number: usize,
    /// Its beginning.
    pub excerpt: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What became of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MappedLines {
    /// The records that came of the lines, each with the Thing that it is of; those of one Thing in the order in which their
    /// first lines came.
    pub records: Vec<(String, Vec<u8>)>,
    /// Lines that became samples.
    pub accepted: usize,
    /// Lines that did not.
    pub rejected: usize,
    /// The first of these.
    pub first_rejected: Vec<RejectedLine>,
}
