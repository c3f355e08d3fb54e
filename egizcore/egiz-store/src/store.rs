//! The repository: one value that every part shares. The verbs of each noun are beside the noun (`template`,
//! `device`, `api_token`, `thing`, `audit`, `transfer`); this file opens, closes and holds what they share.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use egiz_model::{ThingId, Timestamp};
use sqlx::Row;

use crate::api_token::TokenTable;
use crate::credential::{Verifier, VerifierLimits};
use crate::database::{Database, DbRow};
use crate::error::{OpenError, StoreError};
use crate::metrics::StoreMetrics;
use crate::sign_ins::SignIns;

/// Fills a buffer with unpredictable bytes: the operating system's generator in the program, a seeded one in tests.
pub type RandomSource = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// How to open the registry.
#[derive(Clone)]
pub struct StoreOptions {
    /// Source of secrets and salts.
    pub random: RandomSource,
    /// Bounds on the cost of checking passwords.
    pub verifier: VerifierLimits,
    /// Where to count.
    pub metrics: StoreMetrics,
}

impl StoreOptions {
    /// Default bounds and unregistered counters over the given random source.
    pub fn new(random: RandomSource) -> StoreOptions {
        StoreOptions { random, verifier: VerifierLimits::default(), metrics: StoreMetrics::default() }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

/// The registry. Cheap to clone; clones share the connections, the enabled API tokens and the
/// cache of verified passwords.
///
/// Every method that changes something returns after the change is durable, or changes nothing. Futures may be
/// dropped: an unfinished change is rolled back.
#[derive(Clone)]
pub struct Store {
    pub(crate) database: Database,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) tokens: Arc<TokenTable>,
    pub(crate) sign_ins: Arc<SignIns>,
    pub(crate) random: RandomSource,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the registry file, creating it or bringing it to this version's schema. The directory must exist.
    ///
    /// # Errors
    /// When the file cannot be opened, is not a registry, or comes from a newer version.
    pub async fn open(path: &Path, options: StoreOptions) -> Result<Store, OpenError> {
        let database = Database::open(path).await?;
        let failed = |source| OpenError::Open { path: path.to_owned(), source };
        let tokens = TokenTable::load(&database).await.map_err(failed)?;
        Ok(Store::over(database, tokens, options))
    }

    /// Opens an empty registry that is gone with its last clone; for tests and trials.
    ///
    /// # Errors
    /// When the database driver fails.
    pub async fn open_in_memory(options: StoreOptions) -> Result<Store, OpenError> {
        Ok(Store::over(Database::open_in_memory().await?, TokenTable::default(), options))
    }

    fn over(database: Database, tokens: TokenTable, options: StoreOptions) -> Store {
        let verifier = Arc::new(Verifier::new(options.verifier, options.metrics, &options.random));
        Store {
            database,
            verifier,
            tokens: Arc::new(tokens),
            sign_ins: Arc::default(),
            random: options.random,
        }
    }

    /// Checks that the registry answers; for health.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1")
            .fetch_one(self.database.reader())
            .await
            .map_err(StoreError::during("answer"))?;
        Ok(())
    }

    /// Ends all connections after the running calls; later calls fail.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// Reads a column of microseconds.
pub(crate) fn moment(row: &DbRow, column: &str) -> Timestamp {
    Timestamp::from_micros(row.get(column))
}

/// Reads a Thing's id.
pub(crate) fn thing_id(row: &DbRow) -> Result<ThingId, StoreError> {
    let text: String = row.get("thing_id");
    ThingId::new(&text).map_err(|error| StoreError::Damaged {
        kind: "Thing id",
        key: text,
        reason: error.to_string(),
    })
}

/// Reads a BIGINT that is never written negative.
pub(crate) fn to_u64(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Writes an offset, revision or version. They count single records from zero, so the upper half of `u64` is out
/// of reach (292,000 years at a million a second); saturating keeps order even then.
pub(crate) fn from_u64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Checks a name that people choose and that appears in addresses, topic names and log lines.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), StoreError> {
    if is_name(name) {
        return Ok(());
    }
    Err(StoreError::invalid(
        field,
        "must be 1 to 128 characters of A-Z, a-z, 0-9, '-', '_', '.', and start with a letter or digit",
    ))
}

pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
