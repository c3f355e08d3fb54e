//! A part: some Things' rows in one immutable Parquet file that any tool can read.
//!
//! ```text
//!  row group 0:  oven-001 rows │ oven-002 rows │ …        rows of a Thing lie together, by time
//!  row group 1:  oven-003 rows │ …                        a new group after `GROUP_ROWS` rows, between Things
//!  footer:       Parquet's own, and the key `openegiz.part`: which column is which, which rows are whose
//! ```
//!
//! | column | type | is |
//! |---|---|---|
//! | `thing` | text | the Thing's id |
//! | `time` | timestamp, UTC | when the device measured |
//! | `received_after_s` | integer | how many whole seconds later the platform received it |
//! | `thermal.zone` | integer | a property of whole numbers |
//! | `thermal.zone/10` | integer | a property in tenths: divide by what follows the slash |
//! | `thermal.zone:double` | double | numbers that are no such multiples |
//! | `status.word:text`, `:bool`, `:json` | | values that are no numbers |
//! | `thermal.zones.length`, `thermal.zones[0]` … | | a list and its items, named further as above |
//! | `thermal.zone:quality` | text | why a value is not good: `uncertain/clock-unset`, `bad/no-value`, `removed` |
//!
//! A file has the columns that its rows need. What is in the key `openegiz.part` is in [`mod@format`]; golden files hold both.

mod between;
mod decode;
pub(crate) mod format;
mod last;
mod open;
mod page;
mod pages;
mod rows;
mod schema;
mod thrift;
mod walk;
mod write;

pub(crate) use last::LastCell;
pub(crate) use open::Part;
pub(crate) use rows::Reader;
pub(crate) use schema::{Layout, Shapes};
pub(crate) use walk::Walk;
pub(crate) use write::PartWriter;

/// Rows after which a row group is closed, at the next Thing.
pub(crate) const GROUP_ROWS: usize = 8192;

/// Rows of a page: what has to be decoded at most to know one value. Four hours of a message every five seconds.
pub(crate) const PAGE_ROWS: usize = 2880;

/// Why a part cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The disk does not give or take the bytes.
    #[error("{file} cannot be read or written")]
    Io {
        /// Which file.
        file: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The bytes are not what was written.
    #[error("{file} is damaged: {flaw}")]
    Damaged {
        /// Which file.
        file: String,
        /// What is wrong.
        flaw: String,
    },
}

impl PartError {
    pub(crate) fn damaged(file: &str, flaw: impl ToString) -> Self {
        Self::Damaged { file: file.to_owned(), flaw: flaw.to_string() }
    }

    pub(crate) fn io(file: &str, source: std::io::Error) -> Self {
        Self::Io { file: file.to_owned(), source }
    }

    /// What Parquet's library says: an error of the disk if there is one at its bottom, damage otherwise.
    pub(crate) fn parquet(file: &str, error: parquet::errors::ParquetError) -> Self {
        match error {
            parquet::errors::ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(source) => Self::Io { file: file.to_owned(), source: *source },
                Err(other) => Self::damaged(file, other),
            },
            other => Self::damaged(file, other),
        }
    }
}

#[cfg(test)]
mod tests;
