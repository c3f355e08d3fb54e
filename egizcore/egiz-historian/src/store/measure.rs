//! Writes a part of rows that say only when all of them were seen which columns they need.
//!
//! They are gone through to see that, and kept on the way if they are few enough; else they are made a second time, to be
//! written. It refuses to know what they are.

use super::seal::{Place, Tables};
use super::{Historian, HistoryError};
use crate::cell::Texts;
use crate::manifest::Entry;
use crate::part::{Layout, PartError, Shapes};
use crate::table::Table;

/// Cells that are kept (64 MiB): those of a day's rollups of some hundred Things, or of a keyframe of many more.
const CELLS_KEPT: usize = 4 << 20;

impl Historian {
    /// Writes a part as [`Historian::write_part`] does. `tables` gives its rows, each time the same.
    pub(super) fn write_measured<T: Tables>(
        &self,
        place: &Place<'_>,
        tables: impl Fn() -> T,
    ) -> Result<Option<Entry>, HistoryError> {
        let (layout, kept) = measure(tables())?;
        match kept {
            Some(kept) => self.write_part(place, layout, kept),
            None => self.write_part(place, layout, tables()),
        }
    }
}

/// Rows that were made already, with where their texts are.
struct Kept<T> {
    rows: std::vec::IntoIter<(String, Table)>,
    source: T,
}

impl<T: Tables> Tables for Kept<T> {
    fn next(&mut self) -> Result<Option<(String, Table)>, PartError> {
        Ok(self.rows.next())
    }

    fn texts(&self) -> &Texts {
        self.source.texts()
    }
}

/// What all the rows need, and the rows themselves if they are few enough to keep.
fn measure<T: Tables>(mut source: T) -> Result<(Layout, Option<Kept<T>>), PartError> {
    let mut shapes = Shapes::default();
    let mut kept = Some(Vec::new());
    let mut cells = 0;
    while let Some((id, table)) = source.next()? {
        shapes.see(&table);
        cells += table.columns.iter().map(|column| column.cells.len()).sum::<usize>();
        kept = kept.filter(|_| cells <= CELLS_KEPT);
        if let Some(kept) = &mut kept {
            kept.push((id, table));
        }
    }
    let kept = kept.map(|rows| Kept { rows: rows.into_iter(), source });
    Ok((shapes.layout(), kept))
}
