//! Errors as InfluxDB's clients read them: `{"error": …}` of the first version, `{"code": …, "message": …}` of the second.
//!
//! What a failure is, and its status, is decided where it always is; here its form changes on the way out. Some statuses of a
//! write differ, because of what Telegraf makes of them: its output for the first version drops what any 4xx answers and
//! tries again after a 5xx. So a full disk, more requests than the client's rate, and a body that came too slowly are 503 there.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use egiz_api::Problem;
use serde_json::json;

/// The longest error in a header field.
const FIELD_BYTES_MAX: usize = 512;

/// Gives an answer the form that the path's version of InfluxDB has.
pub(crate) fn as_influxdb_says(mut response: Response, path: &str) -> Response {
    super::write_version(response.headers_mut());
    let Some(problem) = response.extensions_mut().remove::<Box<Problem>>() else { return response };
    let is_second = path.starts_with("/api/v2/");
    let status = match response.status() {
        StatusCode::INSUFFICIENT_STORAGE => StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT if path == "/write" => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        status => status,
    };
    let body = if is_second {
        json!({ "code": code(status), "message": problem.detail })
    } else {
        json!({ "error": problem.detail })
    };
    let (mut parts, _) = response.into_parts();
    parts.status = status;
    parts.headers.remove(CONTENT_LENGTH);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        parts.headers.entry(RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let (name, text) = if is_second {
        ("x-platform-error-code", code(status))
    } else {
        ("x-influxdb-error", &*problem.detail)
    };
    let shown: String = text
        .chars()
        .map(|character| if (' '..='~').contains(&character) { character } else { ' ' })
        .take(FIELD_BYTES_MAX)
        .collect();
    if let Ok(value) = HeaderValue::from_str(&shown) {
        parts.headers.insert(HeaderName::from_static(name), value);
    }
    let mut bytes = serde_json::to_vec(&body).unwrap_or_default();
    bytes.push(b'\n');
    Response::from_parts(parts, Body::from(bytes))
}

/// The second version's word for a status.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not found",
        405 => "method not allowed",
        413 => "request too large",
        429 => "too many requests",
        503 => "unavailable",
        400..=499 => "invalid",
        _ => "internal error",
    }
}
