//! The same events as server-sent events, for clients that only listen: `curl` and browsers without a socket of their own.
//!
//! Every event carries its offset as `id`, so a browser that reconnects says by itself where it wants to go on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use egiz_api::{Code, Problem};
use egiz_model::{Offset, ThingId};
use egiz_twin::Filter;
use egiz_twin::interest::{Sight, Target};
use serde_json::json;
use tokio::sync::Notify;

use super::event::{name_for, put_member, put_thing};
use super::hub::{Hub, Seat, Ticket, Wish};
use super::mailbox::{Mode, Taken};
use super::request;
use super::socket::{fields_of, put_entered, put_newest};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::params::{self, Params};
use crate::ports::Ports;
use crate::target;

/// Silence after which a comment shows that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a browser waits before it comes back.
const RETRY: Duration = Duration::from_secs(2);

/// `GET /api/v1/events?thingId=…|filter=…&fields=…&from=…`
pub(super) async fn events(
    State(ports): State<Ports>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref(), &["thingId", "filter", "fields", "from"])?;
    let target = match (params.get("thingId"), params.get("filter")) {
        (None, None) => Target::All,
        (Some(thing), None) => {
            let id = target::thing_id(thing, &ports.settings.sites)?;
            let id =
                ThingId::new(&id).map_err(|error| ApiError::new(Code::InvalidThingId, error.to_string()))?;
            Target::Things(vec![id])
        }
        (None, Some(filter)) => {
            let parsed = match serde_json::from_str(filter) {
                Ok(simple) => Filter::from_simple(&simple),
                Err(_) => Filter::parse(filter),
            };
            Target::Filter(parsed.map_err(|error| ApiError::from(&error))?)
        }
        (Some(_), Some(_)) => return Err(params::refused("filter", "it does not go with thingId")),
    };
    let features = request::features(params.get("fields"));
    let fields = features.as_deref().map(fields_of).transpose()?;
    let last_id = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let from = match last_id {
        Some(id) => {
            Some(id.parse::<Offset>().map_err(|_| params::refused("Last-Event-ID", "it is no offset"))?)
        }
        None => params.number("from")?,
    };
    let Some(seat) = ports.hub.enter() else {
        return Err(Problem::new(Code::Overloaded, "there are as many live clients as allowed")
            .retry_after(5)
            .into());
    };
    let ready = Arc::new(Notify::new());
    let ticket =
        ports.hub.subscribe(Wish { target, features, mode: Mode::Conflate, from, ready: Arc::clone(&ready) });
    let mut feed =
        Feed { hub: ports.hub.clone(), ticket, ready, fields, seq: 0, waiting: VecDeque::new(), _seat: seat };
    if !feed.ticket.resumed {
        if from.is_some() {
            feed.resync("the events since then are no longer kept for this subscription");
        }
        feed.snapshot();
    }
    let stream = futures::stream::unfold(feed, |mut feed| async move {
        let sent = feed.next().await?;
        Some((Ok::<_, Infallible>(sent), feed))
    });
    let mut response = Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

struct Feed {
    hub: Hub,
    ticket: Ticket,
    ready: Arc<Notify>,
    fields: Option<Fields>,
    seq: u64,
    /// Bounded: filled only when it is empty, from a mailbox that is bounded, or with a snapshot.
    waiting: VecDeque<Sent>,
    _seat: Seat,
}

impl Feed {
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some(sent) = self.waiting.pop_front() {
                return Some(sent);
            }
            match self.ticket.subscriber.take() {
                Some(Taken::Events(events)) => {
                    for (event, sight) in events {
                        let mut body = vec![b'{'];
                        match sight {
                            Sight::Entered => put_entered(
                                &mut body,
                                &self.hub,
                                event.change.thing.as_str(),
                                event.change.offset,
                                self.fields.as_ref(),
                            ),
                            Sight::Seen | Sight::Left => {
                                body.extend_from_slice(event.body(self.hub.engine()))
                            }
                        }
                        self.push(name_for(&event, sight), event.change.offset, body);
                    }
                }
                Some(Taken::Newest { things, changes }) => {
                    let belong = self.ticket.which_belong(things.keys());
                    let hub = self.hub.clone();
                    let engine = hub.engine().read();
                    let offset = engine.next_offset();
                    for id in things.keys() {
                        let thing = engine.thing(id.as_str()).filter(|_| belong.contains(id));
                        let mut body = vec![b'{'];
                        put_newest(&mut body, id, thing, None, self.fields.as_ref());
                        put_member(&mut body, "conflated", &json!(changes));
                        body.push(b'}');
                        self.push(if thing.is_some() { "ThingEntered" } else { "ThingLeft" }, offset, body);
                    }
                }
                Some(Taken::Resync { changes }) => {
                    self.resync(&format!(
                        "{changes} changes are more than is kept track of for a slow client"
                    ));
                    self.snapshot();
                }
                None => {
                    let bookmark = self.hub.settings().bookmark_interval;
                    tokio::select! {
                        () = self.ready.notified() => {}
                        () = self.hub.stopping().cancelled() => return None,
                        () = tokio::time::sleep(bookmark) => {
                            let offset = self.hub.next_offset();
                            self.push("Bookmark", offset, format!("{{\"offset\":{offset}}}").into_bytes());
                        }
                    }
                }
            }
        }
    }

    fn resync(&mut self, reason: &str) {
        self.hub.metrics().resyncs.inc();
        let offset = self.hub.next_offset();
        self.push("Resync", offset, json!({"reason": reason}).to_string().into_bytes());
    }

    fn snapshot(&mut self) {
        let members = self.ticket.members();
        let hub = self.hub.clone();
        let engine = hub.engine().read();
        for slot in members {
            if let Some(thing) = engine.thing_at(slot) {
                let mut body = b"{\"thing\":".to_vec();
                put_thing(&mut body, &thing, self.fields.as_ref());
                body.push(b'}');
                self.push("Snapshot", self.ticket.offset, body);
            }
        }
    }

    fn push(&mut self, name: &str, offset: Offset, body: Vec<u8>) {
        self.hub.metrics().frames.inc();
        self.seq += 1;
        let mut sent = Sent::default().event(name).id(offset.to_string());
        if self.seq == 1 {
            sent = sent.retry(RETRY);
        }
        // What is written here is JSON, which has no raw line ends and is UTF-8.
        self.waiting.push_back(sent.data(String::from_utf8_lossy(&body)));
    }
}
