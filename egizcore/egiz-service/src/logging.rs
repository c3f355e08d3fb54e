//! Log lines for people or machines, with a level that can be changed while the program runs.
//!
//! JSON lines have `ts`, `level`, `target`, `msg`, `correlation_id` if one is known, and `fields`: those of the event
//! over those of its spans, the innermost last. A text longer than 4,096 characters is cut. Where lines go is the
//! program's choice.

mod json;

use std::fmt;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::Clock;
use crate::config::LogFormat;

/// Logging cannot be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level has not the form `info` or `info,egiz_broker=debug`.
    #[error(
        "log level {0:?} is not off, error, warn, info, debug, trace or a list such as \"info,egiz_broker=debug\""
    )]
    Level(String),
    /// Another subscriber has been set for the process.
    #[error("logging has been set up already")]
    AlreadySet(#[source] tracing::subscriber::SetGlobalDefaultError),
    /// The subscriber is gone.
    #[error("logging has ended")]
    Gone(#[source] reload::Error),
}

/// Changes the level of running logging.
#[derive(Clone)]
pub struct LevelHandle(reload::Handle<Targets, Registry>);

impl fmt::Debug for LevelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LevelHandle")
    }
}

impl LevelHandle {
    /// Sets the level from now on.
    ///
    /// # Errors
    /// When the level has not the form of `log.level`, or logging has ended.
    pub fn set(&self, level: &str) -> Result<(), LogError> {
        self.0.reload(targets(level)?).map_err(LogError::Gone)
    }
}

/// Sets up logging for the process.
///
/// # Errors
/// When the level is not of the right form or logging was set up before.
pub fn init<W>(format: LogFormat, level: &str, clock: Clock, writer: W) -> Result<LevelHandle, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (subscriber, handle) = subscriber(format, level, clock, writer)?;
    tracing::subscriber::set_global_default(subscriber).map_err(LogError::AlreadySet)?;
    Ok(handle)
}

/// Makes a subscriber without setting it for the process, for tests and tools.
///
/// # Errors
/// When the level is not of the right form.
pub fn subscriber<W>(
    format: LogFormat,
    level: &str,
    clock: Clock,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync, LevelHandle), LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(targets(level)?);
    let lines: Box<dyn Layer<_> + Send + Sync> = match format {
        LogFormat::Json => Box::new(json::JsonLines::new(clock, writer)),
        LogFormat::Human => Box::new(
            tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_timer(ClockTime(clock))
                .with_writer(writer),
        ),
    };
    Ok((Registry::default().with(filter).with(lines), LevelHandle(handle)))
}

/// Tells whether a text has the form of a level.
pub(crate) fn is_level(text: &str) -> bool {
    targets(text).is_ok()
}

/// Reads `level` or `level,target=level,…`. Stricter than the library's reader, which takes any single word for the
/// name of a part and would log everything of it.
fn targets(text: &str) -> Result<Targets, LogError> {
    let fault = || LogError::Level(text.chars().take(80).collect());
    let level = |word: &str| -> Result<LevelFilter, LogError> {
        let known = ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
        if known { word.parse().map_err(|_| fault()) } else { Err(fault()) }
    };
    let mut targets = Targets::new();
    for item in text.split(',') {
        match item.trim().split_once('=') {
            None => targets = targets.with_default(level(item.trim())?),
            Some((target, word)) => {
                let named = !target.is_empty()
                    && target.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-'));
                if !named {
                    return Err(fault());
                }
                targets = targets.with_target(target, level(word)?);
            }
        }
    }
    Ok(targets)
}

/// The program's clock for human lines.
struct ClockTime(Clock);

impl FormatTime for ClockTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", (self.0)())
    }
}

#[cfg(test)]
mod tests;
