//! A Thing as REST and WebSocket show it. The server writes this form straight from the engine's state; the types
//! describe it (OpenAPI, clients in Rust) and read it.

use std::collections::BTreeMap;

use egiz_model::{Quality, QualityReason, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A Thing: one machine, line or area, with what is known of it now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Thing {
    /// `<site>:<name>`, at most 256 bytes.
    #[serde(rename = "thingId")]
    #[schema(example = "factory:oven-001")]
    pub thing_id: String,
    /// The template's definition that it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "openegiz:tunnel-oven:1.0.0")]
    pub definition: Option<String>,
    /// What describes it and seldom changes.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"type": "oven", "line": "line-1"}))]
    pub attributes: Map<String, Value>,
    /// What it measures and does, by feature name.
    #[serde(default)]
    pub features: BTreeMap<String, Feature>,
    /// Counts the changes of this Thing, from 1.
    #[serde(rename = "_revision", default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The journal's offset of the last change.
    #[serde(rename = "_offset", default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// When it was created.
    #[serde(rename = "_created", default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created: Option<Timestamp>,
    /// When it last changed.
    #[serde(rename = "_modified", default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub modified: Option<Timestamp>,
    /// Whether its device is heard.
    #[serde(rename = "_connection", default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// Unit, quality and times of each property, by feature and property; with `metadata=true` only.
    #[serde(rename = "_metadata", default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, BTreeMap<String, PropertyMetadata>>>,
}

/// A feature: properties that belong together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Feature {
    /// The values as last reported.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"temperature_zones": [195, 192, 193]}))]
    pub properties: Map<String, Value>,
    /// The values that are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub desired_properties: Option<Map<String, Value>>,
}

/// Whether a Thing's device is heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// How the device stands.
    pub state: ConnectionState,
    /// When it was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen: Option<Timestamp>,
}

/// How a device stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionState {
    /// It was never heard.
    Unknown,
    /// It is heard.
    Live,
    /// It has been silent beyond its deadline.
    Stale,
    /// It said goodbye, or its connection broke.
    Offline,
}

/// What is known of one property beside its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PropertyMetadata {
    /// The unit, from the template or set by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "°C")]
    pub unit: Option<String>,
    /// How far to trust the value.
    #[schema(value_type = String, example = "good")]
    pub quality: Quality,
    /// Why it is not simply good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "clock-unset")]
    pub reason: Option<QualityReason>,
    /// When the device measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub source_time: Option<Timestamp>,
    /// When the platform took it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub receive_time: Option<Timestamp>,
    /// The Thing's revision at which it last changed.
    pub revision: u64,
}

/// A page of Things.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ThingPage {
    /// The Things, cut down to `fields` where given.
    pub items: Vec<Thing>,
    /// For the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
