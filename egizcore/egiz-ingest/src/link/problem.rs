//! Why a connection is over, for people.

use std::error::Error;
use std::fmt;

/// What kind of trouble it is; it decides how soon to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The broker is not there, or went away: it may be back any moment.
    Unreachable,
    /// The broker does not want this client: somebody has to change something, here or there.
    Refused,
    /// The broker is well, but its messages cannot be taken on now.
    Stalled,
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of trouble it is.
    pub kind: ProblemKind,
    /// In words.
    pub text: String,
}

impl Problem {
    /// The broker is not there.
    pub fn unreachable(text: impl Into<String>) -> Self {
        Self { kind: ProblemKind::Unreachable, text: text.into() }
    }

    /// The broker does not want this client.
    pub fn refused(text: impl Into<String>) -> Self {
        Self { kind: ProblemKind::Refused, text: text.into() }
    }

    /// Messages cannot be taken on.
    pub fn stalled(text: impl Into<String>) -> Self {
        Self { kind: ProblemKind::Stalled, text: text.into() }
    }

    /// The client's request queue was full, or nobody serves it any more.
    pub(crate) fn not_queued() -> Self {
        Self::unreachable("the connection takes no more requests")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// An error with its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}
