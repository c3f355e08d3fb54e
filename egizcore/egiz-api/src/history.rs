//! What was: samples and what is made of them, and how Things stood at a past time.
//!
//! Longer answers are written by the server without building these types; tests read what it writes as them.

use std::collections::BTreeMap;

use egiz_model::{Quality, QualityReason, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// One Thing's history between two times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// The Thing.
    #[schema(example = "factory:oven-001")]
    pub thing_id: String,
    /// The beginning of the range, which belongs to it.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The end of the range, which does not.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// Each property, in the order asked for, else by name.
    pub properties: Vec<PropertyHistory>,
    /// With `where`: how much of the range it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<HistoryContext>,
    /// For the next page of samples; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// How much of a range satisfied a condition.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryContext {
    /// In how many intervals it held; of a page of samples, of those from its beginning on.
    pub intervals: u64,
    /// How long they last together, in seconds.
    #[schema(example = 5400.0)]
    pub duration_s: f64,
}

/// The history of one property: samples, or buckets where aggregates were asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PropertyHistory {
    /// The feature.
    #[schema(example = "thermal")]
    pub feature: String,
    /// The property.
    #[schema(example = "zones")]
    pub property: String,
    /// Which item of a list, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u8>,
    /// The unit, where the live Thing has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "°C")]
    pub unit: Option<String>,
    /// `false` where neither history nor the live Thing has such a property: a name that may be misspelt.
    pub known: bool,
    /// Whether corrections are in force within the range.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schema(value_type = Option<bool>)]
    pub corrected: bool,
    /// The samples, or the points of a chart, in the order of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<Vec<HistorySample>>,
    /// The buckets, in the order of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<Vec<HistoryBucket>>,
}

/// A value at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistorySample {
    /// When the device measured it.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// The value; `null` where there was none, and where a chart's line breaks.
    #[schema(value_type = Value)]
    pub value: Value,
    /// How far to trust it, where that is not good.
    #[serde(default, skip_serializing_if = "is_good")]
    #[schema(value_type = Option<String>, example = "uncertain")]
    pub quality: Quality,
    /// Why not further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "clock-unset")]
    pub reason: Option<QualityReason>,
    /// How many whole seconds later the platform took it in, where it was so many.
    #[serde(default, skip_serializing_if = "is_zero_u32")]
    #[schema(value_type = Option<u32>)]
    pub received_after_s: u32,
    /// Whether the property was taken away at this time.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schema(value_type = Option<bool>)]
    pub removed: bool,
}

/// What the samples of a stretch of time amount to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryBucket {
    /// Where it begins, also if the range begins later.
    #[schema(value_type = String, format = DateTime)]
    pub start: Timestamp,
    /// Where the next one begins.
    #[schema(value_type = String, format = DateTime)]
    pub end: Timestamp,
    /// Each aggregate asked for by its name; `null` where the samples have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object, example = json!({"avg": 195.2, "max": 196.0}))]
    pub values: BTreeMap<String, Option<f64>>,
    /// With `agg=duration`: each state that the property was in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<Vec<HistoryState>>,
    /// With `agg=duration`: for how long it was in no known state, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_s: Option<f64>,
    /// How many samples had a value.
    pub count: u64,
    /// How many had none that counts: bad, or of another kind.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    #[schema(value_type = Option<u64>)]
    pub excluded: u64,
    /// The worst quality that went into the values, where that is not good.
    #[serde(default, skip_serializing_if = "is_good")]
    #[schema(value_type = Option<String>, example = "uncertain")]
    pub quality: Quality,
    /// Whether part of it was not asked for, or is yet to come.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schema(value_type = Option<bool>)]
    pub partial: bool,
}

/// How long and how often a property was in one state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryState {
    /// The state: a text, a truth value or a number.
    #[schema(value_type = Value, example = json!("running"))]
    pub state: Value,
    /// For how long, in seconds.
    pub duration_s: f64,
    /// How often it was entered.
    pub entries: u64,
}

/// What `POST /history/query` asks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HistoryQuery {
    /// Ids of Things; this or `filter`.
    #[serde(default)]
    #[schema(example = json!(["factory:oven-001", "factory:oven-002"]))]
    pub things: Option<Vec<String>>,
    /// A filter over the live state, as in a query; this or `things`.
    #[serde(default)]
    #[schema(value_type = Option<crate::query::FilterForm>)]
    pub filter: Option<Value>,
    /// What must hold for anything to count: RQL over properties, or a list of such conditions, each of the Thing whose history
    /// it is or of a named one; all must hold.
    #[serde(default, rename = "where")]
    #[schema(value_type = Option<HistoryWhere>)]
    pub conditions: Option<Value>,
    /// Whether corrections are in force; they are where it is missing.
    #[serde(default)]
    pub corrected: Option<bool>,
    /// Properties as `feature/property` or `feature/property/item`; a feature alone stands for all of its properties.
    #[serde(default)]
    #[schema(example = json!(["thermal/zone", "thermal/zones/0"]))]
    pub properties: Vec<String>,
    /// The beginning: RFC 3339, or seconds or milliseconds since 1970; an hour before the end where it is missing.
    #[serde(default)]
    #[schema(value_type = Option<Value>, example = json!("2026-11-23T00:00:00Z"))]
    pub from: Option<Value>,
    /// The end; now where it is missing.
    #[serde(default)]
    #[schema(value_type = Option<Value>, example = json!("2026-11-24T00:00:00Z"))]
    pub to: Option<Value>,
    /// The length of a bucket; the whole range is one where it is missing.
    #[serde(default)]
    #[schema(example = "15m")]
    pub resolution: Option<String>,
    /// Aggregates with commas between.
    #[schema(example = "avg,max")]
    pub agg: String,
    /// What stands in buckets without a value; `null` where it is missing.
    #[serde(default)]
    #[schema(example = "previous")]
    pub fill: Option<String>,
    /// How long a value counts without another sample; until the next one where it is missing.
    #[serde(default)]
    #[schema(example = "15s")]
    pub hold: Option<String>,
    /// The time zone of days, weeks, months and years; `UTC` where it is missing.
    #[serde(default)]
    #[schema(example = "Europe/Berlin")]
    pub tz: Option<String>,
    /// Whether each Thing has buckets of its own, or those of all are put together.
    #[serde(default)]
    pub group_by: HistoryGroup,
    /// How many Things a page has, 1 to 200; 25 where it is missing. Not with `groupBy: none`.
    #[serde(default)]
    pub limit: Option<u32>,
    /// From the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// The two forms of a condition; for the description only, the server takes JSON and decides by its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum HistoryWhere {
    /// RQL over properties of the Thing whose history is asked for.
    #[schema(example = "eq(business_context/batch_id,\"B-2026-117\")")]
    Rql(String),
    /// Conditions, at most 8.
    Several(Vec<HistoryCondition>),
}

/// What must hold of a Thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryCondition {
    /// The Thing; the one whose history is asked for where it is missing.
    #[schema(example = "factory:line-1")]
    pub thing: Option<String>,
    /// RQL over its properties.
    #[schema(example = "in(business_context/recipe,\"rye\",\"wheat\")")]
    pub filter: String,
}

/// The values that a property had, each with the interval in which it had it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryIntervals {
    /// The beginning of the range, which belongs to it.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The end of the range, which does not.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// The intervals by Thing and time.
    pub items: Vec<HistoryInterval>,
    /// For the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// An interval in which a property had one value, or a condition held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryInterval {
    /// The Thing.
    #[schema(example = "factory:line-1")]
    pub thing_id: String,
    /// The value; missing where no property was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>, example = json!("B-2026-117"))]
    pub value: Option<Value>,
    /// Since when; the beginning of the range where that is earlier.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Until when; the end of the range, or now, where that is later.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// How long, in seconds.
    pub duration_s: f64,
    /// Whether it began before the range.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schema(value_type = Option<bool>)]
    pub begun_before: bool,
    /// Whether it goes on beyond the range, or now.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schema(value_type = Option<bool>)]
    pub goes_on: bool,
}

/// Whose samples go into one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HistoryGroup {
    /// Those of one Thing.
    #[default]
    Thing,
    /// Those of all.
    None,
}

/// The history of several Things.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryResult {
    /// The beginning of the range.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The end of the range.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// How many Things the filter or list names.
    pub things: u64,
    /// A group for each Thing of the page, or one for all.
    pub groups: Vec<HistoryGroupResult>,
    /// For the next page of Things; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The history of one group of Things.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryGroupResult {
    /// The Thing, where each has a group of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_id: Option<String>,
    /// With `where`, of one Thing: how much of the range it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<HistoryContext>,
    /// The properties, with buckets.
    pub properties: Vec<PropertyHistory>,
}

/// A page of Things as they stood at a past time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PastState {
    /// The time.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The Things that had said something by then, by id.
    pub items: Vec<PastThing>,
    /// For the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A Thing as it stood at a past time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastThing {
    /// The Thing.
    #[schema(example = "factory:oven-001")]
    pub thing_id: String,
    /// Its features by name.
    pub features: BTreeMap<String, PastFeature>,
}

/// A feature as it stood at a past time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PastFeature {
    /// The last value of each property measured by then.
    pub properties: BTreeMap<String, HistorySample>,
}

/// A Thing in its live form with the values of a past time: `GET /things/{thingId}?at=`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThingAt {
    /// The Thing.
    pub thing_id: String,
    /// The time.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Its features with the properties that had been measured by then.
    pub features: BTreeMap<String, FeatureAt>,
    /// Quality and times of each property; with `metadata=true` only.
    #[serde(rename = "_metadata", default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, BTreeMap<String, MetadataAt>>>,
}

/// A feature in its live form with the values of a past time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FeatureAt {
    /// The time; missing inside a Thing, which has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// The values.
    #[schema(value_type = Object)]
    pub properties: Map<String, Value>,
}

/// What is known of a past value beside itself, as of a live one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetadataAt {
    /// How far to trust it.
    #[schema(value_type = String, example = "good")]
    pub quality: Quality,
    /// Why not further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "clock-unset")]
    pub reason: Option<QualityReason>,
    /// When the device measured it.
    #[schema(value_type = String, format = DateTime)]
    pub source_time: Timestamp,
    /// When the platform took it in, to the second.
    #[schema(value_type = String, format = DateTime)]
    pub receive_time: Timestamp,
}

/// The reason, where there is one.
#[must_use]
pub fn reason(reason: QualityReason) -> Option<QualityReason> {
    (reason != QualityReason::None).then_some(reason)
}

fn is_good(quality: &Quality) -> bool {
    *quality == Quality::Good
}

fn is_zero_u32(number: &u32) -> bool {
    *number == 0
}

fn is_zero_u64(number: &u64) -> bool {
    *number == 0
}

fn is_false(truth: &bool) -> bool {
    !truth
}
