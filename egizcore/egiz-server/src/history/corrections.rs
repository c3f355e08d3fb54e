//! Corrections of the past over HTTP: made, listed, taken back.
//!
//! They are in the registry before the answer is sent, and in force for every read that begins after it; what was said stays
//! (`corrected=false` shows it). What a correction does to a sample is `egiz-historian`'s.

use std::ops::ControlFlow;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use egiz_api::{Code, Correction, CorrectionPage, NewCorrection, Problem};
use egiz_historian::{Historian, View};
use egiz_model::{Quality, ThingId, Timestamp, Value};
use egiz_store::{PageRequest, StoreError, StoredCorrection};

use super::ask::{Fault, RANGE_DAYS_MAX, member_moment, moment};
use super::selection::{Key, Selection};
use super::walk::{Pace, Walk};
use super::{blocking, historian, known};
use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::params::{NoParams, Params};
use crate::target::Target;
use crate::{body, cursor, page, respond, submit};

/// The longest text of a value.
const VALUE_BYTES_MAX: usize = 16 * 1024;
const DAY_MICROS: i64 = 86_400_000_000;

/// Corrects a sample, or all samples of a span.
#[utoipa::path(post, path = "/api/v1/things/{thingId}/history/corrections", tag = "history", request_body = NewCorrection,
    params(("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured")),
    responses(
        (status = 201, description = "It is in force", body = Correction),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn create(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let kept = historian(&app)?;
    let thing = Target::of(uri.path(), &app.ports.settings.sites)?.thing;
    let asked: NewCorrection = body::read_json(&headers, content, &app.ports.settings).await?;
    let (key, new) = checked(&thing, asked, (app.ports.clock)())?;
    let (live, of_thing, span) = (app.clone(), thing.clone(), (new.from, new.to));
    let samples = blocking(&app, move |walk| {
        known(&live, walk.historian(), &of_thing)?;
        samples(walk, &of_thing, span, &key)
    })
    .await?;
    if samples == 0 {
        let detail = format!(
            "nothing that is kept was said of it from {} to just before {}; what was never said is not corrected but written",
            new.from, new.to
        );
        return Err(ApiError::new(Code::SampleNotFound, detail));
    }
    let author = submit::author(&app, &caller);
    let stored = to_the_end(&app, move |app| async move {
        let stored = app.ports.store.add_correction(&new, &author).await?;
        kept.corrections().add(in_force(&stored));
        Ok(stored)
    })
    .await?;
    tracing::info!(
        thing.id = thing,
        correction = stored.id,
        by = &*caller.principal,
        correlation_id = &*caller.correlation,
        "the past was corrected"
    );
    let mut response =
        respond::json(StatusCode::CREATED, &Correction { samples: Some(samples), ..shown(&stored) });
    let location = format!("{}/{}", uri.path().trim_end_matches('/'), stored.id);
    respond::set_location(&mut response, &location);
    Ok(response)
}

/// The corrections of a Thing, by number.
#[utoipa::path(get, path = "/api/v1/things/{thingId}/history/corrections", tag = "history",
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("from" = Option<String>, Query, description = "Only those about a time from here on: RFC 3339, or seconds or milliseconds since 1970"),
        ("to" = Option<String>, Query, description = "Only those about a time before this"),
        ("undone" = Option<bool>, Query, description = "Those that were taken back, too"),
        ("limit" = Option<u32>, Query, description = "The page's size, 1 to 200; 25 where it is missing"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
    ),
    responses(
        (status = 200, description = "A page; without `cursor` it is the last", body = CorrectionPage),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    uri: Uri,
) -> Result<Response, ApiError> {
    historian(&app)?;
    let thing = Target::of(uri.path(), &app.ports.settings.sites)?.thing;
    let params = Params::parse(raw.as_deref(), &["from", "to", "undone", "limit", "cursor"])?;
    let read = |name, otherwise| {
        params.get(name).map_or(Ok(otherwise), |text| moment(name, text)).map_err(Fault::in_parameter)
    };
    let range = (read("from", Timestamp::MIN)?, read("to", Timestamp::MAX)?);
    let with_undone = params.flag("undone")?;
    let limit = u32::try_from(page::limit(params.number("limit")?)?).unwrap_or(1);
    let key = &app.ports.settings.cursor_key;
    let said = |name| params.get(name).unwrap_or_default();
    let undone = if with_undone { "undone" } else { "" };
    let question = ["corrections", &*thing, said("from"), said("to"), undone, &*caller.principal];
    let after = match params.get("cursor") {
        Some(text) => cursor::open_text(key, &question, text)?.parse().ok(),
        None => None,
    };
    let (live, of_thing) = (app.clone(), thing.clone());
    blocking(&app, move |walk| known(&live, walk.historian(), &of_thing)).await?;
    let request = PageRequest { after, limit };
    let stored = app.ports.store.list_corrections(&id_of(&thing)?, range, with_undone, request).await?;
    let page = CorrectionPage {
        items: stored.items.iter().map(shown).collect(),
        cursor: stored.next.map(|next| cursor::seal_text(key, &question, &next.to_string())),
    };
    Ok(respond::json(StatusCode::OK, &page))
}

/// One correction, also one that was taken back.
#[utoipa::path(get, path = "/api/v1/things/{thingId}/history/corrections/{correctionId}", tag = "history",
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("correctionId" = u64, Path, description = "Its number"),
    ),
    responses(
        (status = 200, description = "The correction", body = Correction),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(State(app): State<App>, _: NoParams, uri: Uri) -> Result<Response, ApiError> {
    historian(&app)?;
    let (thing, id) = meant(&app, &uri)?;
    let stored = app.ports.store.correction(&id_of(&thing)?, id).await?;
    Ok(respond::json(StatusCode::OK, &shown(&stored)))
}

/// Takes a correction back: what was said holds again.
#[utoipa::path(delete, path = "/api/v1/things/{thingId}/history/corrections/{correctionId}", tag = "history",
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("correctionId" = u64, Path, description = "Its number"),
    ),
    responses(
        (status = 204, description = "It is no longer in force"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn undo(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    uri: Uri,
) -> Result<Response, ApiError> {
    let kept = historian(&app)?;
    let (thing, id) = meant(&app, &uri)?;
    let (own, of_thing, author) = (id_of(&thing)?, thing.clone(), submit::author(&app, &caller));
    to_the_end(&app, move |app| async move {
        app.ports.store.undo_correction(&own, id, &author).await?;
        kept.corrections().remove(&of_thing, id);
        Ok(())
    })
    .await?;
    tracing::info!(
        thing.id = thing,
        correction = id,
        by = &*caller.principal,
        correlation_id = &*caller.correlation,
        "a correction of the past was taken back"
    );
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

/// Puts the corrections that the registry has in force; at the start, before anybody reads.
///
/// # Errors
/// Where the registry cannot be read.
pub async fn restore_corrections(
    store: &egiz_store::Store,
    historian: &Historian,
) -> Result<usize, StoreError> {
    let stored = store.corrections_in_force().await?;
    historian.corrections().set(stored.iter().map(in_force));
    Ok(stored.len())
}

/// Carries a change out to its end, also where nobody waits for the answer any more: what is in the registry must be in force.
async fn to_the_end<T, F>(app: &App, change: impl FnOnce(App) -> F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    let done = tokio::spawn(change(app.clone())).await;
    let failed = |_| ApiError::new(Code::Internal, "the server failed; its log has more under this traceId");
    Ok(done.map_err(failed)??)
}

/// What is asked for, checked.
fn checked(
    thing: &str,
    asked: NewCorrection,
    now: Timestamp,
) -> Result<(Key, egiz_store::NewCorrection), ApiError> {
    let key = one_property(&asked.property)?;
    let read = |value, name| member_moment(value, name).map_err(Fault::in_member);
    let (from, to) = match (read(&asked.time, "time")?, read(&asked.from, "from")?, read(&asked.to, "to")?) {
        (Some(time), None, None) => (time, time.plus_micros(1)),
        (None, Some(from), Some(to)) => (from, to),
        (Some(_), ..) => return Err(wrong("time", "it does not go with `from` and `to`")),
        (None, None, _) => return Err(wrong("time", "it is missing: say `time`, or `from` and `to`")),
        (None, Some(_), None) => return Err(wrong("to", "it is missing: where does the span end?")),
    };
    if from >= to {
        return Err(wrong("from", format!("{from} does not lie before `to`, which is {to}")));
    }
    if to > now.plus_micros(1) {
        return Err(wrong(
            if asked.time.is_some() { "time" } else { "to" },
            format!("it lies in the future; it is {now} now"),
        ));
    }
    if to.micros_since(from) > RANGE_DAYS_MAX * DAY_MICROS {
        return Err(wrong("from", format!("from {from} to {to} are more than {RANGE_DAYS_MAX} days")));
    }
    let value = asked.value.filter(|value| !value.is_null());
    let quality = match (&value, asked.quality) {
        (None, None) => {
            return Err(wrong("value", "say the right `value`, or the `quality` of what was said"));
        }
        (None, Some(_)) if key.item.is_some() && asked.quality != Some(Quality::Bad) => {
            return Err(wrong("quality", "an item of a list can be given another value, or be `bad`"));
        }
        (Some(_), Some(Quality::Bad)) => {
            return Err(wrong("quality", "a bad one has no right value: leave one of them out"));
        }
        (_, quality) => quality.unwrap_or(Quality::Good),
    };
    if let Some(value) = &value {
        if value.is_object() || (value.is_array() && key.item.is_some()) {
            return Err(wrong(
                "value",
                "it must be a text, a number, a truth value, or for a property a list of these",
            ));
        }
        let is_nested = |item: &serde_json::Value| item.is_object() || item.is_array();
        if value.as_array().is_some_and(|items| items.iter().any(is_nested)) {
            return Err(wrong("value", "a list must be of texts, numbers and truth values"));
        }
        if value.to_string().len() > VALUE_BYTES_MAX {
            return Err(wrong("value", format!("it is longer than {VALUE_BYTES_MAX} bytes")));
        }
    }
    let new = egiz_store::NewCorrection {
        thing_id: id_of(thing)?,
        feature: key.feature.to_string(),
        property: key.property.to_string(),
        item: key.item,
        from,
        to,
        value,
        quality,
        reason: asked.reason,
    };
    Ok((key, new))
}

/// The property, or item, that a member `property` names.
///
/// # Errors
/// `invalid-value`.
pub(crate) fn one_property(text: &str) -> Result<Key, ApiError> {
    let selection =
        Selection::of_parameters(None, Some(text)).map_err(|(_, reason)| wrong("property", reason))?;
    let mut named = selection.named();
    match (named.next(), named.next()) {
        (Some(key), None) => Ok(key.clone()),
        _ => Err(wrong("property", "it must name one property: feature/property")),
    }
}

fn wrong(name: &'static str, reason: impl Into<String>) -> ApiError {
    Fault::new(name, reason).in_member()
}

/// How many samples of a property, or an item, are kept in a span.
fn samples(walk: &Walk, thing: &str, span: (Timestamp, Timestamp), key: &Key) -> Result<u64, ApiError> {
    let mut count = 0;
    let wanted = |feature: &str, name: &str| *key.property == *name && *key.feature == *feature;
    walk.seeing(View::Original).wanted_slices(thing, span, &wanted, Pace::All, |rows| {
        for row in 0..rows.len() {
            let value = rows.reading(row, &key.feature, &key.property).and_then(|reading| reading.value);
            count += u64::from(match (value, key.item) {
                (Some(Value::List(items)), Some(item)) => usize::from(item) < items.len(),
                (Some(_), None) => true,
                _ => false,
            });
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(count)
}

/// The Thing and the number in a URL.
fn meant(app: &App, uri: &Uri) -> Result<(String, u64), ApiError> {
    let target = Target::of(uri.path(), &app.ports.settings.sites)?;
    let number = target.pointer.rsplit('/').next().unwrap_or_default();
    let id = number
        .parse()
        .map_err(|_| StoreError::NotFound { kind: "correction", key: number.chars().take(40).collect() })?;
    Ok((target.thing, id))
}

fn id_of(thing: &str) -> Result<ThingId, ApiError> {
    ThingId::new(thing).map_err(|error| Problem::new(Code::InvalidThingId, error.to_string()).into())
}

/// As history lays it over what was said.
fn in_force(stored: &StoredCorrection) -> egiz_historian::Correction {
    let said = &stored.correction;
    egiz_historian::Correction {
        id: stored.id,
        thing: said.thing_id.as_str().into(),
        feature: said.feature.as_str().into(),
        property: said.property.as_str().into(),
        item: said.item,
        from: said.from,
        to: said.to,
        value: said.value.as_ref().map(Value::from_json),
        quality: said.quality,
    }
}

fn shown(stored: &StoredCorrection) -> Correction {
    let said = &stored.correction;
    let (feature, property) = (said.feature.as_str().into(), said.property.as_str().into());
    Correction {
        id: stored.id,
        thing_id: said.thing_id.as_str().to_owned(),
        property: Key { feature, property, item: said.item }.path(),
        from: said.from,
        to: said.to,
        value: said.value.clone(),
        quality: said.quality,
        reason: said.reason.clone(),
        author: stored.author.who.clone(),
        created: stored.author.at,
        samples: None,
        undone_by: stored.undone.as_ref().map(|author| author.who.clone()),
        undone: stored.undone.as_ref().map(|author| author.at),
    }
}
