//! Templates in the registry.

use egiz_model::Timestamp;
use serde_json::json;
use sqlx::Row;

use super::{Expected, StoredTemplate, Template};
use crate::audit::{self, Author};
use crate::database::{DbRow, Write, commit};
use crate::error::StoreError;
use crate::page::{Page, PageRequest};
use crate::store::{Store, from_u64, moment, to_u64};

const KIND: &str = "template";
const SEEDED: &str = "templates_seeded";

impl Store {
    /// Reads one template.
    ///
    /// # Errors
    /// When the row is damaged or the database refuses.
    pub async fn template(&self, name: &str) -> Result<Option<StoredTemplate>, StoreError> {
        let row = sqlx::query(
            "SELECT name, body, version, created_micros, modified_micros FROM templates WHERE name = $1",
        )
        .bind(name)
        .fetch_optional(self.database.reader())
        .await
        .map_err(StoreError::during("read a template"))?;
        row.as_ref().map(stored_row).transpose()
    }

    /// Lists templates by name.
    ///
    /// # Errors
    /// When a row is damaged or the database refuses.
    pub async fn list_templates(&self, page: PageRequest) -> Result<Page<StoredTemplate>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, body, version, created_micros, modified_micros FROM templates
             WHERE name > $1 ORDER BY name LIMIT $2",
        )
        .bind(page.after.as_deref().unwrap_or(""))
        .bind(page.fetch_rows())
        .fetch_all(self.database.reader())
        .await
        .map_err(StoreError::during("list templates"))?;
        let items = rows.iter().map(stored_row).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, &page, |stored: &StoredTemplate| stored.template.name.clone()))
    }

    /// Writes a template and returns its new version.
    ///
    /// # Errors
    /// When the template breaks its rules, what is stored is not what was expected, or the database refuses.
    pub async fn put_template(
        &self,
        template: &Template,
        expected: Expected,
        author: &Author,
    ) -> Result<u64, StoreError> {
        let template = Template::from_json(&template.to_json())?;
        let mut write = self.database.write().await?;
        let actual = version(&mut write, &template.name).await?;
        check_expected(&template.name, expected, actual)?;
        let version = upsert(&mut write, &template, author.at).await?;
        audit::record(&mut write, author, "template.put", &template.name, json!({"version": version}))
            .await?;
        commit(write).await?;
        Ok(version)
    }

    /// Deletes a template; Things made from it stay.
    ///
    /// # Errors
    /// When it does not exist, what is stored is not what was expected, or the database refuses.
    pub async fn delete_template(
        &self,
        name: &str,
        expected: Expected,
        author: &Author,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let actual = version(&mut write, name).await?;
        if actual.is_none() {
            return Err(StoreError::not_found(KIND, name));
        }
        check_expected(name, expected, actual)?;
        sqlx::query("DELETE FROM templates WHERE name = $1")
            .bind(name)
            .execute(&mut *write)
            .await
            .map_err(StoreError::during("delete a template"))?;
        audit::record(&mut write, author, "template.delete", name, json!({"version": actual})).await?;
        commit(write).await
    }

    /// Writes the templates that the program comes with, at its first start only: what people delete or change
    /// afterwards stays so. Existing ones are kept. Returns how many were written.
    ///
    /// # Errors
    /// When a template breaks its rules or the database refuses; nothing is written then.
    pub async fn seed_templates(&self, templates: &[Template], author: &Author) -> Result<usize, StoreError> {
        let mut write = self.database.write().await?;
        let first =
            sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                .bind(SEEDED)
                .bind(author.at.to_string())
                .execute(&mut *write)
                .await
                .map_err(StoreError::during("seed templates"))?;
        if first.rows_affected() == 0 {
            return Ok(0);
        }
        let mut written = 0;
        for template in templates {
            let template = Template::from_json(&template.to_json())?;
            if version(&mut write, &template.name).await?.is_none() {
                upsert(&mut write, &template, author.at).await?;
                written += 1;
            }
        }
        audit::record(&mut write, author, "template.seed", "", json!({"templates": written})).await?;
        commit(write).await?;
        Ok(written)
    }
}

fn check_expected(name: &str, expected: Expected, actual: Option<u64>) -> Result<(), StoreError> {
    match (expected, actual) {
        (Expected::Absent, Some(_)) => Err(StoreError::already_exists(KIND, name)),
        (Expected::Version(_), None) => Err(StoreError::not_found(KIND, name)),
        (Expected::Version(expected), Some(actual)) if expected != actual => {
            Err(StoreError::VersionConflict { kind: KIND, key: name.to_owned(), expected, actual })
        }
        _ => Ok(()),
    }
}

async fn version(write: &mut Write, name: &str) -> Result<Option<u64>, StoreError> {
    let row = sqlx::query("SELECT version FROM templates WHERE name = $1")
        .bind(name)
        .fetch_optional(&mut **write)
        .await
        .map_err(StoreError::during("read a template's version"))?;
    Ok(row.map(|row| to_u64(row.get("version"))))
}

/// Writes a checked template and returns its version.
pub(crate) async fn upsert(write: &mut Write, template: &Template, at: Timestamp) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "INSERT INTO templates (name, definition, title, body, version, created_micros, modified_micros)
         VALUES ($1, $2, $3, $4, $5, $6, $6)
         ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, title = excluded.title,
             body = excluded.body, version = templates.version + 1, modified_micros = excluded.modified_micros
         RETURNING version",
    )
    .bind(&template.name)
    .bind(&template.definition)
    .bind(&template.title)
    .bind(template.to_json().to_string())
    .bind(from_u64(1))
    .bind(at.as_micros())
    .fetch_one(&mut **write)
    .await
    .map_err(StoreError::during("write a template"))?;
    Ok(to_u64(row.get("version")))
}

/// Reads a row of `name, body, version, created_micros, modified_micros`.
pub(crate) fn stored_row(row: &DbRow) -> Result<StoredTemplate, StoreError> {
    let name: String = row.get("name");
    let body: String = row.get("body");
    let damaged = |reason: String| StoreError::Damaged { kind: KIND, key: name.clone(), reason };
    let json = serde_json::from_str(&body).map_err(|error| damaged(error.to_string()))?;
    let template = Template::from_json(&json).map_err(|error| damaged(error.to_string()))?;
    Ok(StoredTemplate {
        template,
        version: to_u64(row.get("version")),
        created: moment(row, "created_micros"),
        modified: moment(row, "modified_micros"),
    })
}
