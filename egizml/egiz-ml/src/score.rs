//! Scores a Thing's rows one by one. A batch is the same, called in a loop: there is no second path that could differ.

use std::sync::Arc;

use crate::Error;
use crate::explain::{Explanation, explain};
use crate::model::{Front, Inputs, LEAST_COVERAGE, MOST_BAD, Model, Work, arrange, places};
use crate::options::Detector;
use crate::quality::{Fault, GateState};
use crate::series::{Row, Series};

/// Whether a row was scored, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is a score.
    Scored,
    /// The windows have too few rows yet: at the start, after a gap, after a change of regime.
    Warming,
    /// More than a third of the signals are bad.
    Data,
    /// The clock of the source stands still or goes back: the row was left out.
    Clock,
    /// The regime is one that is not scored.
    Unscored,
    /// The regime is not one that was learned: nothing can be said.
    UnknownRegime,
}

/// What is said of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Of the row.
    pub time_ms: i64,
    /// Whether there is a score.
    pub state: State,
    /// The fused score, 0 or more, with 1.0 at the limit; none where the state is not [`State::Scored`].
    pub fused: Option<f64>,
    /// Each of [`Detector::ALL`], 0 or more, with 1.0 at its limit; none where it was not trained or nothing was scored.
    pub detectors: [Option<f64>; 4],
    /// Which of the model's signals are bad, and why.
    pub bad: Vec<(usize, Fault)>,
    /// How far the score can be trusted, 0 to 1: the share of good signals times how full the window is.
    pub confidence: f64,
}

impl Score {
    /// The fused score as it is shown: 0 to 1, with 0.5 at the limit.
    #[must_use]
    pub fn shown(&self) -> Option<f64> {
        self.fused.map(|fused| 1.0 - (-fused).exp2())
    }

    /// One detector's score.
    #[must_use]
    pub fn detector(&self, detector: Detector) -> Option<f64> {
        self.detectors[detector.index()]
    }
}

/// Scores the rows of one Thing in order of time.
#[derive(Debug, Clone)]
pub struct Scorer {
    model: Arc<Model>,
    places: Vec<Option<usize>>,
    gate: GateState,
    front: Front,
    regime: Option<String>,
    last_ms: Option<i64>,
    values: Vec<f64>,
    inputs: Inputs,
    work: Work,
    is_scored: bool,
}

impl Scorer {
    /// Begins with rows whose values are in the order of `signals`. A signal of the model that is not among them counts as
    /// missing in every row; others are not looked at.
    #[must_use]
    pub fn new(model: Arc<Model>, signals: &[String]) -> Self {
        let count = model.signals.len();
        Self {
            places: places(&model.signals, signals),
            gate: model.gate.begin(),
            front: Front::new(&model.options, count),
            regime: None,
            last_ms: None,
            values: vec![0.0; count],
            inputs: Inputs { deviation: 0.0, means: vec![0.0; count] },
            work: Work::default(),
            is_scored: false,
            model,
        }
    }

    /// The model that scores.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Scores the next row.
    pub fn push(&mut self, row: Row<'_>) -> Score {
        self.is_scored = false;
        let mut score = Score {
            time_ms: row.time_ms,
            state: State::Clock,
            fused: None,
            detectors: [None; 4],
            bad: Vec::new(),
            confidence: 0.0,
        };
        if self.last_ms.is_some_and(|last| row.time_ms <= last) {
            return score;
        }
        self.last_ms = Some(row.time_ms);
        arrange(&self.places, row.values, &mut self.values);
        let model = Arc::clone(&self.model);
        model.gate.judge(&self.values, &mut self.gate, &mut score.bad);
        score.state = self.take_in(&model, row, &score.bad);
        if score.state != State::Scored {
            return score;
        }
        let Some(regime) = model.regimes.get(row.regime) else { return score };
        self.front.inputs(&mut self.inputs);
        let raw = regime.raw_all(&self.inputs, &mut self.work);
        for ((out, raw), unit) in score.detectors.iter_mut().zip(&raw).zip(&regime.units) {
            *out = raw.map(|raw| unit.of(raw) / unit.limit);
        }
        score.fused = Some(regime.fuse(&model.options.fusion, &raw));
        let good = 1.0 - score.bad.len() as f64 / self.values.len() as f64;
        score.confidence = good * self.front.coverage(regime.step_ms).min(1.0);
        self.is_scored = true;
        score
    }

    /// Puts the row into the windows, or says why not.
    fn take_in(&mut self, model: &Model, row: Row<'_>, bad: &[(usize, Fault)]) -> State {
        let is_scored = !model.options.unscored_regimes.iter().any(|name| name == row.regime);
        let (true, Some(regime)) = (is_scored, model.regimes.get(row.regime)) else {
            self.regime = None;
            self.front.clear();
            return if is_scored { State::UnknownRegime } else { State::Unscored };
        };
        if bad.len() as f64 > MOST_BAD * self.values.len() as f64 {
            return State::Data;
        }
        if self.regime.as_deref() != Some(row.regime) {
            self.regime = Some(row.regime.to_owned());
            self.front.clear();
        }
        // A bad value counts as the usual one.
        bad.iter().for_each(|(at, _)| self.values[*at] = f64::NAN);
        self.front.push(row.time_ms, &self.values, &regime.scale);
        if self.front.coverage(regime.step_ms) < LEAST_COVERAGE { State::Warming } else { State::Scored }
    }

    /// Explains the row that was pushed last: the fused score, or one detector's; none where it was not scored, or the
    /// detector was not trained.
    #[must_use]
    pub fn explain(&self, detector: Option<Detector>) -> Option<Explanation> {
        let regime = self.model.regimes.get(self.regime.as_deref()?).filter(|_| self.is_scored)?;
        explain(&self.model, regime, &self.front, detector)
    }
}

/// Scores a whole series.
///
/// # Errors
/// Where the series lacks every signal of the model.
pub fn score_all(model: &Arc<Model>, series: &Series) -> Result<Vec<Score>, Error> {
    let mut scorer = Scorer::new(Arc::clone(model), series.signals());
    if scorer.places.iter().all(Option::is_none) {
        return Err(Error::Length { what: "signals of the model", found: 0, expected: model.signals.len() });
    }
    Ok(series.iter().map(|row| scorer.push(row)).collect())
}
