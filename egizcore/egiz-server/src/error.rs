//! The only place where a failure becomes a status code: one text for the client, one for the log.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use egiz_api::{Code, PROBLEM_MEDIA_TYPE, Problem};

use egiz_historian::HistoryError;
use egiz_historian::series::StreamError;
use egiz_store::{CredentialError, StoreError};
use egiz_twin::{FilterError, QueryError, Refusal};

use crate::layout::LayoutError;
use crate::ports::SubmitError;

/// The most places at fault that one problem names; its detail counts the rest.
const FAULTS_MAX: usize = 20;

/// A failed request: what the client is told. The guard adds the correlation id on the way out.
#[derive(Debug, Clone)]
pub struct ApiError(pub Box<Problem>);

impl ApiError {
    /// The failure with this code.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(code, detail)))
    }
}

impl From<Box<Problem>> for ApiError {
    fn from(problem: Box<Problem>) -> Self {
        Self(problem)
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Busy { retry_after_s } => Problem::new(
                Code::Busy,
                "more writes are queued up than the journal takes; nothing was stored",
            )
            .retry_after(retry_after_s),
            SubmitError::NoSpace => {
                Problem::new(Code::NoSpace, "the journal's disk is full; nothing was stored").retry_after(30)
            }
            SubmitError::ShuttingDown => {
                Problem::new(Code::ShuttingDown, "the server is stopping; nothing was stored").retry_after(5)
            }
            SubmitError::Failed(reason) => {
                tracing::error!(reason, "a write could not be stored");
                Problem::new(Code::Unavailable, "the journal cannot write").retry_after(5)
            }
        }
        .into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.0;
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&*problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
        if let Some(seconds) = problem.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(problem);
        response
    }
}

/// The failure of a write that the engine refused.
#[must_use]
pub fn of_refusal(refusal: Refusal, thing: &str) -> ApiError {
    let detail = refusal.to_string();
    match refusal {
        Refusal::NotFound { what } => match what.split_once('/') {
            None => ApiError::new(Code::ThingNotFound, format!("there is no Thing {thing}")),
            Some((_, path)) => {
                let pointer = format!("/{path}");
                Problem::new(Code::PathNotFound, format!("there is no {pointer} in {thing}"))
                    .at(pointer, "nothing is there")
                    .into()
            }
        },
        Refusal::AlreadyExists { .. } => ApiError::new(Code::AlreadyExists, detail),
        Refusal::NotDiscovered { .. } => ApiError::new(Code::NotDiscovered, detail),
        Refusal::IfMatch { current } => Problem::new(Code::IfMatchFailed, detail)
            .revision(current.as_deref().and_then(revision_in))
            .into(),
        Refusal::IfNoneMatch { current } => Problem::new(Code::IfNoneMatchFailed, detail)
            .revision(current.as_deref().and_then(revision_in))
            .into(),
        Refusal::Condition => {
            ApiError::new(Code::ConditionFailed, format!("the condition does not hold for {thing}"))
        }
        Refusal::MalformedEntityTag { .. } => ApiError::new(Code::MalformedEntityTag, detail),
        Refusal::MalformedFilter(error) => Problem::new(Code::MalformedFilter, error.to_string())
            .in_parameter("condition", error.to_string())
            .into(),
        Refusal::Invalid { pointer, reason } => {
            let detail = if pointer.is_empty() { reason.clone() } else { detail };
            Problem::new(Code::InvalidValue, detail).at(pointer, reason).into()
        }
        Refusal::PatchTestFailed { pointer } => {
            Problem::new(Code::PatchTestFailed, detail).at(pointer, "the test does not hold").into()
        }
        Refusal::PatchConflict { pointer, operation, reason } => Problem::new(Code::PatchConflict, detail)
            .at(pointer, format!("operation {operation}: {reason}"))
            .into(),
        Refusal::TooLarge { limit_bytes, .. } => {
            Problem::new(Code::ThingTooLarge, detail).limit(limit_bytes as u64).into()
        }
        Refusal::LimitReached { limit, .. } => {
            Problem::new(Code::LimitReached, detail).limit(limit as u64).into()
        }
    }
}

/// The revision in an entity tag.
fn revision_in(etag: &str) -> Option<u64> {
    etag.strip_prefix("\"rev:")?.split('@').next()?.parse().ok()
}

impl From<&FilterError> for ApiError {
    fn from(error: &FilterError) -> Self {
        Problem::new(Code::MalformedFilter, error.to_string()).into()
    }
}

impl From<&QueryError> for ApiError {
    fn from(error: &QueryError) -> Self {
        match error {
            QueryError::WrongPosition => ApiError::new(Code::InvalidCursor, error.to_string()),
            QueryError::TooManyGroups { limit } => Problem::new(Code::InvalidValue, error.to_string())
                .at("/groupBy", "the groups are too many")
                .limit(*limit as u64)
                .into(),
        }
    }
}

impl From<LayoutError> for ApiError {
    fn from(error: LayoutError) -> Self {
        let problem = Problem::new(Code::InvalidValue, error.to_string());
        let name = |problem: Problem, (pointer, reason)| problem.at(pointer, reason);
        error.found.into_iter().fold(problem, name).into()
    }
}

impl From<HistoryError> for ApiError {
    fn from(error: HistoryError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "history cannot be read");
        Problem::new(Code::Unavailable, "a part of the history cannot be read now").retry_after(5).into()
    }
}

impl From<StreamError> for ApiError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::TooManySamples { allowed, .. } | StreamError::TooManyStates { allowed, .. } => {
                Problem::new(Code::HistoryTooLarge, error.to_string())
                    .in_parameter("agg", error.to_string())
                    .limit(allowed as u64)
                    .into()
            }
            StreamError::OutOfOrder { .. } | StreamError::NeedsSamples(_) | StreamError::CutRollup { .. } => {
                tracing::error!(error = &error as &dyn std::error::Error, "history gave what it must not");
                ApiError::new(Code::Internal, "the server failed; its log has more under this traceId")
            }
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { kind, key } => {
                ApiError::new(Code::EntryNotFound, format!("there is no {kind} {key}"))
            }
            StoreError::AlreadyExists { kind, key } => {
                ApiError::new(Code::AlreadyExists, format!("{kind} {key} exists already"))
            }
            StoreError::LimitReached { kind, limit } => {
                Problem::new(Code::LimitReached, format!("there may be {limit} entries of kind {kind}"))
                    .limit(limit as u64)
                    .into()
            }
            StoreError::VersionConflict { kind, key, actual, .. } => {
                Problem::new(Code::IfMatchFailed, format!("{kind} {key} has version {actual} now"))
                    .revision(Some(actual))
                    .into()
            }
            StoreError::Invalid { field, reason } => {
                Problem::new(Code::InvalidValue, format!("{field} {reason}"))
                    .at(format!("/{field}"), reason)
                    .into()
            }
            StoreError::Template(error) => {
                let mut problem = Problem::new(Code::InvalidValue, error.to_string());
                for fault in error.faults.into_iter().take(FAULTS_MAX) {
                    problem = problem.at(fault.pointer, fault.reason);
                }
                problem.into()
            }
            StoreError::Credential(CredentialError::Busy) => {
                Problem::new(Code::Busy, "too many password checks are waiting").retry_after(1).into()
            }
            error => {
                tracing::error!(error = &error as &dyn std::error::Error, "the registry failed");
                Problem::new(Code::Unavailable, "the registry cannot be read or written now")
                    .retry_after(5)
                    .into()
            }
        }
    }
}
