//! The protocol for the Tennessee Eastman process: learn from one normal run, take limits from another, score runs with a
//! fault that begins after eight hours.

use std::sync::Arc;

use super::{Candidate, Labelled, Run};
use crate::Error;
use crate::model::Model;
use crate::options::{Detector, Limits, Options, network};
use crate::score::score_all;
use crate::series::Series;

/// The minutes over which signals and scores are averaged: five rows.
pub const WINDOW_MINUTES: f64 = 21.0;
/// The quantile of the second normal run at which limits lie.
pub const QUANTILE: f64 = 0.99;
/// The false alarm rate that cross-validation aims for.
pub const AIMED_FALSE_ALARM_RATE: f64 = 0.02;
/// Cannot be seen in these signals, and is left out of what is pooled.
pub const UNDETECTABLE: &str = "fault-03";

/// Scores runs with each of [`Detector::ALL`] and the fused score behind them; 1.0 is the limit.
///
/// # Errors
/// Where a run cannot be learned from, or has other signals.
pub fn score(
    training: &Series,
    held: &Series,
    files: &[Labelled],
    window_minutes: f64,
) -> Result<Vec<Candidate>, Error> {
    let options = Options {
        score_window_seconds: window_minutes * 60.0,
        signal_window_seconds: window_minutes * 60.0,
        limits: Limits::Held { share: 0.5, quantile: QUANTILE, margin: 1.0 },
        autoencoder: Some(network(training.signals().len())),
        ..Options::default()
    };
    let model = Arc::new(Model::fit_with_held(training, held, &options)?);
    let mut candidates: Vec<Candidate> = Detector::ALL
        .iter()
        .map(|detector| Candidate { name: detector.name().to_owned(), runs: Vec::new() })
        .collect();
    candidates.push(Candidate { name: "fused".to_owned(), runs: Vec::new() });
    for file in files {
        let scores = score_all(&model, &file.series)?;
        let run = |scores: Vec<Option<f64>>| Run {
            name: file.name.clone(),
            times_ms: file.series.iter().map(|row| row.time_ms).collect(),
            abnormal: file.abnormal.clone(),
            scores,
            from: 0,
            to: file.abnormal.len(),
        };
        for (at, detector) in Detector::ALL.iter().enumerate() {
            candidates[at].runs.push(run(scores.iter().map(|score| score.detector(*detector)).collect()));
        }
        candidates[Detector::ALL.len()].runs.push(run(scores.iter().map(|score| score.fused).collect()));
    }
    Ok(candidates)
}
