//! Anomaly detection as pure functions: what a machine reports goes in, how unusual it is and which signals make it so
//! comes out.
//!
//! There is no socket, file, thread, clock or async here, and no chance but [`random::Random`] with the caller's seed: same
//! data, same options, same model, to the last bit. Everything is `f64`, and bounded. Data that makes no sense is refused
//! with a reason ([`Error`]) or scored with a finite number; it never panics.

pub mod autoencoder;
pub mod covariance;
pub mod episode;
mod error;
pub mod evaluation;
pub mod explain;
pub mod forest;
pub mod matrix;
pub mod metrics;
pub mod model;
pub mod options;
pub mod quality;
pub mod quantile;
pub mod random;
pub mod scaling;
pub mod score;
pub mod series;
pub mod shapley;
mod window;

pub use error::Error;
pub use model::Model;
pub use options::{Detector, Limits, Options};
pub use score::{Score, Scorer};
pub use series::{Row, Series};
