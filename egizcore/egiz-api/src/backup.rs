//! Backups of the running program: what there is and how far one being made is.

use egiz_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a backup stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackupState {
    /// It is being made.
    Running,
    /// It is in the storage, whole.
    Complete,
    /// It could not be made; there is none of this id.
    Failed,
}

/// How far a backup being made is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupProgress {
    /// Files in all; 0 while they are still being gathered.
    pub files: u64,
    /// Files that are done, whether they had to be sent or not.
    pub files_done: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of the files that are done.
    pub bytes_done: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// Its id; ids sort by time.
    #[schema(example = "20260301T020000000Z-0a1b2c3d")]
    pub id: String,
    /// How it stands.
    pub state: BackupState,
    /// When it was asked for: what was acknowledged before that is in it.
    #[schema(value_type = String, format = DateTime)]
    pub begun: Timestamp,
    /// What was received after that is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub taken: Option<Timestamp>,
    /// The offset of the first record that is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_next: Option<u64>,
    /// Its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Bytes of all its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// How far it is, while it is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<BackupProgress>,
    /// Why it failed, or what of history could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The backups, the newest first; at most 500 and what is under way or failed last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupPage {
    /// The backups.
    pub items: Vec<Backup>,
}
