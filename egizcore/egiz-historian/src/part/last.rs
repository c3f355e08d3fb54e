//! The last thing that a part knows of each property of a Thing before a time.

use std::ops::Range;
use std::sync::Arc;

use super::PartError;
use super::decode::Values;
use super::format::{DescribedThing, FIXED_COLUMNS};
use super::rows::{DELAY_COLUMN, Decoded, Reader};
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
        let times = self.times(begin..thing.row + stretch.end)?;
        let inside = times.partition_point(|time| *time < before);
        let end = begin + u32::try_from(inside).unwrap_or_default();
        if end == begin {
            return Ok(());
        }
        let mut last: Vec<(usize, Decoded)> = Vec::with_capacity(missing.len());
        for index in missing.iter() {
            let value = self.last_value(index + FIXED_COLUMNS, begin..end)?;
            last.extend(value.map(|value| (*index, value)));
        }
        // Mostly all properties were in one message.
        let mut delay: Option<(u32, u32)> = None;
        let same = |a: &(usize, Decoded), b: &(usize, Decoded)| {
            part.columns[a.0].key.same_property(&part.columns[b.0].key)
        };
        for of_property in last.chunk_by(same) {
            let row = of_property.iter().map(|(_, value)| value.row()).max().unwrap_or_default();
            let time = times[(row - begin) as usize];
            let delay_s = match delay {
                Some((of, delay_s)) if of == row => delay_s,
                _ => self.delay(begin..row + 1)?,
            };
            delay = Some((row, delay_s));
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
            let key = &part.columns[of_property[0].0].key;
            missing.retain(|index| !part.columns[*index].key.same_property(key));
        }
        Ok(())
    }

    /// How late the last of these rows was.
    fn delay(&mut self, rows: Range<u32>) -> Result<u32, PartError> {
        match self.last_value(DELAY_COLUMN, rows)?.map(|value| value.values) {
            Some(Values::Ints(values)) => {
                Ok(values.first().map_or(0, |delay| u32::try_from(*delay).unwrap_or_default()))
            }
            _ => Err(self.part().flaw(DELAY_COLUMN, "its delays have another type")),
        }
    }
}
