//! Samples as one Parquet file, written while they are read: the columns are those of the files on disk (docs/history.md).

use std::ops::ControlFlow;

use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use egiz_historian::series::Within;
use egiz_historian::{Export, PartError, Shape};

use super::ask::{Ask, Mode};
use super::buckets::Of;
use super::outlet::{self, Outlet};
use super::walk::{Pace, Walk};
use super::{blocking, context, known};
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
    let (ask, within, shape) = blocking(app, move |walk| {
        known(&live, walk.historian(), &ask.thing)?;
        let walk = &walk.seeing(ask.view);
        let within = context::within(walk, &live, &ask.conditions, ask.lookout())?;
        let mut shape = Shape::default();
        walk.kept_slices(&of(&ask, within.as_ref()), Pace::All, |rows| {
            shape.see(&rows);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((ask, within, shape))
    })
    .await?;
    let name = format!("attachment; filename=\"{}.parquet\"", plain(&ask.thing));
    let body = outlet::stream(app, permit, move |walk, outlet| {
        let Mode::Raw(page) = &ask.mode else { return Ok(()) };
        write(&walk.seeing(ask.view), &of(&ask, within.as_ref()), (&shape, page.limit), outlet)
    })?;
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

fn of<'a>(ask: &'a Ask, within: Option<&'a Within>) -> Of<'a> {
    Of { thing: &ask.thing, range: (ask.from, ask.to), selection: &ask.selection, within }
}

fn write(
    walk: &Walk,
    of: &Of<'_>,
    (shape, limit): (&Shape, Option<usize>),
    outlet: &mut Outlet,
) -> Result<(), ApiError> {
    let limit = limit.unwrap_or(usize::MAX);
    let failed = |error: PartError| ApiError::from(egiz_historian::HistoryError::from(error));
    let mut export = Export::begin(outlet, of.thing, shape, limit).map_err(failed)?;
    walk.kept_slices(of, Pace::All, |rows| {
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
