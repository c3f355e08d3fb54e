//! Who asks, and in which context: decided once at the door (`guard`) and put into the request's extensions as
//! [`Caller`], where REST and live handlers find it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use egiz_api::Code;
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::settings::Role;

/// Who asks, what they may do, and the correlation id of the request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token's name, or `anonymous`.
    pub principal: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// The correlation id: the client's, or a new one.
    pub correlation: Arc<str>,
    /// Cancelled when the token that let them in is disabled or deleted; what outlives a request ends then.
    pub revoked: CancellationToken,
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
