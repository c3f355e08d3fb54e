//! Which pages may talk to this server.
//!
//! - A page of another origin may not ask for changes or open a WebSocket, unless it is on the list (against request
//!   forgery). A program that is no browser sends no `Origin` and is not concerned.
//! - For who is let in without a token, the `Host` must be an address, `localhost`, a name that public DNS cannot hold, or
//!   on the list: a page that lets its own name resolve to this machine (DNS rebinding) has none of these.
//! - No answer is readable by another origin unless it is on the list (CORS, exact match, no wildcard).

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN,
    UPGRADE, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method};
use egiz_api::Code;

use crate::error::ApiError;
use crate::settings::ServerSettings;

/// Endings that public DNS does not hold (RFC 6761, 6762, 8375, 9476, ICANN `internal`), and those of a cluster's own.
const PRIVATE_ENDINGS: [&str; 9] =
    [".localhost", ".local", ".lan", ".internal", ".home.arpa", ".localdomain", ".svc", ".test", ".alt"];

/// Refuses a change or an upgrade that a page of a foreign origin asks for.
///
/// # Errors
/// `foreign-origin`.
pub(crate) fn check_origin(request: &Request, settings: &ServerSettings) -> Result<(), ApiError> {
    let Some(origin) = request.headers().get(ORIGIN) else { return Ok(()) };
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if is_safe && !request.headers().contains_key(UPGRADE) {
        return Ok(());
    }
    let origin = origin.to_str().unwrap_or("?");
    let own = host(request).is_some_and(|host| {
        origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"))
            .is_some_and(|rest| rest.eq_ignore_ascii_case(host))
    });
    if own || is_listed(origin, settings) {
        return Ok(());
    }
    let origin: String = origin.chars().take(120).collect();
    Err(ApiError::new(Code::ForeignOrigin, format!("pages of `{origin}` may not ask for changes here")))
}

/// Refuses a host name that is not this server's.
///
/// # Errors
/// `host-not-allowed`.
pub(crate) fn check_host(request: &Request, settings: &ServerSettings) -> Result<(), ApiError> {
    let Some(host) = host(request) else { return Ok(()) };
    let name = name_of(host);
    let is_address = name.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok();
    let lower = name.trim_end_matches('.').to_ascii_lowercase();
    let is_private = !lower.contains('.') || PRIVATE_ENDINGS.iter().any(|ending| lower.ends_with(ending));
    let is_listed = settings.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&lower));
    if is_address || is_private || is_listed {
        return Ok(());
    }
    let name: String = name.chars().take(120).collect();
    Err(ApiError::new(
        Code::HostNotAllowed,
        format!("this server does not answer to `{name}`; add it to http.allowed_hosts, or send a token"),
    ))
}

/// The listed origin that asks, if one does.
pub(crate) fn allowed_cross_origin(headers: &HeaderMap, settings: &ServerSettings) -> Option<HeaderValue> {
    if settings.allowed_origins.is_empty() {
        return None;
    }
    let origin = headers.get(ORIGIN)?;
    is_listed(origin.to_str().ok()?, settings).then(|| origin.clone())
}

/// Whether a browser asks beforehand what it may do.
pub(crate) fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Lets a listed origin read the answer.
pub(crate) fn write(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from_static("origin"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS"),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, content-type, if-match, if-none-match, if-equal, condition, min-offset, prefer, \
             correlation-id, traceparent, idempotency-key, last-event-id, requested-acks, timeout, response-required",
        ),
    );
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "etag, location, egiz-revision, egiz-offset, correlation-id, idempotent-replayed, preference-applied, retry-after, accept-patch, \
             ratelimit, ratelimit-policy",
        ),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    // The answer is meant to be read elsewhere.
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
}

fn is_listed(origin: &str, settings: &ServerSettings) -> bool {
    settings.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

/// Host and port that the request is for: HTTP/2 has them in the URL, HTTP/1.1 in a field.
fn host(request: &Request) -> Option<&str> {
    match request.headers().get(HOST) {
        Some(host) => host.to_str().ok(),
        None => request.uri().authority().map(axum::http::uri::Authority::as_str),
    }
}

/// The host without its port; an IPv6 address keeps its brackets.
fn name_of(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.split(':').next().unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(method: &str, host: &str, origin: Option<&str>) -> Request {
        let mut builder = Request::builder().method(method).uri("/api/v1/things").header(HOST, host);
        if let Some(origin) = origin {
            builder = builder.header(ORIGIN, origin);
        }
        builder.body(Body::empty()).expect("a request")
    }

    #[test]
    fn a_foreign_page_may_not_ask_for_changes() {
        let settings = ServerSettings {
            allowed_origins: vec!["https://erp.example".into()],
            ..ServerSettings::default()
        };
        let check = |method, origin| check_origin(&request(method, "plant:8080", origin), &settings).is_ok();
        assert!(check("PUT", None));
        assert!(check("PUT", Some("http://plant:8080")));
        assert!(check("PUT", Some("https://erp.example")));
        assert!(check("GET", Some("http://evil.example")));
        assert!(!check("PUT", Some("http://evil.example")));
        assert!(!check("DELETE", Some("null")));
        assert!(!check("POST", Some("http://plant:9090")));
        let mut upgrade = request("GET", "plant:8080", Some("http://evil.example"));
        upgrade.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        assert!(check_origin(&upgrade, &settings).is_err());
    }

    #[test]
    fn a_name_that_a_stranger_could_own_is_refused() {
        let settings =
            ServerSettings { allowed_hosts: vec!["egiz.bakery.example".into()], ..ServerSettings::default() };
        let check = |host| check_host(&request("GET", host, None), &settings).is_ok();
        for host in [
            "localhost:8080",
            "127.0.0.1",
            "[::1]:8080",
            "10.0.0.7:80",
            "plant-pc",
            "plant.local",
            "core.egiz.svc",
        ] {
            assert!(check(host), "{host}");
        }
        assert!(check("EGIZ.bakery.example:443"));
        assert!(!check("evil.example"));
        assert!(!check("127.0.0.1.evil.example:8080"));
    }
}
