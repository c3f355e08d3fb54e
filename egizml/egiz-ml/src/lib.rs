//! Anomaly detection as pure functions: what a machine reports goes in, how unusual it is and which signals make it so
//! comes out.
//!
//! There is no socket, file, thread, clock or async here, and no chance but [`random::Random`] with the caller's seed: same
//! data, same options, same model, to the last bit. Everything is `f64`, and bounded. Data that makes no sense is refused
//! with a reason ([`Error`]) or scored with a finite number; it never panics.

pub mod autoencoder;
pub mod covariance;
mod error;
pub mod forest;
pub mod matrix;
pub mod metrics;
pub mod quantile;
pub mod random;
pub mod scaling;
pub mod shapley;

pub use error::Error;
