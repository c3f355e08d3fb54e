//! Rows of numbers, and the little linear algebra that detectors need: Cholesky, and the eigenvectors of a symmetric
//! matrix. For tens of signals, not for thousands.
//!
//! Source: Golub and Van Loan, "Matrix Computations", 4.2 (Cholesky) and 8.5 (cyclic Jacobi).

use crate::Error;

/// The most columns that a matrix has.
pub const MAX_COLUMNS: usize = 512;
/// The most rows that a matrix has: 30 days at one second, and some.
pub const MAX_ROWS: usize = 4_000_000;

/// Finite numbers, row after row: rows × columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// Takes `values`, row after row.
    ///
    /// # Errors
    /// Where they do not fill whole rows, are not finite, or are more than [`MAX_ROWS`] × [`MAX_COLUMNS`].
    pub fn new(columns: usize, values: Vec<f64>) -> Result<Self, Error> {
        if columns == 0 || !values.len().is_multiple_of(columns) {
            return Err(Error::Length {
                what: "values of a matrix",
                found: values.len(),
                expected: values.len().div_ceil(columns.max(1)) * columns,
            });
        }
        bounded("columns", columns, MAX_COLUMNS)?;
        bounded("rows", values.len() / columns, MAX_ROWS)?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(Error::NotFinite { row: at / columns, column: at % columns }),
            None => Ok(Self { columns, values }),
        }
    }

    /// Takes rows of one length.
    ///
    /// # Errors
    /// As [`Matrix::new`], and where a row has another length than the first.
    pub fn from_rows<R: AsRef<[f64]>>(rows: &[R]) -> Result<Self, Error> {
        let columns = rows.first().map_or(0, |row| row.as_ref().len());
        if let Some(other) = rows.iter().find(|row| row.as_ref().len() != columns) {
            return Err(Error::Length {
                what: "values of a row",
                found: other.as_ref().len(),
                expected: columns,
            });
        }
        Self::new(columns, rows.iter().flat_map(|row| row.as_ref().iter().copied()).collect())
    }

    /// Zeros; for this crate's own sums.
    pub(crate) fn zeros(rows: usize, columns: usize) -> Self {
        Self { columns, values: vec![0.0; rows * columns] }
    }

    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    /// How many columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One row.
    ///
    /// # Panics
    /// Where there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// One row, to change it.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// All rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns)
    }

    /// One column, copied.
    #[must_use]
    pub fn column(&self, column: usize) -> Vec<f64> {
        self.iter().map(|row| row[column]).collect()
    }

    /// The value at a row and column.
    #[must_use]
    pub fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }

    pub(crate) fn set(&mut self, row: usize, column: usize, value: f64) {
        self.values[row * self.columns + column] = value;
    }
}

fn bounded(what: &'static str, value: usize, allowed: usize) -> Result<(), Error> {
    if value > allowed { Err(Error::TooMany { what, value, allowed }) } else { Ok(()) }
}

/// The scalar product.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The inverse of a symmetric positive definite matrix; none where it is not one.
pub(crate) fn inverse(matrix: &Matrix) -> Option<Matrix> {
    let size = matrix.columns();
    let mut lower = Matrix::zeros(size, size);
    for row in 0..size {
        for column in 0..=row {
            let known = dot(&lower.row(row)[..column], &lower.row(column)[..column]);
            let rest = matrix.at(row, column) - known;
            if row == column {
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                lower.set(row, row, rest.sqrt());
            } else {
                lower.set(row, column, rest / lower.at(column, column));
            }
        }
    }
    let mut result = Matrix::zeros(size, size);
    let mut work = vec![0.0; size];
    for unit in 0..size {
        for row in 0..size {
            let right = if row == unit { 1.0 } else { 0.0 };
            work[row] = (right - dot(&lower.row(row)[..row], &work[..row])) / lower.at(row, row);
        }
        for row in (0..size).rev() {
            let known: f64 = (row + 1..size).map(|below| lower.at(below, row) * work[below]).sum();
            work[row] = (work[row] - known) / lower.at(row, row);
        }
        for (row, value) in work.iter().enumerate() {
            result.set(row, unit, *value);
        }
    }
    Some(result)
}

/// Eigenvalues, and eigenvectors as the rows of a matrix, of a symmetric matrix; in no particular order.
pub(crate) fn eigen(symmetric: &Matrix) -> (Vec<f64>, Matrix) {
    const SWEEPS: usize = 60;
    let size = symmetric.columns();
    let mut work = symmetric.clone();
    let mut vectors = Matrix::zeros(size, size);
    for at in 0..size {
        vectors.set(at, at, 1.0);
    }
    let whole: f64 = dot(&work.values, &work.values);
    for _ in 0..SWEEPS {
        let beside: f64 = (0..size)
            .flat_map(|row| (0..row).map(move |column| (row, column)))
            .map(|(row, column)| work.at(row, column).powi(2))
            .sum();
        if beside <= whole * 1e-30 {
            break;
        }
        for first in 0..size {
            for second in first + 1..size {
                rotate(&mut work, &mut vectors, first, second);
            }
        }
    }
    ((0..size).map(|at| work.at(at, at)).collect(), vectors)
}

/// One Jacobi rotation that makes the element at (`first`, `second`) zero.
fn rotate(work: &mut Matrix, vectors: &mut Matrix, first: usize, second: usize) {
    let beside = work.at(first, second);
    if beside == 0.0 {
        return;
    }
    let theta = (work.at(second, second) - work.at(first, first)) / (2.0 * beside);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    for at in 0..work.columns() {
        let (a, b) = (work.at(at, first), work.at(at, second));
        work.set(at, first, cosine * a - sine * b);
        work.set(at, second, sine * a + cosine * b);
    }
    for matrix in [work, vectors] {
        for at in 0..matrix.columns() {
            let (a, b) = (matrix.at(first, at), matrix.at(second, at));
            matrix.set(first, at, cosine * a - sine * b);
            matrix.set(second, at, sine * a + cosine * b);
        }
    }
}
