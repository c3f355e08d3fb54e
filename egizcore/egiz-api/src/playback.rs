//! What a playback of the past sends over the WebSocket. The commands, and the rules around it (order, speed, what a slow client
//! gets), are in docs/api/websocket.md.
//!
//! As with live events, the server writes these without building the types; its tests read every frame with them. Things have
//! the form that they have in `GET /api/v1/state`.

use egiz_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::history::PastThing;
use crate::live::SearchFailure;

/// A text frame of a playback: its place in the sequence, and what is played.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlaybackFrame {
    /// The playback's number from the answer to `play`.
    pub playback: u32,
    /// Counts the playback's frames from 1, without a gap.
    pub seq: u64,
    /// What is played.
    #[serde(flatten)]
    pub event: PlaybackEvent,
}

/// What is played.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event")]
pub enum PlaybackEvent {
    /// How everything stood: what was shown before is to be forgotten.
    KeyFrame(PlaybackKeyFrame),
    /// What was measured since.
    Changes(PlaybackChanges),
    /// Where the playback is.
    Position(PlaybackPosition),
    /// Nothing more is to be played; the playback is paused.
    Ended(PlaybackEnded),
    /// The playback is over before its end.
    Failed(SearchFailure),
}

/// How everything stood, a piece of all of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaybackKeyFrame {
    /// The time.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The Things by id, each with the last value of each property. Those that had none are missing.
    pub things: Vec<PastThing>,
    /// Whether further pieces follow.
    pub more: bool,
}

/// What was measured in `(after, time]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaybackChanges {
    /// Where the playback was.
    #[schema(value_type = String, format = DateTime)]
    pub after: Timestamp,
    /// Where it is now.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// The Things by id, each with the last value of each property that was measured.
    pub things: Vec<PastThing>,
    /// How many older values these stand for; missing where there are none, and in all pieces but the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflated: Option<u64>,
    /// Whether further pieces of the same stretch follow.
    pub more: bool,
}

/// Where a playback is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaybackPosition {
    /// The plant's time: everything up to it is told.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// What it does.
    pub state: PlaybackState,
    /// Seconds of the plant in a second.
    pub speed: f64,
}

/// What a playback does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlaybackState {
    /// It goes on.
    Playing,
    /// It stands.
    Paused,
    /// It would go on, and history is still being read.
    Waiting,
}

impl PlaybackState {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Playing => "playing",
            Self::Paused => "paused",
            Self::Waiting => "waiting",
        }
    }
}

/// That nothing more is to be played.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaybackEnded {
    /// Where the playback is.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Why.
    pub reason: PlaybackEnd,
}

/// Why nothing more is to be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PlaybackEnd {
    /// It is where `until` said.
    Until,
    /// It is at the present: go on with a subscription.
    LiveEdge,
}

impl PlaybackEnd {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Until => "until",
            Self::LiveEdge => "live-edge",
        }
    }
}
