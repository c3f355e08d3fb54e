//! What is decided before training: windows, floors, which detectors, how limits are found.
//!
//! The defaults were chosen by cross-validation on the development data; docs/adr/0015-anomaly-detection.md has the figures.

use crate::Error;
use crate::autoencoder::TrainingOptions;
use crate::forest::ForestOptions;

/// The detectors that run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detector {
    /// How many deviations the signals are from their medians: the root of the mean square, averaged over a window.
    RobustZ,
    /// The Mahalanobis distance of the windowed means, with a shrunk covariance.
    Distance,
    /// What a small network cannot repeat of the whitened means.
    Autoencoder,
    /// How quickly random cuts isolate the whitened means.
    Forest,
}

impl Detector {
    /// All of them, in the order of [`crate::score::Score::detectors`].
    pub const ALL: [Self; 4] = [Self::RobustZ, Self::Distance, Self::Autoencoder, Self::Forest];

    /// Its name in tables and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RobustZ => "robust_z",
            Self::Distance => "ledoit_wolf",
            Self::Autoencoder => "autoencoder",
            Self::Forest => "isolation_forest",
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::RobustZ => 0,
            Self::Distance => 1,
            Self::Autoencoder => 2,
            Self::Forest => 3,
        }
    }
}

/// Where limits come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limits {
    /// From the last part of the training data, which the detectors have not seen: a limit lies `margin` times as far above
    /// the median of their scores there as this quantile does. The rule wherever there is enough data.
    Held {
        /// The share of rows held back, 0.05 to 0.9.
        share: f64,
        /// 0.5 to 1.
        quantile: f64,
        /// 0.1 to 100.
        margin: f64,
    },
    /// From the training rows themselves, where there are too few to hold any back: the median of the scores plus a
    /// multiple of the way from there to the quantile.
    Training {
        /// 0.5 to 1.
        quantile: f64,
        /// One for each of [`Detector::ALL`], 0.1 to 1000.
        multiples: [f64; 4],
        /// That of the fused score, 0.1 to 1000.
        fused: f64,
    },
}

/// A signal's physical range: what is outside is the sensor's fault, not the machine's.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// The signal.
    pub signal: String,
    /// The least possible value.
    pub low: f64,
    /// The greatest possible value.
    pub high: f64,
}

/// How a model is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Over how many seconds the robust z is averaged; above 0.
    pub score_window_seconds: f64,
    /// Over how many seconds signals are averaged for the other detectors; above 0.
    pub signal_window_seconds: f64,
    /// The least scale of a signal as a share of its standard deviation, 0 to 1.
    pub scale_floor: f64,
    /// The detectors whose geometric mean is the fused score; at least one.
    pub fusion: Vec<Detector>,
    /// How limits are found.
    pub limits: Limits,
    /// None where no forest is wanted.
    pub forest: Option<ForestOptions>,
    /// None where no network is wanted.
    pub autoencoder: Option<TrainingOptions>,
    /// Declared physical ranges.
    pub ranges: Vec<Range>,
    /// Regimes in which nothing is scored: off, starting, cleaning.
    pub unscored_regimes: Vec<String>,
}

impl Default for Options {
    /// For signals of about one row a second and enough data to hold some back.
    fn default() -> Self {
        Self {
            score_window_seconds: 20.0,
            signal_window_seconds: 30.0,
            scale_floor: 0.02,
            fusion: vec![Detector::RobustZ, Detector::Distance],
            limits: Limits::Held { share: 0.3, quantile: 0.999, margin: 1.2 },
            forest: Some(ForestOptions::default()),
            autoencoder: Some(network(12)),
            ranges: Vec::new(),
            unscored_regimes: Vec::new(),
        }
    }
}

/// The network for that many signals: a middle of about a third of them.
#[must_use]
pub fn network(signals: usize) -> TrainingOptions {
    let wide = (2 * signals).clamp(8, 64);
    TrainingOptions {
        hidden: vec![wide, signals.div_ceil(3).max(1), wide],
        epochs: 60,
        batch: 32,
        learning_rate: 0.005,
        seed: 1,
    }
}

impl Options {
    /// Whether every option is in its range.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        within("score_window_seconds", self.score_window_seconds, 1e-3, 1e8, "0.001 to 100000000")?;
        within("signal_window_seconds", self.signal_window_seconds, 1e-3, 1e8, "0.001 to 100000000")?;
        within("scale_floor", self.scale_floor, 0.0, 1.0, "0 to 1")?;
        match self.limits {
            Limits::Held { share, quantile, margin } => {
                within("limits.share", share, 0.05, 0.9, "0.05 to 0.9")?;
                within("limits.quantile", quantile, 0.5, 1.0, "0.5 to 1")?;
                within("limits.margin", margin, 0.1, 100.0, "0.1 to 100")?;
            }
            Limits::Training { quantile, multiples, fused } => {
                within("limits.quantile", quantile, 0.5, 1.0, "0.5 to 1")?;
                for multiple in multiples.iter().chain([&fused]) {
                    within("limits.multiple", *multiple, 0.1, 1000.0, "0.1 to 1000")?;
                }
            }
        }
        for range in &self.ranges {
            within("ranges.low", range.low, f64::NEG_INFINITY, range.high, "at most ranges.high")?;
        }
        let absent = |detector: &Detector| match detector {
            Detector::Autoencoder => self.autoencoder.is_none(),
            Detector::Forest => self.forest.is_none(),
            Detector::RobustZ | Detector::Distance => false,
        };
        if self.fusion.is_empty() || self.fusion.iter().any(absent) {
            let value = self.fusion.len() as f64;
            return Err(Error::Option {
                name: "fusion",
                value,
                allowed: "one or more detectors that are trained",
            });
        }
        self.autoencoder.as_ref().map_or(Ok(()), TrainingOptions::check)
    }
}

fn within(name: &'static str, value: f64, low: f64, high: f64, allowed: &'static str) -> Result<(), Error> {
    if (low..=high).contains(&value) { Ok(()) } else { Err(Error::Option { name, value, allowed }) }
}
