//! What is usual in one regime, and how far a moment is from that.

use crate::autoencoder::Autoencoder;
use crate::forest::Forest;
use crate::matrix::{Matrix, dot};
use crate::options::{Detector, Options};
use crate::scaling::{RobustScale, bounded};
use crate::window::Window;

/// The detectors of one regime with their limits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RegimeModel {
    /// How many rows it was learned from.
    pub(crate) rows: usize,
    /// The usual time between two rows.
    pub(crate) step_ms: f64,
    /// Of single values, in units of the signals.
    pub(crate) scale: RobustScale,
    /// Of the windowed means of scaled values: their mean and standard deviation.
    pub(crate) mean_centre: Vec<f64>,
    pub(crate) mean_scale: Vec<f64>,
    /// Makes windowed means uncorrelated.
    pub(crate) whitening: Matrix,
    pub(crate) network: Option<Autoencoder>,
    pub(crate) forest: Option<Forest>,
    /// Of each detector.
    pub(crate) units: [Unit; 4],
    pub(crate) fused_limit: f64,
}

/// Brings a detector's own score onto a scale where normal rows have 0 in their middle and 1 at their quantile, and says
/// where on that scale the limit is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unit {
    pub(crate) centre: f64,
    /// Above 0.
    pub(crate) reach: f64,
    /// Above 0, in units.
    pub(crate) limit: f64,
}

impl Unit {
    pub(crate) fn of(&self, score: f64) -> f64 {
        ((score - self.centre) / self.reach).max(0.0)
    }
}

/// What the detectors see of a moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inputs {
    /// The root mean square of the scaled values, averaged over the score window.
    pub(crate) deviation: f64,
    /// The scaled values, averaged over the signal window.
    pub(crate) means: Vec<f64>,
}

/// Room for intermediate results, so that scoring a row allocates little.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    centred: Vec<f64>,
    pub(crate) whitened: Vec<f64>,
}

/// Scores of the detectors on their own scales; none where a detector was not trained.
pub(crate) type RawScores = [Option<f64>; 4];

impl RegimeModel {
    /// The windowed means, without correlation.
    pub(crate) fn whiten(&self, means: &[f64], work: &mut Work) {
        work.centred.clear();
        let usual = self.mean_centre.iter().zip(&self.mean_scale);
        work.centred
            .extend(means.iter().zip(usual).map(|(m, (centre, scale))| bounded((m - centre) / scale)));
        work.whitened.clear();
        work.whitened.extend(self.whitening.iter().map(|row| bounded(dot(row, &work.centred))));
    }

    /// Shares of whitened inputs as shares of signals: each is divided among the signals by how much of that input, plus or
    /// minus, is theirs. The sum stays the same. The inputs have to be whitened into `work` before.
    pub(crate) fn to_signals(&self, shares: &[f64], work: &Work) -> Vec<f64> {
        let mut signals = vec![0.0; shares.len()];
        for (share, weights) in shares.iter().zip(self.whitening.iter()) {
            let parts = || weights.iter().zip(&work.centred).map(|(weight, value)| (weight * value).abs());
            let whole: f64 = parts().sum();
            for (signal, part) in signals.iter_mut().zip(parts()) {
                *signal += if whole > 0.0 { share * part / whole } else { share / shares.len() as f64 };
            }
        }
        signals
    }

    /// One detector's score; the inputs have to be whitened into `work` before.
    pub(crate) fn raw(&self, detector: Detector, deviation: f64, work: &Work) -> Option<f64> {
        match detector {
            Detector::RobustZ => Some(deviation),
            Detector::Distance => {
                Some((dot(&work.whitened, &work.whitened) / work.whitened.len() as f64).sqrt())
            }
            Detector::Autoencoder => {
                self.network.as_ref().map(|network| network.error(&work.whitened).sqrt())
            }
            Detector::Forest => self.forest.as_ref().map(|forest| forest.score(&work.whitened)),
        }
    }

    pub(crate) fn raw_all(&self, inputs: &Inputs, work: &mut Work) -> RawScores {
        self.whiten(&inputs.means, work);
        Detector::ALL.map(|detector| self.raw(detector, inputs.deviation, work))
    }

    /// The geometric mean of the detectors in `fusion`, with 1.0 at the limit.
    pub(crate) fn fuse(&self, fusion: &[Detector], raw: &RawScores) -> f64 {
        geometric_mean(fusion, |detector| {
            raw[detector.index()].map_or(0.0, |score| self.units[detector.index()].of(score))
        }) / self.fused_limit
    }
}

/// The geometric mean of what `unit` says of each detector.
pub(crate) fn geometric_mean(fusion: &[Detector], unit: impl Fn(Detector) -> f64) -> f64 {
    match fusion {
        [one] => unit(*one),
        _ => fusion.iter().map(|detector| unit(*detector).powf(1.0 / fusion.len() as f64)).product(),
    }
}

/// The windows in front of the detectors: scaled rows go in, what detectors see comes out.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    /// Scaled values.
    signals: Window,
    /// Squares of the scaled values, and the root of their mean.
    squares: Window,
    scaled: Vec<f64>,
    row: Vec<f64>,
}

impl Front {
    pub(crate) fn new(options: &Options, signals: usize) -> Self {
        Self {
            signals: Window::new(options.signal_window_seconds, signals),
            squares: Window::new(options.score_window_seconds, signals + 1),
            scaled: vec![0.0; signals],
            row: vec![0.0; signals + 1],
        }
    }

    /// Takes a row in; NaN counts as the usual value.
    pub(crate) fn push(&mut self, time_ms: i64, values: &[f64], scale: &RobustScale) {
        scale.apply(values, &mut self.scaled);
        self.signals.push(time_ms, &self.scaled);
        self.row.iter_mut().zip(&self.scaled).for_each(|(square, value)| *square = value * value);
        let count = self.scaled.len();
        self.row[count] = (self.row[..count].iter().sum::<f64>() / count as f64).sqrt();
        self.squares.push(time_ms, &self.row);
    }

    /// What detectors see now.
    pub(crate) fn inputs(&self, out: &mut Inputs) {
        out.means.resize(self.scaled.len(), 0.0);
        self.signals.mean(&mut out.means);
        // Of the squares' window only the last column is asked for.
        let mut means = vec![0.0; self.scaled.len() + 1];
        self.squares.mean(&mut means);
        out.deviation = means[self.scaled.len()].max(0.0);
    }

    /// The squares of the score window: rows of a square for each signal.
    pub(crate) fn squares(&self) -> Vec<Vec<f64>> {
        self.squares.rows().map(|row| row.take(self.scaled.len()).collect()).collect()
    }

    /// How full the signal window is: 0 to about 1.
    pub(crate) fn coverage(&self, step_ms: f64) -> f64 {
        self.signals.coverage(step_ms)
    }

    pub(crate) fn clear(&mut self) {
        self.signals.clear();
        self.squares.clear();
    }
}
