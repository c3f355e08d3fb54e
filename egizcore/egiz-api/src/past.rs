//! What people say about the past: corrections of samples, and annotations.

use egiz_model::{Quality, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A correction that is to be made: `value`, `quality` or both, at a `time` or `from` … `to`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCorrection {
    /// `feature/property`, or `feature/property/item` for one item of its lists.
    #[schema(example = "thermal/zone")]
    pub property: String,
    /// The time of the one sample: RFC 3339, or seconds or milliseconds since 1970; this, or `from` and `to`.
    #[serde(default)]
    #[schema(value_type = Option<Value>, example = json!("2026-11-23T10:31:00Z"))]
    pub time: Option<Value>,
    /// The beginning of the span.
    #[serde(default)]
    #[schema(value_type = Option<Value>)]
    pub from: Option<Value>,
    /// The end of the span, which does not belong to it.
    #[serde(default)]
    #[schema(value_type = Option<Value>)]
    pub to: Option<Value>,
    /// The right value; the one that was said where it is missing.
    #[serde(default)]
    #[schema(value_type = Option<Value>, example = json!(195.5))]
    pub value: Option<Value>,
    /// How far to trust it: `good` where there is a value, `uncertain`, or `bad`, which makes the samples invalid.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "bad")]
    pub quality: Option<Quality>,
    /// Why, 1 to 1,000 characters.
    #[schema(example = "The probe hung in the air while the oven was cleaned")]
    pub reason: String,
}

/// A correction that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Correction {
    /// Its number; of two about one sample the later one holds.
    pub id: u64,
    /// The Thing.
    #[schema(example = "factory:oven-001")]
    pub thing_id: String,
    /// What of it.
    #[schema(example = "thermal/zone")]
    pub property: String,
    /// The first moment that it is about.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The first moment after.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// The right value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub value: Option<Value>,
    /// How far to trust it.
    #[schema(value_type = String, example = "good")]
    pub quality: Quality,
    /// Why.
    pub reason: String,
    /// Who made it.
    #[schema(example = "anna")]
    pub author: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// How many samples it is about; in the answer that makes it only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// Who took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub undone: Option<Timestamp>,
}

/// A page of corrections, by number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CorrectionPage {
    /// The corrections.
    pub items: Vec<Correction>,
    /// For the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// An annotation that is to be kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewAnnotation {
    /// The Thing; the whole site where it is missing.
    #[serde(default)]
    #[schema(example = "factory:oven-001")]
    pub thing_id: Option<String>,
    /// `feature/property` of the Thing; the whole Thing where it is missing.
    #[serde(default)]
    #[schema(example = "thermal/zone")]
    pub property: Option<String>,
    /// The moment, or the beginning of the span: RFC 3339, or seconds or milliseconds since 1970; now where it is missing.
    #[serde(default)]
    #[schema(value_type = Option<Value>, example = json!("2026-11-23T10:31:00Z"))]
    pub from: Option<Value>,
    /// The end of the span, which does not belong to it; a moment where it is missing.
    #[serde(default)]
    #[schema(value_type = Option<Value>)]
    pub to: Option<Value>,
    /// What kind it is, 1 to 32 of a-z, 0-9 and `-`: `note` (where it is missing), `maintenance`, `quality`, `calibration` …
    #[serde(default)]
    #[schema(example = "maintenance")]
    pub category: Option<String>,
    /// What is to be said, 1 to 4,000 characters.
    #[schema(example = "Burner 2 replaced")]
    pub text: String,
}

/// What is to be another in an annotation; the rest stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnotationChange {
    /// The moment, or the beginning of the span.
    #[serde(default)]
    #[schema(value_type = Option<Value>)]
    pub from: Option<Value>,
    /// The end of the span; `null` makes it a moment.
    #[serde(default, deserialize_with = "even_null")]
    #[schema(value_type = Option<Value>)]
    pub to: Option<Value>,
    /// What kind it is.
    #[serde(default)]
    pub category: Option<String>,
    /// What is to be said.
    #[serde(default)]
    pub text: Option<String>,
}

/// An annotation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Annotation {
    /// Its number.
    pub id: u64,
    /// The Thing; missing where it is about the whole site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_id: Option<String>,
    /// The property; missing where it is about the whole Thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// The moment, or the beginning of the span.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The end of the span; missing of a moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// What kind it is.
    #[schema(example = "maintenance")]
    pub category: String,
    /// What is said.
    pub text: String,
    /// Who made it.
    #[schema(example = "anna")]
    pub author: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// Who changed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub modified: Option<Timestamp>,
}

/// A page of annotations, by when they begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AnnotationPage {
    /// The annotations.
    pub items: Vec<Annotation>,
    /// For the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What is there and null is told apart from what is not there.
fn even_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
