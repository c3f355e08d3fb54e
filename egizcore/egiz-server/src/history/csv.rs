//! History as CSV (RFC 4180): a row a message of samples, streamed while they are read; a row a bucket of aggregates.
//!
//! What a row says of trust stands in its column `quality`: nothing where all of it is good, else each property that is
//! not, with the quality and its reason, `;` between them.

use std::ops::ControlFlow;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use egiz_api::{History, HistorySample, PropertyHistory};
use egiz_historian::series::{Span, Within};
use egiz_historian::{Reading, Rows};
use egiz_model::{Quality, QualityReason, Value};

use super::ask::{Ask, Gathering, Mode, RawPage};
use super::buckets::Of;
use super::outlet::{self, CHUNK_BYTES, Outlet};
use super::raw::{Plan, of_item};
use super::selection::Key;
use super::walk::{Pace, Walk};
use super::{blocking, buckets, chart, context, known};
use crate::app::App;
use crate::error::ApiError;
use crate::outflow;

const LINE_END: &[u8] = b"\r\n";

/// Answers as CSV.
///
/// # Errors
/// Those of the JSON form, and `overloaded` where as many streams are under way as may be.
pub(super) async fn answer(app: &App, mut ask: Ask) -> Result<Response, ApiError> {
    let live = app.clone();
    let is_streamed = matches!(ask.mode, Mode::Raw(_));
    let permit = outflow::permit(app)?;
    if is_streamed {
        let (ask, within, columns) = blocking(app, move |walk| {
            known(&live, walk.historian(), &ask.thing)?;
            let walk = &walk.seeing(ask.view);
            let within = context::within(walk, &live, &ask.conditions, ask.lookout())?;
            let columns = columns(walk, &ask, within.as_ref())?;
            Ok((ask, within, columns))
        })
        .await?;
        let body = outlet::stream(app, permit, move |walk, outlet| {
            let Mode::Raw(page) = &ask.mode else { return Ok(()) };
            let walk = &walk.seeing(ask.view);
            let of = of(&ask, within.as_ref());
            write_samples(walk, &of, page, &columns, outlet)
        })?;
        return Ok(response(body));
    }
    let body = blocking(app, move |walk| {
        known(&live, walk.historian(), &ask.thing)?;
        let walk = &walk.seeing(ask.view);
        let within = context::within(walk, &live, &ask.conditions, ask.lookout())?;
        let mut out = Vec::new();
        if let Mode::Buckets(asked) = &mut ask.mode {
            let leaves_out = asked.fill == egiz_historian::series::Fill::None;
            if leaves_out {
                // A row has the buckets of all properties: it is left out where none of them has a value.
                asked.fill = egiz_historian::series::Fill::Null;
            }
            let asked = asked.clone();
            let answer = buckets::answer(walk, &ask, &asked, within.as_ref())?;
            match &asked.gathering {
                Gathering::Numbers(aggregates) => {
                    let names: Vec<&str> = aggregates.iter().map(|(name, _)| name.as_str()).collect();
                    let spans: Vec<Span> = buckets::shown(&asked, within.as_ref()).collect();
                    write_buckets(&mut out, &answer, &spans, &names, leaves_out);
                }
                Gathering::Durations => write_states(&mut out, &answer),
            }
        }
        if let Mode::Chart(of_width) = &ask.mode {
            write_points(&mut out, &chart::answer(walk, &ask, of_width, within.as_ref())?);
        }
        Ok(out)
    })
    .await?;
    drop(permit);
    Ok(response(Body::from(body)))
}

fn response(body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The columns of samples: what is named, else what there is in the range, which is looked through for it.
fn columns(walk: &Walk, ask: &Ask, within: Option<&Within>) -> Result<Vec<Key>, ApiError> {
    let mut columns: Vec<Key> = ask.selection.named().cloned().collect();
    if ask.selection.is_closed() {
        return Ok(columns);
    }
    walk.kept_slices(&of(ask, within), Pace::All, |rows| {
        let rows = &rows;
        for step in Plan::of(rows, &ask.selection).0 {
            for key in step.keys(&ask.selection) {
                let is_there = || (0..rows.len()).any(|row| reading(rows, row, &key).is_some());
                if columns.contains(&key) || !is_there() {
                    continue;
                }
                if columns.len() == super::PROPERTIES_MAX {
                    return Err(super::too_many_properties());
                }
                columns.push(key);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    columns.sort_by(|a, b| ask.selection.order(a, b));
    Ok(columns)
}

/// What is asked for, of what lies within.
fn of<'a>(ask: &'a Ask, within: Option<&'a Within>) -> Of<'a> {
    Of { thing: &ask.thing, range: (ask.from, ask.to), selection: &ask.selection, within }
}

fn write_samples(
    walk: &Walk,
    of: &Of<'_>,
    page: &RawPage,
    columns: &[Key],
    outlet: &mut Outlet,
) -> Result<(), ApiError> {
    let paths: Vec<String> = columns.iter().map(Key::path).collect();
    let mut line = Line::begin(outlet.buffer());
    line.field("time");
    line.field("received_after_s");
    paths.iter().for_each(|path| line.field(path));
    line.field("quality");
    line.end();
    let mut left = page.limit.unwrap_or(usize::MAX);
    walk.kept_slices(of, Pace::All, |rows| {
        let rows = &rows;
        for row in 0..rows.len() {
            let readings: Vec<Option<Reading>> = columns.iter().map(|key| reading(rows, row, key)).collect();
            if readings.iter().all(Option::is_none) {
                continue;
            }
            if left == 0 {
                return Ok(ControlFlow::Break(()));
            }
            left -= 1;
            write_row(outlet.buffer(), rows, row, &paths, &readings);
            outlet.send(CHUNK_BYTES)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    outlet.send(1)
}

fn reading(rows: &Rows, row: usize, key: &Key) -> Option<Reading> {
    of_item(&rows.reading(row, &key.feature, &key.property)?, key.item)
}

fn write_row(out: &mut Vec<u8>, rows: &Rows, row: usize, paths: &[String], readings: &[Option<Reading>]) {
    let mut line = Line::begin(out);
    line.field(&rows.time(row).to_string());
    line.field(&rows.delay_s(row).to_string());
    let mut trust = String::new();
    for (path, reading) in paths.iter().zip(readings) {
        match reading {
            None => line.field(""),
            Some(reading) => {
                let removed = Value::text("removed");
                if reading.value.is_none() {
                    push_trust(&mut trust, path, removed.as_str().unwrap_or_default(), None);
                }
                if reading.quality != Quality::Good || reading.reason == QualityReason::Corrected {
                    push_trust(&mut trust, path, reading.quality.as_str(), Some(reading.reason));
                }
                line.field(&text_of(reading.value.as_ref()));
            }
        }
    }
    line.field(&trust);
    line.end();
}

fn push_trust(trust: &mut String, path: &str, word: &str, reason: Option<QualityReason>) {
    if !trust.is_empty() {
        trust.push(';');
    }
    trust.push_str(path);
    trust.push(' ');
    trust.push_str(word);
    if let Some(reason) = reason.and_then(QualityReason::as_str) {
        trust.push(' ');
        trust.push_str(reason);
    }
}

/// A value in a field: texts as they are, lists and objects as JSON, nothing for none.
fn text_of(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::Text(text)) => text.to_string(),
        Some(value) => {
            let mut out = Vec::new();
            super::value(&mut out, value);
            String::from_utf8(out).unwrap_or_default()
        }
    }
}

fn write_buckets(out: &mut Vec<u8>, answer: &History, spans: &[Span], names: &[&str], leaves_out: bool) {
    let paths: Vec<String> = answer.properties.iter().map(path_of).collect();
    let mut line = Line::begin(out);
    line.field("start");
    line.field("end");
    for path in &paths {
        names.iter().for_each(|name| line.field(&format!("{path}:{name}")));
    }
    line.field("partial");
    line.field("quality");
    line.end();
    let of_property: Vec<_> =
        answer.properties.iter().map(|entry| entry.buckets.as_deref().unwrap_or_default()).collect();
    for (index, span) in spans.iter().enumerate() {
        let buckets: Vec<_> = of_property.iter().filter_map(|buckets| buckets.get(index)).collect();
        if leaves_out && buckets.iter().all(|bucket| bucket.values.values().all(Option::is_none)) {
            continue;
        }
        let mut line = Line::begin(out);
        line.field(&span.start.to_string());
        line.field(&span.end.to_string());
        let mut trust = String::new();
        for (path, bucket) in paths.iter().zip(&buckets) {
            for name in names {
                let value = bucket.values.get(*name).copied().flatten().map(Value::Float);
                line.field(&text_of(value.as_ref()));
            }
            if bucket.quality != Quality::Good {
                push_trust(&mut trust, path, bucket.quality.as_str(), None);
            }
        }
        line.field(if buckets.iter().any(|bucket| bucket.partial) { "true" } else { "false" });
        line.field(&trust);
        line.end();
    }
}

fn write_states(out: &mut Vec<u8>, answer: &History) {
    let mut line = Line::begin(out);
    ["start", "end", "property", "state", "duration_s", "entries"].iter().for_each(|name| line.field(name));
    line.end();
    for entry in &answer.properties {
        let path = path_of(entry);
        for bucket in entry.buckets.iter().flatten() {
            let known = bucket.states.iter().flatten().map(|state| {
                let name = match &state.state {
                    serde_json::Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                (name, state.duration_s, state.entries.to_string())
            });
            // The time in no known state has a row with no state.
            let unknown = bucket.unknown_s.filter(|seconds| *seconds > 0.0);
            let unknown = unknown.map(|seconds| (String::new(), seconds, String::new()));
            for (state, seconds, entries) in known.chain(unknown) {
                let mut line = Line::begin(out);
                line.field(&bucket.start.to_string());
                line.field(&bucket.end.to_string());
                line.field(&path);
                line.field(&state);
                line.field(&text_of(Some(&Value::Float(seconds))));
                line.field(&entries);
                line.end();
            }
        }
    }
}

fn write_points(out: &mut Vec<u8>, answer: &History) {
    let mut line = Line::begin(out);
    ["property", "time", "value", "quality"].iter().for_each(|name| line.field(name));
    line.end();
    for entry in &answer.properties {
        let path = path_of(entry);
        for HistorySample { time, value, quality, .. } in entry.samples.iter().flatten() {
            let mut line = Line::begin(out);
            line.field(&path);
            line.field(&time.to_string());
            line.field(&if value.is_null() { String::new() } else { value.to_string() });
            line.field(if *quality == Quality::Good { "" } else { quality.as_str() });
            line.end();
        }
    }
}

fn path_of(entry: &PropertyHistory) -> String {
    let (feature, property) = (entry.feature.as_str().into(), entry.property.as_str().into());
    Key { feature, property, item: entry.item }.path()
}

/// A line that is being written.
struct Line<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl<'o> Line<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        Self { out, is_empty: true }
    }

    /// Writes a field, in quotes where it needs them.
    fn field(&mut self, text: &str) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.push(b',');
        }
        if text.contains(['"', ',', '\r', '\n']) {
            self.out.push(b'"');
            self.out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
            self.out.push(b'"');
        } else {
            self.out.extend_from_slice(text.as_bytes());
        }
    }

    fn end(self) {
        self.out.extend_from_slice(LINE_END);
    }
}
