//! `POST /write` and `POST /api/v2/write`: lines become records, and the answer comes when these are on disk.
//!
//! A device that was never heard before is made known with its first record, where devices become Things by themselves: history
//! keeps what Things say, and without that the body would come before there is one. That record is stored again once there
//! is: of a waiting device only a short last message is kept, and samples that the Thing has already are the same samples.
//!
//! Bounds: the body as it is sent and unpacked (413), one batch to the journal at a time. Where the journal's queue stays full or
//! its disk is, the answer is 503 with `Retry-After`; what was stored until then is stored, and sending all of it again changes
//! nothing, for a sample of the same time and value is the same sample.

use std::collections::HashSet;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use egiz_api::{Code, Problem};
use egiz_influx::{Lines, MappedLines, Precision};

use super::params::Params;
use super::unpack::{Encoding, unpacked};
use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::{body, min_offset, respond, submit};

/// Bytes of records that go to the journal at once.
const BATCH_BYTES: usize = 256 * 1024;
/// A packed or larger body is worked on apart from the tasks that answer requests.
const INLINE_BYTES_MAX: usize = 16 * 1024;

/// Lines of the first version's API.
#[utoipa::path(post, path = "/write", tag = "influx", request_body(content = String, content_type = "text/plain", description = "Line protocol"),
    params(
        ("db" = Option<String>, Query, description = "A database; every name is taken"),
        ("precision" = Option<String>, Query, description = "The unit of times: `ns` (default), `u`, `ms`, `s`, `m` or `h`"),
        ("u" = Option<String>, Query, description = "A user's name, of no meaning"),
        ("p" = Option<String>, Query, description = "A token"),
        ("Content-Encoding" = Option<String>, Header, description = "`gzip` where the body is packed"),
    ),
    responses(
        (status = 204, description = "Every line is on disk"),
        (status = 400, description = "Some lines were not understood: `error` names them and why; the others are on disk", body = String, content_type = "application/json"),
        (status = "default", description = "`error` says why", body = String, content_type = "application/json"),
    ))]
pub(crate) async fn write(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let params = Params::of_query(raw.as_deref());
    let place = format!("/write?db={}", shown(params.get("db")));
    take(&app, &caller, &Asked { place, params, headers: &headers }, content).await
}

/// Lines of the second version's API.
#[utoipa::path(post, path = "/api/v2/write", tag = "influx", request_body(content = String, content_type = "text/plain", description = "Line protocol"),
    params(
        ("org" = Option<String>, Query, description = "An organisation; every name is taken"),
        ("bucket" = Option<String>, Query, description = "A bucket; every name is taken"),
        ("precision" = Option<String>, Query, description = "The unit of times: `ns` (default), `us`, `ms` or `s`"),
        ("Content-Encoding" = Option<String>, Header, description = "`gzip` where the body is packed"),
    ),
    responses(
        (status = 204, description = "Every line is on disk"),
        (status = 400, description = "Some lines were not understood: `message` names them and why; the others are on disk", body = String, content_type = "application/json"),
        (status = "default", description = "`message` says why", body = String, content_type = "application/json"),
    ))]
pub(crate) async fn write_v2(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let params = Params::of_query(raw.as_deref());
    let place = format!("/api/v2/write?bucket={}", shown(params.get("bucket")));
    take(&app, &caller, &Asked { place, params, headers: &headers }, content).await
}

fn shown(name: Option<&str>) -> String {
    name.unwrap_or_default().chars().take(64).collect()
}

/// What comes with a body.
struct Asked<'a> {
    place: String,
    params: Params,
    headers: &'a HeaderMap,
}

async fn take(app: &App, caller: &Caller, asked: &Asked<'_>, content: Body) -> Result<Response, ApiError> {
    let precision = match asked.params.get("precision") {
        None => Precision::default(),
        Some(text) => Precision::parse(text).ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            let reason = format!("it is `{text}`; allowed are {}", Precision::ALLOWED);
            crate::params::refused("precision", &reason)
        })?,
    };
    let encoding = Encoding::of(asked.headers)?;
    let settings = &app.ports.settings;
    let packed = body::read_up_to(asked.headers, content, settings, settings.influx.body_bytes_max).await?;
    let mapped = if encoding == Encoding::Identity && packed.len() <= INLINE_BYTES_MAX {
        map(app, caller, &asked.place, precision, (packed, encoding))?
    } else {
        let (app, caller, place) = (app.clone(), caller.clone(), asked.place.clone());
        tokio::task::spawn_blocking(move || map(&app, &caller, &place, precision, (packed, encoding)))
            .await
            .map_err(|_| {
                ApiError::new(Code::Internal, "the server failed; its log has more under this traceId")
            })??
    };
    let MappedLines { records, accepted, rejected, first_rejected } = mapped;
    store(app, records).await?;
    if rejected == 0 {
        return Ok(respond::empty(StatusCode::NO_CONTENT));
    }
    let told = first_rejected.len();
    let mut lines: Vec<String> = first_rejected
        .into_iter()
        .map(|line| format!("unable to parse '{}': {} (line {})", line.excerpt, line.reason, line.number))
        .collect();
    if rejected > told {
        lines.push(format!("and {} more lines", rejected - told));
    }
    let mut detail = lines.join("\n");
    if accepted > 0 {
        detail = format!("partial write: {detail} dropped={rejected}");
    }
    Err(Problem::new(Code::InvalidValue, detail).into())
}

fn map(
    app: &App,
    caller: &Caller,
    place: &str,
    precision: Precision,
    (packed, encoding): (Bytes, Encoding),
) -> Result<MappedLines, ApiError> {
    let body = unpacked(packed, encoding, app.ports.settings.influx.unpacked_bytes_max)?;
    Ok(app.ports.lines.map(&Lines {
        received: (app.ports.clock)(),
        principal: &caller.principal,
        correlation: &caller.correlation,
        place,
        precision,
        body: &body,
    }))
}

/// Stores the records, those that make new devices known first.
///
/// # Errors
/// Those of the gate; some of the records may be stored.
async fn store(app: &App, records: Vec<(String, Vec<u8>)>) -> Result<(), ApiError> {
    let (first, newcomers) = newcomers(app, &records);
    if !newcomers.is_empty() {
        in_batches(app, first).await?;
        for thing in &newcomers {
            min_offset::wait_for_newcomer(&app.ports, thing).await;
        }
    }
    in_batches(app, records.into_iter().map(|(_, record)| record).collect()).await
}

type Records = Vec<Vec<u8>>;

/// The first record of each device that is no Thing yet and will become one by itself, and their names.
fn newcomers(app: &App, records: &[(String, Vec<u8>)]) -> (Records, Vec<String>) {
    if !app.ports.settings.accepts_devices {
        return (Vec::new(), Vec::new());
    }
    let mut unknown: HashSet<&str> = {
        let engine = app.ports.engine.read();
        let strangers = records.iter().filter(|(thing, _)| engine.thing(thing).is_none());
        strangers.map(|(thing, _)| thing.as_str()).collect()
    };
    let firsts = records.iter().filter(|(thing, _)| unknown.remove(thing.as_str()));
    firsts.map(|(thing, record)| (record.clone(), thing.clone())).unzip()
}

async fn in_batches(app: &App, records: Records) -> Result<(), ApiError> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    for record in records {
        bytes += record.len();
        batch.push(record);
        if bytes >= BATCH_BYTES {
            submit::batch(app, std::mem::take(&mut batch)).await?;
            bytes = 0;
        }
    }
    if !batch.is_empty() {
        submit::batch(app, batch).await?;
    }
    Ok(())
}
