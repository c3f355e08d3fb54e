//! The factory's layout as a text that this crate does not look into: kept once it was put through the API, over the one
//! of the configuration.

use serde_json::json;
use sqlx::Row;

use crate::audit::{self, Author};
use crate::database::{Write, commit};
use crate::error::StoreError;
use crate::store::Store;

const SETTING: &str = "layout";

impl Store {
    /// Gives the layout that was put, if one was.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn layout(&self) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
            .bind(SETTING)
            .fetch_optional(self.database.reader())
            .await
            .map_err(StoreError::during("read the layout"))?;
        Ok(row.map(|row| row.get("value")))
    }

    /// Keeps another layout, or with `None` none any more, where the one kept is still `before`; tells whether it was.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn replace_layout(
        &self,
        before: Option<&str>,
        layout: Option<&str>,
        author: &Author,
    ) -> Result<bool, StoreError> {
        let mut write = self.database.write().await?;
        if kept(&mut write).await?.as_deref() != before {
            return Ok(false);
        }
        let failed = StoreError::during("keep the layout");
        match layout {
            Some(layout) => {
                sqlx::query(
                    "INSERT INTO settings (name, value) VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value",
                )
                .bind(SETTING)
                .bind(layout)
                .execute(&mut *write)
                .await
                .map_err(failed)?;
                let details = json!({"size_bytes": layout.len()});
                audit::record(&mut write, author, "layout.put", "", details).await?;
            }
            None => {
                sqlx::query("DELETE FROM settings WHERE name = $1")
                    .bind(SETTING)
                    .execute(&mut *write)
                    .await
                    .map_err(failed)?;
                audit::record(&mut write, author, "layout.delete", "", json!({})).await?;
            }
        }
        commit(write).await?;
        Ok(true)
    }
}

async fn kept(write: &mut Write) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
        .bind(SETTING)
        .fetch_optional(&mut **write)
        .await
        .map_err(StoreError::during("read the layout"))?;
    Ok(row.map(|row| row.get("value")))
}
