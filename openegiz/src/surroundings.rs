//! What the outside world gives the program: the clock, unpredictable bytes, and how many files it may have open. Nobody
//! else asks for them.

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

/// Takes as many open files as the system lets this program have: each connection is one.
pub(crate) fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        Ok(()) => tracing::debug!(before = limit.current, now = limit.maximum, "more files may be open"),
        Err(error) => tracing::warn!(
            %error,
            limit = limit.current,
            "no more files may be open than so many, and each connection is one"
        ),
    }
}
