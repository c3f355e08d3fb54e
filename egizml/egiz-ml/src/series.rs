//! What a machine reported, in order of time: the one form in which rows come into this crate.
//!
//! A missing value is NaN. A row may name its regime: the recipe or operating state that decides what is usual. Nothing is
//! resampled or filled in here.

use crate::Error;
use crate::matrix::{MAX_COLUMNS, MAX_ROWS};

/// The most regimes that a series names.
pub const MAX_REGIMES: usize = 256;

/// Rows of signals, each later than the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    signals: Vec<String>,
    times_ms: Vec<i64>,
    values: Vec<f64>,
    regimes: Vec<u16>,
    regime_names: Vec<String>,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// Source time in milliseconds, from any beginning.
    pub time_ms: i64,
    /// One for each signal; NaN where it is missing.
    pub values: &'a [f64],
    /// Recipe or operating state; empty where none is declared.
    pub regime: &'a str,
}

impl Series {
    /// Begins an empty series.
    ///
    /// # Errors
    /// Without signals, with more than 512, or where two have one name.
    pub fn new(signals: Vec<String>) -> Result<Self, Error> {
        if signals.is_empty() {
            return Err(Error::Length { what: "signals", found: 0, expected: 1 });
        }
        if signals.len() > MAX_COLUMNS {
            return Err(Error::TooMany { what: "signals", value: signals.len(), allowed: MAX_COLUMNS });
        }
        let mut sorted: Vec<&String> = signals.iter().collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::DuplicateSignal { name: pair[0].clone() });
        }
        let empty = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Ok(Self { signals, times_ms: empty.0, values: empty.1, regimes: empty.2, regime_names: empty.3 })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// Where it is not after the row before, has another width, or there is no more room; the series is as before then.
    pub fn push(&mut self, row: Row<'_>) -> Result<(), Error> {
        if row.values.len() != self.signals.len() {
            let expected = self.signals.len();
            return Err(Error::Length { what: "values of a row", found: row.values.len(), expected });
        }
        if self.times_ms.last().is_some_and(|last| row.time_ms <= *last) {
            return Err(Error::Order { row: self.times_ms.len() });
        }
        if self.times_ms.len() == MAX_ROWS {
            return Err(Error::TooMany { what: "rows", value: MAX_ROWS + 1, allowed: MAX_ROWS });
        }
        let known = self.regime_names.iter().position(|name| name == row.regime);
        let regime = match known {
            Some(regime) => regime,
            None if self.regime_names.len() == MAX_REGIMES => {
                return Err(Error::TooMany { what: "regimes", value: MAX_REGIMES + 1, allowed: MAX_REGIMES });
            }
            None => {
                self.regime_names.push(row.regime.to_owned());
                self.regime_names.len() - 1
            }
        };
        self.times_ms.push(row.time_ms);
        self.values.extend(row.values);
        self.regimes.push(regime as u16);
        Ok(())
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times_ms.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times_ms.is_empty()
    }

    /// The names of the signals, in the order of a row's values.
    #[must_use]
    pub fn signals(&self) -> &[String] {
        &self.signals
    }

    /// The regimes that occur, in order of their first row.
    #[must_use]
    pub fn regimes(&self) -> &[String] {
        &self.regime_names
    }

    /// One row.
    ///
    /// # Panics
    /// Where there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> Row<'_> {
        let width = self.signals.len();
        Row {
            time_ms: self.times_ms[row],
            values: &self.values[row * width..(row + 1) * width],
            regime: &self.regime_names[usize::from(self.regimes[row])],
        }
    }

    /// All rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.len()).map(|row| self.row(row))
    }

    /// A copy of some of the rows.
    ///
    /// # Panics
    /// Where the range reaches beyond the end.
    #[must_use]
    pub fn slice(&self, rows: std::ops::Range<usize>) -> Self {
        let width = self.signals.len();
        Self {
            signals: self.signals.clone(),
            times_ms: self.times_ms[rows.clone()].to_vec(),
            values: self.values[rows.start * width..rows.end * width].to_vec(),
            regimes: self.regimes[rows].to_vec(),
            regime_names: self.regime_names.clone(),
        }
    }

    /// The median time between two rows in milliseconds; none with fewer than two.
    #[must_use]
    pub fn step_ms(&self) -> Option<f64> {
        let steps: Vec<f64> = self.times_ms.windows(2).map(|pair| pair[1].abs_diff(pair[0]) as f64).collect();
        crate::quantile::median(&steps)
    }
}
