//! What the program says about itself: health of its parts, and messages that it had to refuse.

use egiz_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a part, or the whole, is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// It works.
    Up,
    /// It works with less than it should.
    Degraded,
    /// It is starting.
    Starting,
    /// It does not work.
    Down,
}

/// The program's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// The whole: the worst of the parts that it cannot do without.
    pub status: HealthState,
    /// The program's version.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// The parts by name.
    pub parts: Vec<PartHealth>,
}

/// One part's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartHealth {
    /// Which part.
    #[schema(example = "journal")]
    pub name: String,
    /// How it is doing.
    pub status: HealthState,
    /// Why, in words, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Since when it has been so.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// A message from a device that could not be made into samples, kept for inspection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RejectedMessage {
    /// Its place in the order of refusals; pages go by it.
    pub sequence: u64,
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    pub received: Timestamp,
    /// The topic name it was published to.
    pub topic: String,
    /// The client that sent it.
    pub client: String,
    /// What is wrong with it.
    pub reason: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The beginning of the payload as text; what is not UTF-8 is replaced.
    pub payload: String,
}
