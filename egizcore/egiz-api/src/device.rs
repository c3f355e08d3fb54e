//! Devices: those heard but not yet known, and those that may sign in.

use egiz_model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A device that was heard and is no Thing yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiscoveredDevice {
    /// The id that its Thing would have.
    #[schema(example = "factory:oven-001")]
    pub thing_id: String,
    /// When it was heard first.
    #[schema(value_type = String, format = DateTime)]
    pub first_heard: Timestamp,
    /// When it was heard last.
    #[schema(value_type = String, format = DateTime)]
    pub last_heard: Timestamp,
    /// How many messages it has sent.
    pub messages: u64,
    /// The last message's values, by feature and property.
    #[schema(value_type = Object)]
    pub features: Map<String, Value>,
    /// Templates whose device pattern fits its name, best first.
    pub templates: Vec<String>,
}

/// A page of discovered devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiscoveredPage {
    /// The devices, by id.
    pub items: Vec<DiscoveredDevice>,
    /// For the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// How a discovered device becomes a Thing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// The template whose definition and attributes it takes.
    #[serde(default)]
    #[schema(example = "tunnel-oven")]
    pub template: Option<String>,
    /// Attributes besides; they win over the template's.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub attributes: Option<Map<String, Value>>,
    /// A definition instead of the template's.
    #[serde(default)]
    pub definition: Option<String>,
}

/// A device that may sign in to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// `<site>:<name>`, the two levels of its topic.
    #[schema(example = "factory:oven-001")]
    pub device_id: String,
    /// The Thing that it feeds.
    pub thing_id: String,
    /// Whether it has a password.
    pub has_credential: bool,
    /// Whether it may sign in.
    pub enabled: bool,
    /// When it was entered.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When its password last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub credential_changed: Option<Timestamp>,
}

/// A page of devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DevicePage {
    /// The devices, by site and name.
    pub items: Vec<Device>,
    /// For the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A device to enter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewDevice {
    /// `<site>:<name>`; a bare name where one site is configured.
    pub device_id: String,
    /// The Thing that it feeds; its own id where it is missing.
    #[serde(default)]
    pub thing_id: Option<String>,
}

/// A device's new password, shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    /// The device.
    pub device_id: String,
    /// MQTT user name.
    pub username: String,
    /// MQTT password; it is stored as a hash and cannot be shown again.
    pub password: String,
}

/// What this installation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Site {
    /// The sites whose Things it holds.
    pub sites: Vec<String>,
    /// The program's version.
    pub version: String,
    /// The version of the API's paths.
    #[schema(example = "v1")]
    pub api: String,
    /// How many Things there are.
    pub things: u64,
    /// The offset after the last applied record.
    pub offset: u64,
    /// The server's time.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
}

/// A page of refused messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejectedPage {
    /// The messages, oldest first.
    pub items: Vec<crate::RejectedMessage>,
    /// For the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
