//! InfluxDB's protocols, so that Telegraf and client libraries write here, and Grafana reads, without change.
//!
//! ```text
//!  /write, /api/v2/write ──► unpack ──► LineMapper (program: egiz-ingest) ──► WriteGate ──► 204
//!  /query ──► egiz-influx: statements ──► catalog: which series there are ──► select: rows of history ──► answer: JSON
//!  /ping ──► 204 with a version
//! ```
//!
//! What a line means is decided by `egiz-ingest`, what the text of a line is by `egiz-influx`. Here is what is HTTP: sizes,
//! parameters, credentials in InfluxDB's ways, and answers as its clients understand them. Like InfluxDB, and unlike the rest
//! of this API, these routes pass over parameters that they do not know. Every name of a database, bucket, organisation
//! or retention policy is taken: there is one store.

mod answer;
mod catalog;
pub(crate) mod credentials;
pub(crate) mod fault;
mod gather;
mod params;
pub(crate) mod query;
mod select;
mod show;
mod spread;
mod unpack;
pub(crate) mod write;

use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use crate::respond;

/// The version that clients are told: the last of the first generation whose protocols these are, and who speaks them.
const VERSION: &str = "1.8.10-openegiz";

/// Whether a path is one of InfluxDB's.
pub(crate) fn is_path(path: &str) -> bool {
    matches!(path, "/ping" | "/write" | "/query" | "/api/v2/write")
}

/// Whether the program answers, and as which version.
#[utoipa::path(get, path = "/ping", tag = "influx",
    params(("verbose" = Option<String>, Query, description = "Anything but `false` or `0`: the version in a body, too")),
    responses(
        (status = 204, description = "It answers; `X-Influxdb-Version` and `X-Influxdb-Build` say as what"),
        (status = 200, description = "The same with a body, where `verbose` asks for it", body = String, content_type = "application/json"),
    ))]
pub(crate) async fn ping(RawQuery(raw): RawQuery) -> Response {
    let params = params::Params::of_query(raw.as_deref());
    match params.get("verbose") {
        None | Some("false" | "0") => respond::empty(StatusCode::NO_CONTENT),
        Some(_) => respond::json(StatusCode::OK, &serde_json::json!({ "version": VERSION })),
    }
}

/// Says who answers.
fn write_version(headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static("x-influxdb-version"), HeaderValue::from_static(VERSION));
    headers.insert(HeaderName::from_static("x-influxdb-build"), HeaderValue::from_static("OSS"));
}
