//! Reads of Things: pages, one Thing, any part of it.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use egiz_api::{Code, Count, Problem, Thing, ThingPage};
use egiz_twin::Filter;

use crate::app::App;
use crate::caller::Caller;
use crate::conditional::{ReadVerdict, decide_read};
use crate::error::ApiError;
use crate::fields::{Fields, Shown};
use crate::history::past;
use crate::params::{self, Params};
use crate::query::{self, PageRequest};
use crate::target::Target;
use crate::things::stream::{self, Form, Listing};
use crate::{min_offset, page, present, respond};

/// What a list is asked for with where it comes in pages.
const OF_PAGES: [&str; 3] = ["sort", "limit", "cursor"];

/// Things, page by page, or all as one stream.
#[utoipa::path(get, path = "/api/v1/things", tag = "things",
    params(
        ("filter" = Option<String>, Query, description = "RQL, such as `eq(attributes/type,\"oven\")`, or `{\"type\":\"oven\"}`"),
        ("fields" = Option<String>, Query, description = "What to show: `thingId,attributes(type,line),features/*/properties/x`"),
        ("sort" = Option<String>, Query, description = "`-attributes/line,+thingId`"),
        ("limit" = Option<u32>, Query, description = "The page's size, 1 to 200; 25 where it is missing"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
        ("metadata" = Option<bool>, Query, description = "Whether to show `_metadata`"),
        ("min-offset" = Option<u64>, Header, description = "Wait until the record at this offset is applied; also as a parameter"),
        ("Accept" = Option<String>, Header, description = "`application/json` (default) for a page; `application/x-ndjson` or \
            `text/event-stream` for everything as one stream in the order of ids, without `sort`, `limit` and `cursor`"),
        ("Last-Event-ID" = Option<String>, Header, description = "Of a stream: go on behind this Thing's id"),
        ("ticket" = Option<String>, Query, description = "Of `text/event-stream`: stands for a token once; see `POST /api/v1/tickets`"),
    ),
    responses(
        (status = 200, description = "A page, without `cursor` it is the last; or a Thing a line; or a Thing an event, its id the \
            event's, and at last the event `complete`",
            content((ThingPage = "application/json"), (Thing = "application/x-ndjson"), (Thing = "text/event-stream"))),
        (status = 204, description = "As `text/event-stream`: nothing (more) is to be told; a browser stops coming back"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let known = ["filter", "fields", "sort", "limit", "cursor", "metadata", "min-offset", "ticket"];
    let form = Form::of(&headers)?;
    let known = if form == Form::Events { &known[..] } else { &known[..known.len() - 1] };
    let params = Params::parse(raw.as_deref(), known)?;
    if form != Form::Page {
        if let Some(name) = OF_PAGES.iter().find(|name| params.is_there(name)) {
            return Err(params::refused(name, "a stream is the whole list, in the order of ids"));
        }
        let listing = Listing {
            filter: query::filter_from_text(params.get("filter").unwrap_or_default())?,
            fields: params.get("fields").map(Fields::parse).transpose()?,
            with_metadata: params.flag("metadata")?,
            after: stream::last_id(&headers, &app.ports.settings.sites)?,
        };
        min_offset::wait(&app, &headers, &params).await?;
        return stream::answer(&app, &caller, form, listing).await;
    }
    let request = PageRequest {
        filter: query::filter_from_text(params.get("filter").unwrap_or_default())?,
        sort: query::sort_of(params.get("sort").unwrap_or_default())?,
        fields: params.get("fields").map(Fields::parse).transpose()?,
        limit: page::limit(params.number("limit")?)?,
        cursor: params.get("cursor").map(str::to_owned),
        with_metadata: params.flag("metadata")?,
    };
    min_offset::wait(&app, &headers, &params).await?;
    query::find(&app, &caller, request).await
}

/// How many Things match.
#[utoipa::path(get, path = "/api/v1/things/count", tag = "things",
    params(("filter" = Option<String>, Query, description = "As in the list")),
    responses(
        (status = 200, description = "The number", body = Count),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn count(
    State(app): State<App>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let params = Params::parse(raw.as_deref(), &["filter", "min-offset"])?;
    min_offset::wait(&app, &headers, &params).await?;
    query::counted(&app, query::filter_from_text(params.get("filter").unwrap_or_default())?).await
}

/// One Thing.
#[utoipa::path(get, path = "/api/v1/things/{thingId}", tag = "things",
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("fields" = Option<String>, Query, description = "What to show"),
        ("metadata" = Option<bool>, Query, description = "Whether to show `_metadata`"),
        ("at" = Option<String>, Query, description = "A past time: the answer is a ThingAt, its values those of then"),
        ("min-offset" = Option<u64>, Header, description = "Wait until the record at this offset is applied; also as a parameter"),
        ("condition" = Option<String>, Query, description = "RQL that must hold for the Thing, else 412; also as a header"),
        ("If-Match" = Option<String>, Header, description = "Answer only this state, else 412"),
        ("If-None-Match" = Option<String>, Header, description = "Answer only another state, else 304"),
    ),
    responses(
        (status = 200, description = "The Thing", body = Thing, headers(
            ("ETag" = String, description = "`\"rev:<revision>@<offset of its creation>\"`"),
            ("egiz-offset" = u64, description = "The offset of the last record in the state"))),
        (status = 304, description = "It is the state of `If-None-Match`"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn thing(
    State(app): State<App>,
    RawQuery(raw): RawQuery,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    answer(&app, raw.as_deref(), &uri, &headers).await
}

/// Any part of a Thing: `attributes`, `features/{feature}/properties/{property}`, `_metadata/{feature}`, down to any leaf.
#[utoipa::path(get, path = "/api/v1/things/{thingId}/{path}", tag = "things",
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("path" = String, Path, description = "Names with `/` between; inside a name `~1` stands for `/`, `~0` for `~`"),
        ("fields" = Option<String>, Query, description = "What to show of the part"),
        ("at" = Option<String>, Query, description = "Of a feature: a past time; the answer is a FeatureAt, its values those of then"),
        ("min-offset" = Option<u64>, Header, description = "Wait until the record at this offset is applied; also as a parameter"),
        ("condition" = Option<String>, Query, description = "RQL that must hold for the Thing, else 412; also as a header"),
        ("If-Match" = Option<String>, Header, description = "Answer only this state, else 412"),
        ("If-None-Match" = Option<String>, Header, description = "Answer only another state, else 304"),
    ),
    responses(
        (status = 200, description = "The part", body = serde_json::Value, headers(
            ("ETag" = String, description = "`\"rev:<revision>@<offset of the Thing's creation>\"` of the last change at or below the path"))),
        (status = 304, description = "It is the state of `If-None-Match`"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn part(
    State(app): State<App>,
    RawQuery(raw): RawQuery,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    answer(&app, raw.as_deref(), &uri, &headers).await
}

async fn answer(app: &App, raw: Option<&str>, uri: &Uri, headers: &HeaderMap) -> Result<Response, ApiError> {
    let target = Target::of(uri.path(), &app.ports.settings.sites)?;
    let params = Params::parse(raw, &["at", "condition", "fields", "metadata", "min-offset"])?;
    params::refuse_not_served(headers)?;
    if let Some(past) = past::answer(app, &target, &params, headers).await? {
        return Ok(past);
    }
    let condition = condition(headers, &params)?;
    let fields = params.get("fields").map(Fields::parse).transpose()?;
    let with_metadata = params.flag("metadata")?;
    min_offset::wait(app, headers, &params).await?;
    let look = || present_now(app, &target, headers, condition.as_ref(), (fields.as_ref(), with_metadata));
    match look()? {
        Some(response) => Ok(response),
        None if min_offset::wait_for_newcomer(&app.ports, &target.thing).await => {
            look()?.ok_or_else(|| no_thing(&target.thing))
        }
        None => Err(no_thing(&target.thing)),
    }
}

/// Answers from the state as it is; `None` where there is no such Thing.
fn present_now(
    app: &App,
    target: &Target,
    headers: &HeaderMap,
    condition: Option<&Filter>,
    (fields, with_metadata): (Option<&Fields>, bool),
) -> Result<Option<Response>, ApiError> {
    let engine = app.ports.engine.read();
    let Some(thing) = engine.thing(&target.thing) else { return Ok(None) };
    // Whether something is there comes before any condition, and writing it is the way to know.
    let mut body = Vec::with_capacity(1024);
    let shown = Shown::of(fields);
    if !present::part(&mut body, &thing, &target.pointer, &shown, with_metadata) {
        return Err(no_part(target));
    }
    let etag = thing.entity_tag(&target.pointer);
    let mut response = match decide_read(headers, &etag)? {
        ReadVerdict::Proceed if condition.is_some_and(|condition| !condition.matches(thing)) => {
            return Err(condition_failed(&target.thing));
        }
        ReadVerdict::Proceed => respond::json_bytes(StatusCode::OK, body),
        ReadVerdict::NotModified => respond::empty(StatusCode::NOT_MODIFIED),
        ReadVerdict::IfMatchFailed => {
            let detail = format!("{} has the entity tag {etag} now", place(target));
            return Err(Problem::new(Code::IfMatchFailed, detail).revision(Some(thing.revision())).into());
        }
    };
    let (revision, next_offset) = (thing.revision(), engine.next_offset());
    drop(engine);
    respond::set_etag(&mut response, &etag);
    respond::set_number(&mut response, respond::REVISION, revision);
    min_offset::show(&mut response, next_offset);
    Ok(Some(response))
}

/// What must hold for the whole Thing: RQL in the header field or parameter `condition`.
fn condition(headers: &HeaderMap, params: &Params) -> Result<Option<Filter>, ApiError> {
    query::named_from_text("condition", params.or_field(headers, "condition")?.unwrap_or_default())
}

/// The `condition-failed` problem.
fn condition_failed(thing: &str) -> ApiError {
    ApiError::new(Code::ConditionFailed, format!("the condition does not hold for {thing}"))
}

/// The `thing-not-found` problem.
pub(crate) fn no_thing(thing: &str) -> ApiError {
    ApiError::new(Code::ThingNotFound, format!("there is no Thing {thing}"))
}

/// The `path-not-found` problem.
pub(crate) fn no_part(target: &Target) -> ApiError {
    Problem::new(Code::PathNotFound, format!("there is no {}", place(target)))
        .at(target.pointer.clone(), "nothing is there")
        .into()
}

fn place(target: &Target) -> String {
    let pointer: String = target.pointer.chars().take(200).collect();
    if pointer.is_empty() { target.thing.clone() } else { format!("{pointer} in {}", target.thing) }
}
