//! The protocol for one long, drifting signal (Numenta's machine temperature): a model is learned from the first days and again
//! every week, from what was reported up to then and not flagged.
//!
//! That is how the product trains, and the only way for a machine whose load changes by the month. Scores use the past alone.

use std::sync::Arc;

use super::{Labelled, Run};
use crate::Error;
use crate::model::Model;
use crate::options::{Detector, Limits, Options};
use crate::score::Scorer;
use crate::series::Series;

/// Rows that are learned from before the first score, as in the benchmark.
pub const FIRST_ROWS: usize = 750;
/// Two hours: the machine is slow.
pub const WINDOW_SECONDS: f64 = 7200.0;
/// How often a model is learned anew.
const RETRAIN_MS: i64 = 7 * 86_400_000;
/// How far back it looks.
const MEMORY_MS: i64 = 90 * 86_400_000;
/// The limit, as a multiple of the way from the median of what was learned from to its 99 % quantile.
pub const MULTIPLE: f64 = 1.3;

/// Scores a run; 1.0 is the limit.
///
/// # Errors
/// Where there are too few rows, or they cannot be learned from.
pub fn score(file: &Labelled, multiple: f64) -> Result<Run, Error> {
    let rows = file.series.len();
    if rows <= FIRST_ROWS {
        return Err(Error::TooFewRows { rows, needed: FIRST_ROWS + 1 });
    }
    let options = Options {
        score_window_seconds: WINDOW_SECONDS,
        signal_window_seconds: WINDOW_SECONDS,
        fusion: vec![Detector::Distance],
        limits: Limits::Training { quantile: 0.99, multiples: [multiple; 4], fused: multiple },
        forest: None,
        autoencoder: None,
        ..Options::default()
    };
    let mut scores: Vec<Option<f64>> = vec![None; rows];
    let mut next = FIRST_ROWS;
    while next < rows {
        let now = file.series.row(next).time_ms;
        let mut normal = Series::new(file.series.signals().to_vec())?;
        let flagged = |row: usize| scores[row].is_some_and(|score| score > 1.0);
        for row in (0..next).filter(|row| !flagged(*row)).map(|row| file.series.row(row)) {
            if now.saturating_sub(row.time_ms) <= MEMORY_MS {
                normal.push(row)?;
            }
        }
        let mut scorer = Scorer::new(Arc::new(Model::fit(&normal, &options)?), file.series.signals());
        let end = (next..rows).find(|row| file.series.row(*row).time_ms.saturating_sub(now) >= RETRAIN_MS);
        let end = end.unwrap_or(rows);
        // The windows are filled with what came before.
        for row in next.saturating_sub(FIRST_ROWS)..next {
            scorer.push(file.series.row(row));
        }
        for (row, score) in scores.iter_mut().enumerate().take(end).skip(next) {
            *score = scorer.push(file.series.row(row)).fused;
        }
        next = end;
    }
    Ok(Run {
        name: file.name.clone(),
        times_ms: file.series.iter().map(|row| row.time_ms).collect(),
        abnormal: file.abnormal.clone(),
        scores,
        from: FIRST_ROWS,
        to: rows,
    })
}
