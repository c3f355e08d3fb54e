//! Which signals make a moment unusual, and what would have been usual.
//!
//! The fused score and each detector but the forest are explained by Shapley values over the model's own signals: a signal
//! that is not known is at its usual value in the whole window. The forest is explained by exact TreeSHAP of its
//! mean path; its inputs are principal components, whose exact shares are divided among the signals by how much of the component
//! is theirs at that moment. So the sum is exact there, and the division a convention.

use crate::model::{Front, Inputs, Model, RegimeModel, Work};
use crate::options::Detector;
use crate::shapley;

/// Pairs of orders where there are too many signals to ask every set.
const PAIRS: usize = 64;
/// Decides those orders.
const SEED: u64 = 0x0e61_2a11;

/// Where the actual value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Above what is usual.
    Above,
    /// Below it.
    Below,
    /// As usual.
    Usual,
}

/// One signal's part.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The signal's name.
    pub signal: String,
    /// What it adds to the score; below 0 where it makes the moment more usual.
    pub share: f64,
    /// `share` as a fraction of all that add to it, 0 to 1; 0 for those that do not.
    pub fraction: f64,
    /// The signal's mean over the signal window, in its unit.
    pub actual: f64,
    /// Its usual mean in this regime.
    pub expected: f64,
    /// Of the actual to the expected value.
    pub direction: Direction,
}

/// Why a score is what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// What was explained; none for the fused score.
    pub detector: Option<Detector>,
    /// The score if every signal were as usual.
    pub base: f64,
    /// The score: base plus all shares. On the scale with 1.0 at the limit; for the forest minus the mean path, so that a
    /// positive share pushes towards "abnormal" there, too.
    pub score: f64,
    /// Whether every set of signals was asked, none sampled.
    pub is_exact: bool,
    /// One for each signal, the largest share first.
    pub parts: Vec<Part>,
}

pub(crate) fn explain(
    model: &Model,
    regime: &RegimeModel,
    front: &Front,
    detector: Option<Detector>,
) -> Option<Explanation> {
    let mut inputs = Inputs { deviation: 0.0, means: Vec::new() };
    front.inputs(&mut inputs);
    let (base, shares, is_exact, score) = if detector == Some(Detector::Forest) {
        let forest = regime.forest.as_ref()?;
        let mut work = Work::default();
        regime.whiten(&inputs.means, &mut work);
        let components: Vec<f64> = forest.shapley(&work.whitened).iter().map(|path| -path).collect();
        let shares = regime.to_signals(&components, &work);
        (-forest.base_path(), shares, true, -forest.mean_path(&work.whitened))
    } else {
        let mut masked = Masked::new(model, regime, front, &inputs, detector);
        let all = vec![true; model.signals.len()];
        let score = masked.score(&all)?;
        let found = shapley::explain(model.signals.len(), PAIRS, SEED, |known| {
            masked.score(known).unwrap_or_default()
        });
        (found.base, found.values, found.is_exact, score)
    };
    let positive: f64 = shares.iter().filter(|share| **share > 0.0).sum();
    let mut parts: Vec<Part> = shares
        .iter()
        .enumerate()
        .map(|(at, share)| {
            let unit = |mean: f64| regime.scale.centre[at] + mean * regime.scale.scale[at];
            let (actual, expected) = (inputs.means[at], regime.mean_centre[at]);
            Part {
                signal: model.signals[at].clone(),
                share: *share,
                fraction: if positive > 0.0 { share.max(0.0) / positive } else { 0.0 },
                actual: unit(actual),
                expected: unit(expected),
                direction: match actual.total_cmp(&expected) {
                    std::cmp::Ordering::Greater => Direction::Above,
                    std::cmp::Ordering::Less => Direction::Below,
                    std::cmp::Ordering::Equal => Direction::Usual,
                },
            }
        })
        .collect();
    parts.sort_by(|a, b| b.share.total_cmp(&a.share));
    Some(Explanation { detector, base, score, is_exact, parts })
}

/// The score where only some signals are known.
struct Masked<'a> {
    model: &'a Model,
    regime: &'a RegimeModel,
    detector: Option<Detector>,
    means: &'a [f64],
    squares: Vec<Vec<f64>>,
    masked: Inputs,
    work: Work,
}

impl<'a> Masked<'a> {
    fn new(
        model: &'a Model,
        regime: &'a RegimeModel,
        front: &Front,
        inputs: &'a Inputs,
        detector: Option<Detector>,
    ) -> Self {
        let masked = Inputs { deviation: 0.0, means: inputs.means.clone() };
        let squares = front.squares();
        Self { model, regime, detector, means: &inputs.means, squares, masked, work: Work::default() }
    }

    fn score(&mut self, known: &[bool]) -> Option<f64> {
        let signals = known.len() as f64;
        let row = |row: &Vec<f64>| {
            let sum: f64 =
                row.iter().zip(known).map(|(square, known)| if *known { *square } else { 0.0 }).sum();
            (sum / signals).sqrt()
        };
        self.masked.deviation = self.squares.iter().map(row).sum::<f64>() / self.squares.len().max(1) as f64;
        for (at, out) in self.masked.means.iter_mut().enumerate() {
            *out = if known[at] { self.means[at] } else { self.regime.mean_centre[at] };
        }
        self.regime.whiten(&self.masked.means, &mut self.work);
        let raw = |detector| self.regime.raw(detector, self.masked.deviation, &self.work);
        if let Some(detector) = self.detector {
            let unit = self.regime.units[detector.index()];
            return raw(detector).map(|score| unit.of(score) / unit.limit);
        }
        let mut all = [None; 4];
        for detector in &self.model.options.fusion {
            all[detector.index()] = raw(*detector);
        }
        Some(self.regime.fuse(&self.model.options.fusion, &all))
    }
}
