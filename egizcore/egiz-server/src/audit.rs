//! The audit trail: who changed what in the registry. Changes of Things are in the journal instead.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use egiz_api::{AuditEntry, AuditPage, Problem};
use egiz_store::PageRequest;

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::params::Params;
use crate::{cursor, page, respond};

/// The audit trail, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "access",
    params(
        ("limit" = Option<u32>, Query, description = "The page's size, 1 to 200; 25 where it is missing"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = AuditPage),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref(), &["limit", "cursor"])?;
    let limit = u32::try_from(page::limit(params.number("limit")?)?).unwrap_or(1);
    let key = &app.ports.settings.cursor_key;
    let question = ["audit", &*caller.principal];
    let after = match params.get("cursor") {
        Some(text) => cursor::open_text(key, &question, text)?.parse().ok(),
        None => None,
    };
    let stored = app.ports.store.list_audit(PageRequest { after, limit }).await?;
    let shown = |entry: egiz_store::AuditEntry| AuditEntry {
        sequence: entry.sequence,
        time: entry.at,
        principal: entry.who,
        action: entry.action,
        subject: entry.subject,
        details: entry.details,
    };
    let page = AuditPage {
        items: stored.items.into_iter().map(shown).collect(),
        cursor: stored.next.map(|next| cursor::seal_text(key, &question, &next.to_string())),
    };
    Ok(respond::json(StatusCode::OK, &page))
}
