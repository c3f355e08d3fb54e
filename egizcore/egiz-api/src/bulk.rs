//! Many Things at once: import line by line, change by filter.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::Problem;

/// What `POST /things/bulk` asks: exactly one of `patch` and `delete`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BulkRequest {
    /// Which Things; as in a query, but not missing: `{}` stands for all.
    #[schema(value_type = crate::FilterForm)]
    pub filter: Value,
    /// A merge patch (RFC 7396) for each.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub patch: Option<Value>,
    /// Whether to delete each.
    #[serde(default)]
    pub delete: bool,
    /// Whether only to say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// One line of the answer to an import or a bulk change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemResult {
    /// The line of the import, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The Thing, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_id: Option<String>,
    /// What came of it.
    pub outcome: ItemOutcome,
    /// The Thing's revision after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The journal's offset of the write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What would change, in a dry run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Difference>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// What came of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ItemOutcome {
    /// The Thing is new.
    Created,
    /// The Thing is different now.
    Changed,
    /// The Thing was so already.
    Unchanged,
    /// The Thing is gone.
    Deleted,
    /// Nothing was done; `problem` says why.
    Refused,
    /// A dry run: it would be created.
    WouldCreate,
    /// A dry run: it would change.
    WouldChange,
    /// A dry run: it would be deleted.
    WouldDelete,
}

/// One place that a dry run would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// JSON pointer into the Thing.
    pub pointer: String,
    /// The value now; missing where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// The value then; missing where it would be removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// The last line of the answer to an import or a bulk change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Lines or Things that were looked at.
    pub items: u64,
    /// New Things, or that would be new.
    pub created: u64,
    /// Changed Things, or that would change.
    pub changed: u64,
    /// Things that were so already.
    pub unchanged: u64,
    /// Things that are gone, or would be.
    pub deleted: u64,
    /// Items that were refused.
    pub refused: u64,
    /// Whether the whole input was taken; if not, the line before says why.
    pub complete: bool,
}
