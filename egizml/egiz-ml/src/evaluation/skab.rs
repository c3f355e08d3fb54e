//! The protocol of the Skoltech Anomaly Benchmark: each file is learned from its first 400 rows and scored on the rest.
//!
//! Two readings of the rest. *Benchmark*: all of it, as in the published table. *Operational*: up to the end of the fault,
//! because the plant needs minutes to recover after it, is labelled normal meanwhile, and is not. Limits are constants times
//! what the 400 rows gave; the constants were chosen by cross-validation over the development files.

use std::sync::Arc;

use super::{Candidate, Labelled, Run};
use crate::Error;
use crate::model::{Model, geometric_mean};
use crate::options::{Detector, Limits, Options, network};
use crate::score::score_all;

/// Rows that each file is learned from.
pub const TRAINING_ROWS: usize = 400;
/// The false alarm rate that limits are chosen for: a tenth below what is asked, because other files have other rates.
pub const AIMED_FALSE_ALARM_RATE: f64 = 0.045;
/// The quantile of the training rows that multiples start from.
const QUANTILE: f64 = 0.99;

/// Which rows count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// All after the training rows.
    Benchmark,
    /// Those up to the end of the fault.
    Operational,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Benchmark, Self::Operational];

    /// Its name in tables and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Benchmark => "skab_benchmark",
            Self::Operational => "skab_operational",
        }
    }

    /// The limits that are shipped: one for each of [`Detector::ALL`] and that of the fused score, as multiples of the way from
    /// the median of the training rows to their 99 % quantile.
    #[must_use]
    pub fn limits(self) -> ([f64; 4], f64) {
        match self {
            Self::Benchmark => ([1.07, 17.6, 18.1, 2.90], 3.28),
            Self::Operational => ([0.89, 14.1, 13.4, 2.87], 1.84),
        }
    }
}

/// What can be varied, for cross-validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// See [`Options::scale_floor`].
    pub scale_floor: f64,
    /// See [`Options::score_window_seconds`].
    pub score_window_seconds: f64,
    /// See [`Options::signal_window_seconds`].
    pub signal_window_seconds: f64,
}

impl Default for Setting {
    fn default() -> Self {
        let Options { scale_floor, score_window_seconds, signal_window_seconds, .. } = Options::default();
        Self { scale_floor, score_window_seconds, signal_window_seconds }
    }
}

/// Scores of one file by each of [`Detector::ALL`], in units: 0 at the median of the training rows, 1 at their quantile.
pub type Units = [Vec<Option<f64>>; 4];

/// Learns from a file's first rows and scores all of it.
///
/// # Errors
/// Where it has too few rows, or they cannot be learned from.
pub fn score(file: &Labelled, setting: &Setting, with_learned: bool) -> Result<Units, Error> {
    if file.series.len() <= TRAINING_ROWS {
        return Err(Error::TooFewRows { rows: file.series.len(), needed: TRAINING_ROWS + 1 });
    }
    let defaults = Options::default();
    let options = Options {
        scale_floor: setting.scale_floor,
        score_window_seconds: setting.score_window_seconds,
        signal_window_seconds: setting.signal_window_seconds,
        limits: Limits::Training { quantile: QUANTILE, multiples: [1.0; 4], fused: 1.0 },
        forest: defaults.forest.filter(|_| with_learned),
        autoencoder: with_learned.then(|| network(file.series.signals().len())),
        ..defaults
    };
    let model = Arc::new(Model::fit(&file.series.slice(0..TRAINING_ROWS), &options)?);
    let scores = score_all(&model, &file.series)?;
    Ok(Detector::ALL.map(|detector| scores.iter().map(|score| score.detector(detector)).collect()))
}

/// The geometric mean of some detectors.
#[must_use]
pub fn fuse(fusion: &[(Detector, &Units)]) -> Vec<Option<f64>> {
    let rows = fusion.first().map_or(0, |(_, units)| units[0].len());
    let detectors: Vec<Detector> = fusion.iter().map(|(detector, _)| *detector).collect();
    let value = |detector: Detector, row: usize| {
        let (_, units) = fusion.iter().find(|(known, _)| *known == detector)?;
        units[detector.index()][row]
    };
    (0..rows)
        .map(|row| {
            let known = detectors.iter().all(|detector| value(*detector, row).is_some());
            known.then(|| geometric_mean(&detectors, |detector| value(detector, row).unwrap_or(0.0)))
        })
        .collect()
}

/// The geometric mean of some detectors of one model.
#[must_use]
pub fn fuse_all(fusion: &[Detector], units: &Units) -> Vec<Option<f64>> {
    fuse(&fusion.iter().map(|detector| (*detector, units)).collect::<Vec<_>>())
}

/// Some of the shipped detectors as the only candidate, under each of [`Protocol::ALL`].
#[must_use]
pub fn as_shipped(files: &[Labelled], scored: &[Units], fusion: &[Detector]) -> Vec<Vec<Candidate>> {
    let names: Vec<&str> = fusion.iter().map(|detector| detector.name()).collect();
    let name = format!("{} as shipped", names.join(" × "));
    let runs = |protocol: Protocol| {
        files.iter().zip(scored).map(|(file, units)| run(file, fuse_all(fusion, units), protocol)).collect()
    };
    Protocol::ALL.map(|protocol| vec![Candidate { name: name.clone(), runs: runs(protocol) }]).to_vec()
}

/// A file with scores, and the rows that count.
#[must_use]
pub fn run(file: &Labelled, scores: Vec<Option<f64>>, protocol: Protocol) -> Run {
    let rows = file.abnormal.len();
    let end = file.abnormal.iter().rposition(|abnormal| *abnormal).map_or(rows, |last| last + 1);
    Run {
        name: file.name.clone(),
        times_ms: file.series.iter().map(|row| row.time_ms).collect(),
        abnormal: file.abnormal.clone(),
        scores,
        from: TRAINING_ROWS,
        to: if protocol == Protocol::Operational { end } else { rows },
    }
}

/// Every way to score that cross-validation chooses among, under each of [`Protocol::ALL`]: floors, windows, detectors and their
/// fusions.
///
/// # Errors
/// As [`score`].
pub fn candidates(files: &[Labelled]) -> Result<Vec<Vec<Candidate>>, Error> {
    const FLOORS: [f64; 4] = [0.01, 0.02, 0.05, 0.1];
    const SCORE_WINDOWS: [f64; 4] = [10.0, 15.0, 20.0, 30.0];
    const SIGNAL_WINDOWS: [f64; 4] = [10.0, 20.0, 30.0, 40.0];
    let all = |setting: Setting, with_learned: bool| {
        files.iter().map(|file| score(file, &setting, with_learned)).collect::<Result<Vec<Units>, Error>>()
    };
    let mut robust = Vec::new();
    for scale_floor in FLOORS {
        for score_window_seconds in SCORE_WINDOWS {
            let setting = Setting { scale_floor, score_window_seconds, ..Setting::default() };
            let name = format!("floor {scale_floor}, mean of {score_window_seconds} s");
            robust.push((name, all(setting, false)?));
        }
    }
    let mut windowed = Vec::new();
    for signal_window_seconds in SIGNAL_WINDOWS {
        let setting = Setting { signal_window_seconds, ..Setting::default() };
        windowed.push((format!("signals over {signal_window_seconds} s"), all(setting, true)?));
    }
    let mut found = vec![Vec::new(); Protocol::ALL.len()];
    let mut add = |name: String, fusion: &[(Detector, &[Units])]| {
        let fused = |at: usize| {
            fuse(&fusion.iter().map(|(detector, units)| (*detector, &units[at])).collect::<Vec<_>>())
        };
        let scores: Vec<Vec<Option<f64>>> = (0..files.len()).map(fused).collect();
        for (found, protocol) in found.iter_mut().zip(Protocol::ALL) {
            let runs = files.iter().zip(&scores).map(|(file, scores)| run(file, scores.clone(), protocol));
            found.push(Candidate { name: name.clone(), runs: runs.collect() });
        }
    };
    for (name, robust) in &robust {
        add(format!("robust_z ({name})"), &[(Detector::RobustZ, robust)]);
    }
    for (window, learned) in &windowed {
        for detector in [Detector::Distance, Detector::Autoencoder, Detector::Forest] {
            add(format!("{} ({window})", detector.name()), &[(detector, learned)]);
        }
        for (name, robust) in &robust {
            let z = (Detector::RobustZ, robust.as_slice());
            for others in [
                &[Detector::Distance][..],
                &[Detector::Autoencoder],
                &[Detector::Distance, Detector::Autoencoder],
            ] {
                let mut parts = vec![z];
                parts.extend(others.iter().map(|detector| (*detector, learned.as_slice())));
                let names: Vec<&str> = parts.iter().map(|(detector, _)| detector.name()).collect();
                add(format!("{} ({name}; {window})", names.join(" × ")), &parts);
            }
        }
    }
    Ok(found)
}
