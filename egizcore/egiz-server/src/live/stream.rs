//! The same events as server-sent events, for clients that only listen: `curl`, and browsers without a socket of their own.
//!
//! The `id` of an event says where to go on behind it, so a browser that reconnects asks for exactly what it missed. Where
//! going on would leave something out, in the middle of a snapshot for one, the `id` stays what it was.
//! Source: WHATWG HTML §9.2. A revoked token ends the stream at the door (`guard`).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use egiz_api::{Code, Problem};
use egiz_model::{Offset, ThingId};
use egiz_twin::Filter;
use egiz_twin::interest::Target;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::event::Frame;
use super::feed::{Beginning, Feed, Step};
use super::hub::{Hub, Seat};
use super::mailbox::Mode;
use super::subscriber::Wish;
use super::{fields_of, pause_before_return, request};
use crate::error::ApiError;
use crate::params::{self, Params};
use crate::ports::Ports;
use crate::respond::{ACCEL_BUFFERING, LAST_EVENT_ID};
use crate::{min_offset, target};

/// Silence after which a comment shows that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a browser waits before it comes back.
const RETRY: Duration = Duration::from_secs(2);

/// The events of all Things, of one, or of those that satisfy a filter, as server-sent events.
#[utoipa::path(get, path = "/api/v1/events", tag = "live",
    params(
        ("thingId" = Option<String>, Query, description = "Only this Thing; it may come later. Not together with `filter`"),
        ("filter" = Option<String>, Query, description = "Only Things that satisfy this: RQL, or the simple form as JSON"),
        ("fields" = Option<String>, Query, description = "Features wanted, separated by commas"),
        ("from" = Option<u64>, Query, description = "Go on from here (the last `id`, or an event's `next`) instead of a snapshot"),
        ("ticket" = Option<String>, Query, description = "Stands for a token once, for clients that can send no header; see `POST /api/v1/tickets`"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Like `from`, which it precedes; browsers send it by themselves"),
    ),
    responses(
        (status = 200, description = "Events without end: `event` is the name, `id` says where to go on, `data` is the event without \
            `event`, `subscription` and `seq`", body = egiz_api::live::Event, content_type = "text/event-stream"),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn events(
    State(ports): State<Ports>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref(), &["thingId", "filter", "fields", "from", "ticket"])?;
    let target = match (params.get("thingId"), params.get("filter")) {
        (None, None) => Target::All,
        (Some(thing), None) => Target::Things(vec![thing_id(thing, &ports)?]),
        (None, Some(filter)) => {
            let parsed = match serde_json::from_str(filter) {
                Ok(simple) => Filter::from_simple(&simple),
                Err(_) => Filter::parse(filter),
            };
            Target::Filter(parsed.map_err(|error| ApiError::from(&error))?)
        }
        (Some(_), Some(_)) => return Err(params::refused("filter", "it does not go with thingId")),
    };
    begin(&ports, target, &params, from_of(&headers, &params)?)
}

/// The events of one Thing, as server-sent events.
#[utoipa::path(get, path = "/api/v1/things/{thingId}/events", tag = "live",
    params(
        ("thingId" = String, Path, description = "The Thing"),
        ("fields" = Option<String>, Query, description = "Features wanted, separated by commas"),
        ("from" = Option<u64>, Query, description = "Go on from here (the last `id`, or an event's `next`) instead of a snapshot"),
        ("ticket" = Option<String>, Query, description = "Stands for a token once, for clients that can send no header; see `POST /api/v1/tickets`"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Like `from`, which it precedes; browsers send it by themselves"),
    ),
    responses(
        (status = 200, description = "Events without end, as of `/api/v1/events`", body = egiz_api::live::Event, content_type = "text/event-stream"),
        (status = 204, description = "The Thing that the client listened to is gone: a browser stops coming back"),
        (status = "default", description = "A problem; 404 where there is no such Thing", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn events_of_thing(
    State(ports): State<Ports>,
    Path(thing): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref(), &["fields", "from", "ticket"])?;
    let id = thing_id(&thing, &ports)?;
    let from = from_of(&headers, &params)?;
    min_offset::wait_for_acknowledged(&ports).await?;
    // Looked at before the hub: a Thing that is deleted in between is then told of.
    let mut is_there = ports.engine.read().thing(id.as_str()).is_some();
    if !is_there && min_offset::wait_for_newcomer(&ports, id.as_str()).await {
        is_there = ports.engine.read().thing(id.as_str()).is_some();
    }
    let is_known = is_there || from.is_some_and(|from| ports.hub.remembers(&id, from));
    match (is_known, from) {
        (true, _) => begin(&ports, Target::Things(vec![id]), &params, from),
        (false, Some(_)) => Ok(StatusCode::NO_CONTENT.into_response()),
        (false, None) => Err(ApiError::new(Code::ThingNotFound, format!("there is no Thing `{id}`"))),
    }
}

fn thing_id(text: &str, ports: &Ports) -> Result<ThingId, ApiError> {
    let id = target::thing_id(text, &ports.settings.sites)?;
    ThingId::new(&id).map_err(|error| ApiError::new(Code::InvalidThingId, error.to_string()))
}

fn from_of(headers: &HeaderMap, params: &Params) -> Result<Option<Offset>, ApiError> {
    let refused = || params::refused("Last-Event-ID", "it is no offset");
    match headers.get(LAST_EVENT_ID) {
        Some(id) if id.is_empty() => params.number("from"),
        Some(id) => id.to_str().ok().and_then(|id| id.parse().ok()).map(Some).ok_or_else(refused),
        None => params.number("from"),
    }
}

fn begin(ports: &Ports, target: Target, params: &Params, from: Option<Offset>) -> Result<Response, ApiError> {
    let features = request::features(params.get("fields"));
    let fields = features.as_deref().map(fields_of).transpose()?;
    let Some(seat) = ports.hub.enter() else {
        return Err(Problem::new(Code::Overloaded, "there are as many live clients as allowed")
            .retry_after(5)
            .into());
    };
    let ready = Arc::new(Notify::new());
    let wish = Wish { target, features, mode: Mode::Conflate, from, ready: Arc::clone(&ready) };
    let (feed, first) = Feed::new(&ports.hub, wish, fields, Beginning::Snapshot);
    let mut stream = Stream {
        hub: ports.hub.clone(),
        feed,
        ready,
        safe: from,
        waiting: VecDeque::from([Sent::default().retry(RETRY)]),
        last_sent: Instant::now(),
        pause: pause_before_return(ports),
        _seat: seat,
    };
    stream.extend(first);
    let events = futures::stream::unfold(Some(stream), |stream| async move {
        let mut stream = stream?;
        Some(match stream.next().await {
            Some(sent) => (Ok::<_, Infallible>(sent), Some(stream)),
            None => (Ok(Sent::default().retry(stream.pause).comment("come back")), None),
        })
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

struct Stream {
    hub: Hub,
    feed: Feed,
    ready: Arc<Notify>,
    /// Where the client can go on without missing anything.
    safe: Option<Offset>,
    /// Bounded: filled only when it is empty, with one piece of the feed.
    waiting: VecDeque<Sent>,
    last_sent: Instant,
    /// When to come back after a restart; different for each client.
    pause: Duration,
    _seat: Seat,
}

impl Stream {
    /// The next event; `None` when the server stops.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some(sent) = self.waiting.pop_front() {
                self.last_sent = Instant::now();
                return Some(sent);
            }
            match self.feed.step() {
                Step::Frames(frames) => self.extend(frames),
                // Only lossless subscriptions are.
                Step::TooSlow => return None,
                Step::Idle => {
                    let interval = self.hub.settings().bookmark_interval;
                    tokio::select! {
                        () = self.ready.notified() => {}
                        () = self.hub.stopping().cancelled() => return None,
                        () = sleep_until(self.last_sent + interval) => {
                            self.last_sent = Instant::now();
                            let bookmark = self.feed.bookmark();
                            self.extend(bookmark);
                        }
                    }
                }
            }
            if self.hub.stopping().is_cancelled() {
                return None;
            }
        }
    }

    fn extend(&mut self, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            self.hub.metrics().frames.inc();
            self.safe = frame.next.or(self.safe);
            let mut data = String::with_capacity(frame.rest.len() + 1);
            data.push('{');
            // What is written here is JSON, which has no raw line ends and is UTF-8.
            data.push_str(&String::from_utf8_lossy(&frame.rest));
            let sent = Sent::default().event(frame.event).data(data);
            self.waiting.push_back(match self.safe {
                Some(next) => sent.id(itoa::Buffer::new().format(next)),
                None => sent,
            });
        }
    }
}
