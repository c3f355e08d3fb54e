//! Who asks, and in which context: decided once at the door (`guard`) and put into the request's extensions as
//! [`Caller`], where REST and live handlers find it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use egiz_api::Code;
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::settings::Role;

/// The end of a token, told to what it has opened; never for those whose right to come in cannot be taken back.
#[derive(Clone, Debug, Default)]
pub struct Revocation(pub(crate) Option<CancellationToken>);

impl Revocation {
    /// Whether the token was disabled or deleted.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(CancellationToken::is_cancelled)
    }

    /// Waits for it.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn cancelled(&self) {
        match &self.0 {
            Some(revoked) => revoked.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

/// Who asks, what they may do, and the correlation id of the request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token's name, or `anonymous`.
    pub principal: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// The correlation id: the client's, or a new one.
    pub correlation: Arc<str>,
    /// Comes when the token that let them in is disabled or deleted; what outlives a request ends then.
    pub revoked: Revocation,
}

impl Caller {
    /// Whether they may read.
    #[must_use]
    pub fn may_read(&self) -> bool {
        true
    }

    /// Whether they may change Things.
    #[must_use]
    pub fn may_write(&self) -> bool {
        !matches!(self.role, Role::Viewer)
    }

    /// Whether they may manage devices, templates and the registry.
    #[must_use]
    pub fn may_manage(&self) -> bool {
        matches!(self.role, Role::Admin)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Caller>()
            .cloned()
            .ok_or_else(|| ApiError::new(Code::Unauthenticated, "no caller"))
    }
}
