//! A small invented machine for the tests: signals that follow a common load, each with its own noise.

use egiz_ml::autoencoder::TrainingOptions;
use egiz_ml::forest::ForestOptions;
use egiz_ml::random::Random;
use egiz_ml::{Limits, Options, Row, Series};

/// The name of a signal.
pub(crate) fn name(signal: usize) -> String {
    format!("signal_{signal:02}")
}

/// The values of each row, one second apart.
pub(crate) fn rows(seed: u64, rows: usize, signals: usize) -> Vec<Vec<f64>> {
    let mut random = Random::new(seed);
    let mut load = 0.0;
    (0..rows)
        .map(|_| {
            load = 0.9 * load + random.normal();
            (0..signals)
                .map(|at| 50.0 + at as f64 * 10.0 + load * (1.0 + at as f64) + random.normal())
                .collect()
        })
        .collect()
}

/// Rows as a series of one regime.
pub(crate) fn series(rows: &[Vec<f64>]) -> Series {
    let mut series = Series::new((0..rows[0].len()).map(name).collect()).unwrap();
    for (at, values) in rows.iter().enumerate() {
        series.push(Row { time_ms: at as i64 * 1000, values, regime: "" }).unwrap();
    }
    series
}

/// All detectors, quickly trained.
pub(crate) fn options() -> Options {
    Options {
        score_window_seconds: 10.0,
        signal_window_seconds: 10.0,
        limits: Limits::Held { share: 0.4, quantile: 0.99, margin: 1.5 },
        forest: Some(ForestOptions { trees: 50, subsample: 128, seed: 1 }),
        autoencoder: Some(TrainingOptions {
            hidden: vec![8, 2, 8],
            epochs: 20,
            batch: 32,
            learning_rate: 0.01,
            seed: 1,
        }),
        ..Options::default()
    }
}
