//! A request with `Idempotency-Key`: carried out once, in a task of its own that goes on when the client goes or its time is
//! up, because that is when the client asks again.
//!
//! Taken on `POST` where something is made; ignored on queries, which change nothing. Refused where it could not be kept:
//! on streams, whose length has no bound, and where the answer holds a secret.

use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use egiz_api::{Code, Problem};
use futures::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;

use crate::app::App;
use crate::body;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::idempotency::{Verdict, hash};

const HEADER: &str = "idempotency-key";
/// The longest key.
const KEY_BYTES_MAX: usize = 255;

/// The key of a request that is to be carried out once.
///
/// # Errors
/// `invalid-parameter` where the key is malformed or not taken.
pub(super) fn key_of(request: &Request) -> Result<Option<String>, ApiError> {
    if *request.method() != Method::POST || !request.headers().contains_key(HEADER) {
        return Ok(None);
    }
    let path = request.uri().path();
    // Lines that are sent again are the same samples.
    let is_repeatable = path.starts_with("/api/v1/query")
        || path.starts_with("/api/v1/history")
        || crate::influx::is_path(path);
    if is_repeatable {
        return Ok(None);
    }
    let is_stream = matches!(path, "/api/v1/things/import" | "/api/v1/things/bulk");
    if is_stream || path == "/api/v1/tokens" || path.ends_with("/credentials") {
        let reason = "it is not taken here: the answer is a stream or holds a secret, and is not kept";
        return Err(refused(reason));
    }
    read_key(request.headers()).map(Some)
}

/// The key's text; it may stand in quotes, as the draft has it.
fn read_key(headers: &HeaderMap) -> Result<String, ApiError> {
    let mut values = headers.get_all(HEADER).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(refused("it is there twice"));
    };
    let text = value.to_str().unwrap_or_default().trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        Ok(text.to_owned())
    } else {
        Err(refused("it must be 1 to 255 printable ASCII characters, such as a UUID"))
    }
}

fn refused(reason: &str) -> ApiError {
    crate::params::refused("Idempotency-Key", reason)
}

/// Carries a request out, or gives the answer that it had.
///
/// # Cancel safety
/// What was begun goes on.
pub(super) async fn once(
    app: &App,
    key: String,
    request: Request,
    next: Next,
    permit: OwnedSemaphorePermit,
) -> Result<Response, ApiError> {
    let settings = &app.ports.settings;
    let (parts, content) = request.into_parts();
    let principal = parts.extensions.get::<Caller>().map_or(&b""[..], |caller| caller.principal.as_bytes());
    let path = parts.uri.path();
    let limit = if path.starts_with("/api/v1/registry") {
        settings.registry_bytes_max
    } else {
        settings.body_bytes_max
    };
    let content = body::read_up_to(&parts.headers, content, settings, limit).await?;
    let media_type = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let query = parts.uri.query().unwrap_or_default();
    let asked = hash(&[path.as_bytes(), query.as_bytes(), media_type, &content]);
    let whose = hash(&[principal, key.as_bytes()]);
    let turn = match app.answers.begin(whose, asked, (app.ports.clock)().as_micros()) {
        Verdict::Go(turn) => turn,
        Verdict::Replay(kept) => return Ok(kept.response()),
        Verdict::UnderWay => {
            let detail = "the first request with this key is still under way";
            return Err(Problem::new(Code::IdempotencyKeyInFlight, detail).retry_after(1).into());
        }
        Verdict::Reused => {
            let detail =
                "the key was sent before with another path or body; take a new key for a new request";
            return Err(Problem::new(Code::IdempotencyKeyReused, detail)
                .in_parameter("Idempotency-Key", "it belongs to another request")
                .into());
        }
        Verdict::Full => {
            let detail = "as many requests with a key as may be are under way";
            return Err(Problem::new(Code::Overloaded, detail).retry_after(1).into());
        }
    };
    let request = Request::from_parts(parts, Body::from(content));
    let work = async move {
        let _permit = permit;
        let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        turn.answered(answer.unwrap_or_else(|_| super::panicked())).await
    };
    let task = tokio::spawn(work.instrument(tracing::Span::current()));
    Ok(task.await.unwrap_or_else(|_| {
        // Only the end of the runtime ends it.
        ApiError::new(Code::ShuttingDown, "the server is stopping").into_response()
    }))
}
