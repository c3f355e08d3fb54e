//! The audit trail: who changed what in the registry, and when. Written in the same transaction as the change, so
//! that neither exists without the other; append-only but for [`Store::trim_audit`].

use egiz_model::Timestamp;
use serde_json::Value;
use sqlx::Row;

use crate::database::{DbRow, Write, commit};
use crate::error::StoreError;
use crate::page::{Page, PageRequest};
use crate::store::{Store, from_u64, moment, to_u64};

/// On whose behalf a change is made, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// A user, token or part of the program, at most 256 characters.
    pub who: String,
    /// When.
    pub at: Timestamp,
}

impl Author {
    /// Makes an author.
    pub fn new(who: impl Into<String>, at: Timestamp) -> Author {
        Author { who: who.into(), at }
    }
}

/// One entry of the trail.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// 1 for the first entry, +1 for each.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// On whose behalf.
    pub who: String,
    /// What was done, `noun.verb`: `template.put`, `device.create`, `registry.import`.
    pub action: String,
    /// To what: a name, `site/name`, or nothing.
    pub subject: String,
    /// More about it; never a secret.
    pub details: Value,
}

/// Adds an entry to an open write.
pub(crate) async fn record(
    write: &mut Write,
    author: &Author,
    action: &'static str,
    subject: &str,
    details: Value,
) -> Result<(), StoreError> {
    let who: String = author.who.chars().take(256).collect();
    // The single writer makes MAX + 1 safe; it keeps the numbers dense on every backend.
    sqlx::query(
        "INSERT INTO audit (sequence, at_micros, who, action, subject, details)
         SELECT COALESCE(MAX(sequence), 0) + 1, $1, $2, $3, $4, $5 FROM audit",
    )
    .bind(author.at.as_micros())
    .bind(who)
    .bind(action)
    .bind(subject)
    .bind(details.to_string())
    .execute(&mut **write)
    .await
    .map_err(StoreError::during("write the audit entry"))?;
    Ok(())
}

impl Store {
    /// Adds an entry for something that is not itself a change of the registry, such as a refused sign-in.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn add_audit(
        &self,
        author: &Author,
        action: &'static str,
        subject: &str,
        details: Value,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        record(&mut write, author, action, subject, details).await?;
        commit(write).await
    }

    /// Lists entries, newest first; `after` is the sequence below which the page starts.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn list_audit(&self, page: PageRequest<u64>) -> Result<Page<AuditEntry, u64>, StoreError> {
        let rows = sqlx::query(
            "SELECT sequence, at_micros, who, action, subject, details FROM audit
             WHERE sequence < $1 ORDER BY sequence DESC LIMIT $2",
        )
        .bind(page.after.map_or(i64::MAX, from_u64))
        .bind(page.fetch_rows())
        .fetch_all(self.database.reader())
        .await
        .map_err(StoreError::during("list audit entries"))?;
        let items = rows.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, &page, |entry| entry.sequence))
    }

    /// Deletes entries older than `before` but always keeps the newest, so that numbers are never reused.
    /// Returns how many went.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn trim_audit(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut write = self.database.write().await?;
        let done = sqlx::query(
            "DELETE FROM audit WHERE at_micros < $1 AND sequence < (SELECT MAX(sequence) FROM audit)",
        )
        .bind(before.as_micros())
        .execute(&mut *write)
        .await
        .map_err(StoreError::during("trim audit entries"))?;
        commit(write).await?;
        Ok(done.rows_affected())
    }
}

fn entry(row: &DbRow) -> Result<AuditEntry, StoreError> {
    let sequence = to_u64(row.get("sequence"));
    let details: String = row.get("details");
    let details = serde_json::from_str(&details).map_err(|error| StoreError::Damaged {
        kind: "audit entry",
        key: sequence.to_string(),
        reason: error.to_string(),
    })?;
    Ok(AuditEntry {
        sequence,
        at: moment(row, "at_micros"),
        who: row.get("who"),
        action: row.get("action"),
        subject: row.get("subject"),
        details,
    })
}
