//! The gate in front of the detectors: which values can be believed. What a sensor does wrong is named here, and never read
//! as something unusual of the machine.
//!
//! A value is bad when it is missing, outside of its declared range, or stuck: unchanged for so many rows that, at the rate
//! of repetitions seen in training, chance does not explain it. A signal that often repeats in training is never stuck.

use crate::Error;
use crate::options::Range;

/// How unlikely a run of equal values has to be before it counts as stuck.
const CHANCE_OF_RUN: f64 = 1e-9;
/// The share of repetitions in training above which a signal is not judged.
const MOST_REPETITIONS: f64 = 0.5;
/// The shortest run that counts.
const SHORTEST_RUN: u32 = 10;

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is none, or it is not a finite number.
    Missing,
    /// Outside of its declared range.
    OutOfRange,
    /// It has not changed for too long.
    Stuck,
}

/// What was learned and declared of each signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    signals: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    low: f64,
    high: f64,
    /// Rows without a change after which the signal is stuck.
    stuck_after: Option<u32>,
}

/// What has to be remembered between rows.
#[derive(Debug, Clone)]
pub struct GateState {
    runs: Vec<(f64, u32)>,
}

impl Gate {
    /// Learns from the values of each signal, in order of time (NaN where missing), how long they may stay the same.
    ///
    /// # Errors
    /// Where a range is declared for a signal that is not there.
    pub(crate) fn fit(signals: &[String], columns: &[Vec<f64>], ranges: &[Range]) -> Result<Self, Error> {
        let mut rules: Vec<Rule> = columns
            .iter()
            .map(|values| Rule {
                low: f64::NEG_INFINITY,
                high: f64::INFINITY,
                stuck_after: stuck_after(values),
            })
            .collect();
        for (index, range) in ranges.iter().enumerate() {
            let Some(at) = signals.iter().position(|signal| *signal == range.signal) else {
                return Err(Error::Inconsistent { part: "range", index, reason: "there is no such signal" });
            };
            rules[at].low = range.low;
            rules[at].high = range.high;
        }
        Ok(Self { signals: rules })
    }

    pub(crate) fn begin(&self) -> GateState {
        GateState { runs: vec![(f64::NAN, 0); self.signals.len()] }
    }

    /// Judges a row; `faults` gets the bad signals.
    pub(crate) fn judge(&self, values: &[f64], state: &mut GateState, faults: &mut Vec<(usize, Fault)>) {
        faults.clear();
        for (at, ((value, rule), run)) in values.iter().zip(&self.signals).zip(&mut state.runs).enumerate() {
            if !value.is_finite() {
                faults.push((at, Fault::Missing));
                continue;
            }
            run.1 = if run.0 == *value { run.1.saturating_add(1) } else { 1 };
            run.0 = *value;
            if *value < rule.low || *value > rule.high {
                faults.push((at, Fault::OutOfRange));
            } else if rule.stuck_after.is_some_and(|limit| run.1 >= limit) {
                faults.push((at, Fault::Stuck));
            }
        }
    }
}

fn stuck_after(values: &[f64]) -> Option<u32> {
    let (mut pairs, mut repeats, mut run, mut longest) = (0u32, 0u32, 1u32, 1u32);
    for pair in values.windows(2).filter(|pair| pair.iter().all(|value| value.is_finite())) {
        pairs += 1;
        if pair[0] == pair[1] {
            repeats += 1;
            run += 1;
            longest = longest.max(run);
        } else {
            run = 1;
        }
    }
    if pairs == 0 {
        return None;
    }
    // One repetition more than was seen, so that a signal that never repeated has a rate, too.
    let rate = f64::from(repeats + 1) / f64::from(pairs + 1);
    (rate <= MOST_REPETITIONS).then(|| {
        let by_chance = (CHANCE_OF_RUN.ln() / rate.ln()).ceil() as u32;
        by_chance.max(longest.saturating_mul(2)).max(SHORTEST_RUN)
    })
}
