//! What can go wrong with the registry. Texts name the thing at fault; the database's own cause is the source.

use std::path::PathBuf;

use crate::credential::CredentialError;
use crate::template::TemplateError;

/// Opening the registry failed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened or created.
    #[error("cannot open the registry at {path}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// What the database driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The file holds a schema that this version cannot bring up to date, for example one from a newer version.
    #[error("cannot bring the registry at {path} to this version's schema")]
    Migrate {
        /// The database file.
        path: PathBuf,
        /// The migration at fault.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
}

/// Reading or changing the registry failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing has this key.
    #[error("{kind} {key} does not exist")]
    NotFound {
        /// The noun: `template`, `device`, `API token`.
        kind: &'static str,
        /// Its key.
        key: String,
    },
    /// Something has this key already.
    #[error("{kind} {key} exists already")]
    AlreadyExists {
        /// The noun.
        kind: &'static str,
        /// Its key.
        key: String,
    },
    /// There are as many as may be.
    #[error("there are {limit} entries of kind {kind} already")]
    LimitReached {
        /// The noun.
        kind: &'static str,
        /// How many may be.
        limit: usize,
    },
    /// The stored version is not the one that the caller expected.
    #[error("{kind} {key} has version {actual}, not the expected {expected}")]
    VersionConflict {
        /// The noun.
        kind: &'static str,
        /// Its key.
        key: String,
        /// The caller's version.
        expected: u64,
        /// The stored version.
        actual: u64,
    },
    /// A field of the request is out of its range.
    #[error("{field} {reason}")]
    Invalid {
        /// The field at fault.
        field: &'static str,
        /// What is allowed.
        reason: String,
    },
    /// The template breaks its rules.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The credential cannot be used or checked.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// A row holds what this version cannot read: the file was changed by something else.
    #[error("{kind} {key} is damaged: {reason}")]
    Damaged {
        /// The noun.
        kind: &'static str,
        /// Its key.
        key: String,
        /// What cannot be read.
        reason: String,
    },
    /// The database refused; nothing was changed.
    #[error("the registry cannot {operation}")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
}

impl StoreError {
    /// Gives a closure for `map_err` that names the operation.
    pub(crate) fn during(operation: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
        move |source| StoreError::Database { operation, source }
    }

    pub(crate) fn not_found(kind: &'static str, key: impl Into<String>) -> StoreError {
        StoreError::NotFound { kind, key: key.into() }
    }

    pub(crate) fn already_exists(kind: &'static str, key: impl Into<String>) -> StoreError {
        StoreError::AlreadyExists { kind, key: key.into() }
    }

    pub(crate) fn invalid(field: &'static str, reason: impl Into<String>) -> StoreError {
        StoreError::Invalid { field, reason: reason.into() }
    }
}
