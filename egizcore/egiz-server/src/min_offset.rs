//! Reading what was written: a read sees every write that was acknowledged before it began, whichever way it came, and
//! with `min-offset` one that another replica has acknowledged.
//!
//! The live state is a moment behind the disk; a read that begins in that moment waits here.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::Response;
use egiz_api::{Code, Problem};
use egiz_model::Offset;

use crate::app::App;
use crate::error::ApiError;
use crate::params::{self, Params};
use crate::ports::Ports;
use crate::respond;

/// How long after a device was first heard a read waits for the Thing that is made of it.
const ACCEPTANCE_WAIT_MICROS: i64 = 1_000_000;

/// Waits until what is acknowledged by now, and the record at `min-offset` (header or parameter), is applied.
///
/// # Errors
/// `not-yet-applied` after the configured time, `invalid-parameter`.
pub(crate) async fn wait(app: &App, headers: &HeaderMap, params: &Params) -> Result<(), ApiError> {
    let asked: Offset = match params.or_field(headers, "min-offset")? {
        None => 0,
        Some(text) => text
            .parse::<Offset>()
            .map_err(|_| params::refused("min-offset", "it must be a whole number of 0 or more"))?
            .saturating_add(1),
    };
    reach(&app.ports, asked.max(app.ports.progress.durable())).await
}

/// Waits until what is acknowledged by now is applied.
///
/// # Errors
/// `not-yet-applied` after the configured time.
pub(crate) async fn wait_for_acknowledged(ports: &Ports) -> Result<(), ApiError> {
    reach(ports, ports.progress.durable()).await
}

async fn reach(ports: &Ports, next: Offset) -> Result<(), ApiError> {
    if ports.progress.has_applied(next) {
        return Ok(());
    }
    let wait_ms = ports.settings.min_offset_wait_ms;
    let reaching = ports.progress.until(|| ports.progress.has_applied(next));
    tokio::time::timeout(Duration::from_millis(wait_ms), reaching).await.map_err(|_| {
        let offset = next.saturating_sub(1);
        Problem::new(
            Code::NotYetApplied,
            format!("the record at offset {offset} was not applied within {wait_ms} ms"),
        )
        .retry_after(1)
        .into()
    })
}

/// Waits for a Thing that is not there and is about to be: its device was heard a moment ago, and devices are accepted by
/// themselves, each with a record of its own. Whether it may be there now.
pub(crate) async fn wait_for_newcomer(ports: &Ports, thing: &str) -> bool {
    if !ports.settings.accepts_devices {
        return false;
    }
    let heard = {
        let engine = ports.engine.read();
        if engine.thing(thing).is_some() {
            return true;
        }
        engine.discovered_device(thing).map(|device| device.first_heard)
    };
    let Some(heard) = heard else { return false };
    let age_micros = (ports.clock)().micros_since(heard).max(0);
    let Ok(left_micros) = u64::try_from(ACCEPTANCE_WAIT_MICROS - age_micros) else { return false };
    let accepting = ports.progress.until(|| ports.engine.read().discovered_device(thing).is_none());
    tokio::time::timeout(Duration::from_micros(left_micros), accepting).await.is_ok()
}

/// Shows up to where the state goes: the offset of the last applied record.
pub(crate) fn show(response: &mut Response, next_offset: u64) {
    if let Some(offset) = next_offset.checked_sub(1) {
        respond::set_number(response, respond::OFFSET, offset);
    }
}
