//! Puts answers together: JSON bodies, entity tags, the platform's own header fields.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

/// The Thing's revision after a write.
pub(crate) const REVISION: HeaderName = HeaderName::from_static("egiz-revision");
/// After a write, the journal's offset of the record; in a read, the offset up to which the state goes.
pub(crate) const OFFSET: HeaderName = HeaderName::from_static("egiz-offset");

/// Where a client of server-sent events was cut off.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells proxies not to hold a stream back.
pub(crate) const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// An answer with JSON that is already written.
pub(crate) fn json_bytes(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // The state changes at any moment: a cache must ask again, which the entity tag makes cheap.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// An answer with `body` as JSON.
pub(crate) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    json_bytes(status, serde_json::to_vec(body).unwrap_or_default())
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Sets the entity tag, quotes included.
pub(crate) fn set_etag(response: &mut Response, etag: &str) {
    if let Ok(value) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(ETAG, value);
    }
}

/// Says where what was made is.
pub(crate) fn set_location(response: &mut Response, path: &str) {
    if let Ok(value) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, value);
    }
}

/// Sets a header field to a number.
pub(crate) fn set_number(response: &mut Response, name: HeaderName, number: u64) {
    response.headers_mut().insert(name, HeaderValue::from(number));
}
