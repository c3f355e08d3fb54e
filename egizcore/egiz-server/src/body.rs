//! Reads a request's body within bounds of size and time, and checks that it is JSON as we take it: UTF-8, no deeper
//! than the limit, no member twice in an object. What it means is decided further in.

pub(crate) mod json;

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use egiz_api::{Code, Problem};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use crate::error::ApiError;
use crate::settings::ServerSettings;

/// How many times the limit is read and thrown away, so that a client that is still sending gets the answer and not a
/// broken connection.
const DRAINED_LIMITS: usize = 8;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Reads the whole body.
///
/// # Errors
/// `body-too-large` beyond the limit, `request-timeout` where it does not arrive in four fifths of the request's time.
///
/// # Cancel safety
/// What was read is lost.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    settings: &ServerSettings,
) -> Result<Bytes, ApiError> {
    read_up_to(headers, body, settings, settings.body_bytes_max).await
}

/// Reads the whole body where another limit of size than the usual one holds.
///
/// # Errors
/// Those of [`read`].
pub(crate) async fn read_up_to(
    headers: &HeaderMap,
    body: Body,
    settings: &ServerSettings,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream();
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        drain(&mut stream, limit).await;
        return Err(too_large(limit));
    }
    let time = Duration::from_millis(settings.request_timeout_ms / 5 * 4);
    let reading = async {
        let mut first = Bytes::new();
        let mut more: Vec<u8> = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk
                .map_err(|_| ApiError::new(Code::MalformedRequest, "the body broke off before its end"))?;
            if first.len() + more.len() + chunk.len() > limit {
                return Err(too_large(limit));
            }
            if first.is_empty() && more.is_empty() {
                first = chunk;
            } else {
                if more.is_empty() {
                    more.extend_from_slice(&first);
                    first = Bytes::new();
                }
                more.extend_from_slice(&chunk);
            }
        }
        Ok(if more.is_empty() { first } else { Bytes::from(more) })
    };
    match tokio::time::timeout(time, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            if error.0.status == Code::BodyTooLarge.status() {
                drain(&mut stream, limit).await;
            }
            Err(error)
        }
        Err(_) => Err(ApiError::new(
            Code::RequestTimeout,
            format!("the body did not arrive within {} ms", time.as_millis()),
        )),
    }
}

/// Reads the body as the JSON of `T`; an empty body is `{}` where `T` takes that.
///
/// # Errors
/// Those of [`read`] and [`json::check`]; `invalid-value` where a member is unknown or of the wrong kind;
/// `unsupported-media-type` for a media type other than JSON.
pub(crate) async fn read_json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    settings: &ServerSettings,
) -> Result<T, ApiError> {
    want_json(headers)?;
    let bytes = read(headers, body, settings).await?;
    parse(if bytes.is_empty() { b"{}" } else { &bytes }, settings)
}

/// Parses checked JSON as `T`.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], settings: &ServerSettings) -> Result<T, ApiError> {
    json::check(bytes, settings.json_depth_max)?;
    let deserializer = &mut serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let mut pointer = pointer_of(error.path());
        let text = error.into_inner().to_string();
        // Line and column say less than the pointer.
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        // What is missing is named in the text only; the path ends at its object.
        if let Some(member) = reason.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
            json::push_token(&mut pointer, member);
        }
        let place = if pointer.is_empty() { "the body" } else { &pointer };
        Problem::new(Code::InvalidValue, format!("{place}: {reason}")).at(pointer.clone(), reason).into()
    })
}

fn pointer_of(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => json::push_token(&mut pointer, &index.to_string()),
            Segment::Map { key } => json::push_token(&mut pointer, key),
            // The form of an enumeration is no place in the JSON.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// Refuses a body that is declared as something other than JSON. No declaration counts as JSON.
pub(crate) fn want_json(headers: &HeaderMap) -> Result<(), ApiError> {
    match media_type(headers).as_deref() {
        None | Some("application/json") => Ok(()),
        Some(other) => Err(unsupported(other, "application/json")),
    }
}

/// The `unsupported-media-type` problem.
pub(crate) fn unsupported(got: &str, wanted: &str) -> ApiError {
    let got: String = got.chars().take(80).collect();
    ApiError::new(Code::UnsupportedMediaType, format!("`{got}` is not taken here; send {wanted}"))
}

/// The body's media type in lower case, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().unwrap_or("?");
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!essence.is_empty()).then_some(essence)
}

fn too_large(limit: usize) -> ApiError {
    Problem::new(Code::BodyTooLarge, format!("the body is larger than {limit} bytes"))
        .limit(limit as u64)
        .into()
}

async fn drain(stream: &mut axum::body::BodyDataStream, limit: usize) {
    let mut left = limit.saturating_mul(DRAINED_LIMITS);
    let draining = async {
        while let Some(Ok(chunk)) = stream.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    // A client that is slower than this sees its connection closed.
    let _ = tokio::time::timeout(DRAIN_TIME, draining).await;
}
