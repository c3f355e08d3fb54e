//! The factory's layout, as EgizVision draws it: read, put, and taken back to the one of the configuration.
//!
//! What was put is kept in the registry and wins over the configuration's file. The entity tag is a hash of the text. A
//! write is decided against what is kept at that moment and carried out only if that is still so.

mod check;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use egiz_api::{Code, Problem};
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::caller::Caller;
use crate::conditional::{self, ReadVerdict, decide_read};
use crate::error::ApiError;
use crate::params::NoParams;
use crate::{body, respond, submit};

pub use check::{LayoutError, check_layout};

/// How often a write is decided anew because another one came between.
const TRIES: usize = 4;

/// The factory's layout.
#[utoipa::path(get, path = "/api/v1/layout", tag = "program",
    params(
        ("If-Match" = Option<String>, Header, description = "Answer only this layout, else 412"),
        ("If-None-Match" = Option<String>, Header, description = "Answer only another layout, else 304"),
    ),
    responses(
        (status = 200, description = "The layout", body = Object),
        (status = 304, description = "It is the one of `If-None-Match`"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(
    State(app): State<App>,
    _: NoParams,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let kept = app.ports.store.layout().await?;
    let layout = in_force(&app, kept.as_deref()).ok_or_else(none)?;
    let etag = etag(&layout);
    let mut response = match decide_read(&headers, &etag)? {
        ReadVerdict::NotModified => respond::empty(StatusCode::NOT_MODIFIED),
        ReadVerdict::IfMatchFailed => return Err(other_one()),
        ReadVerdict::Proceed => respond::json_bytes(StatusCode::OK, layout.to_vec()),
    };
    respond::set_etag(&mut response, &etag);
    Ok(response)
}

/// Puts a layout; it is kept, and wins over the one of the configuration.
#[utoipa::path(put, path = "/api/v1/layout", tag = "program", request_body = Object,
    params(
        ("If-Match" = Option<String>, Header, description = "The layout that is to be replaced; `*` replaces only"),
        ("If-None-Match" = Option<String>, Header, description = "`*` puts one only where there is none"),
    ),
    responses(
        (status = 201, description = "There was none before"),
        (status = 204, description = "Replaced, or it was so already"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn put(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let settings = &app.ports.settings;
    body::want_json(&headers)?;
    let content = body::read(&headers, content, settings).await?;
    let layout: serde_json::Value = body::parse(&content, settings)?;
    check_layout(&layout)?;
    // As it came: a layout is written by people, and its order and form mean something to them.
    let text = String::from_utf8_lossy(&content).into_owned();
    let author = submit::author(&app, &caller);
    for _ in 0..TRIES {
        let kept = app.ports.store.layout().await?;
        let before = in_force(&app, kept.as_deref());
        decide_write(&headers, before.as_deref())?;
        let same = kept.as_deref() == Some(&*text);
        if same || app.ports.store.replace_layout(kept.as_deref(), Some(&text), &author).await? {
            let status = if before.is_some() { StatusCode::NO_CONTENT } else { StatusCode::CREATED };
            let mut response = respond::empty(status);
            respond::set_etag(&mut response, &etag(text.as_bytes()));
            return Ok(response);
        }
    }
    Err(busy())
}

/// Takes back the layout that was put: the configuration's is in force again, if there is one.
#[utoipa::path(delete, path = "/api/v1/layout", tag = "program",
    params(("If-Match" = Option<String>, Header, description = "The layout that is to be taken back")),
    responses(
        (status = 204, description = "Taken back"),
        (status = "default", description = "A problem; 404 where none was put", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn delete(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let author = submit::author(&app, &caller);
    for _ in 0..TRIES {
        let kept = app.ports.store.layout().await?;
        let Some(text) = kept.as_deref() else {
            return Err(ApiError::new(Code::EntryNotFound, "no layout was put"));
        };
        decide_write(&headers, Some(text.as_bytes()))?;
        if app.ports.store.replace_layout(Some(text), None, &author).await? {
            return Ok(respond::empty(StatusCode::NO_CONTENT));
        }
    }
    Err(busy())
}

/// The kept layout, else the configuration's.
fn in_force(app: &App, kept: Option<&str>) -> Option<Bytes> {
    kept.map(|text| Bytes::copy_from_slice(text.as_bytes())).or_else(|| app.ports.settings.layout.clone())
}

fn decide_write(headers: &HeaderMap, before: Option<&[u8]>) -> Result<(), ApiError> {
    match before {
        Some(layout) => match decide_read(headers, &etag(layout))? {
            ReadVerdict::Proceed => Ok(()),
            ReadVerdict::IfMatchFailed => Err(other_one()),
            ReadVerdict::NotModified => {
                Err(ApiError::new(Code::IfNoneMatchFailed, "there is a layout that `If-None-Match` excludes"))
            }
        },
        None => match conditional::preconditions(headers)? {
            (if_match, _) if !if_match.is_empty() => {
                Err(ApiError::new(Code::IfMatchFailed, "there is no layout"))
            }
            _ => Ok(()),
        },
    }
}

fn etag(layout: &[u8]) -> String {
    let digest = Sha256::digest(layout);
    format!("\"{}\"", digest[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn none() -> ApiError {
    ApiError::new(Code::EntryNotFound, "there is no layout: put one, or set layout.file")
}

fn other_one() -> ApiError {
    ApiError::new(Code::IfMatchFailed, "the layout is another one now")
}

fn busy() -> ApiError {
    Problem::new(Code::Busy, "the layout is being changed by others, again and again").retry_after(1).into()
}
