//! One WebSocket client: commands in, frames out, one task.
//!
//! The task waits for whatever comes first: a frame from the client, something for a subscription, the time for a frame of
//! columns, a bookmark or a ping. Each time, every subscription that has something gets one bounded piece out, all with one
//! flush; so a large snapshot holds up neither the client's other subscriptions nor its commands. While the client's socket
//! is full the task waits in that flush, and the mailboxes turn to newest state meanwhile.

mod commands;
mod outlet;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use egiz_api::{Code, Problem};
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use self::outlet::Outlet;
use super::acks::Declarations;
use super::board::{Collected, Listener, Told};
use super::event::mark;
use super::feed::{Feed, Step};
use super::hub::{Hub, Seat};
use super::playback::{self, Playbacks};
use super::search::{self, Searches};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::ports::Ports;

/// The protocol's name, for clients that negotiate one.
const PROTOCOL: &str = "openegiz.v1";
/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// How many times the largest frame is read before the connection breaks off: a frame that is too large but within this is
/// answered with a close frame that surely arrives.
const OVERSIZE_READ: usize = 4;
/// What a client's unread commands are read into; most are far below.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// What frames are gathered in before they are written.
const WRITE_BUFFER_BYTES: usize = 32 << 10;

/// Takes a client in.
#[utoipa::path(get, path = "/api/v1/ws", tag = "live",
    params(
        ("ticket" = Option<String>, Query, description = "Stands for a token once, for clients that can send no header; see `POST /api/v1/tickets`"),
        ("Sec-WebSocket-Protocol" = Option<String>, Header, description = "`openegiz.v1`, and for a browser with a token `openegiz.bearer.<token>` beside it"),
    ),
    responses(
        (status = 101, description = "A WebSocket. The client sends commands, the server answers and sends the frames of subscriptions, \
            as docs/api/websocket.md describes them", body = egiz_api::live::Frame),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn upgrade(
    State(ports): State<Ports>,
    caller: Caller,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            let detail = format!("this address speaks WebSocket, and the request asks for none: {rejection}");
            return ApiError::new(Code::MalformedRequest, detail).into_response();
        }
    };
    let Some(seat) = ports.hub.enter() else {
        return ApiError::from(
            Problem::new(Code::Overloaded, "there are as many live clients as allowed").retry_after(5),
        )
        .into_response();
    };
    let read_bytes_max = ports.hub.settings().frame_bytes_max * OVERSIZE_READ;
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(read_bytes_max)
        .max_frame_size(read_bytes_max)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .on_upgrade(move |socket| async move { Client::new(ports, caller, seat, socket).run().await })
}

/// The answer to a write: the id it came with, and what came of it.
type Written = (Option<Value>, Result<Value, ApiError>);

struct Client {
    ports: Ports,
    hub: Hub,
    caller: Caller,
    ready: Arc<Notify>,
    outlet: Outlet,
    stream: SplitStream<WebSocket>,
    subscriptions: BTreeMap<u32, Subscription>,
    next_number: u32,
    searches: Searches,
    playbacks: Playbacks,
    declarations: Declarations,
    /// Bounded: at the bound nothing more is read from the client.
    writes: FuturesOrdered<BoxFuture<'static, Written>>,
    /// Pings sent since the client was last heard.
    unanswered: u32,
    /// Commands since the moment.
    commands: (Instant, u32),
    _seat: Seat,
}

/// One subscription of a client.
struct Subscription {
    seq: u64,
    source: Source,
    /// Whether there may be something to send, and when at the earliest it is sent.
    pending: bool,
    not_before: Instant,
    last_sent: Instant,
}

enum Source {
    Events(Box<Feed>),
    Columns(Box<Columns>),
}

struct Columns {
    listener: Listener,
    told: Told,
    binary: bool,
    tick: Duration,
}

/// Why the client is let go.
enum End {
    Gone,
    Close(u16, &'static str),
}

impl Client {
    fn new(ports: Ports, caller: Caller, seat: Seat, socket: WebSocket) -> Self {
        let (sink, stream) = socket.split();
        let hub = ports.hub.clone();
        Self {
            outlet: Outlet::new(sink, hub.metrics().frames.clone(), hub.settings().write_patience),
            hub,
            declarations: ports.hub.acks().client(),
            playbacks: Playbacks::new(ports.clone(), Arc::clone(&caller.correlation)),
            searches: Searches::new(ports.clone(), Arc::clone(&caller.correlation)),
            ports,
            caller,
            ready: Arc::new(Notify::new()),
            stream,
            subscriptions: BTreeMap::new(),
            next_number: 1,
            writes: FuturesOrdered::new(),
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
            1012 => {
                format!("restarting; come back in {} ms", super::pause_before_return(&self.ports).as_millis())
            }
            _ => reason.to_owned(),
        };
        let Self { mut outlet, mut stream, .. } = self;
        let farewell = async {
            let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
            // The client may be gone already.
            let _ = outlet.sink.send(close).await;
            // What it has sent is read to its own goodbye: a socket closed with unread bytes would take ours back.
            while let Some(Ok(message)) = stream.next().await {
                if matches!(message, Message::Close(_)) {
                    break;
                }
            }
        };
        let _ = timeout(FAREWELL, farewell).await;
    }

    async fn serve(&mut self) -> End {
        let settings = self.hub.settings().clone();
        let stopping = self.hub.stopping().clone();
        let revoked = self.caller.revoked.clone();
        let mut pings = interval(settings.ping_interval);
        let mut bookmarks = interval(settings.bookmark_interval / 2);
        for ticks in [&mut pings, &mut bookmarks] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
        }
        loop {
            let pending = self.subscriptions.values().filter(|subscription| subscription.pending);
            let due = pending.map(|subscription| subscription.not_before).min();
            let result = tokio::select! {
                message = self.stream.next(), if self.writes.len() < settings.writes_in_flight_max => match message {
                    Some(Ok(message)) => self.hear(message).await,
                    Some(Err(error)) if outlet::is_oversize(&error) => Err(End::Close(1009, "frame-too-large")),
                    Some(Err(_)) | None => return End::Gone,
                },
                Some((id, result)) = self.writes.next() => self.answer_and_flush(id, result).await,
                Some(frames) = self.searches.next() => self.send_found(frames).await,
                frames = self.playbacks.next() => self.send_played(frames).await,
                Some(request) = self.declarations.next() => self.send_text(request).await,
                () = self.ready.notified() => {
                    self.subscriptions.values_mut().for_each(|subscription| subscription.pending = true);
                    self.send().await
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.send().await,
                _ = bookmarks.tick() => self.send_bookmarks(settings.bookmark_interval).await,
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
        self.outlet.feed(Message::Ping(Bytes::new())).await?;
        self.outlet.flush().await
    }

    async fn send_bookmarks(&mut self, interval: Duration) -> Result<(), End> {
        for (number, subscription) in &mut self.subscriptions {
            let is_quiet = subscription.last_sent.elapsed() >= interval.mul_f32(0.5);
            if let Source::Events(feed) = &subscription.source
                && is_quiet
                && let Some(frame) = feed.bookmark()
            {
                subscription.last_sent = Instant::now();
                self.outlet.frame(*number, &mut subscription.seq, frame.event, &frame.rest).await?;
            }
        }
        self.outlet.flush().await
    }

    async fn send_text(&mut self, frame: Vec<u8>) -> Result<(), End> {
        self.outlet.text(frame).await?;
        self.outlet.flush().await
    }

    /// Sends a page that was found.
    async fn send_found(&mut self, frames: Vec<search::Frame>) -> Result<(), End> {
        for frame in frames {
            self.outlet.found(&frame).await?;
        }
        self.outlet.flush().await
    }

    /// Sends what is played.
    async fn send_played(&mut self, frames: Vec<playback::Frame>) -> Result<(), End> {
        for frame in frames {
            self.outlet.played(&frame).await?;
        }
        self.outlet.flush().await
    }

    /// Sends one piece for every subscription that has something and whose time has come.
    async fn send(&mut self) -> Result<(), End> {
        let now = Instant::now();
        for (number, subscription) in &mut self.subscriptions {
            if subscription.pending && subscription.not_before <= now {
                subscription.send(*number, now, &mut self.outlet).await?;
            }
        }
        self.outlet.flush().await
    }
}

impl Subscription {
    async fn send(&mut self, number: u32, now: Instant, outlet: &mut Outlet) -> Result<(), End> {
        match &mut self.source {
            Source::Events(feed) => match (feed.is_live(), feed.step()) {
                (_, Step::TooSlow) => return Err(End::Close(1013, "lossless-too-slow")),
                (_, Step::Idle) => self.pending = false,
                (was_live, Step::Frames(frames)) => {
                    // Only where the mailbox was just emptied is it certain that what comes next notifies.
                    self.pending = !(was_live && feed.is_live());
                    self.last_sent = now;
                    for frame in frames {
                        outlet.frame(number, &mut self.seq, frame.event, &frame.rest).await?;
                    }
                }
            },
            Source::Columns(columns) => {
                match columns.listener.board.collect(&mut columns.told, columns.binary) {
                    Collected::Nothing => self.pending = false,
                    Collected::Restarted => {
                        let frame =
                            mark("Resync", columns.listener.board.offset(), Some("slots are numbered anew"));
                        outlet.frame(number, &mut self.seq, frame.event, &frame.rest).await?;
                    }
                    Collected::Parts { parts, more } => {
                        self.pending = more;
                        if !more {
                            self.not_before = now + columns.tick;
                        }
                        for part in &*parts {
                            outlet.part(number, &mut self.seq, part).await?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
