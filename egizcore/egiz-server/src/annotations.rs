//! Annotations over HTTP: what people note about the past of the site, a Thing or a property.
//!
//! The entity tag is the annotation's version, so that two who edit at once do not overwrite each other unseen where they say
//! `If-Match`. Whether a Thing exists is not asked: one may be gone, or not be there yet, and its past be worth a note.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use egiz_api::{Annotation, AnnotationChange, AnnotationPage, Code, NewAnnotation, Problem};
use egiz_model::{ThingId, Timestamp};
use egiz_store::{AnnotationQuery, PageRequest, StoreError, StoredAnnotation};

use crate::app::App;
use crate::caller::Caller;
use crate::conditional::{ReadVerdict, decide_read};
use crate::error::ApiError;
use crate::history::ask::{Fault, member_moment, moment};
use crate::history::corrections::one_property;
use crate::history::selection::Key;
use crate::params::{NoParams, Params, refused};
use crate::{body, cursor, page, respond, submit, target};

const PREFIX: &str = "/api/v1/annotations/";
const NOTE: &str = "note";

/// Annotations by when they begin.
#[utoipa::path(get, path = "/api/v1/annotations", tag = "history",
    params(
        ("thing" = Option<String>, Query, description = "About this Thing only"),
        ("property" = Option<String>, Query, description = "About this `feature/property` of it only"),
        ("category" = Option<String>, Query, description = "Of this kind only"),
        ("from" = Option<String>, Query, description = "Only those about a time from here on: RFC 3339, or seconds or milliseconds since 1970"),
        ("to" = Option<String>, Query, description = "Only those about a time before this"),
        ("limit" = Option<u32>, Query, description = "The page's size, 1 to 200; 25 where it is missing"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
    ),
    responses(
        (status = 200, description = "A page; without `cursor` it is the last", body = AnnotationPage),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let names = &["thing", "property", "category", "from", "to", "limit", "cursor"];
    let params = Params::parse(raw.as_deref(), names)?;
    let thing = params.get("thing").map(|text| id_of(&app, text)).transpose()?;
    let property = match params.get("property") {
        None => None,
        Some(_) if thing.is_none() => {
            return Err(refused("property", "it belongs to a Thing: say which in `thing`"));
        }
        Some(text) => Some(whole(text).map_err(|error| {
            let reason = error.0.detail.clone();
            refused("property", &reason)
        })?),
    };
    let read = |name, otherwise| {
        params.get(name).map_or(Ok(otherwise), |text| moment(name, text)).map_err(Fault::in_parameter)
    };
    let range = (read("from", Timestamp::MIN)?, read("to", Timestamp::MAX)?);
    let limit = u32::try_from(page::limit(params.number("limit")?)?).unwrap_or(1);
    let key = &app.ports.settings.cursor_key;
    let said = |name| params.get(name).unwrap_or_default();
    let question = [
        "annotations",
        said("thing"),
        said("property"),
        said("category"),
        said("from"),
        said("to"),
        &*caller.principal,
    ];
    let after = match params.get("cursor") {
        None => None,
        Some(text) => {
            let (time, id): (i64, u64) = cursor::open_value(key, &question, text)?;
            Some((Timestamp::from_micros(time), id))
        }
    };
    let query =
        AnnotationQuery { thing_id: thing, property, category: params.get("category").map(str::to_owned) };
    let stored = app.ports.store.list_annotations(&query, range, PageRequest { after, limit }).await?;
    let page = AnnotationPage {
        items: stored.items.iter().map(shown).collect(),
        cursor: stored.next.map(|(time, id)| cursor::seal_value(key, &question, &(time.as_micros(), id))),
    };
    Ok(respond::json(StatusCode::OK, &page))
}

/// Keeps an annotation.
#[utoipa::path(post, path = "/api/v1/annotations", tag = "history", request_body = NewAnnotation,
    responses(
        (status = 201, description = "The annotation", body = Annotation),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn create(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let new: NewAnnotation = body::read_json(&headers, content, &app.ports.settings).await?;
    let read = |value, name| member_moment(value, name).map_err(Fault::in_member);
    let from = read(&new.from, "from")?.unwrap_or_else(|| (app.ports.clock)());
    let annotation = egiz_store::Annotation {
        thing_id: new.thing_id.as_deref().map(|text| id_of(&app, text)).transpose()?,
        property: new.property.as_deref().map(whole).transpose()?,
        from,
        to: span_end(from, read(&new.to, "to")?)?,
        category: new.category.unwrap_or_else(|| NOTE.to_owned()),
        text: new.text,
    };
    let stored = app.ports.store.add_annotation(&annotation, &submit::author(&app, &caller)).await?;
    let mut response = with_tag(respond::json(StatusCode::CREATED, &shown(&stored)), &stored);
    respond::set_location(&mut response, &format!("{PREFIX}{}", stored.id));
    Ok(response)
}

/// One annotation.
#[utoipa::path(get, path = "/api/v1/annotations/{annotationId}", tag = "history",
    params(("annotationId" = u64, Path, description = "Its number")),
    responses(
        (status = 200, description = "The annotation", body = Annotation),
        (status = 304, description = "It is the version of `If-None-Match`"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(
    State(app): State<App>,
    _: NoParams,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let stored = app.ports.store.annotation(id_in(&uri)?).await?;
    let response = match decide_read(&headers, &etag(&stored))? {
        ReadVerdict::NotModified => respond::empty(StatusCode::NOT_MODIFIED),
        ReadVerdict::IfMatchFailed => return Err(other_one(&stored)),
        ReadVerdict::Proceed => respond::json(StatusCode::OK, &shown(&stored)),
    };
    Ok(with_tag(response, &stored))
}

/// Changes what is said of an annotation; the rest stays.
#[utoipa::path(patch, path = "/api/v1/annotations/{annotationId}", tag = "history", request_body = AnnotationChange,
    params(
        ("annotationId" = u64, Path, description = "Its number"),
        ("If-Match" = Option<String>, Header, description = "The version that is to be changed, else 412"),
    ),
    responses(
        (status = 200, description = "As it is now", body = Annotation),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn change(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let change: AnnotationChange = match body::media_type(&headers).as_deref() {
        None | Some("application/json" | "application/merge-patch+json") => {
            let content = body::read(&headers, content, &app.ports.settings).await?;
            body::parse(if content.is_empty() { b"{}" } else { &content }, &app.ports.settings)?
        }
        Some(other) => return Err(body::unsupported(other, "application/merge-patch+json")),
    };
    let before = app.ports.store.annotation(id_in(&uri)?).await?;
    if decide_read(&headers, &etag(&before))? != ReadVerdict::Proceed {
        return Err(other_one(&before));
    }
    let read = |value, name| member_moment(value, name).map_err(Fault::in_member);
    let from = read(&change.from, "from")?.unwrap_or(before.annotation.from);
    let to = match &change.to {
        Some(_) => read(&change.to, "to")?,
        None => (before.annotation.to > before.annotation.from).then_some(before.annotation.to),
    };
    let said = before.annotation.clone();
    let annotation = egiz_store::Annotation {
        from,
        to: span_end(from, to)?,
        category: change.category.unwrap_or(said.category),
        text: change.text.unwrap_or(said.text),
        ..said
    };
    let author = submit::author(&app, &caller);
    let stored = app.ports.store.change_annotation(before.id, before.version, &annotation, &author).await?;
    Ok(with_tag(respond::json(StatusCode::OK, &shown(&stored)), &stored))
}

/// Deletes an annotation.
#[utoipa::path(delete, path = "/api/v1/annotations/{annotationId}", tag = "history",
    params(
        ("annotationId" = u64, Path, description = "Its number"),
        ("If-Match" = Option<String>, Header, description = "The version that is to be deleted, else 412"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn delete(
    State(app): State<App>,
    _: NoParams,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let before = app.ports.store.annotation(id_in(&uri)?).await?;
    if decide_read(&headers, &etag(&before))? != ReadVerdict::Proceed {
        return Err(other_one(&before));
    }
    let author = submit::author(&app, &caller);
    app.ports.store.delete_annotation(before.id, Some(before.version), &author).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

/// The end of a span, as it is kept.
fn span_end(from: Timestamp, to: Option<Timestamp>) -> Result<Timestamp, ApiError> {
    match to {
        Some(to) if to <= from => {
            let reason =
                format!("{to} does not lie after `from`, which is {from}; leave it out for a moment");
            Err(Fault::new("to", reason).in_member())
        }
        Some(to) => Ok(to),
        None => Ok(from),
    }
}

/// A property as a whole.
fn whole(text: &str) -> Result<(String, String), ApiError> {
    let key = one_property(text)?;
    match key.item {
        Some(_) => Err(Fault::new("property", "it must be a property, not an item of a list").in_member()),
        None => Ok((key.feature.to_string(), key.property.to_string())),
    }
}

fn id_of(app: &App, text: &str) -> Result<ThingId, ApiError> {
    let id = target::thing_id(text, &app.ports.settings.sites)?;
    ThingId::new(&id).map_err(|error| Problem::new(Code::InvalidThingId, error.to_string()).into())
}

fn id_in(uri: &Uri) -> Result<u64, ApiError> {
    let text = target::segment_after(uri.path(), PREFIX)?;
    let not_found = |_| StoreError::NotFound { kind: "annotation", key: text.chars().take(40).collect() };
    Ok(text.parse().map_err(not_found)?)
}

fn etag(stored: &StoredAnnotation) -> String {
    format!("\"{}\"", stored.version)
}

fn with_tag(mut response: Response, stored: &StoredAnnotation) -> Response {
    respond::set_etag(&mut response, &etag(stored));
    response
}

fn other_one(stored: &StoredAnnotation) -> ApiError {
    let detail = format!("annotation {} has version {} now", stored.id, stored.version);
    Problem::new(Code::IfMatchFailed, detail).revision(Some(stored.version)).into()
}

fn shown(stored: &StoredAnnotation) -> Annotation {
    let said = &stored.annotation;
    let is_changed = stored.version > 1;
    Annotation {
        id: stored.id,
        thing_id: said.thing_id.as_ref().map(|id| id.as_str().to_owned()),
        property: said.property.as_ref().map(|(feature, property)| {
            let (feature, property) = (feature.as_str().into(), property.as_str().into());
            Key { feature, property, item: None }.path()
        }),
        from: said.from,
        to: (said.to > said.from).then_some(said.to),
        category: said.category.clone(),
        text: said.text.clone(),
        author: stored.created.who.clone(),
        created: stored.created.at,
        modified_by: is_changed.then(|| stored.modified.who.clone()),
        modified: is_changed.then_some(stored.modified.at),
    }
}
