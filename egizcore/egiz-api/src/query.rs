//! Queries over live state: filter, sort, page, count, aggregate.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The two forms of a filter; for the description only, the server takes JSON and decides by its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum FilterForm {
    /// RQL.
    #[schema(example = "and(eq(attributes/type,\"oven\"),gt(features/thermal/properties/zone_1,200))")]
    Rql(String),
    /// Names of attributes, or paths, and the values that they must equal.
    #[schema(value_type = Object, example = json!({"type": "oven"}))]
    Simple(Map<String, Value>),
}

/// What `POST /query` asks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// RQL as a text, such as `and(eq(attributes/type,"oven"),gt(features/thermal/properties/zone_1,200))`, or the
    /// simple form, an object of names and values that must be equal, such as `{"type":"oven"}`; none matches all.
    #[serde(default)]
    #[schema(value_type = Option<FilterForm>)]
    pub filter: Option<Value>,
    /// What to show of each Thing: `thingId,attributes(type,line),features/*/properties/zone_1`.
    #[serde(default)]
    pub fields: Option<String>,
    /// Paths to sort by, each with `+` or `-` before it: `-attributes/line,+thingId`.
    #[serde(default)]
    pub sort: Option<String>,
    /// The page's size, 1 to 200; 25 where it is missing.
    #[serde(default)]
    pub limit: Option<u32>,
    /// From the page before.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Figures over all matching Things, instead of a page of them.
    #[serde(default)]
    pub aggregate: Option<Aggregate>,
}

/// What `POST /query/count` asks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CountQuery {
    /// As in a query.
    #[serde(default)]
    #[schema(value_type = Option<FilterForm>)]
    pub filter: Option<Value>,
}

/// A number of Things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Count {
    /// How many match.
    pub count: u64,
}

/// What `POST /query/aggregate` asks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AggregateQuery {
    /// As in a query.
    #[serde(default)]
    #[schema(value_type = Option<FilterForm>)]
    pub filter: Option<Value>,
    /// Paths whose values make the groups, at most 4; none makes one group of all.
    #[serde(default, rename = "groupBy")]
    #[schema(example = json!(["attributes/line"]))]
    pub group_by: Vec<String>,
    /// Paths of numbers to aggregate, at most 16; a list counts with each of its numbers.
    #[serde(default)]
    #[schema(example = json!(["features/thermal/properties/temperature_zones"]))]
    pub paths: Vec<String>,
}

/// Figures asked for within a query, whose filter counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// Paths whose values make the groups.
    #[serde(default, rename = "groupBy")]
    pub group_by: Vec<String>,
    /// Paths of numbers to aggregate.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// Figures by group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Groups {
    /// The groups, ordered by their key.
    pub groups: Vec<Group>,
}

/// One group's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// The values of `groupBy`, by path; a Thing without a value is in the group of `null`.
    #[schema(value_type = Object, example = json!({"attributes/line": "line-1"}))]
    pub key: Map<String, Value>,
    /// How many Things are in it.
    pub things: u64,
    /// The figures of each path, in the order asked.
    pub values: Vec<Figures>,
}

/// The figures of one path in one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// The path.
    pub path: String,
    /// How many numbers were found.
    pub count: u64,
    /// The smallest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The arithmetic mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg: Option<f64>,
    /// The sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum: Option<f64>,
}
