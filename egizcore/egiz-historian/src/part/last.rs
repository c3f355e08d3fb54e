//! The last thing that a part knows of each property of a Thing before a time.

use std::ops::Range;
use std::sync::Arc;

use super::PartError;
use super::format::{DescribedThing, FIXED_COLUMNS};
use super::rows::{Decoded, Reader};
use crate::cell::{Cell, Texts};
use crate::column::ColumnKey;

/// The last cell of a column: which, when, how many seconds late, what.
pub(crate) type LastCell = (ColumnKey, i64, u32, Cell);

impl Reader {
    /// The last cell before a time of each column of a Thing.
    ///
    /// Of a property only the columns of its last form are among them: where a list became a text, the text is.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(crate) fn last_cells(
        &mut self,
        thing: &str,
        before: i64,
        texts: &mut Texts,
    ) -> Result<Vec<LastCell>, PartError> {
        let part = Arc::clone(self.part());
        let Some(thing) = part.thing(thing) else {
            return Ok(Vec::new());
        };
        let mut end = thing.rows_around(i64::MIN, before, part.page_rows).end;
        let mut missing: Vec<usize> = part.columns_of(thing).collect();
        let mut found = Vec::with_capacity(missing.len());
        if end > 0 {
            self.enter(thing.group)?;
        }
        while end > 0 && !missing.is_empty() {
            let begin = (end - 1) / part.page_rows * part.page_rows;
            self.last_in(thing, begin..end, before, &mut missing, &mut found, texts)?;
            end = begin;
        }
        Ok(found)
    }

    /// Finds the missing columns in a stretch of the Thing's rows.
    fn last_in(
        &mut self,
        thing: &DescribedThing,
        stretch: Range<u32>,
        before: i64,
        missing: &mut Vec<usize>,
        found: &mut Vec<LastCell>,
        texts: &mut Texts,
    ) -> Result<(), PartError> {
        let part = Arc::clone(self.part());
        let begin = thing.row + stretch.start;
        let (end, newest) = self.rows_before(begin..thing.row + stretch.end, before)?;
        if end == begin {
            return Ok(());
        }
        let mut last: Vec<(usize, Decoded)> = Vec::with_capacity(missing.len());
        for index in missing.iter() {
            let value = self.last_value(index + FIXED_COLUMNS, begin..end)?;
            last.extend(value.map(|value| (*index, value)));
        }
        // Mostly all properties were in the newest message.
        let mut known_row = (end - 1, newest, self.delay(begin..end)?);
        let mut done: Vec<u32> = Vec::with_capacity(last.len());
        for of_property in last.chunk_by(|a, b| part.property_of[a.0] == part.property_of[b.0]) {
            let row = of_property.iter().map(|(_, value)| value.row()).max().unwrap_or_default();
            if known_row.0 != row {
                let (time, delay_s) = self.time_and_delay(begin..row + 1)?;
                known_row = (row, time, delay_s);
            }
            let (_, time, delay_s) = known_row;
            let known = found.len();
            for (index, value) in of_property.iter().filter(|(_, value)| value.row() == row) {
                let key = &part.columns[*index].key;
                // A key may have several columns, each with what the others cannot hold.
                if found[known..].last().is_none_or(|(other, ..)| other != key) {
                    found.push((key.clone(), time, delay_s, Cell::ABSENT));
                }
                let (.., cell) = found.last_mut().expect("it was just put there");
                part.put(*index, value, 0..1, std::slice::from_mut(cell), texts)?;
            }
            done.push(part.property_of[of_property[0].0]);
        }
        missing.retain(|index| done.binary_search(&part.property_of[*index]).is_err());
        Ok(())
    }
}
