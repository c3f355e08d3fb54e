//! What every role of the program needs: [`config`], [`logging`], [`correlation`], [`metrics`], [`supervisor`],
//! [`backoff`], [`breaker`], [`health`] and [`shutdown`].
//!
//! Nothing here knows what the program does. The environment, the clock and the random source are passed in by the
//! program; the only files touched are the configuration, the secrets that it names, and `/proc` for metrics.

use std::sync::Arc;

use egiz_model::Timestamp;

pub mod backoff;
pub mod breaker;
pub mod config;
pub mod correlation;
pub mod health;
pub mod logging;
pub mod metrics;
pub mod shutdown;
pub mod supervisor;

/// The clock, chosen by the program.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Fills a buffer with unpredictable bytes, chosen by the program.
pub type RandomSource = Arc<dyn Fn(&mut [u8]) + Send + Sync>;
