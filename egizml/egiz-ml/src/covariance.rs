//! How signals move together, and how far a row is from that: the covariance, shrunk towards a multiple of the identity as
//! far as the number of rows makes it uncertain.
//!
//! Source: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices" (2004).

use crate::Error;
use crate::matrix::{Matrix, dot, eigen, inverse};

/// The least share of the mean variance that an eigenvalue counts with, for data that lies in fewer dimensions.
const LEAST_VARIANCE: f64 = 1e-9;

/// Mean, covariance and its inverse.
#[derive(Debug, Clone, PartialEq)]
pub struct LedoitWolf {
    /// The mean of each signal.
    pub mean: Vec<f64>,
    /// Signals × signals.
    pub covariance: Matrix,
    /// The share of the identity in it, 0 to 1.
    pub shrinkage: f64,
    precision: Matrix,
}

impl LedoitWolf {
    /// Learns from rows × signals.
    ///
    /// # Errors
    /// With fewer than two rows.
    pub fn fit(rows: &Matrix) -> Result<Self, Error> {
        let (count, size) = (rows.rows(), rows.columns());
        if count < 2 {
            return Err(Error::TooFewRows { rows: count, needed: 2 });
        }
        let mean: Vec<f64> = (0..size).map(|column| crate::scaling::mean(&rows.column(column))).collect();
        let mut sums = Matrix::zeros(size, size);
        let mut squares = Matrix::zeros(size, size);
        let mut centred = vec![0.0; size];
        for row in rows.iter() {
            for ((out, value), mean) in centred.iter_mut().zip(row).zip(&mean) {
                *out = value - mean;
            }
            for (first, value) in centred.iter().enumerate() {
                let (sums, squares) = (sums.row_mut(first), squares.row_mut(first));
                for ((sum, square), other) in sums.iter_mut().zip(squares).zip(&centred) {
                    *sum += value * other;
                    *square += (value * other).powi(2);
                }
            }
        }
        let count = count as f64;
        let trace_mean = (0..size).map(|at| sums.at(at, at) / count).sum::<f64>() / size as f64;
        let (mut distance, mut noise) = (0.0, 0.0);
        for first in 0..size {
            for second in 0..size {
                let element = sums.at(first, second) / count;
                let target = if first == second { trace_mean } else { 0.0 };
                distance += (element - target).powi(2);
                noise += squares.at(first, second) / count - element.powi(2);
            }
        }
        let noise = (noise / count).min(distance);
        let shrinkage = if distance > 0.0 { (noise / distance).clamp(0.0, 1.0) } else { 0.0 };
        let mut covariance = sums;
        for first in 0..size {
            for second in 0..size {
                let target = if first == second { shrinkage * trace_mean } else { 0.0 };
                let element = covariance.at(first, second) / count;
                covariance.set(first, second, (1.0 - shrinkage) * element + target);
            }
        }
        let precision = precision(&covariance);
        Ok(Self { mean, covariance, shrinkage, precision })
    }

    /// Takes a mean and a covariance from elsewhere.
    ///
    /// # Errors
    /// Where the covariance is not square and symmetric (to 1e-9 of its largest value), or does not fit the mean.
    pub fn from_covariance(mean: Vec<f64>, covariance: Matrix) -> Result<Self, Error> {
        let size = covariance.columns();
        for found in [mean.len(), covariance.rows()] {
            if found != size {
                return Err(Error::Length { what: "signals of a covariance", found, expected: size });
            }
        }
        let largest = covariance.iter().flatten().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        for (row, centre) in mean.iter().enumerate() {
            let uneven = |column: &usize| {
                (covariance.at(row, *column) - covariance.at(*column, row)).abs() > 1e-9 * largest
            };
            if (0..row).any(|column| uneven(&column)) || !centre.is_finite() {
                let reason = "is not symmetric, or its mean is not a finite number";
                return Err(Error::Inconsistent { part: "covariance row", index: row, reason });
            }
        }
        let precision = precision(&covariance);
        Ok(Self { mean, covariance, shrinkage: 0.0, precision })
    }

    /// The squared Mahalanobis distance of a row, 0 or more.
    #[must_use]
    pub fn squared_distance(&self, row: &[f64]) -> f64 {
        let centred: Vec<f64> = row.iter().zip(&self.mean).map(|(value, mean)| value - mean).collect();
        self.squared_length(&centred)
    }

    /// The squared Mahalanobis length of what was centred already.
    pub(crate) fn squared_length(&self, centred: &[f64]) -> f64 {
        let sum: f64 = self.precision.iter().zip(centred).map(|(row, value)| value * dot(row, centred)).sum();
        sum.max(0.0)
    }

    /// Makes centred rows uncorrelated with variance 1: signals × signals, a row for each principal component.
    ///
    /// The components, not the signals that they are nearest to (ZCA): what breaks the usual relation of signals stands
    /// out along a component of little variance, where a cut across one axis finds it.
    #[must_use]
    pub fn whitening(&self) -> Matrix {
        let (values, mut vectors) = eigen(&self.covariance);
        let least = least_variance(&values);
        for (at, value) in values.iter().enumerate() {
            let factor = 1.0 / value.max(least).sqrt();
            vectors.row_mut(at).iter_mut().for_each(|weight| *weight *= factor);
        }
        vectors
    }
}

/// The inverse, also where the covariance is singular.
fn precision(covariance: &Matrix) -> Matrix {
    if let Some(inverse) = inverse(covariance) {
        return inverse;
    }
    let size = covariance.columns();
    let (values, vectors) = eigen(covariance);
    let least = least_variance(&values);
    let mut result = Matrix::zeros(size, size);
    for (value, vector) in values.iter().zip(vectors.iter()) {
        for (row, first) in vector.iter().enumerate() {
            for (sum, second) in result.row_mut(row).iter_mut().zip(vector) {
                *sum += first * second / value.max(least);
            }
        }
    }
    result
}

/// What an eigenvalue counts with at least.
fn least_variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    if mean > 0.0 { mean * LEAST_VARIANCE } else { 1.0 }
}
