//! One WebSocket client: commands in, frames out, one task.
//!
//! The task waits for whatever comes first: a frame from the client, something in a mailbox, the tick of columns, the time
//! for a ping. Many frames go out with one flush. While the client's socket is full the task waits in that flush, and the
//! mailboxes turn to newest state meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use egiz_api::{Code, Problem};
use egiz_model::record::{Body, Header, Preconditions, Record, ThingWrite, WriteOperation};
use egiz_model::{Offset, ThingId};
use egiz_twin::interest::Sight;
use egiz_twin::{Outcome, WriteOutcome};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, interval, timeout};

use super::columns::{Columns, Frame, Place};
use super::event::{begin, name_for, put_member, put_thing};
use super::hub::{Hub, Seat, Ticket, Wish};
use super::mailbox::{Mode, Owed, Taken};
use super::request::{self, Command, Format, Subscribe, Write};
use crate::caller::Caller;
use crate::error::{ApiError, of_refusal};
use crate::fields::Fields;
use crate::ports::Ports;

/// The protocol's name, for clients that negotiate one.
const PROTOCOL: &str = "openegiz.v1";
/// Bytes of Things in one snapshot frame, about.
const SNAPSHOT_FRAME_BYTES: usize = 64 << 10;
/// How long a client may leave its socket full; then it is closed.
const FLUSH_PATIENCE: Duration = Duration::from_secs(60);
/// The shortest pause between looks at columns.
const TICK: Duration = Duration::from_millis(50);

/// Takes a client in.
pub(super) async fn upgrade(
    State(ports): State<Ports>,
    caller: Caller,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(seat) = ports.hub.enter() else {
        ports.hub.metrics().count_closed("too-many-clients");
        return ApiError::from(
            Problem::new(Code::Overloaded, "there are as many live clients as allowed").retry_after(5),
        )
        .into_response();
    };
    let frame_bytes_max = ports.hub.settings().frame_bytes_max;
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(frame_bytes_max)
        .max_frame_size(frame_bytes_max)
        .on_upgrade(move |socket| async move { Client::new(ports, caller, seat, socket).run().await })
}

struct Client {
    ports: Ports,
    hub: Hub,
    caller: Caller,
    ready: Arc<Notify>,
    sink: SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
    subscriptions: BTreeMap<u32, Subscription>,
    next_number: u32,
    /// Pings sent since the client was last heard.
    unanswered: u32,
    commands: (Instant, u32),
    _seat: Seat,
}

/// One subscription of a client.
struct Subscription {
    ticket: Ticket,
    seq: u64,
    fields: Option<Fields>,
    columns: Option<(Columns, Duration, Instant)>,
    last_sent: Instant,
}

/// Why the client is let go.
enum End {
    Gone,
    Close(u16, &'static str),
}

impl Client {
    fn new(ports: Ports, caller: Caller, seat: Seat, socket: WebSocket) -> Self {
        let (sink, stream) = socket.split();
        Self {
            hub: ports.hub.clone(),
            ports,
            caller,
            ready: Arc::new(Notify::new()),
            sink,
            stream,
            subscriptions: BTreeMap::new(),
            next_number: 1,
            unanswered: 0,
            commands: (Instant::now(), 0),
            _seat: seat,
        }
    }

    async fn run(mut self) {
        let end = self.serve().await;
        let (code, reason) = match end {
            End::Gone => return self.hub.metrics().count_closed("client-gone"),
            End::Close(code, reason) => (code, reason),
        };
        self.hub.metrics().count_closed(reason);
        let reason = match code {
            // Told apart so that a thousand clients do not come back in the same moment.
            1012 => format!("restarting; come back in {} ms", 200 + u64::from(self.spread()) * 8),
            _ => reason.to_owned(),
        };
        let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        // The client may be gone already.
        let _ = timeout(Duration::from_secs(2), self.sink.send(close)).await;
    }

    /// A number from 0 to 255 that differs between clients.
    fn spread(&self) -> u8 {
        let mut byte = [0];
        (self.ports.random)(&mut byte);
        byte[0]
    }

    async fn serve(&mut self) -> End {
        let settings = self.hub.settings().clone();
        let stopping = self.hub.stopping().clone();
        let revoked = self.caller.revoked.clone();
        let mut pings = interval(settings.ping_interval);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        pings.tick().await;
        loop {
            let ready = Arc::clone(&self.ready);
            let has_columns = self.subscriptions.values().any(|subscription| subscription.columns.is_some());
            let result = tokio::select! {
                message = self.stream.next() => match message {
                    Some(Ok(message)) => self.hear(message).await,
                    Some(Err(_)) | None => return End::Gone,
                },
                () = ready.notified() => self.send_events().await,
                _ = ticks.tick(), if has_columns => self.send_columns().await,
                _ = pings.tick() => self.ping().await,
                () = revoked.cancelled() => Err(End::Close(1008, "token-revoked")),
                () = stopping.cancelled() => Err(End::Close(1012, "shutting-down")),
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    async fn ping(&mut self) -> Result<(), End> {
        self.unanswered += 1;
        if self.unanswered > 2 {
            return Err(End::Close(1001, "no-answer-to-pings"));
        }
        self.feed(Message::Ping(Bytes::new())).await?;
        let bookmark_interval = self.hub.settings().bookmark_interval;
        let offset = self.hub.next_offset();
        let mut frames = Vec::new();
        for (number, subscription) in &mut self.subscriptions {
            if subscription.last_sent.elapsed() >= bookmark_interval && subscription.columns.is_none() {
                subscription.seq += 1;
                subscription.last_sent = Instant::now();
                let mut out = Vec::new();
                begin(&mut out, "Bookmark", *number, subscription.seq);
                out.extend_from_slice(format!("\"offset\":{offset}}}").as_bytes());
                frames.push(out);
            }
        }
        for frame in frames {
            self.feed_text(frame).await?;
        }
        self.flush().await
    }

    async fn hear(&mut self, message: Message) -> Result<(), End> {
        self.unanswered = 0;
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(End::Close(1003, "binary-frame")),
            Message::Close(_) => return Err(End::Gone),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
        };
        let (begun, count) = &mut self.commands;
        if begun.elapsed() >= Duration::from_secs(1) {
            (*begun, *count) = (Instant::now(), 0);
        }
        *count += 1;
        let too_many = *count > self.hub.settings().commands_per_second_max;
        let (id, command) = request::read(&text, &self.ports.settings.sites);
        let command = if too_many {
            Err(Problem::new(Code::RateLimited, "more commands in a second than allowed")
                .retry_after(1)
                .into())
        } else {
            command
        };
        match command {
            Ok(Command::Ping) => {
                let mut answer = json!({"event": "Pong"});
                if let Some(id) = id {
                    answer["id"] = id;
                }
                self.feed_text(answer.to_string().into_bytes()).await?;
            }
            Ok(Command::Unsubscribe(number)) => match self.subscriptions.remove(&number) {
                Some(_) => self.answer(id, Ok(json!({"subscription": number}))).await?,
                None => {
                    let problem =
                        ApiError::new(Code::MalformedRequest, format!("there is no subscription {number}"));
                    self.answer(id, Err(problem)).await?;
                }
            },
            Ok(Command::Write(write)) => {
                let result = self.write(*write).await;
                self.answer(id, result).await?;
            }
            Ok(Command::Subscribe(subscribe)) => self.subscribe(id, *subscribe).await?,
            Err(problem) => self.answer(id, Err(problem)).await?,
        }
        self.flush().await
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
        self.feed_text(answer.to_string().into_bytes()).await
    }

    async fn write(&self, write: Write) -> Result<Value, ApiError> {
        if !self.caller.may_write() {
            return Err(ApiError::new(Code::Forbidden, "the role does not allow changes"));
        }
        let correlation = write.correlation.as_deref().filter(|text| text.len() <= 128 && text.is_ascii());
        let header = Header {
            received: (self.ports.clock)(),
            principal: &self.caller.principal,
            correlation: correlation.unwrap_or(&self.caller.correlation),
        };
        let content =
            if write.operation == WriteOperation::Delete { String::new() } else { write.value.to_string() };
        let body = Body::ThingWrite(ThingWrite {
            thing: &write.thing,
            operation: write.operation,
            path: &write.path,
            content: content.as_bytes(),
            preconditions: Preconditions {
                if_match: &write.if_match,
                if_none_match: &write.if_none_match,
                condition: &write.condition,
            },
        });
        let applied = self.ports.writes.submit(vec![Record { header, body }.to_bytes()]).await?;
        let Some(applied) = applied.into_iter().next() else {
            return Err(ApiError::new(Code::Internal, "the server failed"));
        };
        let (outcome, revision) = match applied.outcome {
            Outcome::Write(WriteOutcome::Created { revision }) => ("created", revision),
            Outcome::Write(WriteOutcome::Changed { revision }) => ("changed", revision),
            Outcome::Write(WriteOutcome::Unchanged { revision }) => ("unchanged", revision),
            Outcome::Write(WriteOutcome::Deleted { revision }) => ("deleted", revision),
            Outcome::Write(WriteOutcome::Refused(refusal)) => return Err(of_refusal(refusal, &write.thing)),
            _ => return Err(ApiError::new(Code::Internal, "the server failed")),
        };
        Ok(json!({"outcome": outcome, "revision": revision, "offset": applied.offset}))
    }

    async fn subscribe(&mut self, id: Option<Value>, wish: Subscribe) -> Result<(), End> {
        let settings = self.hub.settings();
        if self.subscriptions.len() >= settings.subscriptions_per_client_max {
            let limit = settings.subscriptions_per_client_max;
            let problem =
                ApiError::new(Code::LimitReached, format!("a client may have {limit} subscriptions"));
            return self.answer(id, Err(problem)).await;
        }
        let fields = match wish.features.as_deref().map(fields_of).transpose() {
            Ok(fields) => fields,
            Err(problem) => return self.answer(id, Err(problem)).await,
        };
        let slots_max = settings.slots_max;
        let columns = match wish.format {
            Format::Events => None,
            format => {
                let columns = Columns::new(format == Format::BinaryColumns, wish.features.clone(), slots_max);
                Some((columns, Duration::from_millis(wish.tick_ms), Instant::now()))
            }
        };
        let is_columns = columns.is_some();
        let ticket = self.hub.subscribe(Wish {
            target: wish.target,
            features: wish.features,
            mode: if is_columns { Mode::Newest } else { wish.mode },
            from: wish.from,
            ready: Arc::clone(&self.ready),
        });
        let number = self.next_number;
        self.next_number += 1;
        let answer = json!({"subscription": number, "offset": ticket.offset, "resumed": ticket.resumed});
        self.answer(id, Ok(answer)).await?;
        let asked_to_resume = wish.from.is_some();
        let resumed = ticket.resumed;
        let subscription = Subscription { ticket, seq: 0, fields, columns, last_sent: Instant::now() };
        self.subscriptions.insert(number, subscription);
        if is_columns {
            return self.send_all_columns(number).await;
        }
        if asked_to_resume && !resumed {
            return self
                .resync(number, "the events since then are no longer kept for this subscription")
                .await;
        }
        if wish.snapshot && !asked_to_resume {
            self.send_snapshot(number).await?;
        }
        Ok(())
    }

    async fn resync(&mut self, number: u32, reason: &str) -> Result<(), End> {
        self.hub.metrics().resyncs.inc();
        let offset = self.hub.next_offset();
        if let Some(subscription) = self.subscriptions.get_mut(&number) {
            subscription.seq += 1;
            let mut out = Vec::new();
            begin(&mut out, "Resync", number, subscription.seq);
            out.extend_from_slice(format!("\"offset\":{offset}").as_bytes());
            put_member(&mut out, "reason", &json!(reason));
            out.push(b'}');
            self.feed_text(out).await?;
        }
        self.send_snapshot(number).await
    }

    /// Sends every Thing of a subscription, in frames of bounded size; the engine is read anew for each.
    async fn send_snapshot(&mut self, number: u32) -> Result<(), End> {
        let Some(subscription) = self.subscriptions.get(&number) else { return Ok(()) };
        let members = subscription.ticket.members();
        let mut rest = members.as_slice();
        loop {
            let mut out = Vec::with_capacity(SNAPSHOT_FRAME_BYTES + 4096);
            {
                let Some(subscription) = self.subscriptions.get_mut(&number) else { return Ok(()) };
                subscription.seq += 1;
                subscription.last_sent = Instant::now();
                let engine = self.hub.engine().read();
                begin(&mut out, "Snapshot", number, subscription.seq);
                out.extend_from_slice(format!("\"offset\":{},\"things\":[", engine.next_offset()).as_bytes());
                let mut first = true;
                while let Some((slot, after)) = rest.split_first()
                    && out.len() < SNAPSHOT_FRAME_BYTES
                {
                    rest = after;
                    if let Some(thing) = engine.thing_at(*slot) {
                        if !first {
                            out.push(b',');
                        }
                        first = false;
                        put_thing(&mut out, &thing, subscription.fields.as_ref());
                    }
                }
            }
            out.extend_from_slice(format!("],\"more\":{}}}", !rest.is_empty()).as_bytes());
            self.feed_text(out).await?;
            self.flush().await?;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Sends what waits in the mailboxes of event subscriptions.
    async fn send_events(&mut self) -> Result<(), End> {
        let numbers: Vec<u32> = self
            .subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.columns.is_none())
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            let Some(subscription) = self.subscriptions.get_mut(&number) else { continue };
            if subscription.ticket.subscriber.overflowed() {
                return Err(End::Close(1013, "lossless-too-slow"));
            }
            match subscription.ticket.subscriber.take() {
                None => {}
                Some(Taken::Events(events)) => {
                    subscription.last_sent = Instant::now();
                    let mut frames = Vec::with_capacity(events.len());
                    for (event, sight) in events {
                        subscription.seq += 1;
                        let mut out = Vec::with_capacity(512);
                        begin(&mut out, name_for(&event, sight), number, subscription.seq);
                        match sight {
                            Sight::Entered => {
                                put_entered(
                                    &mut out,
                                    &self.hub,
                                    event.change.thing.as_str(),
                                    event.change.offset,
                                    subscription.fields.as_ref(),
                                );
                            }
                            Sight::Seen | Sight::Left => out.extend_from_slice(event.body(self.hub.engine())),
                        }
                        frames.push(out);
                    }
                    for frame in frames {
                        self.feed_text(frame).await?;
                    }
                }
                Some(Taken::Newest { things, changes }) => self.send_newest(number, &things, changes).await?,
                Some(Taken::Resync { changes }) => {
                    let reason =
                        format!("{changes} changes are more than is kept track of for a slow client");
                    self.resync(number, &reason).await?;
                }
            }
        }
        self.flush().await
    }

    /// Sends the newest state of what a slow client missed.
    async fn send_newest(
        &mut self,
        number: u32,
        things: &BTreeMap<ThingId, Owed>,
        changes: u64,
    ) -> Result<(), End> {
        let Some(subscription) = self.subscriptions.get_mut(&number) else { return Ok(()) };
        let belong = subscription.ticket.which_belong(things.keys());
        subscription.last_sent = Instant::now();
        let mut frames = Vec::new();
        let mut conflated = Some(changes);
        {
            let engine = self.hub.engine().read();
            let offset = engine.next_offset();
            for (id, owed) in things {
                let thing = engine.thing(id.as_str()).filter(|_| belong.contains(id));
                let events: Vec<(&str, Option<&Arc<str>>)> = match thing {
                    None => vec![("ThingLeft", None)],
                    Some(_) if owed.whole => vec![("ThingEntered", None)],
                    Some(_) => owed.features.iter().map(|feature| ("StateChanged", Some(feature))).collect(),
                };
                for (event, feature) in events {
                    subscription.seq += 1;
                    let mut out = Vec::with_capacity(512);
                    begin(&mut out, event, number, subscription.seq);
                    put_newest(
                        &mut out,
                        id,
                        thing,
                        feature.map(|feature| &**feature),
                        subscription.fields.as_ref(),
                    );
                    put_member(&mut out, "offset", &json!(offset));
                    if let Some(changes) = conflated.take() {
                        put_member(&mut out, "conflated", &json!(changes));
                    }
                    out.push(b'}');
                    frames.push(out);
                }
            }
        }
        for frame in frames {
            self.feed_text(frame).await?;
        }
        Ok(())
    }

    /// Sends the columns of every subscription whose tick has come.
    async fn send_columns(&mut self) -> Result<(), End> {
        let due: Vec<u32> = self
            .subscriptions
            .iter()
            .filter(|(_, subscription)| {
                subscription.columns.as_ref().is_some_and(|(_, tick, sent)| sent.elapsed() >= *tick)
            })
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            let Some(subscription) = self.subscriptions.get_mut(&number) else { continue };
            match subscription.ticket.subscriber.take() {
                None => {}
                Some(Taken::Newest { things, .. }) => self.feed_columns(number, &things).await?,
                Some(Taken::Events(_) | Taken::Resync { .. }) => self.send_all_columns(number).await?,
            }
        }
        self.flush().await
    }

    /// Sends every Thing of a column subscription.
    async fn send_all_columns(&mut self, number: u32) -> Result<(), End> {
        let Some(subscription) = self.subscriptions.get(&number) else { return Ok(()) };
        let members = subscription.ticket.members();
        let all: BTreeMap<ThingId, Owed> = {
            let engine = self.hub.engine().read();
            let ids =
                members.iter().filter_map(|slot| engine.thing_at(*slot)).map(|thing| thing.id().clone());
            ids.map(|id| (id, Owed { whole: true, ..Owed::default() })).collect()
        };
        self.feed_columns(number, &all).await
    }

    async fn feed_columns(&mut self, number: u32, things: &BTreeMap<ThingId, Owed>) -> Result<(), End> {
        let now = (self.ports.clock)();
        let Some(subscription) = self.subscriptions.get_mut(&number) else { return Ok(()) };
        let belong = subscription.ticket.which_belong(things.keys());
        let Subscription { seq, columns, .. } = subscription;
        let Some((columns, _, sent)) = columns else { return Ok(()) };
        *sent = Instant::now();
        let frames = {
            let engine = self.hub.engine().read();
            let mut place = Place { subscription: number, seq, offset: engine.next_offset(), now };
            columns.frames(&engine, things, |id| belong.contains(id), &mut place, self.hub.metrics())
        };
        for frame in frames {
            match frame {
                Frame::Text(text) => self.feed_text(text).await?,
                Frame::Binary(bytes) => {
                    self.hub.metrics().frames.inc();
                    self.feed(Message::Binary(bytes.into())).await?;
                }
            }
        }
        Ok(())
    }

    async fn feed_text(&mut self, frame: Vec<u8>) -> Result<(), End> {
        self.hub.metrics().frames.inc();
        let text = String::from_utf8(frame).map_err(|_| End::Close(1011, "internal"))?;
        self.feed(Message::Text(text.into())).await
    }

    async fn feed(&mut self, message: Message) -> Result<(), End> {
        match timeout(FLUSH_PATIENCE, self.sink.feed(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Close(1013, "write-timeout")),
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        match timeout(FLUSH_PATIENCE, self.sink.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Close(1013, "write-timeout")),
        }
    }
}

/// What of a Thing is shown where only some features are wanted.
pub(super) fn fields_of(features: &[String]) -> Result<Fields, ApiError> {
    let mut text =
        "thingId,definition,attributes,_revision,_offset,_created,_modified,_connection".to_owned();
    for feature in features {
        text.push_str(",features/");
        text.push_str(feature);
    }
    Fields::parse(&text)
}

/// A Thing that has come into view, as a whole.
pub(super) fn put_entered(out: &mut Vec<u8>, hub: &Hub, id: &str, offset: Offset, fields: Option<&Fields>) {
    out.extend_from_slice(b"\"thingId\":");
    crate::present::string(out, id);
    if let Some(thing) = hub.engine().read().thing(id) {
        out.extend_from_slice(b",\"thing\":");
        put_thing(out, &thing, fields);
    }
    put_member(out, "offset", &json!(offset));
    out.push(b'}');
}

/// The newest state of a Thing, or of one feature of it.
pub(super) fn put_newest(
    out: &mut Vec<u8>,
    id: &ThingId,
    thing: Option<egiz_twin::ThingRef<'_>>,
    feature: Option<&str>,
    fields: Option<&Fields>,
) {
    out.extend_from_slice(b"\"thingId\":");
    crate::present::string(out, id.as_str());
    let Some(thing) = thing else { return };
    match feature {
        None => {
            out.extend_from_slice(b",\"thing\":");
            put_thing(out, &thing, fields);
        }
        Some(name) => {
            put_member(out, "feature", &json!(name));
            let properties: serde_json::Map<String, Value> = thing
                .feature(name)
                .into_iter()
                .flat_map(|feature| feature.properties())
                .map(|property| (property.name().to_string(), property.value().to_json()))
                .collect();
            put_member(out, "properties", &Value::Object(properties));
        }
    }
    put_member(out, "revision", &json!(thing.revision()));
}
