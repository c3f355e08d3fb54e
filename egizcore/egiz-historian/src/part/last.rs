//! The last thing that a part knows of each property of a Thing before a time.

use std::ops::Range;
use std::sync::Arc;

use super::PartError;
use super::format::{DescribedThing, FIXED_COLUMNS};
use super::rows::Reader;
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
        let mut last_rows: Vec<(usize, u32)> = Vec::with_capacity(missing.len());
        for index in missing.iter() {
            last_rows.extend(self.last_row(index + FIXED_COLUMNS, begin..end)?.map(|row| (*index, row)));
        }
        let same =
            |a: &(usize, u32), b: &(usize, u32)| part.columns[a.0].key.same_property(&part.columns[b.0].key);
        for of_property in last_rows.chunk_by(same) {
            let row = of_property.iter().map(|(_, row)| *row).max().unwrap_or_default();
            let time = times[(row - begin) as usize];
            let delay = self.delays(row..row + 1)?.first().copied().unwrap_or_default();
            let known = found.len();
            for (index, last) in of_property {
                if *last != row {
                    continue;
                }
                let key = &part.columns[*index].key;
                // A key may have several columns, each with what the others cannot hold.
                if found[known..].last().is_none_or(|(other, ..)| other != key) {
                    found.push((key.clone(), time, delay, Cell::ABSENT));
                }
                let (.., cell) = found.last_mut().expect("it was just put there");
                let page = self.page(index + FIXED_COLUMNS, row)?;
                let at = page.at(row);
                part.put(*index, page, at..at + 1, std::slice::from_mut(cell), texts)?;
            }
            let key = &part.columns[of_property[0].0].key;
            missing.retain(|index| !part.columns[*index].key.same_property(key));
        }
        Ok(())
    }

    /// The last row of a range in which a column has a value.
    fn last_row(&mut self, number: usize, rows: Range<u32>) -> Result<Option<u32>, PartError> {
        let mut end = rows.end;
        while end > rows.start {
            let page = self.page(number, end - 1)?;
            let first = page.at(rows.start.max(page.row()));
            let last = page.at(end - 1);
            if let Some(row) = (first..=last).rev().find(|row| page.presence.is_there(*row)) {
                return Ok(Some(page.row() + u32::try_from(row).unwrap_or_default()));
            }
            end = page.row().max(rows.start);
        }
        Ok(None)
    }
}
