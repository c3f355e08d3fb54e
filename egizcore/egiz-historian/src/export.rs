//! Rows as one Parquet file for people's tools, with the columns that files on disk have.
//!
//! Two passes, since a file says first what its columns are: [`Shape`] looks at all rows, [`Export`] writes them, each
//! time slice by slice, so that memory is bounded by a slice. What the file lacks is the description by which parts are read
//! again here: it is an answer, not a part.

use std::io::Write;

use crate::part::{Layout, PartError, PartWriter, Shapes};
use crate::store::Rows;

/// How errors name the file.
const NAME: &str = "the answer";

/// What the rows of a file are.
#[derive(Debug, Default)]
pub struct Shape(Shapes);

/// A file being written.
pub struct Export<W: Write + Send> {
    writer: PartWriter<W>,
    thing: String,
    left: usize,
}

impl Shape {
    /// Takes rows into account.
    pub fn see(&mut self, rows: &Rows) {
        self.0.see(rows.table());
    }
}

impl<W: Write + Send> Export<W> {
    /// Begins a file of at most `limit` rows of a Thing; what is added must have been seen by the shape.
    ///
    /// # Errors
    /// Where `out` does not take it.
    pub fn begin(out: W, thing: &str, shape: &Shape, limit: usize) -> Result<Self, PartError> {
        let layout: Layout = shape.0.layout();
        let writer = PartWriter::begin(out, "", layout).map_err(|error| PartError::parquet(NAME, error))?;
        Ok(Self { writer, thing: thing.to_owned(), left: limit })
    }

    /// Adds rows that come after those added before; rows without any value are left out. Returns whether there is room
    /// for more.
    ///
    /// # Errors
    /// Where `out` does not take it.
    pub fn add(&mut self, rows: Rows) -> Result<bool, PartError> {
        let (table, texts) = rows.into_parts();
        let table = table.without_empty_rows(self.left);
        self.left -= table.len();
        let parquet = |error| PartError::parquet(NAME, error);
        self.writer.add(&self.thing, table, &texts).map_err(parquet)?;
        self.writer.end_group(&texts).map_err(parquet)?;
        Ok(self.left > 0)
    }

    /// Completes the file.
    ///
    /// # Errors
    /// Where `out` does not take it.
    pub fn finish(self) -> Result<W, PartError> {
        self.writer.finish_undescribed().map_err(|error| PartError::parquet(NAME, error))
    }
}
