//! Queries over live state: turns what the URL or the body asks into the engine's query, and its pages into answers.
//!
//! One filter language everywhere (RQL, or the simple object form). Searches run under the engine's read lock; on a large
//! installation they leave the async threads for a blocking one.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use egiz_api::{
    AggregateQuery, Code, Count, CountQuery, Figures, Group, Groups, Problem, Query, Thing, ThingPage,
};
use egiz_twin::{AggregateFunction, Engine, Filter, Path, Position, SortKey};
use serde_json::Value;

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, Shown};
use crate::params::Params;
use crate::ports::Ports;
use crate::things::stream::{self, Form, Listing};
use crate::{body, cursor, page, present, respond};

/// From so many Things on a search leaves the async threads.
const BLOCKING_THINGS: usize = 1_000;
/// The most paths to sort by.
const SORT_KEYS_MAX: usize = 4;
/// The most paths that make groups.
const GROUP_PATHS_MAX: usize = 4;
/// The most groups.
const GROUPS_MAX: usize = 1_000;
/// The figures of each path, in the order in which [`Figures`] takes them.
const FUNCTIONS: [AggregateFunction; 5] = [
    AggregateFunction::Count,
    AggregateFunction::Min,
    AggregateFunction::Max,
    AggregateFunction::Avg,
    AggregateFunction::Sum,
];
/// The most paths to aggregate.
const FIGURE_PATHS_MAX: usize = 16;

/// What a page is asked for with, checked.
#[derive(Debug)]
pub(crate) struct PageRequest {
    pub(crate) filter: Option<Filter>,
    pub(crate) sort: Vec<SortKey>,
    pub(crate) fields: Option<Fields>,
    pub(crate) limit: usize,
    pub(crate) cursor: Option<String>,
    pub(crate) with_metadata: bool,
}

/// Matching Things, page by page, or all as one stream.
#[utoipa::path(post, path = "/api/v1/query", tag = "query", request_body = Query,
    params(
        ("Accept" = Option<String>, Header, description = "As of `GET /api/v1/things`"),
        ("Last-Event-ID" = Option<String>, Header, description = "Of a stream: go on behind this Thing's id"),
    ),
    responses(
        (status = 200, description = "A page, with `aggregate` the groups instead; or a stream, as of `GET /api/v1/things`",
            content((ThingPage = "application/json"), (Thing = "application/x-ndjson"), (Thing = "text/event-stream"))),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn query(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let params = Params::parse(raw.as_deref(), &["metadata", "min-offset"])?;
    let form = Form::of(&headers)?;
    let query: Query = body::read_json(&headers, content, &app.ports.settings).await?;
    crate::min_offset::wait(&app, &headers, &params).await?;
    if form != Form::Page {
        let of_pages = [
            ("sort", query.sort.is_some()),
            ("limit", query.limit.is_some()),
            ("cursor", query.cursor.is_some()),
            ("aggregate", query.aggregate.is_some()),
        ];
        none_beside(&of_pages, "a stream is the whole list, in the order of ids")?;
        let listing = Listing {
            filter: query.filter.as_ref().map(filter_of).transpose()?.flatten(),
            fields: query.fields.as_deref().map(Fields::parse).transpose()?,
            with_metadata: params.flag("metadata")?,
            after: stream::last_id(&headers, &app.ports.settings.sites)?,
        };
        return stream::answer(&app, &caller, form, listing).await;
    }
    if let Some(aggregate) = query.aggregate {
        let of_pages = [
            ("fields", query.fields.is_some()),
            ("sort", query.sort.is_some()),
            ("limit", query.limit.is_some()),
            ("cursor", query.cursor.is_some()),
        ];
        none_beside(&of_pages, "groups come without it; leave it or `aggregate` out")?;
        let asked =
            AggregateQuery { filter: query.filter, group_by: aggregate.group_by, paths: aggregate.paths };
        return groups(&app, asked).await;
    }
    let request = PageRequest {
        filter: query.filter.as_ref().map(filter_of).transpose()?.flatten(),
        sort: sort_of(query.sort.as_deref().unwrap_or_default())?,
        fields: query.fields.as_deref().map(Fields::parse).transpose()?,
        limit: page::limit(query.limit.map(u64::from))?,
        cursor: query.cursor,
        with_metadata: params.flag("metadata")?,
    };
    find(&app, &caller, request).await
}

/// Refuses the first member that is there and does not go with the others.
fn none_beside(members: &[(&str, bool)], reason: &str) -> Result<(), ApiError> {
    match members.iter().find(|(_, is_there)| *is_there) {
        None => Ok(()),
        Some((name, _)) => {
            let problem = Problem::new(Code::InvalidValue, format!("`{name}`: {reason}"));
            Err(problem.at(format!("/{name}"), reason).into())
        }
    }
}

/// How many Things match.
#[utoipa::path(post, path = "/api/v1/query/count", tag = "query", request_body = CountQuery,
    responses(
        (status = 200, description = "The number", body = Count),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn count(
    State(app): State<App>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let params = Params::parse(raw.as_deref(), &["min-offset"])?;
    let query: CountQuery = body::read_json(&headers, content, &app.ports.settings).await?;
    crate::min_offset::wait(&app, &headers, &params).await?;
    counted(&app, query.filter.as_ref().map(filter_of).transpose()?.flatten()).await
}

/// Figures over matching Things: count, min, max, avg, sum of numbers, by group.
#[utoipa::path(post, path = "/api/v1/query/aggregate", tag = "query", request_body = AggregateQuery,
    responses(
        (status = 200, description = "The groups", body = Groups),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn aggregate(
    State(app): State<App>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let params = Params::parse(raw.as_deref(), &["min-offset"])?;
    let asked: AggregateQuery = body::read_json(&headers, content, &app.ports.settings).await?;
    crate::min_offset::wait(&app, &headers, &params).await?;
    groups(&app, asked).await
}

/// Answers the number of matching Things.
pub(crate) async fn counted(app: &App, filter: Option<Filter>) -> Result<Response, ApiError> {
    let (count, next_offset) =
        on_engine(app, move |engine| (engine.count(filter.as_ref()), engine.next_offset())).await?;
    let mut response = respond::json(StatusCode::OK, &Count { count: count as u64 });
    crate::min_offset::show(&mut response, next_offset);
    Ok(response)
}

/// Answers a page.
pub(crate) async fn find(app: &App, caller: &Caller, request: PageRequest) -> Result<Response, ApiError> {
    let mut pages = Pages::new(&app.ports, caller, request)?;
    let answer = on_engine(app, move |engine| -> Result<(Vec<u8>, u64), ApiError> {
        let mut out = b"{".to_vec();
        pages.write_next(engine, &mut out)?;
        out.push(b'}');
        Ok((out, engine.next_offset()))
    })
    .await??;
    let mut response = respond::json_bytes(StatusCode::OK, answer.0);
    crate::min_offset::show(&mut response, answer.1);
    Ok(response)
}

/// What a page came to.
pub(crate) struct Written {
    pub(crate) is_empty: bool,
    /// Whether another page follows.
    pub(crate) goes_on: bool,
}

/// A list that is shown page by page, and how far it has come.
pub(crate) struct Pages {
    query: egiz_twin::Query,
    fields: Option<Fields>,
    with_metadata: bool,
    /// What its cursors are bound to.
    question: [String; 4],
    key: [u8; 32],
}

impl Pages {
    /// # Errors
    /// `invalid-cursor` where it belongs to another list.
    pub(crate) fn new(ports: &Ports, caller: &Caller, request: PageRequest) -> Result<Self, ApiError> {
        let filter = request.filter.as_ref().map(ToString::to_string).unwrap_or_default();
        let sign = |key: &SortKey| if key.descending { '-' } else { '+' };
        let sort = request.sort.iter().map(|key| format!("{}{},", sign(key), key.path)).collect();
        let question = ["things".to_owned(), filter, sort, caller.principal.to_string()];
        let key = ports.settings.cursor_key;
        let after = match &request.cursor {
            Some(text) => Some(position_from(cursor::open_value(&key, &as_texts(&question), text)?)),
            None => None,
        };
        let query =
            egiz_twin::Query { filter: request.filter, sort: request.sort, after, limit: request.limit };
        let PageRequest { fields, with_metadata, .. } = request;
        Ok(Self { query, fields, with_metadata, question, key })
    }

    /// Writes the next page as the members `items` and, where another one follows, `cursor`.
    ///
    /// # Errors
    /// `invalid-cursor` where its position belongs to another order.
    pub(crate) fn write_next(&mut self, engine: &Engine, out: &mut Vec<u8>) -> Result<Written, ApiError> {
        let page = engine.search(&self.query).map_err(|error| ApiError::from(&error))?;
        let shown = Shown::of(self.fields.as_ref());
        out.reserve(256 + page.slots.len() * 1024);
        out.extend_from_slice(b"\"items\":[");
        let mut separator = false;
        for slot in &page.slots {
            let Some(thing) = engine.thing_at(*slot) else { continue };
            if std::mem::replace(&mut separator, true) {
                out.push(b',');
            }
            present::thing(out, &thing, &shown, self.with_metadata);
        }
        out.push(b']');
        let is_empty = page.slots.is_empty();
        let Some(next) = page.next else { return Ok(Written { is_empty, goes_on: false }) };
        out.extend_from_slice(b",\"cursor\":");
        present::string(out, &cursor::seal_value(&self.key, &as_texts(&self.question), &position_of(&next)));
        self.query.after = Some(next);
        Ok(Written { is_empty, goes_on: true })
    }
}

fn as_texts(question: &[String; 4]) -> [&str; 4] {
    question.each_ref().map(String::as_str)
}

async fn groups(app: &App, asked: AggregateQuery) -> Result<Response, ApiError> {
    let too_many = |name: &str, limit: usize| -> ApiError {
        Problem::new(Code::InvalidValue, format!("`{name}` has more than {limit} paths"))
            .at(format!("/{name}"), format!("at most {limit}"))
            .limit(limit as u64)
            .into()
    };
    if asked.group_by.len() > GROUP_PATHS_MAX {
        return Err(too_many("groupBy", GROUP_PATHS_MAX));
    }
    if asked.paths.len() > FIGURE_PATHS_MAX {
        return Err(too_many("paths", FIGURE_PATHS_MAX));
    }
    let paths = |name: &str, texts: &[String]| -> Result<Vec<Path>, ApiError> {
        texts
            .iter()
            .enumerate()
            .map(|(index, text)| {
                Path::parse(text).map_err(|reason| {
                    Problem::new(Code::InvalidValue, reason.clone())
                        .at(format!("/{name}/{index}"), reason)
                        .into()
                })
            })
            .collect()
    };
    let aggregates = paths("paths", &asked.paths)?
        .into_iter()
        .flat_map(|path| FUNCTIONS.map(|function| egiz_twin::Aggregate { function, path: path.clone() }))
        .collect();
    let query = egiz_twin::AggregateQuery {
        filter: asked.filter.as_ref().map(filter_of).transpose()?.flatten(),
        group_by: paths("groupBy", &asked.group_by)?,
        aggregates,
        groups_max: GROUPS_MAX,
    };
    let (found, next_offset) =
        on_engine(app, move |engine| (engine.aggregate(&query), engine.next_offset())).await?;
    let found = found.map_err(|error| ApiError::from(&error))?;
    let groups = found
        .into_iter()
        .map(|group| Group {
            key: asked
                .group_by
                .iter()
                .cloned()
                .zip(
                    group.keys.iter().map(|key| key.as_ref().map_or(Value::Null, egiz_model::Value::to_json)),
                )
                .collect(),
            things: group.things as u64,
            values: asked
                .paths
                .iter()
                .zip(group.values.chunks(FUNCTIONS.len()))
                .map(|(path, values)| {
                    let at = |index: usize| values.get(index).copied().flatten();
                    Figures {
                        path: path.clone(),
                        count: at(0).map_or(0, as_count),
                        min: at(1),
                        max: at(2),
                        avg: at(3),
                        sum: at(4),
                    }
                })
                .collect(),
        })
        .collect();
    let mut response = respond::json(StatusCode::OK, &Groups { groups });
    crate::min_offset::show(&mut response, next_offset);
    Ok(response)
}

/// Runs a computation over the engine: here while it is small, else on a blocking thread.
pub(crate) async fn on_engine<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Engine) -> T + Send + 'static,
) -> Result<T, ApiError> {
    on_engine_of(&app.ports, work).await
}

/// As [`on_engine`], for those who have the ports only.
pub(crate) async fn on_engine_of<T: Send + 'static>(
    ports: &Ports,
    work: impl FnOnce(&Engine) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let engine = ports.engine.clone();
    if engine.read().len() < BLOCKING_THINGS {
        return Ok(work(&engine.read()));
    }
    tokio::task::spawn_blocking(move || work(&engine.read()))
        .await
        .map_err(|_| ApiError::new(Code::Internal, "the server failed; its log has more under this traceId"))
}

/// A filter from a URL: RQL, or the simple form where it begins with `{`.
///
/// # Errors
/// `malformed-filter`.
pub(crate) fn filter_from_text(text: &str) -> Result<Option<Filter>, ApiError> {
    named_from_text("filter", text)
}

/// RQL, or the simple form, in the parameter or header field of this name.
///
/// # Errors
/// `malformed-filter`.
pub(crate) fn named_from_text(name: &str, text: &str) -> Result<Option<Filter>, ApiError> {
    let value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text)
            .map_err(|error| ApiError::new(Code::MalformedFilter, format!("the filter is not JSON: {error}")))
    } else {
        Ok(Value::from(text))
    };
    value.and_then(|value| read_filter(&value)).map_err(|error| {
        let reason = error.0.detail.clone();
        error.0.in_parameter(name, reason).into()
    })
}

/// A filter from a body: a text is RQL, an object the simple form; null and `{}` match all.
///
/// # Errors
/// `malformed-filter`.
pub(crate) fn filter_of(value: &Value) -> Result<Option<Filter>, ApiError> {
    read_filter(value).map_err(|error| {
        let reason = error.0.detail.clone();
        error.0.at("/filter", reason).into()
    })
}

fn read_filter(value: &Value) -> Result<Option<Filter>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => {
            if text.trim().is_empty() {
                Ok(None)
            } else {
                Filter::parse(text).map(Some).map_err(|error| ApiError::from(&error))
            }
        }
        Value::Object(members) if members.is_empty() => Ok(None),
        // RQL has its own bound, the same.
        Value::Object(_) if value.to_string().len() > Filter::LENGTH_MAX => {
            let detail = format!("the filter is longer than {} bytes", Filter::LENGTH_MAX);
            Err(Problem::new(Code::MalformedFilter, detail).limit(Filter::LENGTH_MAX as u64).into())
        }
        Value::Object(_) => Filter::from_simple(value).map(Some).map_err(|error| ApiError::from(&error)),
        _ => Err(ApiError::new(
            Code::MalformedFilter,
            "the filter must be an RQL text or an object of names and values",
        )),
    }
}

/// Sort keys from `-attributes/line,+thingId`; a `+` that the URL made a space counts as one, and so does no sign.
///
/// # Errors
/// `invalid-parameter`.
pub(crate) fn sort_of(text: &str) -> Result<Vec<SortKey>, ApiError> {
    let mut keys = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let (descending, path) = match part.strip_prefix('-') {
            Some(path) => (true, path),
            None => (false, part.trim_start_matches(['+', ' '])),
        };
        let path = path.trim().trim_start_matches('/');
        if path.is_empty() {
            return Err(crate::params::refused("sort", "a path is missing"));
        }
        let path = Path::parse(path).map_err(|reason| crate::params::refused("sort", &reason))?;
        keys.push(SortKey { path, descending });
    }
    if keys.len() > SORT_KEYS_MAX {
        return Err(crate::params::refused("sort", "at most 4 paths"));
    }
    Ok(keys)
}

/// What a cursor says of a position: the values of the sort keys, `[]` for none and `[value]` for one, then the Thing's id.
type SaidPosition = (Vec<Vec<Value>>, String);

fn position_of(position: &Position) -> SaidPosition {
    let values = |key: &Option<_>| key.iter().map(egiz_model::Value::to_json).collect();
    (position.keys.iter().map(values).collect(), position.thing.clone())
}

fn position_from((keys, thing): SaidPosition) -> Position {
    let keys = keys.iter().map(|key| key.first().map(egiz_model::Value::from_json)).collect();
    Position { keys, thing }
}

/// A count that the engine gives as a floating number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count is whole and not negative"
)]
fn as_count(number: f64) -> u64 {
    number as u64
}
