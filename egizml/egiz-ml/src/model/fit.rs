//! How a model comes to be: scales, windows, detectors, limits, for each regime.

use std::collections::BTreeMap;

use super::regime::{Front, Inputs, RegimeModel, Unit, Work, geometric_mean};
use super::{MOST_BAD, Model, arrange, places};
use crate::Error;
use crate::autoencoder::Autoencoder;
use crate::covariance::LedoitWolf;
use crate::forest::Forest;
use crate::matrix::Matrix;
use crate::options::{Detector, Limits, Options};
use crate::quality::Gate;
use crate::quantile::{median, quantile};
use crate::scaling::{RobustScale, mean, standard_deviation, usable};
use crate::series::Series;

/// The fewest rows that a regime is learned from.
const LEAST_ROWS: usize = 30;
/// The most rows that a network is trained on; evenly chosen where there are more.
const MOST_NETWORK_ROWS: usize = 10_000;
/// The coverage of a window below which a row is not used.
pub(crate) const LEAST_COVERAGE: f64 = 0.5;

/// A row that passed the gate, in the model's order; NaN where a value is bad.
struct Passed {
    time_ms: i64,
    values: Vec<f64>,
    /// Whether rows of another regime, or none, lie between this one and the one before.
    begins: bool,
}

pub(super) fn fit(training: &Series, held: Option<&Series>, options: &Options) -> Result<Model, Error> {
    options.check()?;
    let mut signals = training.signals().to_vec();
    signals.sort_unstable();
    let order = places(&signals, training.signals());
    let columns: Vec<Vec<f64>> = order
        .iter()
        .map(|place| training.iter().map(|row| place.map_or(f64::NAN, |at| row.values[at])).collect())
        .collect();
    let gate = Gate::fit(&signals, &columns, &options.ranges)?;
    drop(columns);
    let step_ms = training.step_ms().unwrap_or(1.0);
    let mut passed = pass(&gate, &signals, training, options);
    let mut apart = match held {
        Some(held) if places(&signals, held.signals()).contains(&None) => {
            let found = held.signals().len();
            return Err(Error::Length { what: "signals of the held run", found, expected: signals.len() });
        }
        Some(held) => Some(pass(&gate, &signals, held, options)),
        None => None,
    };
    let most = passed.values().map(Vec::len).max().unwrap_or(0);
    passed.retain(|_, rows| rows.len() >= LEAST_ROWS);
    if passed.is_empty() {
        return Err(Error::TooFewRows { rows: most, needed: LEAST_ROWS });
    }
    let mut regimes = BTreeMap::new();
    for (name, rows) in passed {
        let apart = apart.as_mut().map(|held| held.remove(&name).unwrap_or_default());
        match (Fitting { options, step_ms, signals: signals.len() }).regime(&rows, apart.as_deref()) {
            Ok(regime) => drop(regimes.insert(name, regime)),
            // A regime that is too short to be held against itself is left out, as one that was never seen.
            Err(Error::TooFewRows { rows, needed }) if rows < needed => {}
            Err(error) => return Err(error),
        }
    }
    if regimes.is_empty() {
        return Err(Error::TooFewRows { rows: most, needed: LEAST_ROWS });
    }
    Ok(Model { signals, options: options.clone(), gate, regimes })
}

/// Rows of each regime that is scored, judged as they will be when scored.
fn pass(
    gate: &Gate,
    signals: &[String],
    series: &Series,
    options: &Options,
) -> BTreeMap<String, Vec<Passed>> {
    let order = places(signals, series.signals());
    let mut state = gate.begin();
    let mut faults = Vec::new();
    let mut regimes: BTreeMap<String, Vec<Passed>> = BTreeMap::new();
    let mut before = None;
    for row in series.iter() {
        let mut values = vec![0.0; signals.len()];
        arrange(&order, row.values, &mut values);
        gate.judge(&values, &mut state, &mut faults);
        let unscored = options.unscored_regimes.iter().any(|name| name == row.regime);
        if unscored || faults.len() as f64 > MOST_BAD * signals.len() as f64 {
            if unscored {
                before = None;
            }
            continue;
        }
        faults.iter().for_each(|(at, _)| values[*at] = f64::NAN);
        let begins = before.replace(row.regime) != Some(row.regime);
        let rows = regimes.entry(row.regime.to_owned()).or_default();
        rows.push(Passed { time_ms: row.time_ms, values, begins });
    }
    regimes
}

struct Fitting<'a> {
    options: &'a Options,
    step_ms: f64,
    signals: usize,
}

impl Fitting<'_> {
    fn regime(&self, rows: &[Passed], apart: Option<&[Passed]>) -> Result<RegimeModel, Error> {
        let windows = self.options.signal_window_seconds.max(self.options.score_window_seconds);
        let (seen, later) = match (apart, self.options.limits) {
            (Some(apart), _) => (rows, Some(apart)),
            (None, Limits::Held { share, .. }) => {
                let split = ((1.0 - share) * rows.len() as f64).round() as usize;
                let split = split.clamp(1, rows.len() - 1);
                // A window between the two, so that no row is in both.
                let from = rows[split].time_ms.saturating_add((windows * 1000.0) as i64);
                let later = rows.iter().position(|row| row.time_ms >= from).unwrap_or(rows.len());
                (&rows[..split], Some(&rows[later..]))
            }
            (None, Limits::Training { .. }) => (rows, None),
        };
        let columns: Vec<Vec<f64>> = (0..self.signals)
            .map(|at| seen.iter().map(|row| row.values[at]).filter(|value| value.is_finite()).collect())
            .collect();
        let scale = RobustScale::fit_columns(&columns, self.options.scale_floor)?;
        let inputs = self.inputs(seen, &scale);
        if inputs.len() < LEAST_ROWS {
            return Err(Error::TooFewRows { rows: inputs.len(), needed: LEAST_ROWS });
        }
        let mut regime = self.detectors(scale, &inputs)?;
        match later {
            None => self.limits(&mut regime, &inputs)?,
            Some(later) => {
                let later = self.inputs(later, &regime.scale);
                self.limits(&mut regime, &later)?;
            }
        }
        Ok(regime)
    }

    /// What the detectors see of rows, in order.
    fn inputs(&self, rows: &[Passed], scale: &RobustScale) -> Vec<Inputs> {
        let mut front = Front::new(self.options, self.signals);
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            if row.begins {
                front.clear();
            }
            front.push(row.time_ms, &row.values, scale);
            if front.coverage(self.step_ms) >= LEAST_COVERAGE {
                let mut inputs = Inputs { deviation: 0.0, means: Vec::new() };
                front.inputs(&mut inputs);
                found.push(inputs);
            }
        }
        found
    }

    fn detectors(&self, scale: RobustScale, inputs: &[Inputs]) -> Result<RegimeModel, Error> {
        let column = |at: usize| inputs.iter().map(|inputs| inputs.means[at]).collect::<Vec<f64>>();
        let mean_centre: Vec<f64> = (0..self.signals).map(|at| mean(&column(at))).collect();
        let mean_scale = (0..self.signals).map(|at| usable(standard_deviation(&column(at)), mean_centre[at]));
        let mean_scale: Vec<f64> = mean_scale.collect();
        let standard = inputs.iter().flat_map(|inputs| {
            let usual = mean_centre.iter().zip(&mean_scale);
            inputs.means.iter().zip(usual).map(|(value, (centre, scale))| (value - centre) / scale)
        });
        let covariance = LedoitWolf::fit(&Matrix::new(self.signals, standard.collect())?)?;
        let unit = Unit { centre: 0.0, reach: 1.0, limit: 1.0 };
        let mut regime = RegimeModel {
            rows: inputs.len(),
            step_ms: self.step_ms,
            scale,
            mean_centre,
            mean_scale,
            whitening: covariance.whitening(),
            network: None,
            forest: None,
            units: [unit; 4],
            fused_limit: 1.0,
        };
        let mut work = Work::default();
        let whitened = inputs.iter().flat_map(|inputs| {
            regime.whiten(&inputs.means, &mut work);
            work.whitened.clone()
        });
        let whitened = Matrix::new(self.signals, whitened.collect())?;
        if let Some(options) = &self.options.forest {
            regime.forest = Some(Forest::fit(&whitened, options)?);
        }
        if let Some(options) = &self.options.autoencoder {
            let stride = whitened.rows().div_ceil(MOST_NETWORK_ROWS);
            let chosen = whitened.iter().step_by(stride).flatten().copied().collect();
            regime.network = Some(Autoencoder::fit(&Matrix::new(self.signals, chosen)?, options)?);
        }
        Ok(regime)
    }

    /// Finds units and limits on `inputs`.
    fn limits(&self, regime: &mut RegimeModel, inputs: &[Inputs]) -> Result<(), Error> {
        if inputs.len() < LEAST_ROWS {
            return Err(Error::TooFewRows { rows: inputs.len(), needed: LEAST_ROWS });
        }
        let mut work = Work::default();
        let raw: Vec<_> = inputs.iter().map(|inputs| regime.raw_all(inputs, &mut work)).collect();
        let share = match self.options.limits {
            Limits::Held { quantile, .. } | Limits::Training { quantile, .. } => quantile,
        };
        for (at, unit) in regime.units.iter_mut().enumerate() {
            let scores: Vec<f64> = raw.iter().filter_map(|raw| raw[at]).collect();
            let (Some(middle), Some(high)) = (median(&scores), quantile(&scores, share)) else { continue };
            let limit = match self.options.limits {
                Limits::Held { margin, .. } => margin,
                Limits::Training { multiples, .. } => multiples[at],
            };
            *unit = Unit { centre: middle, reach: reach(middle, high), limit };
        }
        regime.fused_limit = match self.options.limits {
            Limits::Training { fused, .. } => fused,
            Limits::Held { margin, .. } => {
                let units = regime.units;
                let fused: Vec<f64> = raw
                    .iter()
                    .map(|raw| {
                        geometric_mean(&self.options.fusion, |detector: Detector| {
                            raw[detector.index()].map_or(0.0, |score| units[detector.index()].of(score))
                        })
                    })
                    .collect();
                (quantile(&fused, share).unwrap_or(1.0) * margin).max(1e-3)
            }
        };
        Ok(())
    }
}

/// The way from the middle of normal scores to their quantile; where all are equal, a little.
fn reach(middle: f64, high: f64) -> f64 {
    (high - middle).max(1e-6 * middle.abs()).max(1e-9)
}
