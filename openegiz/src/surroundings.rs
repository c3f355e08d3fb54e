//! What the outside world gives the program: the clock, unpredictable bytes, and how many files it may have open, the
//! size of its memory pages. Nobody else asks for them.

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

/// Asks for memory in small pages. The allocator's arenas are eligible for pages of 2 MB, of which a program that holds many
/// small things apart uses little: measured with 10,000 Things, 112 MB resident became 64 MB (`docs/benchmarks.md`).
#[cfg(target_os = "linux")]
pub(crate) fn refuse_huge_pages() {
    // A kernel without such pages says that it has no such call, and then there is nothing to refuse.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
