//! The door: every request passes here once, on the way in and on the way out.
//!
//! In: correlation id, sizes of URL and header, host and origin, token and role, rate, concurrency, time. Out: the
//! answer's correlation id and security headers, a problem object for every error that some library made, counters, one
//! line of log. One function and not a stack of layers: the order matters, and each layer would cost an allocation.

pub(crate) mod auth;
pub(crate) mod correlation;
pub(crate) mod headers;
mod once;
pub(crate) mod origin;
pub(crate) mod rate;

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use egiz_api::{Code, Problem};
use futures::{FutureExt, StreamExt};
use tracing::Instrument;

use crate::app::App;
use crate::caller::{Caller, Revocation};
use crate::error::ApiError;
use crate::influx;
use auth::Identity;

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Leads a request in and its answer out.
pub(crate) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = (app.ports.clock)();
    let correlation = correlation::of(request.headers(), &app.ports.random);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let own_origin = origin::allowed_cross_origin(request.headers(), &app.ports.settings);
    let mut limits = None;

    let admitted = admit(&app, &request, &correlation, &mut limits);
    let mut response = match admitted {
        Err(error) => {
            if let Some(code) = Code::ALL.iter().find(|code| code.as_str() == error.0.code) {
                app.ports.metrics.refused(*code);
            }
            error.into_response()
        }
        Ok(_) if origin::is_preflight(&request) && own_origin.is_some() => {
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(caller) => {
            let span = tracing::debug_span!(
                "request",
                http.method = %method,
                http.path = path,
                principal = &*caller.principal,
                correlation_id = &*correlation
            );
            let revoked = caller.revoked.clone();
            request.extensions_mut().insert(caller);
            until_revoked(handle(&app, request, next).instrument(span).await, revoked)
        }
    };

    if method == Method::OPTIONS && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = options(&response, &path);
    }
    if response.status().is_client_error() || response.status().is_server_error() {
        response = with_problem(response, &correlation, &path);
    }
    if influx::is_path(&path) {
        response = influx::fault::as_influxdb_says(response, &path);
    }
    if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE && method == Method::PATCH {
        // RFC 5789 §2.2.
        response.headers_mut().insert(ACCEPT_PATCH, accept_patch(&path));
    }
    if let Some(standing) = limits {
        standing.write(response.headers_mut());
    }
    headers::secure(&path, response.headers_mut());
    if let Some(origin) = own_origin {
        origin::write(origin, response.headers_mut());
    }
    if let Ok(value) = HeaderValue::from_str(&correlation) {
        response.headers_mut().insert(correlation::HEADER, value);
    }
    let micros = (app.ports.clock)().micros_since(started).max(0);
    let status = response.status().as_u16();
    app.ports.metrics.answered(&method, status, micros_to_seconds(micros));
    tracing::debug!(http.method = %method, http.path = path, http.status = status, micros, correlation_id = &*correlation, "answered");
    response
}

/// Decides whether the request may go on, and as whom.
fn admit(
    app: &App,
    request: &Request,
    correlation: &std::sync::Arc<str>,
    limits: &mut Option<rate::Standing>,
) -> Result<Caller, ApiError> {
    let settings = &app.ports.settings;
    headers::check_sizes(request, settings)?;
    origin::check_origin(request, settings)?;
    let need = auth::need(request.method(), request.uri().path());
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let identity = match crate::live::tickets::redeem(&app.ports, request)? {
        Some(Caller { principal, role, revoked, .. }) => {
            Identity { principal, role, is_anonymous: false, revoked }
        }
        None if influx::is_path(request.uri().path()) => {
            let token = influx::credentials::presented(request);
            app.tokens.identify_by(token.as_deref(), request.headers(), address, need)?
        }
        None => app.tokens.identify(request.headers(), address, need)?,
    };
    let Identity { principal, role, is_anonymous, revoked } = identity;
    if is_anonymous {
        // A page that lets its name resolve to this machine has no token, and is not to pass for a person at it.
        origin::check_host(request, settings)?;
    }
    auth::check_role(role, need)?;

    if let Some(limiter) = &app.limiter {
        let exempt = need == auth::Need::Nothing
            || (!settings.rate_limit_loopback
                && address.is_none_or(|address| address.to_canonical().is_loopback()));
        if !exempt {
            let key = if is_anonymous {
                rate::Key::address(address.unwrap_or(IpAddr::from([0, 0, 0, 0])))
            } else {
                rate::Key::Token(principal.clone())
            };
            let standing = limiter.take(key, (app.ports.clock)().as_micros());
            let wait = standing.retry_after_s;
            *limits = Some(standing);
            if let Some(seconds) = wait {
                return Err(Problem::new(Code::RateLimited, "more requests than the client's rate allows")
                    .retry_after(seconds)
                    .into());
            }
        }
    }
    Ok(Caller { principal, role, correlation: correlation.clone(), revoked })
}

/// Runs the handler within the bounds of concurrency and time.
async fn handle(app: &App, request: Request, next: Next) -> Response {
    let settings = &app.ports.settings;
    let permit = app.requests.clone().try_acquire_owned();
    let is_health = matches!(request.uri().path(), "/health" | "/api/v1/health")
        || auth::need(request.method(), request.uri().path()) == auth::Need::Nothing;
    if permit.is_err() && !is_health {
        app.ports.metrics.refused(Code::Overloaded);
        return ApiError::from(
            Problem::new(Code::Overloaded, "the server works on as many requests as it may")
                .limit(settings.concurrent_requests_max as u64)
                .retry_after(1),
        )
        .into_response();
    }
    let time = Duration::from_millis(settings.request_timeout_ms);
    let running = async {
        match (once::key_of(&request), permit) {
            (Err(error), _) => error.into_response(),
            (Ok(Some(key)), Ok(permit)) => once::once(app, key, request, next, permit).await.into_response(),
            (Ok(_), _permit) => {
                AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| panicked())
            }
        }
    };
    match tokio::time::timeout(time, running).await {
        Ok(response) => response,
        Err(_) => ApiError::from(
            Problem::new(
                Code::Timeout,
                format!(
                    "the answer was not ready after {} ms; a write may still be carried out",
                    time.as_millis()
                ),
            )
            .limit(settings.request_timeout_ms)
            .retry_after(1),
        )
        .into_response(),
    }
}

/// The answer where a handler panicked.
fn panicked() -> Response {
    tracing::error!("a handler panicked");
    ApiError::new(Code::Internal, "the server failed; its log has more under this traceId").into_response()
}

/// Ends a stream of events when the token that opened it is not good any more.
fn until_revoked(response: Response, revoked: Revocation) -> Response {
    let Some(revoked) = revoked.0 else { return response };
    let is_stream = |kind: &HeaderValue| kind.as_bytes().starts_with(b"text/event-stream");
    if !response.headers().get(CONTENT_TYPE).is_some_and(is_stream) {
        return response;
    }
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(revoked.cancelled_owned())))
}

/// Answers OPTIONS with what the route knows, learnt from its refusal of OPTIONS itself.
fn options(refusal: &Response, path: &str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(allow) = refusal.headers().get(ALLOW) {
        let text = format!("{},OPTIONS", allow.to_str().unwrap_or_default());
        if text.contains("PATCH") {
            response.headers_mut().insert(ACCEPT_PATCH, accept_patch(path));
        }
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(ALLOW, value);
        }
    }
    response
}

/// The media types that `PATCH` takes there.
fn accept_patch(path: &str) -> HeaderValue {
    HeaderValue::from_static(if path.starts_with(crate::target::THINGS) {
        crate::things::write::ACCEPT_PATCH
    } else {
        "application/merge-patch+json, application/json"
    })
}

/// Makes sure that an error is a problem object with the correlation id, keeping the headers it came with.
fn with_problem(response: Response, correlation: &str, path: &str) -> Response {
    let status = response.status();
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Box<Problem>>() {
        Some(problem) => *problem,
        None if parts.headers.get(CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes().starts_with(egiz_api::PROBLEM_MEDIA_TYPE.as_bytes())
                || kind.as_bytes().starts_with(b"application/json")
        }) =>
        {
            return Response::from_parts(parts, body);
        }
        None => by_status(status),
    };
    if matches!(status, StatusCode::INTERNAL_SERVER_ERROR | StatusCode::INSUFFICIENT_STORAGE)
        || problem.code == Code::Unavailable.as_str()
    {
        // The cause was logged where it was met; this line ties it to the id that the client was given.
        tracing::error!(
            correlation_id = correlation,
            http.path = path,
            http.status = status.as_u16(),
            code = &*problem.code,
            "a request failed: {}",
            problem.detail
        );
    }
    let mut fresh = ApiError::from(problem.trace(correlation).instance(path)).into_response();
    *fresh.status_mut() = status;
    for (name, value) in &parts.headers {
        if !fresh.headers().contains_key(name) && name != axum::http::header::CONTENT_LENGTH {
            fresh.headers_mut().append(name.clone(), value.clone());
        }
    }
    if status == StatusCode::UNAUTHORIZED {
        fresh.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"openegiz\""));
    }
    fresh
}

/// The problem for an error that a library answered.
fn by_status(status: StatusCode) -> Problem {
    let code = match status.as_u16() {
        401 => Code::Unauthenticated,
        403 => Code::Forbidden,
        404 => Code::RouteNotFound,
        405 => Code::MethodNotAllowed,
        406 => Code::NotAcceptable,
        408 => Code::RequestTimeout,
        413 => Code::BodyTooLarge,
        414 => Code::UriTooLong,
        415 => Code::UnsupportedMediaType,
        431 => Code::HeadersTooLarge,
        503 => Code::Unavailable,
        400..=499 => Code::MalformedRequest,
        _ => Code::Internal,
    };
    let mut problem = Problem::new(code, code.title());
    problem.status = status.as_u16();
    if status == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(1) } else { problem }
}

#[expect(clippy::cast_precision_loss, reason = "a request lasts far less than 2^53 microseconds")]
fn micros_to_seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
