//! API tokens: how scripts and services sign in to the HTTP side. A token reads `egiz.<name>.<secret>`; the name
//! finds the row, the secret is 32 random bytes and stored as a hash.

use std::fmt;
use std::str::FromStr;

use egiz_model::Timestamp;
use serde_json::json;
use sqlx::Row;

use crate::audit::{self, Author};
use crate::credential::{CredentialHash, Secret, verify_secret};
use crate::database::{DbRow, commit};
use crate::error::StoreError;
use crate::page::{Page, PageRequest};
use crate::store::{Store, check_name, moment};

const KIND: &str = "API token";
const PREFIX: &str = "egiz.";

/// What a token's bearer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, and writes desired properties and alarms' states.
    Operator,
    /// Everything.
    Admin,
    /// Reads and writes Things, for other programs; no administration.
    Service,
}

impl Role {
    /// The text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
            Role::Service => "service",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Role, StoreError> {
        [Role::Viewer, Role::Operator, Role::Admin, Role::Service]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| StoreError::invalid("role", "must be one of viewer, operator, admin, service"))
    }
}

/// A token as the registry shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its name.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// Whether it is accepted.
    pub enabled: bool,
    /// When it was created.
    pub created: Timestamp,
}

/// The bearer of a right token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiIdentity {
    /// The token's name.
    pub name: String,
    /// What the bearer may do.
    pub role: Role,
}

impl Store {
    /// Creates a token and returns its text, the only time that it can be read.
    ///
    /// # Errors
    /// When the name is out of range or taken, or the database refuses.
    pub async fn create_api_token(
        &self,
        name: &str,
        role: Role,
        author: &Author,
    ) -> Result<Secret, StoreError> {
        check_name("name", name)?;
        if name.contains('.') {
            return Err(StoreError::invalid("name", "of a token must not contain '.'"));
        }
        let secret = Secret::generate(&self.random);
        let hash = CredentialHash::of_secret(&secret, &self.random);
        let mut write = self.database.write().await?;
        let done = sqlx::query(
            "INSERT INTO api_tokens (name, role, hash, enabled, created_micros) VALUES ($1, $2, $3, TRUE, $4)
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(role.as_str())
        .bind(hash.as_str())
        .bind(author.at.as_micros())
        .execute(&mut *write)
        .await
        .map_err(StoreError::during("create an API token"))?;
        if done.rows_affected() == 0 {
            return Err(StoreError::already_exists(KIND, name));
        }
        audit::record(&mut write, author, "api_token.create", name, json!({"role": role.as_str()})).await?;
        commit(write).await?;
        Ok(Secret::from_text(format!("{PREFIX}{name}.{}", secret.expose())))
    }

    /// Lists tokens by name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn list_api_tokens(&self, page: PageRequest) -> Result<Page<ApiToken>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, role, enabled, created_micros FROM api_tokens WHERE name > $1 ORDER BY name LIMIT $2",
        )
        .bind(page.after.as_deref().unwrap_or(""))
        .bind(page.fetch_rows())
        .fetch_all(self.database.reader())
        .await
        .map_err(StoreError::during("list API tokens"))?;
        let items = rows.iter().map(token_row).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, &page, |token: &ApiToken| token.name.clone()))
    }

    /// Accepts a token again or refuses it from now on.
    ///
    /// # Errors
    /// When the token does not exist or the database refuses.
    pub async fn enable_api_token(
        &self,
        name: &str,
        enabled: bool,
        author: &Author,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let done = sqlx::query("UPDATE api_tokens SET enabled = $2 WHERE name = $1")
            .bind(name)
            .bind(enabled)
            .execute(&mut *write)
            .await
            .map_err(StoreError::during("change an API token"))?;
        found(done.rows_affected(), name)?;
        audit::record(&mut write, author, "api_token.enable", name, json!({"enabled": enabled})).await?;
        commit(write).await
    }

    /// Deletes a token.
    ///
    /// # Errors
    /// When the token does not exist or the database refuses.
    pub async fn delete_api_token(&self, name: &str, author: &Author) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let done = sqlx::query("DELETE FROM api_tokens WHERE name = $1")
            .bind(name)
            .execute(&mut *write)
            .await
            .map_err(StoreError::during("delete an API token"))?;
        found(done.rows_affected(), name)?;
        audit::record(&mut write, author, "api_token.delete", name, json!({})).await?;
        commit(write).await
    }

    /// Checks a bearer token. `None` for anything that is not the text of an enabled token.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn authenticate_api_token(&self, bearer: &str) -> Result<Option<ApiIdentity>, StoreError> {
        let Some((name, secret)) = bearer.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.')) else {
            return Ok(None);
        };
        let row =
            sqlx::query("SELECT name, role, hash, enabled, created_micros FROM api_tokens WHERE name = $1")
                .bind(name)
                .fetch_optional(self.database.reader())
                .await
                .map_err(StoreError::during("check an API token"))?;
        let stored: Option<String> = row.as_ref().map(|row| row.get("hash"));
        let right = verify_secret(secret, stored.as_deref());
        let token = row.as_ref().map(token_row).transpose()?;
        Ok(token
            .filter(|token| right && token.enabled)
            .map(|token| ApiIdentity { name: token.name, role: token.role }))
    }
}

fn token_row(row: &DbRow) -> Result<ApiToken, StoreError> {
    let name: String = row.get("name");
    let role: String = row.get("role");
    let role = role.parse().map_err(|_| StoreError::Damaged {
        kind: KIND,
        key: name.clone(),
        reason: format!("role {role:?} is unknown"),
    })?;
    Ok(ApiToken { name, role, enabled: row.get("enabled"), created: moment(row, "created_micros") })
}

fn found(rows: u64, name: &str) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::not_found(KIND, name)) } else { Ok(()) }
}
