//! What live subscriptions send, over WebSocket and as server-sent events. The rules around it (order, resuming, what a slow
//! client gets, the binary form of columns) are in docs/api/websocket.md.
//!
//! The server writes these straight from the engine's state without building the types; its tests read every frame with them.

use egiz_model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::thing::{ConnectionState, Thing};

/// A text frame of a WebSocket subscription: its place in the sequence, and the event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Frame {
    /// The subscription's number from the answer to `subscribe`.
    pub subscription: u32,
    /// Counts the subscription's frames from 1, without a gap.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened. `offset` is the journal's offset that it belongs to; `next`, where it is there, is what to give as `from`
/// in order to go on behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event")]
pub enum Event {
    /// Things as they are.
    Snapshot(Snapshot),
    /// Properties of a feature have new values.
    StateChanged(StateChanged),
    /// A Thing is new.
    ThingCreated(WholeThing),
    /// A Thing satisfies the filter from now on, or a slow client gets it as a whole.
    ThingEntered(WholeThing),
    /// Another definition, or other attributes.
    ThingModified(ThingModified),
    /// A Thing is gone.
    ThingDeleted(ThingGone),
    /// A Thing no longer satisfies the filter.
    ThingLeft(ThingGone),
    /// A device came, went or fell silent.
    ConnectionChanged(ConnectionChanged),
    /// What is wanted of a feature changed.
    DesiredChanged(DesiredChanged),
    /// A property's unit or another of its metadata was set.
    MetadataChanged(MetadataChanged),
    /// Nothing happened here; the offset moved on.
    Bookmark(Mark),
    /// What was known before is to be forgotten; a snapshot follows.
    Resync(Mark),
    /// What the numbers in columns stand for.
    Slots(Slots),
    /// The newest values of slots that changed.
    Columns(Columns),
    /// The newest texts of slots that changed.
    Texts(Texts),
}

/// A text frame of a WebSocket search: its place in the sequence, and what was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SearchFrame {
    /// The search's number from the answer to `search`.
    pub search: u32,
    /// Counts the search's frames from 1, without a gap.
    pub seq: u64,
    /// What was found.
    #[serde(flatten)]
    pub event: SearchEvent,
}

/// What comes of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event")]
pub enum SearchEvent {
    /// A page that was asked for.
    Next(SearchPage),
    /// That was the last page; the search is over.
    Complete,
    /// The search is over before its end.
    Failed(SearchFailure),
}

/// A page of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchPage {
    /// The journal's offset before which every record is in the state that was searched.
    pub offset: u64,
    /// The Things, cut down to `fields`.
    pub items: Vec<Thing>,
    /// Where the next page begins, also for another connection or REST; missing on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Why a search ended early.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SearchFailure {
    /// As a refusal has it.
    pub problem: Problem,
}

/// A text frame for a client that has declared acknowledgements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event")]
pub enum AckFrame {
    /// Somebody waits for an acknowledgement.
    AckRequested(AckRequested),
}

/// A write that is done, and that somebody wants acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AckRequested {
    /// What to send back with `ack`.
    pub ack: u64,
    /// The label.
    pub label: String,
    /// The Thing.
    pub thing_id: String,
    /// JSON pointer to the part of it that was written; empty for the whole.
    pub path: String,
    /// The Thing's revision after the write.
    pub revision: u64,
    /// The journal's offset of the write.
    pub offset: u64,
    /// The write's correlation id.
    pub correlation_id: String,
}

/// What came of an acknowledgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Acknowledgement {
    /// As an HTTP status: 200 to 299 is good.
    pub status: u16,
    /// What the client says besides, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
}

/// When it happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// When the device measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub source: Option<Timestamp>,
    /// When the platform took it in.
    #[schema(value_type = String, format = DateTime)]
    pub received: Timestamp,
    /// When it was on disk.
    #[schema(value_type = String, format = DateTime)]
    pub durable: Timestamp,
    /// When the twin showed it.
    #[schema(value_type = String, format = DateTime)]
    pub applied: Timestamp,
}

/// Who caused it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cause {
    /// The device or the token's name.
    pub principal: String,
    /// What the cause brought along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// Events about one Thing: each says which, and when, where and why.
macro_rules! about_a_thing {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            /// The Thing.
            pub thing_id: String,
            $($(#[$field_meta])* pub $field: $kind,)*
            /// The Thing's revision after it.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub revision: Option<u64>,
            /// The journal's offset.
            pub offset: u64,
            /// What to give as `from` in order to go on behind this.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub next: Option<u64>,
            /// How many changes were merged into this event and those that follow it, for a client that did not keep up.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub conflated: Option<u64>,
            /// When; missing where several changes were merged, and in columns.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub time: Option<Times>,
            /// Why; missing where several changes were merged, and in columns.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub cause: Option<Cause>,
        }
    )*};
}

about_a_thing! {
    /// New values of a feature.
    StateChanged {
        /// The feature.
        feature: String,
        /// New values; `null` for removed properties.
        #[schema(value_type = Object, example = json!({"temperature_zones": [195, 192, 193]}))]
        properties: Map<String, Value>,
        /// Whether the feature is gone altogether.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        removed: bool,
        /// Whether `properties` are all that the feature has: what is not among them is gone.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        complete: bool,
        /// What is wanted of the feature; only together with `complete`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Object>)]
        desired_properties: Option<Map<String, Value>>,
    }
    /// A Thing as a whole.
    WholeThing {
        /// As REST shows it, cut down to `fields`; missing if it is gone again, which a later event tells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thing: Option<Thing>,
    }
    /// What describes a Thing.
    ThingModified {
        /// The template's definition.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        definition: Option<String>,
        /// All attributes; missing if the Thing is gone again, which a later event tells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Object>)]
        attributes: Option<Map<String, Value>>,
    }
    /// A Thing that is no longer seen.
    ThingGone {
    }
    /// How a device stands.
    ConnectionChanged {
        /// Live, stale or offline.
        connection: ConnectionState,
        /// When it was last heard.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, format = DateTime)]
        last_seen: Option<Timestamp>,
    }
    /// What is wanted.
    DesiredChanged {
        /// The feature.
        feature: String,
        /// All that is wanted of it; missing if the Thing is gone again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Object>)]
        desired_properties: Option<Map<String, Value>>,
    }
    /// Which metadata was set; read it with `?metadata=true`.
    MetadataChanged {
        /// The feature.
        feature: String,
        /// The property.
        property: String,
    }
}

/// Things as they are, a piece of all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// From here on the stream is complete.
    pub offset: u64,
    /// On the last piece: what to give as `from` in order to go on behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// The Things, cut down to `fields`.
    pub things: Vec<Thing>,
    /// Whether further pieces follow.
    pub more: bool,
}

/// A place in the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The journal's offset.
    pub offset: u64,
    /// What to give as `from` in order to go on behind this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// Why, of `Resync`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the numbers in columns stand for; more come when Things or properties appear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Slots {
    /// The journal's offset.
    pub offset: u64,
    /// Whether further pieces follow.
    pub more: bool,
    /// New Things.
    pub things: Vec<SlotThing>,
    /// New slots, or slots that show another type or unit than before.
    pub slots: Vec<Slot>,
}

/// A Thing in columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlotThing {
    /// Its number; not given out again.
    pub thing: u32,
    /// Its id.
    pub thing_id: String,
    /// The template's definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// What describes it.
    #[schema(value_type = Object)]
    pub attributes: Map<String, Value>,
    /// How its device stands.
    pub connection: ConnectionState,
}

/// A column: one value of one Thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// Its number; not given out again.
    pub slot: u32,
    /// The Thing's number.
    pub thing: u32,
    /// The feature.
    pub feature: String,
    /// The property.
    pub property: String,
    /// Which element, of an array of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// The property's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What it shows.
    #[serde(rename = "type")]
    pub kind: SlotKind,
}

/// What a slot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SlotKind {
    /// A number, or null.
    Number,
    /// A truth value.
    Boolean,
    /// A text, or anything else as JSON; it comes in `Texts`.
    Text,
}

/// The newest values of slots that changed; three arrays of equal length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// The journal's offset.
    pub offset: u64,
    /// When the values were read.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// The slots.
    pub slot: Vec<u32>,
    /// Their values: a number, a truth value or null.
    #[schema(value_type = Vec<Object>)]
    pub value: Vec<Value>,
    /// Their qualities: 0 good, 1 uncertain, 2 bad; plus 4 when the device is silent.
    pub quality: Vec<u8>,
}

/// The newest texts of slots that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    /// The journal's offset.
    pub offset: u64,
    /// Slot, value and quality of each.
    #[schema(value_type = Vec<Vec<Object>>)]
    pub texts: Vec<(u32, Value, u8)>,
}

/// A ticket: stands for the caller's token once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// To be sent as the parameter `ticket`.
    pub ticket: String,
    /// Seconds for which it is good.
    pub expires_in_s: u32,
}
