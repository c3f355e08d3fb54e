//! History over HTTP: samples, aggregates and charts of a Thing, of many Things, and how everything stood at a past time.
//!
//! ```text
//!  parameters ──► Ask ──► Walk: the range in slices ──► raw     a page of samples
//!                             (a blocking thread)    ├──► buckets aggregates, durations
//!                                                    ├──► chart   a few points a pixel
//!                                                    ├──► csv     any of them, as rows
//!                                                    └──► parquet samples, as a file
//! ```
//!
//! What is kept is read a slice of time after another, at most a day, so that memory does not grow with the range. The
//! computing has threads of its own, [`AT_ONCE`] at once, and ends when the request does. The store itself, and what an
//! aggregate is, are `egiz-historian`'s.

pub(crate) mod ask;
mod buckets;
mod chart;
mod context;
pub(crate) mod corrections;
mod csv;
pub(crate) mod intervals;
pub(crate) mod many;
mod outlet;
mod parquet;
pub(crate) mod past;
mod pieces;
mod raw;
pub(crate) mod selection;
pub(crate) mod walk;

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use egiz_api::{Code, History, Problem, PropertyHistory};
use egiz_historian::{Historian, View};
use egiz_model::Timestamp;

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::params::Params;
use crate::target::Target;
use crate::things::read::no_thing;
use crate::{present, respond};
use ask::{Ask, Form, Mode};
use selection::Key;
use walk::Walk;

/// Computations over history that are under way at once; more wait for their turn, within the request's time.
pub(crate) const AT_ONCE: usize = 4;

/// The properties of one answer.
const PROPERTIES_MAX: usize = 256;

/// A Thing's history: samples page by page; aggregates with `agg`; the points of a chart with `width`.
#[utoipa::path(get, path = "/api/v1/things/{thingId}/history", tag = "history",
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("from" = Option<String>, Query, description = "The beginning: RFC 3339, or seconds or milliseconds since 1970; an hour before `to` where it is missing"),
        ("to" = Option<String>, Query, description = "The end, which does not belong to the range; now where it is missing"),
        ("feature" = Option<String>, Query, description = "Features with commas between; with `property` the one that its names belong to"),
        ("property" = Option<String>, Query, description = "`feature/property` or `feature/property/item`, several with commas between; all where it is missing"),
        ("resolution" = Option<String>, Query, description = "The length of a bucket: a number and `ms`, `s`, `m`, `h`, `d`, `w`, `mo` or `y`; the whole range is one where it is missing"),
        ("agg" = Option<String>, Query, description = "Aggregates with commas between: `min`, `max`, `avg`, `twa`, `sum`, `count`, `first`, `last`, `median`, `p0` to `p100`, `stddev`, `range`, `derivative`, `counter-rate`, `integral`, `good-share`; or `duration` alone, for states"),
        ("fill" = Option<String>, Query, description = "What stands in buckets without a value: `null` (default), `none`, `previous`, `linear` or a number"),
        ("hold" = Option<String>, Query, description = "How long a value counts without another sample, such as `15s`; until the next one where it is missing. In a chart the line breaks there"),
        ("tz" = Option<String>, Query, description = "The time zone of days, weeks, months and years, such as `Europe/Berlin`; `UTC` where it is missing"),
        ("width" = Option<u32>, Query, description = "A chart so many pixels wide, extremes kept, instead of all samples"),
        ("limit" = Option<u32>, Query, description = "The most rows of a page, 1 to 10,000; 1,000 where it is missing. Of CSV and Parquet: the most rows in all"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
        ("where" = Option<String>, Query, description = "Only what lies within the intervals in which this held, in RQL over properties: `eq(business_context/batch_id,\"B-2026-117\")`"),
        ("whereThing" = Option<String>, Query, description = "The Thing whose properties `where` is about; the one asked for where it is missing"),
        ("corrected" = Option<bool>, Query, description = "`false`: as it was said, without the corrections"),
        ("Accept" = Option<String>, Header, description = "`application/json` (default); `text/csv`, or for samples `application/vnd.apache.parquet`, each as one stream"),
    ),
    responses(
        (status = 200, description = "The history", content(
            (History = "application/json"), (String = "text/csv"), (Vec<u8> = "application/vnd.apache.parquet"))),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn history(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    historian(&app)?;
    let thing = Target::of(uri.path(), &app.ports.settings.sites)?.thing;
    let params = Params::parse(raw.as_deref(), ask::PARAMETERS)?;
    let ask = Ask::of(
        &params,
        &headers,
        thing,
        &app.ports.settings.sites,
        ((app.ports.clock)(), caller.principal),
    )?;
    match ask.form {
        Form::Csv => return csv::answer(&app, ask).await,
        Form::Parquet => return parquet::answer(&app, ask).await,
        Form::Json => {}
    }
    let live = app.clone();
    let body = blocking(&app, move |walk| {
        known(&live, walk.historian(), &ask.thing)?;
        let walk = &walk.seeing(ask.view);
        if let Mode::Raw(page) = &ask.mode {
            return raw::answer(walk, &live, &ask, page);
        }
        let within = context::within(walk, &live, &ask.conditions, ask.lookout())?;
        let mut answer = match &ask.mode {
            Mode::Buckets(asked) => buckets::answer(walk, &ask, asked, within.as_ref())?,
            Mode::Chart(chart) => chart::answer(walk, &ask, chart, within.as_ref())?,
            Mode::Raw(_) => unreachable!("answered above"),
        };
        complete(&live, walk, &ask.thing, (ask.from, ask.to), &mut answer.properties)?;
        Ok(serde_json::to_vec(&answer).unwrap_or_default())
    })
    .await?;
    Ok(respond::json_bytes(StatusCode::OK, body))
}

/// What is kept.
///
/// # Errors
/// `history-off`.
fn historian(app: &App) -> Result<Arc<Historian>, ApiError> {
    app.ports.history.clone().ok_or_else(off)
}

/// The `history-off` problem.
pub(crate) fn off() -> ApiError {
    ApiError::new(
        Code::HistoryOff,
        "this installation keeps no history: it is switched off in its configuration",
    )
}

/// The moment that a member of a JSON object says, as a text or as a number; otherwise why it says none.
pub(crate) fn moment_in(name: &'static str, value: &serde_json::Value) -> Result<Timestamp, String> {
    let text = match value {
        serde_json::Value::String(text) => text,
        serde_json::Value::Number(number) => &number.to_string(),
        _ => return Err("it must be a text or a number".to_owned()),
    };
    ask::moment(name, text).map_err(|fault| fault.reason)
}

/// Computes over history on a blocking thread, when it is its turn.
///
/// # Errors
/// Those of `work`, and `history-off`.
///
/// # Cancel safety
/// `work` is told to end.
pub(crate) async fn blocking<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Walk) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let historian = historian(app)?;
    let failed = || ApiError::new(Code::Internal, "the server failed; its log has more under this traceId");
    let permit = app.histories.clone().acquire_owned().await.map_err(|_| failed())?;
    let (walk, wanted) = Walk::begin(historian);
    let computing = tokio::task::spawn_blocking(move || {
        let _turn = permit;
        work(&walk)
    });
    let done = computing.await;
    // Until here, dropping this future ends the work.
    drop(wanted);
    done.map_err(|_| failed())?
}

/// Refuses a Thing of which neither the live state nor history knows anything.
fn known(app: &App, historian: &Historian, thing: &str) -> Result<(), ApiError> {
    let is_live = app.ports.engine.read().thing(thing).is_some();
    if is_live || historian.knows(thing) { Ok(()) } else { Err(no_thing(thing)) }
}

/// A property's entry without its data.
fn entry(key: &Key, known: bool) -> PropertyHistory {
    PropertyHistory {
        feature: key.feature.to_string(),
        property: key.property.to_string(),
        item: key.item,
        unit: None,
        known,
        corrected: false,
        samples: None,
        buckets: None,
    }
}

/// Puts in what the live Thing and the rest of history know: units, whether there is such a property at all, and whether it was
/// corrected.
fn complete(
    app: &App,
    walk: &Walk,
    thing: &str,
    (from, to): (Timestamp, Timestamp),
    properties: &mut [PropertyHistory],
) -> Result<(), ApiError> {
    let historian = walk.historian();
    for entry in properties.iter_mut().filter(|_| walk.view() == View::Corrected) {
        entry.corrected = historian.corrections().touch(thing, &entry.feature, &entry.property, from, to);
    }
    {
        let engine = app.ports.engine.read();
        let live = engine.thing(thing);
        for entry in properties.iter_mut() {
            let property = live.as_ref().and_then(|live| live.property(&entry.feature, &entry.property));
            entry.unit = property.as_ref().and_then(|property| property.unit()).map(str::to_owned);
            entry.known |= property.is_some();
        }
    }
    if properties.iter().all(|entry| entry.known) {
        return Ok(());
    }
    let ever = historian.thing_at(thing, Timestamp::MAX)?;
    for entry in properties.iter_mut() {
        let mut of_thing = ever.iter().flat_map(|state| &state.properties);
        entry.known |=
            of_thing.any(|state| *state.feature == *entry.feature && *state.property == *entry.property);
    }
    Ok(())
}

/// Writes a value.
fn value(out: &mut Vec<u8>, value: &egiz_model::Value) {
    present::value(out, value, &crate::fields::Shown::of(None));
}

/// The `history-too-large` problem of an answer about more properties than it may have.
fn too_many_properties() -> ApiError {
    Problem::new(
        Code::HistoryTooLarge,
        format!("the answer would be about more than {PROPERTIES_MAX} properties"),
    )
    .in_parameter("property", "name some of them")
    .limit(PROPERTIES_MAX as u64)
    .into()
}
