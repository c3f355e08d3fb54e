//! Samples as one Parquet file, written while they are read: the columns are those of the files on disk (docs/history.md).

use std::ops::ControlFlow;

use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use egiz_historian::{Export, PartError, Shape};

use super::ask::{Ask, Mode};
use super::outlet::{self, Outlet};
use super::walk::{Pace, Walk};
use super::{blocking, known};
use crate::app::App;
use crate::error::ApiError;
use crate::outflow;

/// The media type, registered with IANA.
pub(super) const MEDIA_TYPE: &str = "application/vnd.apache.parquet";

/// Answers as Parquet.
///
/// # Errors
/// Those of the JSON form, and `overloaded` where as many streams are under way as may be.
pub(super) async fn answer(app: &App, ask: Ask) -> Result<Response, ApiError> {
    let live = app.clone();
    let permit = outflow::permit(app)?;
    // Here, so that what goes wrong while the range is looked through has a status.
    let (ask, shape) = blocking(app, move |walk| {
        known(&live, walk.historian(), &ask.thing)?;
        let mut shape = Shape::default();
        walk.slices(&ask.thing, (ask.from, ask.to), &ask.selection, Pace::All, |rows| {
            shape.see(rows);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((ask, shape))
    })
    .await?;
    let name = format!("attachment; filename=\"{}.parquet\"", plain(&ask.thing));
    let body = outlet::stream(app, permit, move |walk, outlet| write(walk, &ask, &shape, outlet))?;
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

fn write(walk: &Walk, ask: &Ask, shape: &Shape, outlet: &mut Outlet) -> Result<(), ApiError> {
    let Mode::Raw(page) = &ask.mode else { return Ok(()) };
    let limit = page.limit.unwrap_or(usize::MAX);
    let failed = |error: PartError| ApiError::from(egiz_historian::HistoryError::from(error));
    let mut export = Export::begin(outlet, &ask.thing, shape, limit).map_err(failed)?;
    walk.owned_slices(&ask.thing, (ask.from, ask.to), &ask.selection, Pace::All, |rows| {
        let has_room = export.add(rows).map_err(failed)?;
        Ok(if has_room { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    export.finish().map_err(failed)?;
    Ok(())
}

/// The id without what a file name or a header cannot hold.
fn plain(thing: &str) -> String {
    let kept = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    thing.chars().map(|letter| if kept(letter) { letter } else { '_' }).take(100).collect()
}
