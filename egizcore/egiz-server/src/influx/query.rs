//! `/query`: InfluxQL in, JSON out.
//!
//! A query that cannot be read is a 400; what goes wrong with one statement is said in its result, and the others are
//! answered. A read sees what was acknowledged before it began, history included, as long as that takes less than a second.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use egiz_api::Code;
use egiz_historian::Historian;
use egiz_influx::Precision;
use egiz_influx::influxql::{self, Statement};

use super::answer::{self, Form, Outcome};
use super::params::Params;
use super::select::{self, Budget};
use super::show;
use crate::app::App;
use crate::error::ApiError;
use crate::history::walk::Walk;
use crate::{body, history, min_offset, respond};

/// Rows of a piece where nothing else is asked for.
const CHUNK_ROWS: usize = 10_000;
/// How often it is looked whether history has what was acknowledged, and how many times.
const CATCH_UP_LOOK: Duration = Duration::from_millis(2);
const CATCH_UP_LOOKS: usize = 500;

/// Why a statement has no answer.
pub(super) enum Fault {
    /// The request fails.
    Request(ApiError),
    /// The statement's result says so.
    Statement(String),
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        Self::Request(error)
    }
}

/// InfluxQL in the URL.
#[utoipa::path(get, path = "/query", tag = "influx",
    params(
        ("q" = String, Query, description = "Statements in InfluxQL with `;` between; docs/influx.md says which"),
        ("db" = Option<String>, Query, description = "A database; every name is taken"),
        ("epoch" = Option<String>, Query, description = "The unit of times in the answer: `ns`, `u`, `ms`, `s`, `m` or `h`; RFC 3339 where it is missing"),
        ("chunked" = Option<String>, Query, description = "`true`: the answer comes in pieces, each a document on a line of its own"),
        ("chunk_size" = Option<u32>, Query, description = "Rows of a piece; 10,000 where it is missing"),
        ("pretty" = Option<String>, Query, description = "`true`: with line ends and spaces"),
    ),
    responses(
        (status = 200, description = "`results` with one entry for each statement", body = String, content_type = "application/json"),
        (status = 400, description = "`error` says what of the query cannot be read, or is not supported", body = String, content_type = "application/json"),
        (status = "default", description = "`error` says why", body = String, content_type = "application/json"),
    ))]
pub(crate) async fn query(State(app): State<App>, RawQuery(raw): RawQuery) -> Result<Response, ApiError> {
    answer_to(&app, &Params::of_query(raw.as_deref())).await
}

/// InfluxQL in a form, or in the URL.
#[utoipa::path(post, path = "/query", tag = "influx", request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "The parameters as a form"),
    params(("q" = Option<String>, Query, description = "As for `GET`; here or in the form, and so all the others")),
    responses(
        (status = 200, description = "`results` with one entry for each statement", body = String, content_type = "application/json"),
        (status = 400, description = "`error` says what of the query cannot be read, or is not supported", body = String, content_type = "application/json"),
        (status = "default", description = "`error` says why", body = String, content_type = "application/json"),
    ))]
pub(crate) async fn query_by_form(
    State(app): State<App>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let bytes = body::read(&headers, content, &app.ports.settings).await?;
    let mut params = Params::of_query(raw.as_deref());
    match body::media_type(&headers).as_deref() {
        Some("application/vnd.influxql") => params.set("q", &String::from_utf8_lossy(&bytes)),
        None | Some("application/x-www-form-urlencoded") => params.add(&String::from_utf8_lossy(&bytes)),
        // Some clients name another type for a body that is empty.
        Some(_) if bytes.is_empty() => {}
        Some(other) => return Err(body::unsupported(other, "application/x-www-form-urlencoded")),
    }
    answer_to(&app, &params).await
}

async fn answer_to(app: &App, params: &Params) -> Result<Response, ApiError> {
    let malformed = |detail: String| ApiError::new(Code::MalformedRequest, detail);
    let text = params.get("q").ok_or_else(|| malformed("missing required parameter \"q\"".to_owned()))?;
    let form = form(params)?;
    let now = (app.ports.clock)().as_micros();
    let statements = influxql::parse(text, now).map_err(|error| malformed(error.to_string()))?;
    min_offset::wait_for_acknowledged(&app.ports).await?;
    let own = app.clone();
    let body = if app.ports.history.is_some() {
        let acknowledged = app.ports.progress.durable();
        history::blocking(app, move |walk| {
            catch_up(walk, acknowledged)?;
            outcomes(&own, Some(walk), now, &statements).map(|outcomes| answer::write(&outcomes, form))
        })
        .await?
    } else {
        answer::write(&outcomes(&own, None, now, &statements)?, form)
    };
    Ok(respond::json_bytes(StatusCode::OK, body))
}

fn form(params: &Params) -> Result<Form, ApiError> {
    let shown = |text: &str| text.chars().take(40).collect::<String>();
    let epoch = match params.get("epoch") {
        None => None,
        Some(text) => Some(Precision::parse(text).ok_or_else(|| {
            let reason = format!("it is `{}`; allowed are {}", shown(text), Precision::ALLOWED);
            crate::params::refused("epoch", &reason)
        })?),
    };
    let rows = match params.get("chunk_size") {
        None => CHUNK_ROWS,
        Some(text) => text.parse().ok().filter(|rows| *rows > 0).ok_or_else(|| {
            let reason = format!("it is `{}`; allowed are whole numbers from 1 on", shown(text));
            crate::params::refused("chunk_size", &reason)
        })?,
    };
    let is_set = |name: &str| matches!(params.get(name), Some("true" | "1"));
    Ok(Form { epoch, chunk_rows: is_set("chunked").then_some(rows), is_pretty: is_set("pretty") })
}

/// Waits until history has taken in what was acknowledged before the question; a moment, mostly none.
fn catch_up(walk: &Walk, acknowledged: u64) -> Result<(), ApiError> {
    let Some(last) = acknowledged.checked_sub(1) else { return Ok(()) };
    for _ in 0..CATCH_UP_LOOKS {
        if !walk.historian().intake().wants(last) {
            break;
        }
        walk.go_on()?;
        std::thread::sleep(CATCH_UP_LOOK);
    }
    Ok(())
}

fn outcomes(
    app: &App,
    walk: Option<&Walk>,
    now: i64,
    statements: &[Statement],
) -> Result<Vec<Outcome>, ApiError> {
    let mut budget = Budget::new();
    let mut outcomes = Vec::with_capacity(statements.len());
    for statement in statements {
        outcomes.push(match one(app, walk, now, statement, &mut budget) {
            Ok(series) => Ok(series),
            Err(Fault::Statement(reason)) => Err(reason),
            Err(Fault::Request(error)) => return Err(error),
        });
    }
    Ok(outcomes)
}

fn one(
    app: &App,
    walk: Option<&Walk>,
    now: i64,
    statement: &Statement,
    budget: &mut Budget,
) -> Result<Vec<answer::Series>, Fault> {
    let past: Option<&Historian> = walk.map(Walk::historian);
    Ok(match statement {
        Statement::ShowDatabases => show::databases(app),
        Statement::ShowRetentionPolicies => show::retention_policies(app),
        Statement::CreateDatabase => Vec::new(),
        Statement::ShowMeasurements(asked) => show::measurements(app, past, asked)?,
        Statement::ShowTagKeys(asked) => show::tag_keys(app, past, asked)?,
        Statement::ShowTagValues(asked, keys) => show::tag_values(app, past, asked, keys)?,
        Statement::ShowFieldKeys(asked) => show::field_keys(app, past, asked)?,
        Statement::ShowSeries(asked) => show::series(app, past, asked)?,
        Statement::Select(asked) => match walk {
            Some(walk) => select::run(app, walk, now, asked, budget)?,
            None => {
                let reason = "this installation keeps no history: it is switched off in its configuration";
                return Err(Fault::Statement(reason.to_owned()));
            }
        },
    })
}
