//! A whole list as one stream, a Thing a line (NDJSON) or an event (server-sent events), in the order of ids.
//!
//! ```text
//!  state ─ a piece under the read lock ─► task ─► two pieces at most ─► client
//! ```
//!
//! It is walked as pages are: each piece begins behind the id where the one before ended, so a Thing that is there all the
//! time comes exactly once, whatever comes and goes, and a client that was cut off goes on behind the last id that it has.
//! Memory is bounded by the pieces. A stream that is not whole breaks off; it never ends as if it were.
//! Source: WHATWG HTML §9.2; the search of Eclipse Ditto over server-sent events.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use egiz_twin::{Filter, Position, ThingRef};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::fields::{Fields, Shown};
use crate::outflow::{self, Outflow};
use crate::respond::{ACCEL_BUFFERING, LAST_EVENT_ID};
use crate::{accept, min_offset, params, present, query, respond, target};

/// Things looked for under one hold of the engine's lock.
const THINGS_AT_ONCE: usize = 200;
/// A piece ends with the Thing that makes it so long.
const PIECE_BYTES: usize = 128 * 1024;
/// How long a browser waits before it comes back, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// The forms of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A page.
    Page,
    /// Everything, a Thing a line.
    Lines,
    /// Everything, a Thing an event.
    Events,
}

impl Form {
    /// Which one a request accepts.
    ///
    /// # Errors
    /// `not-acceptable`.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let forms = [
            ("application/json", Self::Page),
            ("application/x-ndjson", Self::Lines),
            ("text/event-stream", Self::Events),
        ];
        accept::form(headers, &forms)
    }
}

/// What is listed.
pub(crate) struct Listing {
    pub(crate) filter: Option<Filter>,
    pub(crate) fields: Option<Fields>,
    pub(crate) with_metadata: bool,
    /// Only what comes behind this id.
    pub(crate) after: Option<String>,
}

/// Where a client was cut off: the id in `Last-Event-ID`.
///
/// # Errors
/// `invalid-parameter` where it is no Thing id.
pub(crate) fn last_id(headers: &HeaderMap, sites: &[String]) -> Result<Option<String>, ApiError> {
    let Some(id) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) else { return Ok(None) };
    let id = id.to_str().ok().and_then(|id| target::thing_id(id, sites).ok());
    id.map(Some).ok_or_else(|| params::refused("Last-Event-ID", "it must be the id of a Thing"))
}

/// Answers the whole list as a stream.
///
/// # Errors
/// `overloaded` where as many streams are under way as may be.
pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    form: Form,
    listing: Listing,
) -> Result<Response, ApiError> {
    let permit = outflow::permit(app)?;
    let walk = Walk {
        query: egiz_twin::Query {
            filter: listing.filter,
            sort: Vec::new(),
            after: listing.after.map(|thing| Position { keys: Vec::new(), thing }),
            limit: THINGS_AT_ONCE,
        },
        fields: listing.fields,
        with_metadata: listing.with_metadata,
        form,
    };
    // Here, so that what goes wrong at once has a status.
    let first = walk.step(app).await?;
    let kind = match form {
        Form::Events => "text/event-stream",
        _ => "application/x-ndjson",
    };
    let next_offset = first.next_offset;
    let mut response = if form == Form::Events && first.is_empty && first.rest.is_none() {
        // A browser that has everything comes back all the same, and stops coming.
        respond::empty(StatusCode::NO_CONTENT)
    } else {
        let pause = Duration::from_millis(app.ports.settings.stream_pause_ms);
        let (outflow, body) = outflow::open(pause, ());
        let sending = Sending { app: app.clone(), caller: caller.clone(), outflow, _permit: permit };
        tokio::spawn(sending.all(first, form));
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response.headers_mut().insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        response
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    min_offset::show(&mut response, next_offset);
    Ok(response)
}

/// A walk over a list.
struct Walk {
    query: egiz_twin::Query,
    fields: Option<Fields>,
    with_metadata: bool,
    form: Form,
}

/// What a step of a walk gives.
struct Piece {
    bytes: Vec<u8>,
    is_empty: bool,
    next_offset: u64,
    /// The walk, where it goes on.
    rest: Option<Walk>,
}

impl Walk {
    async fn step(mut self, app: &App) -> Result<Piece, ApiError> {
        query::on_engine(app, move |engine| {
            let mut bytes = Vec::with_capacity(PIECE_BYTES / 4);
            let page = engine.search(&self.query).map_err(|error| ApiError::from(&error))?;
            let mut found = page.slots.iter().filter_map(|slot| engine.thing_at(*slot)).peekable();
            let is_empty = found.peek().is_none();
            let mut last = None;
            while bytes.len() < PIECE_BYTES
                && let Some(thing) = found.next()
            {
                self.write(&mut bytes, &thing);
                last = Some(thing.id().as_str());
            }
            let goes_on = found.next().is_some() || page.next.is_some();
            let next_offset = engine.next_offset();
            self.query.after = last.map(|id| Position { keys: Vec::new(), thing: id.to_owned() });
            Ok(Piece { bytes, is_empty, next_offset, rest: goes_on.then_some(self) })
        })
        .await?
    }

    fn write(&self, out: &mut Vec<u8>, thing: &ThingRef<'_>) {
        if self.form == Form::Events {
            // An id has no line ends, and neither has what is written as JSON here.
            out.extend_from_slice(b"id: ");
            out.extend_from_slice(thing.id().as_str().as_bytes());
            out.extend_from_slice(b"\ndata: ");
        }
        present::thing(out, thing, &Shown::of(self.fields.as_ref()), self.with_metadata);
        out.extend_from_slice(if self.form == Form::Events { b"\n\n" } else { b"\n" });
    }
}

/// Sends a list to one client.
struct Sending {
    app: App,
    caller: Caller,
    outflow: Outflow,
    _permit: OwnedSemaphorePermit,
}

impl Sending {
    /// Ends with the list, or as soon as the client is gone or takes nothing for `pause`: the place among the streams is
    /// then free again.
    async fn all(self, first: Piece, form: Form) {
        let mut piece = first;
        if form == Form::Events {
            piece.bytes.splice(..0, format!("retry: {RETRY_MS}\n\n").into_bytes());
        }
        loop {
            let Piece { bytes, rest, .. } = piece;
            if !self.outflow.send(bytes.into()).await {
                return;
            }
            let Some(walk) = rest else { break };
            if self.caller.revoked.is_cancelled() {
                return;
            }
            piece = match walk.step(&self.app).await {
                Ok(piece) => piece,
                // Logged where it was met; the client sees the stream break off.
                Err(_) => return,
            };
        }
        if form == Form::Events {
            self.outflow.send(Bytes::from_static(b"event: complete\ndata: {}\n\n")).await;
        }
        self.outflow.end().await;
    }
}
