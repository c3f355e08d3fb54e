//! The database behind the registry, and everything that only SQLite understands.
//!
//! The other modules write SQL that PostgreSQL takes unchanged (`$1`, `ON CONFLICT`, `RETURNING`, row values,
//! BIGINT and TEXT). What differs is here: how to connect, how to start a write, and which errors mean a duplicate.
//! One connection writes and a few read: SQLite has a single writer, and waiting for it in our own queue is fairer
//! and cheaper than its busy timeout, which is left for other processes (backup, `sqlite3`).

use std::path::Path;
use std::time::Duration;

use log::LevelFilter;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Pool, SqlSafeStr, Transaction};

use crate::error::{OpenError, StoreError};

/// The SQL backend.
pub(crate) type Db = sqlx::Sqlite;
/// A row of the backend.
pub(crate) type DbRow = <Db as sqlx::Database>::Row;
/// An open write.
pub(crate) type Write = Transaction<'static, Db>;

const READERS: u32 = 4;
/// How long another process may hold the file before a write fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection before it is told that the registry is busy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pools over one database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    reader: Pool<Db>,
    writer: Pool<Db>,
}

impl Database {
    /// Opens or creates the file and applies the migrations.
    pub(crate) async fn open(path: &Path) -> Result<Database, OpenError> {
        let failed = |source| OpenError::Open { path: path.to_owned(), source };
        create_private(path).map_err(|error| failed(error.into()))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // At "debug" people look for what the program does, not for each statement; slow ones are warned of.
            .log_statements(LevelFilter::Trace);
        let writer = pool(1).connect_with(options.clone()).await.map_err(failed)?;
        migrate(&writer, path).await?;
        let reader = pool(READERS).connect_with(options.read_only(true)).await.map_err(failed)?;
        Ok(Database { reader, writer })
    }

    /// Opens an empty database that lives as long as the value.
    pub(crate) async fn open_in_memory() -> Result<Database, OpenError> {
        let path = Path::new(":memory:");
        let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        // Each connection to `:memory:` is a database of its own, so there is exactly one and it never retires.
        let only = pool(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(|source| OpenError::Open { path: path.to_owned(), source })?;
        migrate(&only, path).await?;
        Ok(Database { reader: only.clone(), writer: only })
    }

    /// Where reads go.
    pub(crate) fn reader(&self) -> &Pool<Db> {
        &self.reader
    }

    /// Starts a write; it is rolled back when dropped without a commit.
    pub(crate) async fn write(&self) -> Result<Write, StoreError> {
        // A deferred transaction could fail half-way with SQLITE_BUSY when another process writes in between.
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::during("start a change"))
    }

    /// Closes the pools, which checkpoints the write-ahead log.
    pub(crate) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// Commits a write.
pub(crate) async fn commit(write: Write) -> Result<(), StoreError> {
    write.commit().await.map_err(StoreError::during("commit a change"))
}

/// Creates a missing file that only its owner can read: it will hold hashes of credentials. The files that SQLite
/// puts beside it take over its permissions.
pub(crate) fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT)
}

async fn migrate(pool: &Pool<Db>, path: &Path) -> Result<(), OpenError> {
    Migrator::with_migrations(migrations())
        .run(pool)
        .await
        .map_err(|source| OpenError::Migrate { path: path.to_owned(), source })
}

/// The schema's history, oldest first. A released entry is never edited: its checksum is in every database.
fn migrations() -> Vec<Migration> {
    let registry = include_str!("../migrations/0001_registry.sql").into_sql_str();
    let past = include_str!("../migrations/0002_past.sql").into_sql_str();
    vec![
        Migration::new(1, "registry".into(), MigrationType::Simple, registry, false),
        Migration::new(2, "past".into(), MigrationType::Simple, past, false),
    ]
}
