//! What can be wrong with what a caller hands in. Every message names the place, the value and what is allowed.

/// Why a model cannot be fitted, or a measure cannot be taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// There are too few rows to learn from.
    #[error("{rows} rows are too few: at least {needed} are needed")]
    TooFewRows {
        /// How many there are.
        rows: usize,
        /// How many there have to be.
        needed: usize,
    },
    /// There is more of something than this crate takes.
    #[error("{value} {what} are too many: at most {allowed}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        value: usize,
        /// How many there may be.
        allowed: usize,
    },
    /// Two lengths that belong together differ.
    #[error("{what}: {found} where {expected} are expected")]
    Length {
        /// What is counted.
        what: &'static str,
        /// The count.
        found: usize,
        /// The count that fits.
        expected: usize,
    },
    /// A value is NaN or infinite where only numbers make sense.
    #[error("row {row}, column {column}: the value is not a finite number")]
    NotFinite {
        /// From 0.
        row: usize,
        /// From 0.
        column: usize,
    },
    /// An option has a value outside of its range.
    #[error("{name} is {value}, allowed is {allowed}")]
    Option {
        /// Its name.
        name: &'static str,
        /// As given.
        value: f64,
        /// In words.
        allowed: &'static str,
    },
    /// A forest or network from outside contradicts itself.
    #[error("{part} {index}: {reason}")]
    Inconsistent {
        /// Which part, as in "tree".
        part: &'static str,
        /// Which of them, from 0.
        index: usize,
        /// What does not fit.
        reason: &'static str,
    },
    /// Two signals have one name.
    #[error("the signal {name:?} is there twice")]
    DuplicateSignal {
        /// The name.
        name: String,
    },
    /// Rows do not go forward in time.
    #[error("row {row}: its time is not after the time of the row before it")]
    Order {
        /// From 0.
        row: usize,
    },
}
