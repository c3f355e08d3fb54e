//! API tokens: how scripts and services sign in to the HTTP side. A token reads `egiz.<name>.<secret>`; the name
//! finds the row, the secret is 32 random bytes and stored as a hash. Enabled tokens are in memory besides (`table`):
//! checking one costs a hash, not a query.

mod table;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use egiz_model::Timestamp;
use serde_json::json;
use sqlx::Row;
use tokio_util::sync::CancellationToken;

pub(crate) use table::TokenTable;

use crate::audit::{self, Author};
use crate::credential::{CredentialHash, Secret};
use crate::database::{DbRow, commit};
use crate::error::StoreError;
use crate::page::{Page, PageRequest};
use crate::store::{Store, check_name, moment};

const KIND: &str = "API token";
const PREFIX: &str = "egiz.";
/// Principals that the program itself uses; a token of such a name could not be told apart in a record or the trail.
const RESERVED: [&str; 3] = ["api", "anonymous", "openegiz"];

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
#[derive(Debug, Clone)]
pub struct ApiIdentity {
    /// The token's name.
    pub name: Arc<str>,
    /// What the bearer may do.
    pub role: Role,
    /// Cancelled when the token is disabled or deleted: what it has opened is then to be closed.
    pub revoked: CancellationToken,
}

impl Store {
    /// Creates a token and returns its text, the only time that it can be read.
    ///
    /// # Errors
    /// When the name is out of range or taken, there are 1,000 tokens, or the database refuses.
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
        if RESERVED.contains(&name) {
            return Err(StoreError::invalid("name", "is one of the program's own: api, anonymous, openegiz"));
        }
        let secret = Secret::generate(&self.random);
        let hash = CredentialHash::of_secret(&secret, &self.random).as_str().to_owned();
        let (store, name, author) = (self.clone(), name.to_owned(), author.clone());
        let text = Secret::from_text(format!("{PREFIX}{name}.{}", secret.expose()));
        to_the_end(async move {
            let _turn = store.tokens.turn().await;
            let mut write = store.database.write().await?;
            let failed = StoreError::during("create an API token");
            let count: i64 = sqlx::query("SELECT COUNT(*) AS count FROM api_tokens")
                .fetch_one(&mut *write)
                .await
                .map_err(&failed)?
                .get("count");
            let done = sqlx::query(
                "INSERT INTO api_tokens (name, role, hash, enabled, created_micros)
                 VALUES ($1, $2, $3, TRUE, $4) ON CONFLICT (name) DO NOTHING",
            )
            .bind(&name)
            .bind(role.as_str())
            .bind(&hash)
            .bind(author.at.as_micros())
            .execute(&mut *write)
            .await
            .map_err(&failed)?;
            if done.rows_affected() == 0 {
                return Err(StoreError::already_exists(KIND, name));
            }
            if usize::try_from(count).is_ok_and(|count| count >= table::TOKENS_MAX) {
                return Err(StoreError::LimitReached { kind: KIND, limit: table::TOKENS_MAX });
            }
            let details = json!({"role": role.as_str()});
            audit::record(&mut write, &author, "api_token.create", &name, details).await?;
            commit(write).await?;
            store.tokens.enable(&name, role, hash);
            Ok(())
        })
        .await?;
        Ok(text)
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

    /// Gives one token, without its text.
    ///
    /// # Errors
    /// When the token does not exist or the database refuses.
    pub async fn api_token(&self, name: &str) -> Result<ApiToken, StoreError> {
        let row = sqlx::query("SELECT name, role, enabled, created_micros FROM api_tokens WHERE name = $1")
            .bind(name)
            .fetch_optional(self.database.reader())
            .await
            .map_err(StoreError::during("read an API token"))?;
        token_row(&row.ok_or_else(|| StoreError::not_found(KIND, name))?)
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
        let (store, name, author) = (self.clone(), name.to_owned(), author.clone());
        to_the_end(async move {
            let _turn = store.tokens.turn().await;
            let mut write = store.database.write().await?;
            let row = sqlx::query(
                "UPDATE api_tokens SET enabled = $2 WHERE name = $1
                 RETURNING name, role, hash, enabled, created_micros",
            )
            .bind(&name)
            .bind(enabled)
            .fetch_optional(&mut *write)
            .await
            .map_err(StoreError::during("change an API token"))?
            .ok_or_else(|| StoreError::not_found(KIND, &name))?;
            let token = token_row(&row)?;
            let details = json!({"enabled": enabled});
            audit::record(&mut write, &author, "api_token.enable", &name, details).await?;
            commit(write).await?;
            if enabled {
                store.tokens.enable(&name, token.role, row.get("hash"));
            } else {
                store.tokens.revoke(&name);
            }
            Ok(())
        })
        .await
    }

    /// Deletes a token.
    ///
    /// # Errors
    /// When the token does not exist or the database refuses.
    pub async fn delete_api_token(&self, name: &str, author: &Author) -> Result<(), StoreError> {
        let (store, name, author) = (self.clone(), name.to_owned(), author.clone());
        to_the_end(async move {
            let _turn = store.tokens.turn().await;
            let mut write = store.database.write().await?;
            let done = sqlx::query("DELETE FROM api_tokens WHERE name = $1")
                .bind(&name)
                .execute(&mut *write)
                .await
                .map_err(StoreError::during("delete an API token"))?;
            if done.rows_affected() == 0 {
                return Err(StoreError::not_found(KIND, name));
            }
            audit::record(&mut write, &author, "api_token.delete", &name, json!({})).await?;
            commit(write).await?;
            store.tokens.revoke(&name);
            Ok(())
        })
        .await
    }

    /// Checks a bearer token, in about a microsecond and in memory. `None` for anything that is not the text of an
    /// enabled token.
    pub fn authenticate_api_token(&self, bearer: &str) -> Option<ApiIdentity> {
        let (name, secret) = bearer.strip_prefix(PREFIX)?.split_once('.')?;
        self.tokens.verify(name, secret)
    }

    /// Whether any token is enabled.
    pub fn has_api_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }
}

/// Runs a change to its end even if the caller is dropped: between the commit and the table nothing may come.
async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(change).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(StoreError::during("change an API token")(sqlx::Error::PoolClosed)),
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
