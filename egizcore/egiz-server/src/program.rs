//! What the program says about itself: health, metrics, refused messages, the site.

use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use egiz_api::{Code, HealthState, Problem, RejectedPage, Site};

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::params::Params;
use crate::{cursor, page, respond};

/// The health of every part: 200 while the program works, even if with less than it should, and 503 where not.
#[utoipa::path(get, path = "/api/v1/health", tag = "program", responses(
    (status = 200, description = "It works", body = egiz_api::Health),
    (status = 503, description = "It does not work, or is starting", body = egiz_api::Health),
))]
pub(crate) async fn health(State(app): State<App>) -> Response {
    let health = app.ports.program.health();
    let status = match health.status {
        HealthState::Up | HealthState::Degraded => StatusCode::OK,
        HealthState::Starting | HealthState::Down => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = respond::json(status, &health);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
    }
    response
}

/// Whether the process answers at all; for a probe that restarts it.
#[utoipa::path(get, path = "/api/v1/health/live", tag = "program",
    responses((status = 200, description = "It answers", content_type = "text/plain", body = String)))]
pub(crate) async fn live() -> &'static str {
    "live\n"
}

/// Whether it may be sent work; for a probe that steers traffic.
#[utoipa::path(get, path = "/api/v1/health/ready", tag = "program", responses(
    (status = 200, description = "It may", content_type = "text/plain", body = String),
    (status = "default", description = "It may not now", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    match app.ports.program.health().status {
        HealthState::Up | HealthState::Degraded => Ok("ready\n"),
        HealthState::Starting => {
            Err(Problem::new(Code::Unavailable, "the program is starting").retry_after(1).into())
        }
        HealthState::Down => {
            Err(Problem::new(Code::Unavailable, "a part is down; see /health").retry_after(5).into())
        }
    }
}

/// All metrics in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", tag = "program",
    responses((status = 200, description = "OpenMetrics 1.0", content_type = "application/openmetrics-text", body = String)))]
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let mut response = Response::new(app.ports.program.metrics_text().into());
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    );
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Messages that could not be made into samples, oldest first; the newest few are kept.
#[utoipa::path(get, path = "/api/v1/rejected", tag = "devices",
    params(
        ("limit" = Option<u32>, Query, description = "The page's size, 1 to 200; 25 where it is missing"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = RejectedPage),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn rejected(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref(), &["limit", "cursor"])?;
    let limit = page::limit(params.number("limit")?)?;
    let key = &app.ports.settings.cursor_key;
    let question = ["rejected", &*caller.principal];
    let after = match params.get("cursor") {
        Some(text) => cursor::open_text(key, &question, text)?.parse().ok(),
        None => None,
    };
    let mut items = app.ports.program.rejected(after, limit + 1);
    let more = items.len() > limit;
    items.truncate(limit);
    let cursor = items
        .last()
        .filter(|_| more)
        .map(|last| cursor::seal_text(key, &question, &last.sequence.to_string()));
    Ok(respond::json(StatusCode::OK, &RejectedPage { items, cursor }))
}

/// What this installation is.
#[utoipa::path(get, path = "/api/v1/site", tag = "program",
    responses((status = 200, description = "Sites, version, size", body = Site)))]
pub(crate) async fn site(State(app): State<App>) -> Response {
    let settings = &app.ports.settings;
    let (things, offset) = {
        let engine = app.ports.engine.read();
        (engine.len() as u64, engine.next_offset())
    };
    let site = Site {
        sites: settings.sites.clone(),
        version: settings.version.clone(),
        api: "v1".to_owned(),
        things,
        offset,
        time: (app.ports.clock)(),
    };
    respond::json(StatusCode::OK, &site)
}
