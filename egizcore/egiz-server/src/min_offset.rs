//! Reading one's own writes: a write's answer has an offset, a read that sends it as `min-offset` sees the write.
//!
//! On one node the state is always that far when the write is answered; a replica may lag behind, and then waits here.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::Response;
use egiz_api::{Code, Problem};

use crate::app::App;
use crate::error::ApiError;
use crate::params::{self, Params};
use crate::respond;

/// How often a waiting read looks again.
const POLL: Duration = Duration::from_millis(2);

/// Waits until the record at `min-offset` (header or parameter) is applied.
///
/// # Errors
/// `not-yet-applied` after the configured time, `invalid-parameter`.
pub(crate) async fn wait(app: &App, headers: &HeaderMap, params: &Params) -> Result<(), ApiError> {
    let Some(text) = params.or_field(headers, "min-offset")? else { return Ok(()) };
    let asked: u64 =
        text.parse().map_err(|_| params::refused("min-offset", "it must be a whole number of 0 or more"))?;
    let wait_ms = app.ports.settings.min_offset_wait_ms;
    let reaching = async {
        while app.ports.engine.read().next_offset() <= asked {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(Duration::from_millis(wait_ms), reaching).await.map_err(|_| {
        Problem::new(
            Code::NotYetApplied,
            format!("the record at offset {asked} was not applied within {wait_ms} ms"),
        )
        .retry_after(1)
        .into()
    })
}

/// Shows up to where the state goes: the offset of the last applied record.
pub(crate) fn show(response: &mut Response, next_offset: u64) {
    if let Some(offset) = next_offset.checked_sub(1) {
        respond::set_number(response, respond::OFFSET, offset);
    }
}
