//! What a write's header fields and parameters ask for: conditions, and how it is to be answered.

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use egiz_model::record::Preconditions;
use egiz_twin::{Filter, ThingRef};

use super::acknowledge::Wish;
use super::partwise;
use crate::conditional;
use crate::error::ApiError;
use crate::params::{self, Params};
use crate::settings::ServerSettings;

const KNOWN: [&str; 5] = ["condition", "if-equal", "requested-acks", "timeout", "response-required"];

/// What a write's headers and parameters ask for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(super) if_match: String,
    pub(super) if_none_match: String,
    pub(super) condition: String,
    /// Whether a write that would change nothing is refused.
    pub(super) refuse_unchanged: bool,
    /// Whether the answer is to show what was written, where that is said.
    pub(super) representation: Option<bool>,
    /// Whom the answer waits for.
    pub(super) acknowledgements: Wish,
}

impl Asked {
    /// Reads them; tags and options are checked, the condition is left to the engine.
    ///
    /// # Errors
    /// `malformed-entity-tag`, `invalid-parameter`.
    pub(super) fn of(
        raw: Option<&str>,
        headers: &HeaderMap,
        settings: &ServerSettings,
    ) -> Result<Self, ApiError> {
        params::refuse_past(headers, None)?;
        Self::read(raw, headers, settings)
    }

    /// As [`Self::of`], for a merge patch that has conditions for its parts.
    pub(super) fn of_merge_in_parts(
        raw: Option<&str>,
        headers: &HeaderMap,
        settings: &ServerSettings,
    ) -> Result<Self, ApiError> {
        params::refuse_past(headers, Some(partwise::FIELD))?;
        Self::read(raw, headers, settings)
    }

    fn read(raw: Option<&str>, headers: &HeaderMap, settings: &ServerSettings) -> Result<Self, ApiError> {
        let params = Params::parse(raw, &KNOWN)?;
        let (if_match, if_none_match) = conditional::preconditions(headers)?;
        let refuse_unchanged = match params.or_field(headers, "if-equal")? {
            None | Some("update" | "skip-minimizing-merge") => false,
            Some("skip") => true,
            Some(_) => {
                return Err(params::refused("if-equal", "it must be update, skip or skip-minimizing-merge"));
            }
        };
        Ok(Self {
            if_match,
            if_none_match,
            condition: params.or_field(headers, "condition")?.unwrap_or_default().to_owned(),
            refuse_unchanged,
            representation: preference(headers),
            acknowledgements: Wish::of(&params, headers, settings)?,
        })
    }

    /// As a record takes them.
    pub(super) fn preconditions(&self) -> Preconditions<'_> {
        Preconditions {
            if_match: &self.if_match,
            if_none_match: &self.if_none_match,
            condition: &self.condition,
        }
    }

    /// Whether the condition holds for the Thing; one that cannot be read is left to the engine to name.
    pub(super) fn condition_holds(&self, thing: ThingRef<'_>) -> bool {
        self.condition.is_empty() || Filter::parse(&self.condition).is_ok_and(|filter| filter.matches(thing))
    }

    /// The condition, and that the Thing is still at this revision.
    pub(super) fn condition_at(&self, revision: u64) -> String {
        if self.condition.is_empty() {
            format!("eq(_revision,{revision})")
        } else {
            format!("and(eq(_revision,{revision}),{})", self.condition)
        }
    }
}

/// `Prefer: return=…` (RFC 7240): whether the answer is to show what was written.
fn preference(headers: &HeaderMap) -> Option<bool> {
    headers
        .get_all(HeaderName::from_static("prefer"))
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split([',', ';']))
        .find_map(|preference| match preference.trim().to_ascii_lowercase().as_str() {
            "return=representation" => Some(true),
            "return=minimal" => Some(false),
            _ => None,
        })
}
