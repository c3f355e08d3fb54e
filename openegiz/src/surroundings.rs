//! What the outside world gives the program: the clock and unpredictable bytes. Nobody else asks for them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use egiz_model::Timestamp;

/// The machine's clock in UTC.
pub(crate) fn clock() -> egiz_server::Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    })
}

/// The operating system's random source.
pub(crate) fn random() -> egiz_server::RandomSource {
    Arc::new(|bytes| getrandom::fill(bytes).expect("the operating system gives random bytes"))
}
