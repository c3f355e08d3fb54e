//! `POST /history/query`: aggregates of several Things, each for itself or all put together.
//!
//! Put together are the summaries of each Thing's bucket: the result is that of all samples pooled, and time-weighted ones
//! weigh each Thing by how long it had a value. What follows one series (derivative, counter rate) or needs every sample at
//! once (percentiles) cannot be had that way and is refused.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use egiz_api::{
    Code, HistoryBucket, HistoryGroup, HistoryGroupResult, HistoryQuery, HistoryResult, Problem,
    PropertyHistory,
};
use egiz_historian::View;
use egiz_historian::series::{Aggregate, Span, Stream, Summaries, Summarised, Summary};
use egiz_model::{Quality, Timestamp};

use super::ask::{Asked, Fault, Gathering, Said, bounded, hold_of, member_moment};
use super::buckets::{Budget, Of, is_partial, properties};
use super::context::{self, Condition, Lookout};
use super::pieces::each_piece;
use super::selection::{Key, NAMES_MAX, Selection};
use super::walk::Walk;
use super::{blocking, complete, entry, historian};
use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::params::Params;
use crate::things::read::no_thing;
use crate::{body, cursor, page, query, respond, target};

/// The most Things whose samples are put together, and the most that a list names.
const THINGS_MAX: usize = 1_000;

/// Aggregates over the history of several Things.
#[utoipa::path(post, path = "/api/v1/history/query", tag = "history", request_body = HistoryQuery,
    responses(
        (status = 200, description = "A group a Thing, or one for all", body = HistoryResult),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn query(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    Params::parse(raw.as_deref(), &[])?;
    historian(&app)?;
    let query: HistoryQuery = body::read_json(&headers, content, &app.ports.settings).await?;
    let question = Question::of(&app, &query).await?;
    let key = app.ports.settings.cursor_key;
    let asked_again = cursor_question(&query, &caller);
    let asked_again: Vec<&str> = asked_again.iter().map(String::as_str).collect();
    let range = question.range;
    let mut result = HistoryResult {
        from: range.0,
        to: range.1,
        things: question.things.len() as u64,
        groups: Vec::new(),
        cursor: None,
    };
    if query.group_by == HistoryGroup::None {
        let of_pages = [("limit", query.limit.is_some()), ("cursor", query.cursor.is_some())];
        if let Some((name, _)) = of_pages.into_iter().find(|(_, is_there)| *is_there) {
            return Err(Fault::new(name, "all Things together are one answer; leave it out").in_member());
        }
        if question.things.len() > THINGS_MAX {
            let reason =
                format!("{} Things are put together, and at most {THINGS_MAX} may be", question.things.len());
            return Err(Fault::too_large("filter", reason, THINGS_MAX as u64).in_member());
        }
        let live = app.clone();
        let properties =
            blocking(&app, move |walk| together(&walk.seeing(question.view), &live, &question)).await?;
        result.groups.push(HistoryGroupResult { thing_id: None, context: None, properties });
        return Ok(respond::json(StatusCode::OK, &result));
    }
    let limit = page::limit(query.limit.map(u64::from))?;
    let mut range_of_cursor = None;
    let mut begin = 0;
    if let Some(text) = &query.cursor {
        let (after, from, to): (String, i64, i64) = cursor::open_value(&key, &asked_again, text)?;
        begin = question.things.partition_point(|thing| *thing <= after);
        range_of_cursor = Some((from, to));
    }
    let question = match range_of_cursor {
        // What was said relative to the now of the first page goes on meaning that.
        Some((from, to)) => {
            question.over((Timestamp::from_micros(from), Timestamp::from_micros(to)), &query)?
        }
        None => question,
    };
    (result.from, result.to) = question.range;
    let end = question.things.len().min(begin + limit);
    if end < question.things.len() {
        let position = (&question.things[end - 1], result.from.as_micros(), result.to.as_micros());
        result.cursor = Some(cursor::seal_value(&key, &asked_again, &position));
    }
    let live = app.clone();
    result.groups = blocking(&app, move |walk| {
        let walk = &walk.seeing(question.view);
        let mut budget = Budget::new("limit");
        let mut groups = Vec::with_capacity(end - begin);
        for thing in &question.things[begin..end] {
            let within = context::within(walk, &live, &question.conditions, question.lookout(thing))?;
            let of =
                Of { thing, range: question.range, selection: &question.selection, within: within.as_ref() };
            let mut properties = properties(walk, &of, &question.asked, &mut budget)?;
            complete(&live, walk, thing, question.range, &mut properties)?;
            let context = context::shown(within.as_ref());
            groups.push(HistoryGroupResult { thing_id: Some(thing.clone()), context, properties });
        }
        Ok(groups)
    })
    .await?;
    Ok(respond::json(StatusCode::OK, &result))
}

/// What a cursor belongs to.
fn cursor_question(query: &HistoryQuery, caller: &Caller) -> Vec<String> {
    let asked = HistoryQuery { limit: None, cursor: None, ..query.clone() };
    vec![
        "history/query".to_owned(),
        serde_json::to_string(&asked).unwrap_or_default(),
        caller.principal.to_string(),
    ]
}

/// A checked question.
struct Question {
    /// By id.
    things: Vec<String>,
    selection: Selection,
    range: (Timestamp, Timestamp),
    now: Timestamp,
    conditions: Vec<Condition>,
    view: View,
    asked: Asked,
}

impl Question {
    async fn of(app: &App, query: &HistoryQuery) -> Result<Self, ApiError> {
        let now = (app.ports.clock)();
        let range = (|| bounded(member_moment(&query.from, "from")?, member_moment(&query.to, "to")?, now))()
            .map_err(Fault::in_member)?;
        let selection = Selection::of_list(&query.properties).map_err(|(index, reason)| {
            let at =
                if index == NAMES_MAX { "/properties".to_owned() } else { format!("/properties/{index}") };
            ApiError::from(Problem::new(Code::InvalidValue, format!("{at}: {reason}")).at(at, reason))
        })?;
        let conditions = Condition::of_member(query.conditions.as_ref(), &app.ports.settings.sites)?;
        let asked = aggregates(query, range, now)?;
        let things = things(app, query).await?;
        let view = if query.corrected == Some(false) { View::Original } else { View::Corrected };
        Ok(Self { things, selection, range, now, conditions, view, asked })
    }

    /// Where the conditions of a Thing are looked at.
    fn lookout<'a>(&self, thing: &'a str) -> Lookout<'a> {
        Lookout { thing, range: self.range, now: self.now }
    }

    /// The same over another range.
    fn over(self, range: (Timestamp, Timestamp), query: &HistoryQuery) -> Result<Self, ApiError> {
        let asked = aggregates(query, range, self.now)?;
        Ok(Self { range, asked, ..self })
    }
}

fn aggregates(
    query: &HistoryQuery,
    range: (Timestamp, Timestamp),
    now: Timestamp,
) -> Result<Asked, ApiError> {
    let said = Said {
        resolution: query.resolution.as_deref(),
        agg: &query.agg,
        fill: query.fill.as_deref(),
        tz: query.tz.as_deref(),
    };
    let hold = hold_of(query.hold.as_deref(), now).map_err(Fault::in_member)?;
    let asked = Asked::read(&said, Span::new(range.0, range.1), hold).map_err(Fault::in_member)?;
    if query.group_by == HistoryGroup::None {
        match &asked.gathering {
            Gathering::Durations => {
                let reason = "`duration` is reckoned for each Thing; ask with `groupBy`: `thing`";
                return Err(Fault::new("agg", reason).in_member());
            }
            Gathering::Numbers(aggregates) => {
                let of_one = |aggregate: &Aggregate| {
                    matches!(
                        aggregate,
                        Aggregate::Percentile(_) | Aggregate::Derivative | Aggregate::CounterRate
                    )
                };
                if let Some((name, _)) = aggregates.iter().find(|(_, aggregate)| of_one(aggregate)) {
                    let reason = format!(
                        "`{name}` cannot be had of several Things together; ask with `groupBy`: `thing`"
                    );
                    return Err(Fault::new("agg", reason).in_member());
                }
            }
        }
    }
    Ok(asked)
}

/// The Things that are meant, by id.
async fn things(app: &App, query: &HistoryQuery) -> Result<Vec<String>, ApiError> {
    let mut things = match (&query.things, &query.filter) {
        (Some(_), Some(_)) | (None, None) => {
            return Err(Fault::new("things", "say either `things` or `filter`").in_member());
        }
        (Some(named), None) if named.len() > THINGS_MAX => {
            let reason = format!("it names {}, and at most {THINGS_MAX} are allowed", named.len());
            return Err(Fault::too_large("things", reason, THINGS_MAX as u64).in_member());
        }
        (Some(named), None) => {
            let ids = named.iter().map(|text| target::thing_id(text, &app.ports.settings.sites));
            let ids = ids.collect::<Result<Vec<_>, _>>()?;
            let unknown = {
                let engine = app.ports.engine.read();
                ids.iter().filter(|id| engine.thing(id).is_none()).cloned().collect::<Vec<_>>()
            };
            if !unknown.is_empty() {
                let kept = historian(app)?;
                let never = move |_: &Walk| Ok(unknown.into_iter().find(|id| !kept.knows(id)));
                if let Some(id) = blocking(app, never).await? {
                    return Err(no_thing(&id));
                }
            }
            ids
        }
        (None, Some(filter)) => {
            let filter = query::filter_of(filter)?;
            query::on_engine(app, move |engine| {
                let matching = engine
                    .things()
                    .filter(|thing| filter.as_ref().is_none_or(|filter| filter.matches(*thing)));
                matching.map(|thing| thing.id().as_str().to_owned()).collect::<Vec<_>>()
            })
            .await?
        }
    };
    things.sort_unstable();
    things.dedup();
    Ok(things)
}

/// What all Things have of one property, bucket by bucket.
struct Pool {
    key: Key,
    summaries: Vec<Summary>,
}

/// How much of a bucket counts.
#[derive(Clone, Copy)]
struct Shown {
    /// Anything of it, for some Thing.
    is_any: bool,
    /// All of it, for every Thing.
    is_whole: bool,
}

fn together(walk: &Walk, app: &App, question: &Question) -> Result<Vec<PropertyHistory>, ApiError> {
    let Gathering::Numbers(aggregates) = &question.asked.gathering else { return Ok(Vec::new()) };
    let mut budget = Budget::new("resolution");
    let spans: Vec<Span> = question.asked.buckets.clone().collect();
    let mut shown = vec![Shown { is_any: question.conditions.is_empty(), is_whole: true }; spans.len()];
    let mut pools: Vec<Pool> = Vec::new();
    for key in question.selection.named() {
        pool(&mut pools, key, question, spans.len(), &mut budget)?;
    }
    for thing in &question.things {
        let within = context::within(walk, app, &question.conditions, question.lookout(thing))?;
        if let Some(within) = &within {
            for (shown, span) in shown.iter_mut().zip(&spans) {
                let micros = within.micros_of(*span);
                shown.is_any |= micros > 0;
                shown.is_whole &= micros == span.micros();
            }
        }
        let of = Of { thing, range: question.range, selection: &question.selection, within: within.as_ref() };
        let mut of_thing: Vec<(Key, Stream<Summaries>, Vec<Summarised>)> = Vec::new();
        let rollups = question.asked.rollups(question.range);
        each_piece(walk, &of, rollups, question.asked.looks_back(), |key, pieces| {
            let place = of_thing.iter().position(|(known, ..)| known == key).unwrap_or_else(|| {
                let summaries = Summaries::new(question.asked.hold).within(within.clone());
                of_thing.push((
                    key.clone(),
                    Stream::new(question.asked.buckets.clone(), summaries),
                    Vec::new(),
                ));
                of_thing.len() - 1
            });
            let (_, stream, done) = &mut of_thing[place];
            pieces.iter().try_for_each(|piece| Ok(stream.push(piece, done)?))
        })?;
        for (key, stream, mut done) in of_thing {
            stream.finish(&mut done);
            let place = pool(&mut pools, &key, question, spans.len(), &mut budget)?;
            for (total, own) in pools[place].summaries.iter_mut().zip(&done) {
                *total = total.merge(&own.summary);
            }
        }
    }
    let has_any =
        |pool: &Pool| pool.summaries.iter().any(|summary| summary.count > 0 || summary.covered_micros > 0);
    let met: Vec<Key> = pools.iter().filter(|pool| has_any(pool)).map(|pool| pool.key.clone()).collect();
    pools.retain(|pool| has_any(pool) || question.selection.insists_on(&pool.key, &met));
    pools.sort_by(|a, b| question.selection.order(&a.key, &b.key));
    Ok(pools.iter().map(|pool| pooled(pool, (&spans, &shown), aggregates, question)).collect())
}

/// The place of a property's pool, new if need be.
fn pool(
    pools: &mut Vec<Pool>,
    key: &Key,
    question: &Question,
    buckets: usize,
    budget: &mut Budget,
) -> Result<usize, ApiError> {
    if let Some(place) = pools.iter().position(|pool| pool.key == *key) {
        return Ok(place);
    }
    budget.spend(&question.asked)?;
    pools.push(Pool { key: key.clone(), summaries: vec![Summary::default(); buckets] });
    Ok(pools.len() - 1)
}

fn pooled(
    pool: &Pool,
    (spans, shown): (&[Span], &[Shown]),
    aggregates: &[(String, Aggregate)],
    question: &Question,
) -> PropertyHistory {
    let is_met = pool.summaries.iter().any(|summary| summary.count + summary.excluded > 0);
    let mut entry = entry(&pool.key, is_met);
    let those = spans.iter().zip(&pool.summaries).zip(shown).filter(|(_, shown)| shown.is_any);
    let buckets = those.map(|((span, summary), shown)| {
        let value = |aggregate: &Aggregate| aggregate.of_summary(summary).ok().flatten();
        let is_uncertain = aggregates.iter().any(|(_, aggregate)| {
            if aggregate.is_time_weighted() { summary.held_uncertain } else { summary.good < summary.count }
        });
        HistoryBucket {
            start: span.start,
            end: span.end,
            values: aggregates.iter().map(|(name, aggregate)| (name.clone(), value(aggregate))).collect(),
            states: None,
            unknown_s: None,
            count: summary.count,
            excluded: summary.excluded,
            quality: if is_uncertain { Quality::Uncertain } else { Quality::Good },
            partial: !shown.is_whole
                || is_partial((span.start, span.end), question.range, question.asked.hold),
        }
    });
    let mut buckets = buckets.collect();
    super::buckets::fill_together(&mut buckets, question.asked.fill);
    entry.buckets = Some(buckets);
    entry
}
