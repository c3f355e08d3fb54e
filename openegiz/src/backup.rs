//! Backup and restore: journal, snapshots, history, registry and models as of one moment, into a repository and back.
//!
//! ```text
//!  running program ──┐                                             ┌─► verify, prune, list
//!                    ├─► stage: links of one moment ─► repository ─┤
//!  stopped folder ───┘                                             └─► restore: fetch, cut, check ─► data folder
//! ```
//!
//! What never changes is linked into a folder beside the data, so that nothing that is merged, trimmed or dropped meanwhile is
//! missing; the journal's last file is copied up to its committed end. The program goes on; what takes long, sending, is done
//! from the links.
//!
//! It refuses to know how a repository looks (`egiz-backup` does) and to write into a data folder that has something in it.

mod command;
mod past;
mod report;
mod restore;
mod schedule;
mod service;
mod settings;
mod stage;
mod stopped;

pub(crate) use command::{BackupOptions, BackupsCommand, RestoreOptions, backup, backups, restore};
pub(crate) use service::{BackupMetrics, BackupParts, BackupService};
pub(crate) use settings::check;

/// The folder beside the data in which a backup is staged; what is left of one that was cut off goes at the next start.
pub(crate) const STAGING: &str = "backup-staging";
/// The registry's file in the data folder.
pub(crate) const REGISTRY: &str = "registry.sqlite";
