//! What a client's commands do.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Message;
use egiz_api::{Code, Problem};
use egiz_model::record::{Body, Header, Record, ThingWrite, WriteOperation};
use egiz_twin::{Outcome, WriteOutcome};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Client, Columns, End, Source, Subscription};
use crate::error::ApiError;
use crate::live::acks::About;
use crate::live::board::Told;
use crate::live::feed::{Beginning, Feed};
use crate::live::fields_of;
use crate::live::hub::Hub;
use crate::live::request::{self, Command, Format, Subscribe, Write};
use crate::live::subscriber::Wish;
use crate::ports::{Applied, SubmitError};
use crate::strict;

/// The longest correlation id that is taken over.
const CORRELATION_BYTES_MAX: usize = 128;
/// How many times the allowed rate a client may send and be answered with problems; beyond it is closed.
const PATIENCE_WITH_RATE: u32 = 10;

impl Client {
    pub(super) async fn hear(&mut self, message: Message) -> Result<(), End> {
        self.unanswered = 0;
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(End::Close(1003, "binary-frame")),
            Message::Close(_) => return Err(End::Gone),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
        };
        if text.len() > self.hub.settings().frame_bytes_max {
            return Err(End::Close(1009, "frame-too-large"));
        }
        let (id, command) =
            request::read(&text, self.ports.settings.json_depth_max, &self.ports.settings.sites);
        let result = match self.within_rate()? {
            true => command,
            false => Err(Problem::new(Code::RateLimited, "more commands in a second than allowed")
                .limit(self.hub.settings().commands_per_second_max.into())
                .retry_after(1)
                .into()),
        };
        match result {
            Ok(Command::Ping) => {
                let mut answer = json!({"event": "Pong"});
                if let Some(id) = id {
                    answer["id"] = id;
                }
                self.outlet.text(answer.to_string().into_bytes()).await?;
                self.outlet.flush().await
            }
            Ok(Command::Unsubscribe(number)) => {
                let found = self.subscriptions.remove(&number).map(|_| json!({"subscription": number}));
                let unknown =
                    || request::refused("subscription", &format!("there is no subscription {number}"));
                self.answer_and_flush(id, found.ok_or_else(unknown)).await
            }
            Ok(Command::Search(request)) => {
                let begun = self.searches.begin(&self.caller, *request);
                self.answer_and_flush(id, begun.map(|number| json!({"search": number}))).await
            }
            Ok(Command::Request { search, pages }) => {
                let asked = self.searches.request(search, pages);
                self.answer_and_flush(id, asked.map(|()| json!({"search": search}))).await
            }
            Ok(Command::Cancel(search)) => {
                let cancelled = self.searches.cancel(search);
                self.answer_and_flush(id, cancelled.map(|()| json!({"search": search}))).await
            }
            Ok(Command::Playback(command)) => {
                let done = self.playbacks.command(command).await;
                self.answer_and_flush(id, done).await
            }
            Ok(Command::Declare(labels)) => {
                let declared = self.declare(labels);
                self.answer_and_flush(id, declared.map(|()| json!({}))).await
            }
            Ok(Command::Acknowledge(number, ack)) => {
                let is_awaited = self.declarations.acknowledge(number, ack);
                self.answer_and_flush(id, Ok(json!({"ack": number, "awaited": is_awaited}))).await
            }
            Ok(Command::Write(write)) => match self.submit(*write) {
                Ok(written) => {
                    self.writes.push_back(Box::pin(async move { (id, written.await) }));
                    Ok(())
                }
                Err(problem) => self.answer_and_flush(id, Err(problem)).await,
            },
            Ok(Command::Subscribe(subscribe)) => {
                let result = self.subscribe(id.clone(), *subscribe).await?;
                match result {
                    Some(problem) => self.answer_and_flush(id, Err(problem)).await,
                    None => self.send().await,
                }
            }
            Err(problem) => self.answer_and_flush(id, Err(problem)).await,
        }
    }

    /// Counts a command; whether it is within the rate.
    fn within_rate(&mut self) -> Result<bool, End> {
        let allowed = self.hub.settings().commands_per_second_max;
        let (begun, count) = &mut self.commands;
        if begun.elapsed() >= Duration::from_secs(1) {
            (*begun, *count) = (Instant::now(), 0);
        }
        *count += 1;
        if *count > allowed.saturating_mul(PATIENCE_WITH_RATE) {
            return Err(End::Close(1008, "too-many-commands"));
        }
        Ok(*count <= allowed)
    }

    pub(super) async fn answer_and_flush(
        &mut self,
        id: Option<Value>,
        result: Result<Value, ApiError>,
    ) -> Result<(), End> {
        self.answer(id, result).await?;
        self.outlet.flush().await
    }

    async fn answer(&mut self, id: Option<Value>, result: Result<Value, ApiError>) -> Result<(), End> {
        let mut answer = match result {
            Ok(mut answer) => {
                answer["ok"] = json!(true);
                answer
            }
            Err(ApiError(mut problem)) => {
                problem.trace_id = Some(self.caller.correlation.to_string());
                json!({"ok": false, "problem": problem})
            }
        };
        if let Some(id) = id {
            answer["id"] = id;
        }
        self.outlet.text(answer.to_string().into_bytes()).await
    }

    /// Begins a write; the future is done when it is durable and applied. Writes are submitted in the order in which the
    /// client sent them: each future is polled for the first time in that order.
    fn submit(
        &self,
        write: Write,
    ) -> Result<impl Future<Output = Result<Value, ApiError>> + Send + use<>, ApiError> {
        if !self.caller.may_write() {
            return Err(ApiError::new(Code::Forbidden, "the role does not allow changes"));
        }
        let is_usable = |text: &&str| text.len() <= CORRELATION_BYTES_MAX && text.is_ascii();
        let correlation = write.correlation.clone().filter(|text| is_usable(&text.as_str()));
        let header = Header {
            received: (self.ports.clock)(),
            principal: &self.caller.principal,
            correlation: correlation.as_deref().unwrap_or(&self.caller.correlation),
        };
        let content = match write.operation {
            WriteOperation::Delete => String::new(),
            _ => write.value.to_string(),
        };
        let body = Body::ThingWrite(ThingWrite {
            thing: &write.thing,
            operation: write.operation,
            path: &write.path,
            content: content.as_bytes(),
            preconditions: strict::preconditions(
                &self.ports,
                (&write.thing, &write.path),
                write.operation,
                write.preconditions(),
            )?,
        });
        let record = Record { header, body }.to_bytes();
        let writes = Arc::clone(&self.ports.writes);
        let hub = self.hub.clone();
        let correlation = correlation.map_or_else(|| Arc::clone(&self.caller.correlation), Arc::from);
        Ok(async move {
            let done = outcome(writes.submit(vec![record]).await, &write)?;
            acknowledged(&hub, &write, &correlation, done).await
        })
    }

    /// Takes labels whose acknowledgements this client gives from now on.
    fn declare(&mut self, labels: Vec<String>) -> Result<(), ApiError> {
        if !self.caller.may_write() {
            return Err(ApiError::new(Code::Forbidden, "the role does not allow acknowledgements"));
        }
        self.declarations.declare(labels)
    }

    /// Begins a subscription and answers; `Some` is why not.
    async fn subscribe(&mut self, id: Option<Value>, wish: Subscribe) -> Result<Option<ApiError>, End> {
        let settings = self.hub.settings();
        if self.subscriptions.len() >= settings.subscriptions_per_client_max {
            let limit = settings.subscriptions_per_client_max;
            return Ok(Some(ApiError::new(
                Code::LimitReached,
                format!("a client may have {limit} subscriptions"),
            )));
        }
        let fields = match wish.features.as_deref().map(fields_of).transpose() {
            Ok(fields) => fields,
            Err(problem) => return Ok(Some(problem)),
        };
        let number = self.next_number;
        self.next_number += 1;
        let ready = Arc::clone(&self.ready);
        let now = Instant::now();
        let mut seq = 0;
        let source = match wish.format {
            Format::Events => {
                let beginning = if wish.snapshot { Beginning::Snapshot } else { Beginning::Nothing };
                let Subscribe { target, features, mode, from, .. } = wish;
                let wish = Wish { target, features, mode, from, ready };
                let (feed, first) = Feed::new(&self.hub, wish, fields, beginning);
                let answer =
                    json!({"subscription": number, "offset": feed.offset(), "resumed": feed.is_resumed()});
                self.answer(id, Ok(answer)).await?;
                if let Some(frame) = first {
                    self.outlet.frame(number, &mut seq, frame.event, &frame.rest).await?;
                }
                Source::Events(Box::new(feed))
            }
            format => {
                let clock = &self.ports.clock;
                let board = self.hub.boards().board(&self.hub, wish.target, wish.features, clock);
                let answer = json!({"subscription": number, "offset": board.offset(), "resumed": false});
                self.answer(id, Ok(answer)).await?;
                Source::Columns(Box::new(Columns {
                    listener: board.listen(ready),
                    told: Told::default(),
                    binary: format == Format::BinaryColumns,
                    tick: Duration::from_millis(wish.tick_ms),
                }))
            }
        };
        let subscription = Subscription { seq, source, pending: true, not_before: now, last_sent: now };
        self.subscriptions.insert(number, subscription);
        Ok(None)
    }
}

/// Puts the answer to a write that is done off until others have acknowledged it.
async fn acknowledged(
    hub: &Hub,
    write: &Write,
    correlation: &str,
    mut done: Value,
) -> Result<Value, ApiError> {
    if write.acknowledgements.is_empty() {
        return Ok(done);
    }
    let number = |name: &str| done[name].as_u64().unwrap_or_default();
    let about = About {
        thing: &write.thing,
        path: &write.path,
        revision: number("revision"),
        offset: number("offset"),
        correlation,
    };
    let asked = hub.acks().ask(&write.acknowledgements, &about);
    let found = asked.all(write.patience).await.map_err(|problem| problem.revision(Some(about.revision)))?;
    done["acknowledgements"] = found.into();
    Ok(done)
}

/// What a client is told of its write.
fn outcome(applied: Result<Vec<Applied>, SubmitError>, write: &Write) -> Result<Value, ApiError> {
    let Some(applied) = applied?.into_iter().next() else {
        return Err(ApiError::new(Code::Internal, "the server failed"));
    };
    let (outcome, revision) = match applied.outcome {
        Outcome::Write(WriteOutcome::Created { revision }) => ("created", revision),
        Outcome::Write(WriteOutcome::Changed { revision }) => ("changed", revision),
        Outcome::Write(WriteOutcome::Unchanged { revision }) => ("unchanged", revision),
        Outcome::Write(WriteOutcome::Deleted { revision }) => ("deleted", revision),
        Outcome::Write(WriteOutcome::Refused(refusal)) => {
            return Err(strict::refusal(refusal, &write.thing, &write.preconditions()));
        }
        _ => return Err(ApiError::new(Code::Internal, "the server failed")),
    };
    Ok(json!({"outcome": outcome, "revision": revision, "offset": applied.offset}))
}
