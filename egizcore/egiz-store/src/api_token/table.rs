//! The enabled tokens in memory, so that every request can be checked without asking the database.
//!
//! Whoever changes a token takes a turn, commits, and then changes the table, in this order and to its end: the table
//! is where the database is when the change is answered. What another process writes into the file is seen at the
//! next start only.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sqlx::Row;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use super::{ApiIdentity, Role, token_row};
use crate::credential::verify_secret;
use crate::database::Database;

/// The most tokens of one registry.
pub(crate) const TOKENS_MAX: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct TokenTable {
    enabled: RwLock<HashMap<String, Known>>,
    turn: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Known {
    hash: String,
    identity: ApiIdentity,
}

impl TokenTable {
    /// Reads the enabled tokens. A row that cannot be read lets nobody in.
    pub(crate) async fn load(database: &Database) -> Result<Self, sqlx::Error> {
        let rows = sqlx::query("SELECT name, role, hash, enabled, created_micros FROM api_tokens")
            .fetch_all(database.reader())
            .await?;
        let table = Self::default();
        for row in &rows {
            if let Ok(token) = token_row(row)
                && token.enabled
            {
                table.enable(&token.name, token.role, row.get("hash"));
            }
        }
        Ok(table)
    }

    /// Waits until no other change of a token is under way.
    pub(crate) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Accepts a token from now on.
    pub(crate) fn enable(&self, name: &str, role: Role, hash: String) {
        let identity = ApiIdentity { name: name.into(), role, revoked: CancellationToken::new() };
        self.write().entry(name.to_owned()).or_insert(Known { hash, identity });
    }

    /// Refuses a token from now on, and tells those that it let in.
    pub(crate) fn revoke(&self, name: &str) {
        if let Some(known) = self.write().remove(name) {
            known.identity.revoked.cancel();
        }
    }

    /// The bearer of a right token. An unknown name costs the same as a wrong secret.
    pub(crate) fn verify(&self, name: &str, secret: &str) -> Option<ApiIdentity> {
        let enabled = self.read();
        let known = enabled.get(name);
        let right = verify_secret(secret, known.map(|known| known.hash.as_str()));
        known.filter(|_| right).map(|known| known.identity.clone())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    // Nothing panics while a lock is held; if it ever did, the table would still be whole.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Known>> {
        self.enabled.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Known>> {
        self.enabled.write().unwrap_or_else(PoisonError::into_inner)
    }
}
