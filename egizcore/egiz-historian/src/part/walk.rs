//! All of a part, Thing after Thing: each page is decoded once.

use std::sync::Arc;

use super::rows::Reader;
use super::{Part, PartError};
use crate::cell::Texts;
use crate::table::Table;

/// A part from its first Thing to its last.
pub(crate) struct Walk {
    reader: Reader,
    next: usize,
}

impl Part {
    /// All Things with all their rows, in the order of the file.
    pub(crate) fn walk(self: &Arc<Self>) -> Walk {
        Walk { reader: self.reader(), next: 0 }
    }
}

impl Walk {
    /// The id of the Thing that comes next.
    pub(crate) fn peek(&self) -> Option<&str> {
        self.reader.part().things.get(self.next).map(|thing| thing.id.as_str())
    }

    /// The rows of the Thing that comes next.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(crate) fn take(&mut self, texts: &mut Texts) -> Result<Table, PartError> {
        let part = Arc::clone(self.reader.part());
        let Some(thing) = part.things.get(self.next) else { return Ok(Table::default()) };
        self.next += 1;
        Ok(self
            .reader
            .rows(thing, thing.row..thing.row + thing.rows, &|_| true, texts)?
            .without_empty_columns())
    }
}
