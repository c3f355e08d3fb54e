//! Header fields: their size on the way in, security headers on the way out.

use axum::extract::Request;
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use egiz_api::{Code, Problem};

use crate::error::ApiError;
use crate::settings::ServerSettings;

/// For everything the server sends: own scripts only; images and workers that a page makes itself.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; img-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'",
);
/// For the page that shows the API, whose program writes style attributes.
const DOCS_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// Refuses a URL or header fields beyond their bounds.
///
/// # Errors
/// `uri-too-long`, `headers-too-large`.
pub(crate) fn check_sizes(request: &Request, settings: &ServerSettings) -> Result<(), ApiError> {
    let uri = request.uri();
    let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if length > settings.uri_bytes_max {
        let limit = settings.uri_bytes_max;
        return Err(Problem::new(Code::UriTooLong, format!("the URL is longer than {limit} bytes"))
            .limit(limit as u64)
            .into());
    }
    let size: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size > settings.header_bytes_max {
        let limit = settings.header_bytes_max;
        return Err(Problem::new(
            Code::HeadersTooLarge,
            format!("the header fields take more than {limit} bytes"),
        )
        .limit(limit as u64)
        .into());
    }
    Ok(())
}

/// Adds the security headers.
pub(crate) fn secure(path: &str, headers: &mut HeaderMap) {
    let policy = if path.starts_with("/api/docs") { DOCS_POLICY } else { POLICY };
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
}
