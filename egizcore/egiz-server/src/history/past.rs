//! How things stood at a past time: everything, one Thing, one feature.
//!
//! History has what devices said, so a past Thing has its features' properties and nothing else: attributes, desired
//! properties and definitions are known of the present only.

use std::collections::BTreeMap;

use axum::extract::{RawQuery, State};
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use egiz_api::history::reason;
use egiz_api::{
    Code, FeatureAt, HistorySample, MetadataAt, PastFeature, PastState, PastThing, Problem, ThingAt,
};
use egiz_historian::{PropertyState, ThingState};
use egiz_model::Timestamp;
use serde_json::Value;

use super::{ask, blocking, historian, known};
use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::params::{Params, refused};
use crate::target::{self, Target};
use crate::things::read::no_part;
use crate::{cursor, page, respond};

/// How every Thing stood at a past time, page by page.
#[utoipa::path(get, path = "/api/v1/state", tag = "history",
    params(
        ("at" = String, Query, description = "The time: RFC 3339, or seconds or milliseconds since 1970"),
        ("limit" = Option<u32>, Query, description = "The page's size, 1 to 200; 25 where it is missing"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
    ),
    responses(
        (status = 200, description = "A page; without `cursor` it is the last", body = PastState),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn state(
    State(app): State<App>,
    caller: Caller,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    historian(&app)?;
    let params = Params::parse(raw.as_deref(), &["at", "limit", "cursor"])?;
    let text = params.get("at").ok_or_else(|| refused("at", "it is missing: say at which time"))?;
    let at = ask::past_moment("at", text, (app.ports.clock)())?;
    let limit = page::limit(params.number("limit")?)?;
    let key = app.ports.settings.cursor_key;
    let moment = at.to_string();
    let question = ["state", moment.as_str(), &*caller.principal];
    let after = params.get("cursor").map(|text| cursor::open_text(&key, &question, text)).transpose()?;
    let (items, last) = blocking(&app, move |walk| {
        let mut items: Vec<PastThing> = Vec::with_capacity(limit);
        for state in walk.historian().states_at(at, after.as_deref()) {
            walk.go_on()?;
            if items.len() == limit {
                let last = items.last().map(|item| item.thing_id.clone());
                return Ok((items, last));
            }
            items.push(past_thing(state?));
        }
        Ok((items, None))
    })
    .await?;
    let cursor = last.map(|last| cursor::seal_text(&key, &question, &last));
    Ok(respond::json(StatusCode::OK, &PastState { at, items, cursor }))
}

/// Answers a read of a Thing, or one of its features, that says `at`; without `at` it is none of this.
///
/// # Errors
/// `history-off`, `invalid-parameter`, `thing-not-found`, `path-not-found`.
pub(crate) async fn answer(
    app: &App,
    target: &Target,
    params: &Params,
    headers: &HeaderMap,
) -> Result<Option<Response>, ApiError> {
    if !params.is_there("at") {
        return Ok(None);
    }
    historian(app)?;
    // In silence, the answer would be the present.
    let text =
        params.get("at").ok_or_else(|| refused("at", "it is empty: say at which time, or leave it out"))?;
    let at = ask::past_moment("at", text, (app.ports.clock)())?;
    for name in ["fields", "condition", "min-offset"] {
        if params.get(name).is_some() || headers.contains_key(name) {
            return Err(refused(name, "it is about the present and does not go with `at`"));
        }
    }
    for name in [IF_MATCH, IF_NONE_MATCH] {
        if headers.contains_key(&name) {
            return Err(refused(name.as_str(), "a past state has no entity tag: it does not go with `at`"));
        }
    }
    let with_metadata = params.flag("metadata")?;
    let feature = feature_of(&target.pointer)?;
    let (live, thing) = (app.clone(), target.thing.clone());
    let state = blocking(app, move |walk| {
        known(&live, walk.historian(), &thing)?;
        Ok(walk.historian().thing_at(&thing, at)?)
    })
    .await?;
    let Some(state) = state else {
        let detail = format!("nothing is known of {} at {at}", target.thing);
        return Err(ApiError::new(Code::ThingNotFound, detail));
    };
    let Some(feature) = feature else {
        return Ok(Some(respond::json(StatusCode::OK, &thing_at(state, at, with_metadata))));
    };
    let mut features = features_of(&state);
    let Some(properties) = features.remove(feature.as_str()) else {
        let reason = format!("nothing is known of it at {at}");
        let mut problem = no_part(target);
        problem.0.detail = format!("{}: {reason}", problem.0.detail);
        return Err(problem);
    };
    Ok(Some(respond::json(StatusCode::OK, &FeatureAt { at: Some(at), properties })))
}

/// The feature that a pointer means; none for the whole Thing.
fn feature_of(pointer: &str) -> Result<Option<String>, ApiError> {
    match target::names_of(pointer).as_slice() {
        [] => Ok(None),
        [features, name] if features == "features" => Ok(Some(name.clone())),
        _ => Err(refused(
            "at",
            "a past state is that of a Thing, or of one of its features (`features/{feature}`)",
        )),
    }
}

fn thing_at(state: ThingState, at: Timestamp, with_metadata: bool) -> ThingAt {
    let metadata = with_metadata.then(|| {
        let mut of_thing: BTreeMap<String, BTreeMap<String, MetadataAt>> = BTreeMap::new();
        for property in &state.properties {
            let metadata = MetadataAt {
                quality: property.reading.quality,
                reason: reason(property.reading.reason),
                source_time: property.time,
                receive_time: property.time.plus_micros(i64::from(property.delay_s) * 1_000_000),
            };
            let of_feature = of_thing.entry(property.feature.to_string()).or_default();
            of_feature.insert(property.property.to_string(), metadata);
        }
        of_thing
    });
    let features = features_of(&state);
    let features = features.into_iter().map(|(name, properties)| (name, FeatureAt { at: None, properties }));
    ThingAt { at, features: features.collect(), metadata, thing_id: state.thing }
}

fn features_of(state: &ThingState) -> BTreeMap<String, serde_json::Map<String, Value>> {
    let mut features: BTreeMap<String, serde_json::Map<String, Value>> = BTreeMap::new();
    for property in &state.properties {
        let of_feature = features.entry(property.feature.to_string()).or_default();
        of_feature.insert(property.property.to_string(), value_of(property));
    }
    features
}

fn past_thing(state: ThingState) -> PastThing {
    let mut features: BTreeMap<String, PastFeature> = BTreeMap::new();
    for property in &state.properties {
        let sample = HistorySample {
            time: property.time,
            value: value_of(property),
            quality: property.reading.quality,
            reason: reason(property.reading.reason),
            received_after_s: property.delay_s,
            removed: false,
        };
        let feature = features
            .entry(property.feature.to_string())
            .or_insert_with(|| PastFeature { properties: BTreeMap::new() });
        feature.properties.insert(property.property.to_string(), sample);
    }
    PastThing { thing_id: state.thing, features }
}

fn value_of(property: &PropertyState) -> Value {
    property.reading.value.as_ref().map_or(Value::Null, egiz_model::Value::to_json)
}
