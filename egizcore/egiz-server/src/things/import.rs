//! `POST /things/import`: Things as NDJSON in, a result a line as NDJSON out, both streamed.
//!
//! Memory is bounded by one batch of lines, whatever the length of the stream; the client is slowed down by the journal's
//! pace. Each line stands for itself: it is valid and carried out, or reported with its number.

use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use egiz_api::{Code, ItemOutcome, ItemResult, Problem, Summary};
use egiz_model::record::{Body as RecordBody, Preconditions, ThingWrite, WriteOperation};
use futures::StreamExt;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::app::App;
use crate::caller::Caller;
use crate::error::{ApiError, of_refusal};
use crate::params::{self, Params};
use crate::ports::Applied;
use crate::things::write::{id_in, with_whole_id};
use crate::{body, outflow, submit};

/// The most lines that go to the journal at once.
const BATCH_LINES: usize = 128;
/// The most bytes of lines that go to the journal at once, but for a single line that is longer.
const BATCH_BYTES: usize = 1024 * 1024;
/// How many batches of results wait for the client; at the bound the work waits with it.
const LINES_AHEAD: usize = 2;

/// Takes Things in, one a line; each is created or replaced, or with `mode=create` created only.
#[utoipa::path(post, path = "/api/v1/things/import", tag = "bulk",
    params(("mode" = Option<String>, Query, description = "`upsert` (default) or `create`")),
    request_body(content = String, content_type = "application/x-ndjson", description = "A Thing a line"),
    responses(
        (status = 200, description = "A result a line, at last the summary", body = ItemResult, content_type = "application/x-ndjson"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn import(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let params = Params::parse(raw.as_deref(), &["mode"])?;
    let operation = match params.get("mode") {
        None | Some("upsert") => WriteOperation::Put,
        Some("create") => WriteOperation::Create,
        Some(_) => return Err(params::refused("mode", "it must be upsert or create")),
    };
    match body::media_type(&headers).as_deref() {
        None
        | Some("application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/json") => {}
        Some(other) => return Err(body::unsupported(other, "application/x-ndjson")),
    }
    let permit = outflow::permit(&app)?;
    let pause = Duration::from_millis(app.ports.settings.stream_pause_ms);
    let import = Import {
        lines: Lines::new(content.into_data_stream(), app.ports.settings.body_bytes_max, pause),
        app,
        caller,
        operation,
        summary: Summary::default(),
        finished: false,
        _permit: permit,
    };
    Ok(ndjson(import, pause))
}

/// Work that goes on in steps, each with lines for the client.
pub(crate) trait Steps: Send + 'static {
    /// The next lines; `None` at the end.
    fn step(&mut self) -> impl Future<Output = Option<Vec<u8>>> + Send;
}

/// Answers the lines of `steps` while they come.
///
/// The work has a task of its own, which ends with the work, or as soon as the client is gone or takes nothing for
/// `pause`: the lines then lack the summary, and the place among the streams is free again.
pub(crate) fn ndjson(mut steps: impl Steps, pause: Duration) -> Response {
    let (sender, receiver) = mpsc::channel::<Bytes>(LINES_AHEAD);
    tokio::spawn(async move {
        while let Some(lines) = steps.step().await {
            if !matches!(tokio::time::timeout(pause, sender.send(lines.into())).await, Ok(Ok(()))) {
                tracing::debug!("a client left its import or bulk change, or took no results");
                break;
            }
        }
    });
    let stream = futures::stream::unfold(receiver, |mut receiver| async move {
        let lines = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(lines), receiver))
    });
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Appends a value and a line feed.
pub(crate) fn push_line<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    // Numbers, texts and lists always have a JSON form.
    let _ = serde_json::to_writer(&mut *out, value);
    out.push(b'\n');
}

/// The last line.
#[derive(Serialize)]
pub(crate) struct LastLine {
    pub(crate) summary: Summary,
}

struct Import {
    app: App,
    caller: Caller,
    operation: WriteOperation,
    lines: Lines,
    summary: Summary,
    finished: bool,
    _permit: OwnedSemaphorePermit,
}

impl Steps for Import {
    /// Carries out the next batch; `None` after the summary.
    async fn step(&mut self) -> Option<Vec<u8>> {
        if self.finished {
            return None;
        }
        let mut results: Vec<ItemResult> = Vec::new();
        let mut records = Vec::new();
        let mut places = Vec::new();
        let mut bytes = 0;
        let mut end = false;
        while results.len() < BATCH_LINES && bytes < BATCH_BYTES {
            // Lines that are there already go together; a pause of the client closes the batch.
            let next = if results.is_empty() { self.lines.next().await } else { self.lines.next_ready() };
            match next {
                Next::Line(number, line) => {
                    bytes += line.len();
                    match self.record(&line) {
                        Ok((thing, record)) => {
                            places.push(results.len());
                            records.push(record);
                            results.push(item(number, Some(thing), ItemOutcome::Refused));
                        }
                        Err(error) => {
                            let mut result = item(number, None, ItemOutcome::Refused);
                            result.problem = Some(*error.0);
                            results.push(result);
                        }
                    }
                }
                Next::Pending => break,
                Next::End => {
                    self.summary.complete = true;
                    end = true;
                    break;
                }
                Next::Failed(number, problem) => {
                    let mut result = item(number, None, ItemOutcome::Refused);
                    result.problem = Some(*problem);
                    results.push(result);
                    end = true;
                    break;
                }
            }
        }
        if !records.is_empty() {
            match submit::batch(&self.app, records).await {
                Ok(applied) => {
                    for (place, applied) in places.into_iter().zip(applied) {
                        settle(&mut results[place], applied);
                    }
                }
                Err(error) => {
                    for place in places {
                        results[place].problem = Some((*error.0).clone());
                    }
                    self.summary.complete = false;
                    end = true;
                }
            }
        }
        let mut out = Vec::new();
        for result in &mut results {
            if let Some(problem) = &mut result.problem {
                problem.trace_id = Some(self.caller.correlation.to_string());
            }
            count(&mut self.summary, result.outcome);
            push_line(&mut out, result);
        }
        if end {
            self.finished = true;
            push_line(&mut out, &LastLine { summary: self.summary });
        }
        Some(out)
    }
}

impl Import {
    fn record(&self, line: &[u8]) -> Result<(String, Vec<u8>), ApiError> {
        let settings = &self.app.ports.settings;
        body::json::check(line, settings.json_depth_max)?;
        let thing = id_in(line, &settings.sites)?;
        let write = ThingWrite {
            thing: &thing,
            operation: self.operation,
            path: "",
            content: &with_whole_id(line, &thing),
            preconditions: Preconditions::default(),
        };
        let record = submit::record(&self.app, &self.caller, RecordBody::ThingWrite(write));
        Ok((thing, record))
    }
}

fn item(line: u64, thing_id: Option<String>, outcome: ItemOutcome) -> ItemResult {
    ItemResult {
        line: Some(line),
        thing_id,
        outcome,
        revision: None,
        offset: None,
        changes: Vec::new(),
        problem: None,
    }
}

/// Writes what came of a record into its result.
pub(crate) fn settle(result: &mut ItemResult, applied: Applied) {
    use egiz_twin::{Outcome, WriteOutcome};
    result.offset = Some(applied.offset);
    match applied.outcome {
        Outcome::Write(WriteOutcome::Refused(refusal)) => {
            let thing = result.thing_id.as_deref().unwrap_or_default();
            result.problem = Some(*of_refusal(refusal, thing).0);
        }
        Outcome::Write(WriteOutcome::Created { revision }) => {
            (result.outcome, result.revision) = (ItemOutcome::Created, Some(revision));
        }
        Outcome::Write(WriteOutcome::Changed { revision }) => {
            (result.outcome, result.revision) = (ItemOutcome::Changed, Some(revision));
        }
        Outcome::Write(WriteOutcome::Unchanged { revision }) => {
            (result.outcome, result.revision) = (ItemOutcome::Unchanged, Some(revision));
        }
        Outcome::Write(WriteOutcome::Deleted { revision }) => {
            (result.outcome, result.revision) = (ItemOutcome::Deleted, Some(revision));
        }
        _ => result.problem = Some(Problem::new(Code::Internal, "the server failed")),
    }
}

/// Counts an item into the summary.
pub(crate) fn count(summary: &mut Summary, outcome: ItemOutcome) {
    summary.items += 1;
    *match outcome {
        ItemOutcome::Created | ItemOutcome::WouldCreate => &mut summary.created,
        ItemOutcome::Changed | ItemOutcome::WouldChange => &mut summary.changed,
        ItemOutcome::Unchanged => &mut summary.unchanged,
        ItemOutcome::Deleted | ItemOutcome::WouldDelete => &mut summary.deleted,
        ItemOutcome::Refused => &mut summary.refused,
    } += 1;
}

/// What the stream has next.
enum Next {
    Line(u64, Vec<u8>),
    /// Nothing complete yet.
    Pending,
    End,
    /// The stream cannot go on after this line.
    Failed(u64, Box<Problem>),
}

/// Cuts a body into lines, with its line numbers from 1; empty lines are skipped.
struct Lines {
    stream: Pin<Box<BodyDataStream>>,
    buffer: Vec<u8>,
    /// Up to where the buffer was searched for a line feed.
    searched: usize,
    line: u64,
    line_bytes_max: usize,
    pause: Duration,
    ended: bool,
}

impl Lines {
    fn new(stream: BodyDataStream, line_bytes_max: usize, pause: Duration) -> Self {
        Self {
            stream: Box::pin(stream),
            buffer: Vec::new(),
            searched: 0,
            line: 0,
            line_bytes_max,
            pause,
            ended: false,
        }
    }

    /// The next line that is in the buffer already.
    fn next_ready(&mut self) -> Next {
        loop {
            match self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                Some(position) => {
                    let rest = self.buffer.split_off(self.searched + position + 1);
                    let mut line = std::mem::replace(&mut self.buffer, rest);
                    self.searched = 0;
                    line.pop();
                    self.line += 1;
                    if !line.trim_ascii().is_empty() {
                        return Next::Line(self.line, line);
                    }
                }
                None if self.ended => {
                    let line = std::mem::take(&mut self.buffer);
                    self.searched = 0;
                    if line.trim_ascii().is_empty() {
                        return Next::End;
                    }
                    self.line += 1;
                    return Next::Line(self.line, line);
                }
                None => {
                    self.searched = self.buffer.len();
                    return Next::Pending;
                }
            }
        }
    }

    /// The next line, waited for.
    async fn next(&mut self) -> Next {
        loop {
            match self.next_ready() {
                Next::Pending => {}
                ready => return ready,
            }
            if self.buffer.len() > self.line_bytes_max {
                let limit = self.line_bytes_max;
                let problem =
                    Problem::new(Code::BodyTooLarge, format!("the line is longer than {limit} bytes"));
                return Next::Failed(self.line + 1, Box::new(problem.limit(limit as u64)));
            }
            match tokio::time::timeout(self.pause, self.stream.next()).await {
                Ok(Some(Ok(chunk))) => self.buffer.extend_from_slice(&chunk),
                Ok(Some(Err(_))) => {
                    let problem = Problem::new(Code::MalformedRequest, "the stream broke off before its end");
                    return Next::Failed(self.line + 1, Box::new(problem));
                }
                Ok(None) => self.ended = true,
                Err(_) => {
                    let detail = format!("the stream paused for more than {} ms", self.pause.as_millis());
                    return Next::Failed(self.line + 1, Box::new(Problem::new(Code::RequestTimeout, detail)));
                }
            }
        }
    }
}
