//! A model of one Thing: what is usual in each of its regimes, and where the limits lie.
//!
//! Signals are kept in the order of their names, so that the order in which they are handed in changes nothing. How a model
//! is stored, replaced and compared is not known here.

mod fit;
mod regime;

use std::collections::BTreeMap;

pub(crate) use fit::LEAST_COVERAGE;
pub(crate) use regime::{Front, Inputs, RegimeModel, Work, geometric_mean};

use crate::Error;
use crate::options::Options;
use crate::quality::Gate;
use crate::series::Series;

/// The share of bad signals above which there is no score.
pub(crate) const MOST_BAD: f64 = 1.0 / 3.0;

/// What was learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub(crate) signals: Vec<String>,
    pub(crate) options: Options,
    pub(crate) gate: Gate,
    pub(crate) regimes: BTreeMap<String, RegimeModel>,
}

impl Model {
    /// Learns from rows that are believed to be normal; limits come from where the options say.
    ///
    /// # Errors
    /// Where an option is out of range, or no regime has enough rows.
    pub fn fit(training: &Series, options: &Options) -> Result<Self, Error> {
        fit::fit(training, None, options)
    }

    /// Learns from `training`, and takes the limits from `held`, another run that is believed to be normal: it stands for the
    /// share that [`crate::options::Limits::Held`] would hold back.
    ///
    /// # Errors
    /// As [`Model::fit`], and where `held` lacks a signal.
    pub fn fit_with_held(training: &Series, held: &Series, options: &Options) -> Result<Self, Error> {
        fit::fit(training, Some(held), options)
    }

    /// The signals in the order of the model: that of their names.
    #[must_use]
    pub fn signals(&self) -> &[String] {
        &self.signals
    }

    /// The regimes that had enough rows, and how many rows each was learned from.
    pub fn regimes(&self) -> impl Iterator<Item = (&str, usize)> {
        self.regimes.iter().map(|(name, regime)| (name.as_str(), regime.rows))
    }

    /// As it was trained.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }
}

/// Where each of the model's signals is in a caller's rows; none where it is not.
pub(crate) fn places(model: &[String], given: &[String]) -> Vec<Option<usize>> {
    model.iter().map(|signal| given.iter().position(|name| name == signal)).collect()
}

/// A row in the model's order, NaN where the caller does not have a signal.
pub(crate) fn arrange(places: &[Option<usize>], values: &[f64], out: &mut [f64]) {
    for (out, place) in out.iter_mut().zip(places) {
        *out = place.and_then(|place| values.get(place).copied()).unwrap_or(f64::NAN);
    }
}
