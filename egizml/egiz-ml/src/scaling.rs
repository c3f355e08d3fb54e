//! Brings signals onto one scale that outliers do not move: median and median absolute deviation.
//!
//! The deviation has a floor, a share of the standard deviation, because many signals are quantised: most values equal the
//! median, and their median absolute deviation is zero.

use crate::Error;
use crate::matrix::Matrix;
use crate::quantile::{deviation, median};

/// What a constant signal is divided by, as a share of its magnitude (at least of 1): far below any sensor's resolution
/// and far above rounding.
const CONSTANT: f64 = 1e-6;

/// A centre and a scale for each signal.
#[derive(Debug, Clone, PartialEq)]
pub struct RobustScale {
    /// The median of each signal, in its unit.
    pub centre: Vec<f64>,
    /// max(MAD, floor × standard deviation) of each signal, in its unit; above 0.
    pub scale: Vec<f64>,
}

impl RobustScale {
    /// Learns from rows × signals. `floor` is a share of the standard deviation, 0 to 1.
    ///
    /// # Errors
    /// Without rows, or where `floor` is out of range.
    pub fn fit(rows: &Matrix, floor: f64) -> Result<Self, Error> {
        let columns: Vec<Vec<f64>> = (0..rows.columns()).map(|column| rows.column(column)).collect();
        if columns.iter().any(Vec::is_empty) {
            return Err(Error::TooFewRows { rows: 0, needed: 1 });
        }
        Self::fit_columns(&columns, floor)
    }

    /// Learns from the finite values of each signal; one without values counts as constantly 0.
    pub(crate) fn fit_columns(columns: &[Vec<f64>], floor: f64) -> Result<Self, Error> {
        if !(0.0..=1.0).contains(&floor) {
            return Err(Error::Option { name: "floor", value: floor, allowed: "0 to 1" });
        }
        let mut centre = Vec::with_capacity(columns.len());
        let mut scale = Vec::with_capacity(columns.len());
        for values in columns {
            let middle = median(values).unwrap_or(0.0);
            let spread = deviation(values, middle).unwrap_or(0.0).max(floor * standard_deviation(values));
            centre.push(middle);
            scale.push(usable(spread, middle));
        }
        Ok(Self { centre, scale })
    }

    /// `out` becomes (row − centre) / scale; both have a value for each signal.
    pub fn apply(&self, row: &[f64], out: &mut [f64]) {
        for (((out, value), centre), scale) in out.iter_mut().zip(row).zip(&self.centre).zip(&self.scale) {
            *out = bounded((value - centre) / scale);
        }
    }
}

/// The furthest that a scaled value goes, so that squares and sums of what comes in stay finite.
pub(crate) const FURTHEST: f64 = 1e12;

/// A scaled value within ±[`FURTHEST`].
pub(crate) fn bounded(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(-FURTHEST, FURTHEST) }
}

/// A scale that can be divided by.
pub(crate) fn usable(spread: f64, middle: f64) -> f64 {
    let least = CONSTANT * middle.abs();
    if spread.is_finite() && spread > least * 1e-3 && spread > f64::MIN_POSITIVE * 1e16 {
        spread
    } else if least > 0.0 {
        least
    } else {
        CONSTANT
    }
}

/// The standard deviation (divided by n), taken around the mean and safe for large offsets.
pub(crate) fn standard_deviation(values: &[f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
}

/// The mean; 0 without values. Taken around the first value, so that large offsets lose no digits.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let Some(first) = values.first() else { return 0.0 };
    first + values.iter().map(|value| value - first).sum::<f64>() / values.len() as f64
}
