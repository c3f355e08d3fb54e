//! When it was so: the stretches of time in which values of properties satisfied a condition, such as those in which a batch ran.
//!
//! A value holds from its sample until the next one of its property; one that is bad, or the removal of the property, is none.
//! What held when the range begins is looked up. Nothing holds beyond now. A condition says what of a Thing must hold in RQL
//! ([`PropertyFilter`]); that Thing may be another one than the one whose history is asked for, such as the line that
//! knows which batch is made.

use std::ops::ControlFlow;
use std::sync::Arc;

use egiz_api::{Code, HistoryContext, Problem};
use egiz_historian::series::{Span, Within};
use egiz_model::{Quality, Timestamp, Value};
use egiz_twin::PropertyFilter;

use super::known;
use super::walk::{Pace, Walk};
use crate::app::App;
use crate::error::ApiError;
use crate::params::{Params, refused};
use crate::target;

/// The conditions of one request.
const CONDITIONS_MAX: usize = 8;
/// The stretches that a condition may hold in within a range.
pub(super) const STRETCHES_MAX: usize = 10_000;

/// Something that must hold.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    /// Of which Thing; the one that is asked for where it is missing.
    thing: Option<String>,
    filter: PropertyFilter,
    text: String,
}

/// What of a Thing's past is looked at.
#[derive(Clone, Copy)]
pub(super) struct Lookout<'a> {
    pub(super) thing: &'a str,
    pub(super) range: (Timestamp, Timestamp),
    /// Nothing holds from here on.
    pub(super) now: Timestamp,
}

impl Condition {
    /// The condition of the parameters `where` and `whereThing`, if there is one.
    ///
    /// # Errors
    /// `malformed-filter`, `invalid-parameter`, `invalid-thing-id`.
    pub(super) fn of_parameters(params: &Params, sites: &[String]) -> Result<Vec<Self>, ApiError> {
        let thing = params.get("whereThing").map(|text| target::thing_id(text, sites)).transpose()?;
        match filter_of_parameters(params)? {
            Some(filter) => {
                Ok(vec![Self { thing, filter, text: params.get("where").unwrap_or_default().to_owned() }])
            }
            None if thing.is_some() => {
                Err(refused("whereThing", "it belongs to a condition: say which in `where`"))
            }
            None => Ok(Vec::new()),
        }
    }

    /// The conditions of the member `where` of a body: RQL, or a list of objects with `filter` and, where it is of another Thing,
    /// `thing`.
    ///
    /// # Errors
    /// `malformed-filter`, `invalid-value`, `invalid-thing-id`.
    pub(super) fn of_member(
        member: Option<&serde_json::Value>,
        sites: &[String],
    ) -> Result<Vec<Self>, ApiError> {
        let one = |text: &str, thing: Option<String>, pointer: &str| {
            let filter = read(text).map_err(|error| {
                let reason = error.0.detail.clone();
                ApiError::from(error.0.at(pointer, reason))
            })?;
            Ok(Self { thing, filter, text: text.to_owned() })
        };
        match member {
            None | Some(serde_json::Value::Null) => Ok(Vec::new()),
            Some(serde_json::Value::String(text)) => Ok(vec![one(text, None, "/where")?]),
            Some(serde_json::Value::Array(list)) if list.len() > CONDITIONS_MAX => Err(wrong(
                "/where",
                format!("it has {} conditions, and at most {CONDITIONS_MAX} are allowed", list.len()),
            )),
            Some(serde_json::Value::Array(list)) if !list.is_empty() => {
                let read = list.iter().enumerate().map(|(index, item)| {
                    let at = |name: &str| format!("/where/{index}/{name}");
                    let members = item.as_object().ok_or_else(|| {
                        wrong(
                            format!("/where/{index}"),
                            "it must be an object with `filter` and perhaps `thing`",
                        )
                    })?;
                    if let Some(name) =
                        members.keys().find(|name| !matches!(name.as_str(), "filter" | "thing"))
                    {
                        return Err(wrong(at(name), "it is not known here; known are: filter, thing"));
                    }
                    let thing = match members.get("thing") {
                        None | Some(serde_json::Value::Null) => None,
                        Some(serde_json::Value::String(text)) => Some(target::thing_id(text, sites)?),
                        Some(_) => return Err(wrong(at("thing"), "it must be a Thing's id")),
                    };
                    match members.get("filter") {
                        Some(serde_json::Value::String(text)) => one(text, thing, &at("filter")),
                        _ => Err(wrong(at("filter"), "it must be a text: what must hold, in RQL")),
                    }
                });
                read.collect()
            }
            Some(_) => {
                Err(wrong("/where", "it must be RQL, or a list of objects with `filter` and perhaps `thing`"))
            }
        }
    }

    /// The same text for the same condition.
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.thing.as_deref().unwrap_or_default(), self.text)
    }
}

/// What the parameter `where` says, if it is there.
///
/// # Errors
/// `malformed-filter`, `invalid-parameter`.
pub(super) fn filter_of_parameters(params: &Params) -> Result<Option<PropertyFilter>, ApiError> {
    if !params.is_there("where") {
        return Ok(None);
    }
    // In silence, the answer would be about all of the range.
    let text = params
        .get("where")
        .ok_or_else(|| refused("where", "it is empty: say what must hold, or leave it out"))?;
    read(text).map(Some).map_err(|error| {
        let reason = error.0.detail.clone();
        error.0.in_parameter("where", reason).into()
    })
}

fn read(text: &str) -> Result<PropertyFilter, ApiError> {
    PropertyFilter::parse(text).map_err(|error| ApiError::from(&error))
}

fn wrong(pointer: impl Into<String>, reason: impl Into<String>) -> ApiError {
    let (pointer, reason) = (pointer.into(), reason.into());
    Problem::new(Code::InvalidValue, format!("{pointer}: {reason}")).at(pointer, reason).into()
}

/// The stretches in which all conditions hold; nothing where there is no condition.
///
/// # Errors
/// `thing-not-found` of a Thing that a condition names, `history-too-large`, `unavailable`.
pub(super) fn within(
    walk: &Walk,
    app: &App,
    conditions: &[Condition],
    lookout: Lookout<'_>,
) -> Result<Option<Within>, ApiError> {
    let mut all: Option<Within> = None;
    for condition in conditions {
        if let Some(thing) = &condition.thing {
            known(app, walk.historian(), thing)?;
        }
        let thing = condition.thing.as_deref().unwrap_or(lookout.thing);
        let holds = stretches(walk, &condition.filter, Lookout { thing, ..lookout })?;
        all = Some(all.map_or_else(|| holds.clone(), |all| all.intersection(&holds)));
    }
    Ok(all)
}

/// What an answer says of its conditions.
pub(super) fn shown(within: Option<&Within>) -> Option<HistoryContext> {
    within.map(|within| {
        let micros: i64 = within.spans().iter().map(|span| span.micros()).sum();
        HistoryContext { intervals: within.spans().len() as u64, duration_s: seconds(micros) }
    })
}

/// Microseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
pub(super) fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// The stretches of a range in which a Thing satisfied a filter.
fn stretches(walk: &Walk, filter: &PropertyFilter, lookout: Lookout<'_>) -> Result<Within, ApiError> {
    let mut spans: Vec<Span> = Vec::new();
    let mut since: Option<Timestamp> = None;
    let end = follow(walk, filter.properties(), lookout, |time, values| {
        let holds = filter.matches(&|feature, name| values.of(feature, name));
        match (holds, since) {
            (true, None) => since = Some(time),
            (false, Some(begun)) => {
                if spans.len() == STRETCHES_MAX {
                    return Err(too_many("where"));
                }
                spans.push(Span::new(begun, time));
                since = None;
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    spans.extend(since.map(|begun| Span::new(begun, end)));
    Ok(Within::new(spans))
}

pub(super) fn too_many(parameter: &str) -> ApiError {
    let detail =
        format!("it holds in more than {STRETCHES_MAX} intervals of the range; ask for a shorter range");
    Problem::new(Code::HistoryTooLarge, detail.clone())
        .in_parameter(parameter, detail)
        .limit(STRETCHES_MAX as u64)
        .into()
}

/// The values that some properties have at one time.
pub(super) struct Values<'a> {
    properties: &'a [(String, String)],
    values: Vec<Option<Value>>,
}

impl Values<'_> {
    /// The value of a property, where it has one.
    pub(super) fn of(&self, feature: &str, name: &str) -> Option<&Value> {
        let is_it = |known: &(String, String)| known.1 == name && known.0 == feature;
        self.values[self.properties.iter().position(is_it)?].as_ref()
    }

    /// The value of the property at this place.
    pub(super) fn at(&self, place: usize) -> Option<&Value> {
        self.values[place].as_ref()
    }
}

/// Tells what some properties are when the range begins, and again whenever one of them becomes another, until `each` breaks.
/// Returns where the range, or what is known of it, ends.
///
/// # Errors
/// `unavailable`, those of `each`.
pub(super) fn follow(
    walk: &Walk,
    properties: &[(String, String)],
    lookout: Lookout<'_>,
    mut each: impl FnMut(Timestamp, &Values<'_>) -> Result<ControlFlow<()>, ApiError>,
) -> Result<Timestamp, ApiError> {
    let Lookout { thing, range: (from, to), now } = lookout;
    let end = to.min(now).max(from);
    let place_of =
        |feature: &str, name: &str| properties.iter().position(|known| known.1 == name && known.0 == feature);
    let mut values = Values { properties, values: vec![None; properties.len()] };
    if let Some(state) = walk.thing_at(thing, from.plus_micros(-1))? {
        for property in state.properties {
            if let Some(place) = place_of(&property.feature, &property.property) {
                values.values[place] = trusted(property.reading.value, property.reading.quality);
            }
        }
    }
    if each(from, &values)?.is_break() {
        return Ok(end);
    }
    let wanted = |feature: &str, name: &str| place_of(feature, name).is_some();
    walk.wanted_slices(thing, (from, end), &wanted, Pace::All, |rows| {
        let there: Vec<(usize, Arc<str>, Arc<str>)> = rows
            .properties()
            .into_iter()
            .filter_map(|(feature, name)| Some((place_of(&feature, &name)?, feature, name)))
            .collect();
        for row in 0..rows.len() {
            let mut is_other = false;
            for (place, feature, name) in &there {
                let Some(reading) = rows.reading(row, feature, name) else { continue };
                let value = trusted(reading.value, reading.quality);
                if values.values[*place] != value {
                    values.values[*place] = value;
                    is_other = true;
                }
            }
            if is_other && each(rows.time(row), &values)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(end)
}

fn trusted(value: Option<Value>, quality: Quality) -> Option<Value> {
    value.filter(|_| quality != Quality::Bad)
}

#[cfg(test)]
mod tests;
