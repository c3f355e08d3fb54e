//! Who may come in over HTTP, and what was changed by whom: API tokens and the audit trail.

use egiz_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a token's bearer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// Read, query, subscribe.
    Viewer,
    /// Besides, change Things.
    Operator,
    /// As an operator; for programs such as the anomaly service.
    Service,
    /// Everything.
    Admin,
}

/// A token for HTTP, WebSocket and MQTT, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiToken {
    /// Its name, the principal of what its bearer does.
    #[schema(example = "grafana")]
    pub name: String,
    /// What its bearer may do.
    pub role: TokenRole,
    /// Whether it is accepted.
    pub enabled: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
}

/// A token to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiToken {
    /// 1 to 128 of A-Z, a-z, 0-9, `-` and `_`, beginning with a letter or digit.
    #[schema(example = "grafana")]
    pub name: String,
    /// What its bearer may do.
    pub role: TokenRole,
}

/// A new token with its text, shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MadeApiToken {
    /// Its name.
    pub name: String,
    /// What its bearer may do.
    pub role: TokenRole,
    /// The text to send as `Authorization: Bearer …`; it is stored as a hash and cannot be shown again.
    #[schema(example = "egiz.grafana.Zx…")]
    pub token: String,
}

/// What to change of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiTokenChange {
    /// Whether it is accepted from now on.
    pub enabled: bool,
}

/// A page of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiTokenPage {
    /// The tokens, by name.
    pub items: Vec<ApiToken>,
    /// For the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Who changed what in the registry, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// 1 for the first entry, +1 for each.
    pub sequence: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// On whose behalf: a token's name, or `anonymous`, or a part of the program.
    pub principal: String,
    /// What was done.
    #[schema(example = "api_token.create")]
    pub action: String,
    /// To what.
    pub subject: String,
    /// More about it.
    #[schema(value_type = Object)]
    pub details: serde_json::Value,
}

/// A page of the audit trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The entries, newest first.
    pub items: Vec<AuditEntry>,
    /// For the next page; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
