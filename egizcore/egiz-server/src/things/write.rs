//! Writes of Things: create, put, patch, delete, of the whole or of any part.
//!
//! What a client sends is checked for form here; whether it applies (preconditions, rules, limits) is decided by the
//! engine when the record gets there, and answered afterwards.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use egiz_api::{Code, Problem, Thing};
use egiz_model::record::{Body as RecordBody, Preconditions, ThingWrite, WriteOperation};
use egiz_twin::{Outcome, WriteOutcome, entity_tag};
use serde::Deserialize;

use super::asked::Asked;
use super::partwise::{self, PartConditions};
use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::fields::Shown;
use crate::ports::Applied;
use crate::target::{self, Target};
use crate::{body, present, respond, strict, submit};

/// The media types that `PATCH` takes.
pub(crate) const ACCEPT_PATCH: &str =
    "application/merge-patch+json, application/json-patch+json, application/json";

/// RFC 7240 §3.
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Creates a Thing; the id comes with it.
#[utoipa::path(post, path = "/api/v1/things", tag = "things", request_body = Thing,
    params(
        ("Prefer" = Option<String>, Header, description = "`return=minimal` leaves the body out"),
        ("Idempotency-Key" = Option<String>, Header, description = "A request sent again with the same key is answered as before, not carried out again"),
        ("requested-acks" = Option<String>, Header, description = "Labels whose acknowledgement the answer waits for, commas between; also as a parameter"),
        ("timeout" = Option<String>, Header, description = "How long it waits at most, such as `250ms` or `5s`; also as a parameter"),
        ("response-required" = Option<bool>, Header, description = "`false` answers 202 without a body; also as a parameter"),
    ),
    responses(
        (status = 201, description = "The Thing", body = Thing, headers(
            ("Location" = String, description = "Where it is"), ("ETag" = String, description = "Such as `\"rev:1@1235\"`"),
            ("egiz-revision" = u64, description = "Its revision"),
            ("egiz-offset" = u64, description = "The offset of the write"))),
        (status = 202, description = "Done, with `response-required: false`"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    body::want_json(&headers)?;
    let settings = &app.ports.settings;
    let content = body::read(&headers, content, settings).await?;
    body::json::check(&content, settings.json_depth_max)?;
    let thing = id_in(&content, &settings.sites)?;
    let asked = Asked::of(raw.as_deref(), &headers, settings)?;
    let target = Target { thing, pointer: String::new() };
    write(&app, &caller, &target, WriteOperation::Create, &content, &asked).await
}

/// Creates or replaces a Thing.
#[utoipa::path(put, path = "/api/v1/things/{thingId}", tag = "things", request_body = Thing,
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("condition" = Option<String>, Query, description = "RQL that must hold for the Thing as it is; also as a header"),
        ("If-Match" = Option<String>, Header, description = "The state that is to be replaced; `*` updates only"),
        ("If-None-Match" = Option<String>, Header, description = "`*` creates only"),
        ("if-equal" = Option<String>, Header, description = "`skip` answers 412 where nothing would change"),
        ("Prefer" = Option<String>, Header, description = "`return=representation` or `return=minimal`"),
        ("requested-acks" = Option<String>, Header, description = "Labels whose acknowledgement the answer waits for, commas between; also as a parameter"),
        ("timeout" = Option<String>, Header, description = "How long it waits at most, such as `250ms` or `5s`; also as a parameter"),
        ("response-required" = Option<bool>, Header, description = "`false` answers 202 without a body; also as a parameter"),
    ),
    responses(
        (status = 201, description = "Created", body = Thing),
        (status = 200, description = "Replaced, with `Prefer: return=representation`", body = Thing),
        (status = 204, description = "Replaced, or it was so already"),
        (status = 202, description = "Done, with `response-required: false`"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn put_thing(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    put(&app, &caller, raw.as_deref(), &uri, &headers, content).await
}

/// Creates or replaces any part of a Thing.
#[utoipa::path(put, path = "/api/v1/things/{thingId}/{path}", tag = "things", request_body = serde_json::Value,
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("path" = String, Path, description = "Names with `/` between; inside a name `~1` stands for `/`, `~0` for `~`"),
        ("condition" = Option<String>, Query, description = "RQL that must hold for the Thing as it is; also as a header"),
        ("If-Match" = Option<String>, Header, description = "The state that is to be replaced; `*` updates only"),
        ("If-None-Match" = Option<String>, Header, description = "`*` creates only"),
        ("if-equal" = Option<String>, Header, description = "`skip` answers 412 where nothing would change"),
        ("Prefer" = Option<String>, Header, description = "`return=representation` or `return=minimal`"),
        ("requested-acks" = Option<String>, Header, description = "Labels whose acknowledgement the answer waits for, commas between; also as a parameter"),
        ("timeout" = Option<String>, Header, description = "How long it waits at most, such as `250ms` or `5s`; also as a parameter"),
        ("response-required" = Option<bool>, Header, description = "`false` answers 202 without a body; also as a parameter"),
    ),
    responses(
        (status = 201, description = "Created", body = serde_json::Value),
        (status = 200, description = "Replaced, with `Prefer: return=representation`", body = serde_json::Value),
        (status = 204, description = "Replaced, or it was so already"),
        (status = 202, description = "Done, with `response-required: false`"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn put_part(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    put(&app, &caller, raw.as_deref(), &uri, &headers, content).await
}

async fn put(
    app: &App,
    caller: &Caller,
    raw: Option<&str>,
    uri: &Uri,
    headers: &HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let settings = &app.ports.settings;
    let target = Target::of(uri.path(), &settings.sites)?;
    body::want_json(headers)?;
    let asked = Asked::of(raw, headers, settings)?;
    let content = body::read(headers, content, settings).await?;
    body::json::check(&content, settings.json_depth_max)?;
    write(app, caller, &target, WriteOperation::Put, &content, &asked).await
}

/// Changes a Thing by a merge patch (RFC 7396; creates it where it is missing) or a JSON patch (RFC 6902).
#[utoipa::path(patch, path = "/api/v1/things/{thingId}", tag = "things",
    request_body(content((Object = "application/merge-patch+json"), (Vec<Object> = "application/json-patch+json"))),
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("condition" = Option<String>, Query, description = "RQL that must hold for the Thing as it is; also as a header"),
        ("If-Match" = Option<String>, Header, description = "The state that is to be changed; `*` updates only"),
        ("If-None-Match" = Option<String>, Header, description = "`*` creates only"),
        ("if-equal" = Option<String>, Header, description = "`skip` answers 412 where nothing would change"),
        ("merge-thing-patch-conditions" = Option<String>, Header, description = "JSON: pointers into a merge patch, each with the RQL on which that part stays"),
        ("Prefer" = Option<String>, Header, description = "`return=representation` or `return=minimal`"),
        ("requested-acks" = Option<String>, Header, description = "Labels whose acknowledgement the answer waits for, commas between; also as a parameter"),
        ("timeout" = Option<String>, Header, description = "How long it waits at most, such as `250ms` or `5s`; also as a parameter"),
        ("response-required" = Option<bool>, Header, description = "`false` answers 202 without a body; also as a parameter"),
    ),
    responses(
        (status = 201, description = "Created", body = Thing),
        (status = 200, description = "Changed, with `Prefer: return=representation`", body = Thing),
        (status = 204, description = "Changed, or it was so already"),
        (status = 202, description = "Done, with `response-required: false`"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn patch_thing(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    patch(&app, &caller, raw.as_deref(), &uri, &headers, content).await
}

/// Changes any part of a Thing by a merge patch or a JSON patch; pointers in it are relative to the part.
#[utoipa::path(patch, path = "/api/v1/things/{thingId}/{path}", tag = "things",
    request_body(content((Object = "application/merge-patch+json"), (Vec<Object> = "application/json-patch+json"))),
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("path" = String, Path, description = "Names with `/` between; inside a name `~1` stands for `/`, `~0` for `~`"),
        ("condition" = Option<String>, Query, description = "RQL that must hold for the Thing as it is; also as a header"),
        ("If-Match" = Option<String>, Header, description = "The state that is to be changed; `*` updates only"),
        ("If-None-Match" = Option<String>, Header, description = "`*` creates only"),
        ("if-equal" = Option<String>, Header, description = "`skip` answers 412 where nothing would change"),
        ("merge-thing-patch-conditions" = Option<String>, Header, description = "JSON: pointers into a merge patch, each with the RQL on which that part stays"),
        ("Prefer" = Option<String>, Header, description = "`return=representation` or `return=minimal`"),
        ("requested-acks" = Option<String>, Header, description = "Labels whose acknowledgement the answer waits for, commas between; also as a parameter"),
        ("timeout" = Option<String>, Header, description = "How long it waits at most, such as `250ms` or `5s`; also as a parameter"),
        ("response-required" = Option<bool>, Header, description = "`false` answers 202 without a body; also as a parameter"),
    ),
    responses(
        (status = 201, description = "Created", body = serde_json::Value),
        (status = 200, description = "Changed, with `Prefer: return=representation`", body = serde_json::Value),
        (status = 204, description = "Changed, or it was so already"),
        (status = 202, description = "Done, with `response-required: false`"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn patch_part(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    patch(&app, &caller, raw.as_deref(), &uri, &headers, content).await
}

async fn patch(
    app: &App,
    caller: &Caller,
    raw: Option<&str>,
    uri: &Uri,
    headers: &HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let settings = &app.ports.settings;
    let target = Target::of(uri.path(), &settings.sites)?;
    let operation = match body::media_type(headers).as_deref() {
        None | Some("application/merge-patch+json" | "application/json") => WriteOperation::Merge,
        Some("application/json-patch+json") => WriteOperation::Patch,
        Some(other) => return Err(body::unsupported(other, ACCEPT_PATCH)),
    };
    let conditions = match operation {
        WriteOperation::Merge => PartConditions::of(headers)?,
        _ => None,
    };
    let asked = match conditions {
        Some(_) => Asked::of_merge_in_parts(raw, headers, settings)?,
        None => Asked::of(raw, headers, settings)?,
    };
    let content = body::read(headers, content, settings).await?;
    body::json::check(&content, settings.json_depth_max)?;
    match conditions {
        Some(conditions) => {
            let response = partwise::merge(app, caller, &target, &content, &conditions, &asked).await?;
            asked.acknowledgements.fulfil(app, caller, &target, response).await
        }
        None => write(app, caller, &target, operation, &content, &asked).await,
    }
}

/// Deletes a Thing.
#[utoipa::path(delete, path = "/api/v1/things/{thingId}", tag = "things",
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("condition" = Option<String>, Query, description = "RQL that must hold for the Thing as it is; also as a header"),
        ("If-Match" = Option<String>, Header, description = "The state that is to be deleted"),
        ("requested-acks" = Option<String>, Header, description = "Labels whose acknowledgement the answer waits for, commas between; also as a parameter"),
        ("timeout" = Option<String>, Header, description = "How long it waits at most, such as `250ms` or `5s`; also as a parameter"),
        ("response-required" = Option<bool>, Header, description = "`false` answers 202 without a body; also as a parameter"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 202, description = "Done, with `response-required: false`"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn delete_thing(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    delete(&app, &caller, raw.as_deref(), &uri, &headers).await
}

/// Deletes any part of a Thing.
#[utoipa::path(delete, path = "/api/v1/things/{thingId}/{path}", tag = "things",
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("path" = String, Path, description = "Names with `/` between; inside a name `~1` stands for `/`, `~0` for `~`"),
        ("condition" = Option<String>, Query, description = "RQL that must hold for the Thing as it is; also as a header"),
        ("If-Match" = Option<String>, Header, description = "The state that is to be deleted"),
        ("requested-acks" = Option<String>, Header, description = "Labels whose acknowledgement the answer waits for, commas between; also as a parameter"),
        ("timeout" = Option<String>, Header, description = "How long it waits at most, such as `250ms` or `5s`; also as a parameter"),
        ("response-required" = Option<bool>, Header, description = "`false` answers 202 without a body; also as a parameter"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 202, description = "Done, with `response-required: false`"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn delete_part(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    delete(&app, &caller, raw.as_deref(), &uri, &headers).await
}

async fn delete(
    app: &App,
    caller: &Caller,
    raw: Option<&str>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let target = Target::of(uri.path(), &app.ports.settings.sites)?;
    let asked = Asked::of(raw, headers, &app.ports.settings)?;
    write(app, caller, &target, WriteOperation::Delete, b"", &asked).await
}

#[derive(Deserialize)]
struct Identified {
    #[serde(rename = "thingId")]
    thing_id: Option<String>,
}

/// The id in a Thing's JSON, completed and checked.
///
/// # Errors
/// `invalid-value` where it is missing, `invalid-thing-id`.
pub(crate) fn id_in(content: &[u8], sites: &[String]) -> Result<String, ApiError> {
    let missing = || -> ApiError {
        Problem::new(Code::InvalidValue, "the Thing has no `thingId`")
            .at("/thingId", "a text such as factory:oven-001 is needed")
            .into()
    };
    let identified: Identified = serde_json::from_slice(content).map_err(|_| missing())?;
    target::thing_id(&identified.thing_id.ok_or_else(missing)?, sites)
}

/// Completes a bare name in the `thingId` of a Thing's JSON, where it is that of `thing`.
pub(crate) fn with_whole_id<'c>(content: &'c [u8], thing: &str) -> Cow<'c, [u8]> {
    let Ok(Identified { thing_id: Some(given) }) = serde_json::from_slice(content) else {
        return Cow::Borrowed(content);
    };
    let is_bare = thing.split_once(':').is_some_and(|(_, name)| name == given);
    match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(content) {
        Ok(mut members) if is_bare => {
            members.insert("thingId".to_owned(), thing.into());
            Cow::Owned(serde_json::to_vec(&members).unwrap_or_default())
        }
        _ => Cow::Borrowed(content),
    }
}

/// Submits one write and answers what came of it.
async fn write(
    app: &App,
    caller: &Caller,
    target: &Target,
    operation: WriteOperation,
    content: &[u8],
    asked: &Asked,
) -> Result<Response, ApiError> {
    let is_whole = target.pointer.is_empty() && operation != WriteOperation::Patch;
    let content = if is_whole { with_whole_id(content, &target.thing) } else { Cow::Borrowed(content) };
    let place = (&*target.thing, &*target.pointer);
    let preconditions = strict::preconditions(&app.ports, place, operation, asked.preconditions())?;
    let applied = submit_write(app, caller, target, operation, &content, preconditions).await?;
    let response = answer(app, target, asked, applied)?;
    asked.acknowledgements.fulfil(app, caller, target, response).await
}

/// Submits one write and waits for its outcome.
pub(super) async fn submit_write(
    app: &App,
    caller: &Caller,
    target: &Target,
    operation: WriteOperation,
    content: &[u8],
    preconditions: Preconditions<'_>,
) -> Result<Applied, ApiError> {
    let (thing, path) = (&*target.thing, &*target.pointer);
    let write = ThingWrite { thing, operation, path, content, preconditions };
    submit::one(app, submit::record(app, caller, RecordBody::ThingWrite(write))).await
}

/// Turns the outcome of a write into an answer.
pub(super) fn answer(
    app: &App,
    target: &Target,
    asked: &Asked,
    applied: Applied,
) -> Result<Response, ApiError> {
    let Outcome::Write(outcome) = applied.outcome else {
        tracing::error!(outcome = ?applied.outcome, "a write had the outcome of something else");
        return Err(ApiError::new(Code::Internal, "the server failed; its log has more under this traceId"));
    };
    let unchanged = matches!(outcome, WriteOutcome::Unchanged { .. });
    let (revision, created) = match outcome {
        WriteOutcome::Refused(refusal) => {
            return Err(strict::refusal(refusal, &target.thing, &asked.preconditions()));
        }
        WriteOutcome::Unchanged { revision } if asked.refuse_unchanged => {
            return Err(Problem::new(Code::Unchanged, "the state is as the write would make it")
                .revision(Some(revision))
                .into());
        }
        WriteOutcome::Deleted { revision } => {
            let mut response = respond::empty(StatusCode::NO_CONTENT);
            respond::set_number(&mut response, respond::REVISION, revision);
            respond::set_number(&mut response, respond::OFFSET, applied.offset);
            return Ok(response);
        }
        WriteOutcome::Created { revision } => (revision, true),
        WriteOutcome::Changed { revision } | WriteOutcome::Unchanged { revision } => (revision, false),
    };
    let representation = asked.representation.unwrap_or(created);
    let (body, etag, own) = {
        let engine = app.ports.engine.read();
        // By now it may have been deleted, and even made again by a later record: then it is another one.
        let thing = engine.thing(&target.thing).filter(|thing| thing.created_offset() <= applied.offset);
        let etag = thing.map(|thing| thing.entity_tag(&target.pointer));
        let own = thing.map(|thing| entity_tag(revision, thing.created_offset()));
        let mut body = Vec::new();
        if let Some(thing) = thing.filter(|_| representation) {
            present::part(&mut body, &thing, &target.pointer, &Shown::Everything, false);
        }
        (body, etag, own)
    };
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = match (body.is_empty(), created) {
        (false, _) => respond::json_bytes(status, body),
        (true, true) => respond::empty(StatusCode::CREATED),
        (true, false) => respond::empty(StatusCode::NO_CONTENT),
    };
    if let Some(wanted) = asked.representation {
        let applied = if wanted { "return=representation" } else { "return=minimal" };
        response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static(applied));
    }
    if created {
        respond::set_location(&mut response, &location(target));
    }
    // A representation goes with the tag of the state that it shows, which may be a later one already; without it the
    // tag is that of this write.
    let shows_state = representation || unchanged;
    if let Some(etag) = if shows_state { etag } else { own } {
        respond::set_etag(&mut response, &etag);
    }
    respond::set_number(&mut response, respond::REVISION, revision);
    respond::set_number(&mut response, respond::OFFSET, applied.offset);
    Ok(response)
}

/// The URL of what was written, percent-encoded.
fn location(target: &Target) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');
    let mut url = format!("{}{}", target::THINGS, percent_encoding::utf8_percent_encode(&target.thing, KEPT));
    for token in target.pointer.split('/').skip(1) {
        url.push('/');
        url.extend(percent_encoding::utf8_percent_encode(token, KEPT));
    }
    url
}
