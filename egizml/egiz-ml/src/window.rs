//! Trailing windows in seconds: what the last rows were on average. The past only, and by time, so that a gap empties a window
//! instead of stretching it.
//!
//! A window holds at most [`MAX_WINDOW_ROWS`] rows; where more come within its time the oldest leave early.

use std::collections::VecDeque;

/// The most rows of a window.
pub(crate) const MAX_WINDOW_ROWS: usize = 100_000;

/// Above this a value that leaves takes too many digits of the sum with it: the sum is taken anew.
const LARGE: f64 = 1e4;

/// The last rows and the sum of each column.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    span_ms: i64,
    columns: usize,
    times_ms: VecDeque<i64>,
    values: VecDeque<f64>,
    sums: Vec<f64>,
    since_sum: usize,
}

impl Window {
    /// Begins an empty window over the rows of the last `seconds`.
    pub(crate) fn new(seconds: f64, columns: usize) -> Self {
        Self {
            span_ms: (seconds * 1000.0).round().max(1.0) as i64,
            columns,
            times_ms: VecDeque::new(),
            values: VecDeque::new(),
            sums: vec![0.0; columns],
            since_sum: 0,
        }
    }

    /// Takes a row in, and those out that are older than the span.
    pub(crate) fn push(&mut self, time_ms: i64, row: &[f64]) {
        debug_assert_eq!(row.len(), self.columns);
        let mut anew = false;
        while let Some(oldest) = self.times_ms.front() {
            let outside = time_ms.saturating_sub(*oldest) >= self.span_ms;
            if !outside && self.times_ms.len() < MAX_WINDOW_ROWS {
                break;
            }
            self.times_ms.pop_front();
            for (sum, value) in self.sums.iter_mut().zip(self.values.drain(..self.columns)) {
                *sum -= value;
                anew |= value.abs() > LARGE;
            }
        }
        self.times_ms.push_back(time_ms);
        self.values.extend(row);
        self.sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        self.since_sum += 1;
        // Once for each turn of the window, too: rounding does not pile up, and the cost is that of one row more.
        if anew || self.since_sum > self.times_ms.len() {
            self.sum_anew();
        }
    }

    fn sum_anew(&mut self) {
        self.since_sum = 0;
        self.sums.fill(0.0);
        for (at, value) in self.values.iter().enumerate() {
            self.sums[at % self.columns] += value;
        }
    }

    /// The mean of each column; nothing to say without rows.
    pub(crate) fn mean(&self, out: &mut [f64]) {
        let count = self.times_ms.len().max(1) as f64;
        out.iter_mut().zip(&self.sums).for_each(|(out, sum)| *out = sum / count);
    }

    /// The rows that it holds, the oldest first.
    pub(crate) fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = f64> + '_> + '_ {
        (0..self.times_ms.len()).map(move |row| {
            let start = row * self.columns;
            self.values.range(start..start + self.columns).copied()
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.times_ms.len()
    }

    /// Forgets every row.
    pub(crate) fn clear(&mut self) {
        self.times_ms.clear();
        self.values.clear();
        self.sums.fill(0.0);
        self.since_sum = 0;
    }

    /// How much of its time has rows, where one is due every `step_ms`: 0 to about 1.
    pub(crate) fn coverage(&self, step_ms: f64) -> f64 {
        let due = (self.span_ms as f64 / step_ms.max(1e-9)).max(1.0);
        self.len() as f64 / due
    }
}

#[cfg(test)]
mod tests;
