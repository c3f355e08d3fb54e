//! The values that a property had, each with the interval in which it had it: which batches ran, on what, and when.
//!
//! Of one Thing, or of all: then `where` finds a batch wherever it ran. What a value is and how long it holds is said in
//! `context.rs`. A page ends when it is full, and of all Things also when enough of them were looked at.

use std::ops::ControlFlow;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use egiz_api::{HistoryInterval, HistoryIntervals, Problem};
use egiz_model::{Timestamp, Value};
use egiz_twin::PropertyFilter;

use super::ask::range;
use super::context::{self, Lookout, filter_of_parameters, follow};
use super::selection::Selection;
use super::walk::Walk;
use super::{blocking, historian, known};
use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::params::{Params, refused};
use crate::target::Target;
use crate::{cursor, page, query, respond};

/// After so many Things a page ends, also where nothing was found.
const THINGS_LOOKED_AT: usize = 500;

/// The values that a property of a Thing had, each with the interval in which it had it.
#[utoipa::path(get, path = "/api/v1/things/{thingId}/history/intervals", tag = "history",
    params(
        ("thingId" = String, Path, description = "`<site>:<name>`; a bare name where one site is configured"),
        ("property" = Option<String>, Query, description = "`feature/property` or `feature/property/item`; it may be missing beside `where`"),
        ("where" = Option<String>, Query, description = "Only where this holds, in RQL over properties: `eq(business_context/recipe,\"rye\")`"),
        ("from" = Option<String>, Query, description = "The beginning: RFC 3339, or seconds or milliseconds since 1970; an hour before `to` where it is missing"),
        ("to" = Option<String>, Query, description = "The end, which does not belong to the range; now where it is missing"),
        ("limit" = Option<u32>, Query, description = "The page's size, 1 to 200; 25 where it is missing"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
    ),
    responses(
        (status = 200, description = "A page; without `cursor` it is the last", body = HistoryIntervals),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn of_thing(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    uri: Uri,
) -> Result<Response, ApiError> {
    historian(&app)?;
    let thing = Target::of(uri.path(), &app.ports.settings.sites)?.thing;
    let params = Params::parse(raw.as_deref(), &["property", "where", "from", "to", "limit", "cursor"])?;
    let asked = Asked::of(&params, &app, &caller, &thing)?;
    let live = app.clone();
    let answer = blocking(&app, move |walk| {
        known(&live, walk.historian(), &thing)?;
        asked.answer(walk, vec![thing])
    })
    .await?;
    Ok(respond::json(StatusCode::OK, &answer))
}

/// As of one Thing, of all of them: where and when a batch ran.
#[utoipa::path(get, path = "/api/v1/history/intervals", tag = "history",
    params(
        ("property" = Option<String>, Query, description = "`feature/property` or `feature/property/item`; it may be missing beside `where`"),
        ("where" = Option<String>, Query, description = "Only where this holds, in RQL over properties: `eq(business_context/batch_id,\"B-2026-117\")`"),
        ("filter" = Option<String>, Query, description = "Of which Things: RQL over the live state, or its simple form; all that are in history where it is missing"),
        ("from" = Option<String>, Query, description = "The beginning: RFC 3339, or seconds or milliseconds since 1970; an hour before `to` where it is missing"),
        ("to" = Option<String>, Query, description = "The end, which does not belong to the range; now where it is missing"),
        ("limit" = Option<u32>, Query, description = "The page's size, 1 to 200; 25 where it is missing. A page may have fewer and go on"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
    ),
    responses(
        (status = 200, description = "A page; without `cursor` it is the last", body = HistoryIntervals),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn of_all(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    historian(&app)?;
    let names = &["property", "where", "filter", "from", "to", "limit", "cursor"];
    let params = Params::parse(raw.as_deref(), names)?;
    let mut asked = Asked::of(&params, &app, &caller, "")?;
    let live = match params.get("filter") {
        None => None,
        Some(text) => {
            asked.question.push(text.to_owned());
            let filter = query::filter_from_text(text)?;
            let ids = query::on_engine(&app, move |engine| {
                let matching = engine
                    .things()
                    .filter(|thing| filter.as_ref().is_none_or(|filter| filter.matches(*thing)));
                matching.map(|thing| thing.id().as_str().to_owned()).collect::<Vec<_>>()
            });
            Some(ids.await?)
        }
    };
    let answer = blocking(&app, move |walk| {
        let mut things = live.unwrap_or_else(|| walk.historian().things().into_iter().collect());
        things.sort_unstable();
        asked.answer(walk, things)
    })
    .await?;
    Ok(respond::json(StatusCode::OK, &answer))
}

/// A checked question.
struct Asked {
    property: Option<(String, String, Option<u8>)>,
    filter: Option<PropertyFilter>,
    range: (Timestamp, Timestamp),
    now: Timestamp,
    limit: usize,
    cursor: Option<String>,
    cursor_key: [u8; 32],
    question: Vec<String>,
}

/// Where a page goes on, and the range, which may have been said relative to now.
#[derive(serde::Serialize, serde::Deserialize)]
struct Position {
    thing: String,
    next: i64,
    from: i64,
    to: i64,
}

impl Asked {
    fn of(params: &Params, app: &App, caller: &Caller, thing: &str) -> Result<Self, ApiError> {
        let now = (app.ports.clock)();
        let range = range(params.get("from"), params.get("to"), now)?;
        let selection = Selection::of_parameters(None, params.get("property"))
            .map_err(|(name, reason)| refused(name, &reason))?;
        let mut named = selection.named();
        let property = named.next().map(|key| (key.feature.to_string(), key.property.to_string(), key.item));
        if named.next().is_some() {
            return Err(refused("property", "it names several, and one is allowed"));
        }
        let filter = filter_of_parameters(params)?;
        if property.is_none() && filter.is_none() {
            return Err(refused("property", "it is missing: say whose values, or in `where` what must hold"));
        }
        let said = |name| params.get(name).unwrap_or_default().to_owned();
        let question = vec![
            "history/intervals".to_owned(),
            thing.to_owned(),
            said("from"),
            said("to"),
            selection.text(),
            said("where"),
            caller.principal.to_string(),
        ];
        Ok(Self {
            property,
            filter,
            range,
            now,
            limit: page::limit(params.number("limit")?)?,
            cursor: params.get("cursor").map(str::to_owned),
            cursor_key: app.ports.settings.cursor_key,
            question,
        })
    }

    /// A page of the intervals of Things, which ascend by id.
    fn answer(mut self, walk: &Walk, things: Vec<String>) -> Result<HistoryIntervals, ApiError> {
        let question: Vec<&str> = self.question.iter().map(String::as_str).collect();
        let mut begin = None;
        if let Some(text) = &self.cursor {
            let position: Position = cursor::open_value(&self.cursor_key, &question, text)?;
            self.range = (Timestamp::from_micros(position.from), Timestamp::from_micros(position.to));
            begin = Some((position.thing, Timestamp::from_micros(position.next)));
        }
        let (from, to) = self.range;
        let mut page = Vec::new();
        let mut goes_on = None;
        let first = begin.as_ref().map_or(0, |(thing, _)| things.partition_point(|id| id < thing));
        for (looked_at, thing) in things[first..].iter().enumerate() {
            if looked_at == THINGS_LOOKED_AT {
                goes_on = Some((thing.clone(), from));
                break;
            }
            let since = match &begin {
                Some((id, next)) if id == thing => *next,
                _ => from,
            };
            if let Some(next) = self.of_one(walk, thing, since, &mut page)? {
                goes_on = Some((thing.clone(), next));
                break;
            }
        }
        let cursor = goes_on.map(|(thing, next)| {
            let position =
                Position { thing, next: next.as_micros(), from: from.as_micros(), to: to.as_micros() };
            cursor::seal_value(&self.cursor_key, &question, &position)
        });
        Ok(HistoryIntervals { from, to, items: page, cursor })
    }

    /// Adds the intervals of one Thing from `begin` on; returns where the next one begins if the page has no room for it.
    fn of_one(
        &self,
        walk: &Walk,
        thing: &str,
        begin: Timestamp,
        page: &mut Vec<HistoryInterval>,
    ) -> Result<Option<Timestamp>, ApiError> {
        let mut properties: Vec<(String, String)> =
            self.property.iter().map(|(feature, name, _)| (feature.clone(), name.clone())).collect();
        for known in self.filter.iter().flat_map(PropertyFilter::properties) {
            if !properties.contains(known) {
                properties.push(known.clone());
            }
        }
        let mut open: Option<HistoryInterval> = None;
        let mut next = None;
        let lookout = Lookout { thing, range: (begin, self.range.1), now: self.now };
        let mut is_first = begin == self.range.0;
        let end = follow(walk, &properties, lookout, |time, values| {
            let begun_before = std::mem::replace(&mut is_first, false);
            let holds = self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.matches(&|feature, name| values.of(feature, name)));
            let value = match &self.property {
                None => Some(None),
                Some((.., item)) => of_item(values.at(0), *item).map(Some),
            };
            let now = value.filter(|_| holds);
            if let (Some(open), Some(now)) = (&open, &now)
                && open.value == now.as_ref().map(Value::to_json)
            {
                return Ok(ControlFlow::Continue(()));
            }
            page.extend(open.take().and_then(|interval| ended(interval, time)));
            if let Some(value) = now {
                if page.len() == self.limit {
                    next = Some(time);
                    return Ok(ControlFlow::Break(()));
                }
                open = Some(HistoryInterval {
                    thing_id: thing.to_owned(),
                    value: value.as_ref().map(Value::to_json),
                    from: time,
                    to: time,
                    duration_s: 0.0,
                    begun_before,
                    goes_on: false,
                });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        page.extend(open.and_then(|interval| ended(HistoryInterval { goes_on: true, ..interval }, end)));
        Ok(next)
    }
}

/// The value, or of a list the item; nothing where there is none.
fn of_item(value: Option<&Value>, item: Option<u8>) -> Option<Value> {
    let value = match (value?, item) {
        (Value::List(items), Some(item)) => items.get(usize::from(item))?,
        (_, Some(_)) => return None,
        (value, None) => value,
    };
    (*value != Value::Null).then(|| value.clone())
}

/// The interval with its end; nothing where it has no length.
fn ended(interval: HistoryInterval, end: Timestamp) -> Option<HistoryInterval> {
    let micros = end.micros_since(interval.from);
    (micros > 0).then(|| HistoryInterval { to: end, duration_s: context::seconds(micros), ..interval })
}
