//! A Thing's rows between two times, for many Things one after the other: those that lie in one page are read from it without
//! opening it again, and of a page no more is laid out than the rows asked for.
//!
//! [`Part::read`](super::Part::read) is for one Thing and a long range; this is for all Things and a short one.

use std::sync::Arc;

use super::PartError;
use super::rows::Reader;
use crate::cell::Texts;
use crate::column::ColumnKey;
use crate::table::Table;

impl Reader {
    /// A Thing's rows with times in `[from, to)`, of the wanted columns. Things asked for in the order of ids cost the least.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(crate) fn between(
        &mut self,
        thing: &str,
        from: i64,
        to: i64,
        wanted: &dyn Fn(&ColumnKey) -> bool,
        texts: &mut Texts,
    ) -> Result<Table, PartError> {
        let part = Arc::clone(self.part());
        let Some(thing) = part.thing(thing) else { return Ok(Table::default()) };
        let near = thing.rows_around(from, to, part.page_rows);
        if near.is_empty() {
            return Ok(Table::default());
        }
        self.enter(thing.group)?;
        let begin = thing.row + near.start;
        let times = self.times(begin..thing.row + near.end)?;
        let row = |time: i64| {
            let before = times.partition_point(|known| *known < time);
            begin + u32::try_from(before).unwrap_or_default()
        };
        let rows = row(from)..row(to);
        if rows.is_empty() {
            return Ok(Table::default());
        }
        self.rows(thing, rows, wanted, texts)
    }
}
