//! The only place where a failure becomes a status code: one text for the client, one for the log.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use egiz_api::{Code, PROBLEM_MEDIA_TYPE, Problem};

use crate::ports::SubmitError;

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
