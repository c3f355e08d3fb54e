//! Thinning out: backups that are not kept go, then the blobs that no backup names any more.
//!
//! Manifests go first: where it is cut off, blobs are left that nobody names, and the next time takes them. Where any manifest
//! cannot be read nothing goes, for what it names is not known.

use std::collections::BTreeSet;
use std::path::Path as FilePath;
use std::time::{Duration, SystemTime};

use object_store::ObjectStoreExt as _;

use crate::error::RepositoryError;
use crate::marks::Work;
use crate::repository::{BackupId, Repository, computed};

/// A file that a killed program left half written in a folder is older than this.
const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Backups.
    pub backups: Vec<BackupId>,
    /// Blobs.
    pub blobs: u64,
    /// Their bytes in the storage.
    pub bytes: u64,
}

impl Repository {
    /// Removes these backups, and every blob that no other backup names.
    ///
    /// # Errors
    /// Where a backup is being made, a manifest that stays cannot be read, or the storage fails; calling it again goes on.
    pub async fn prune(&self, gone: &[BackupId]) -> Result<Pruned, RepositoryError> {
        let mark = self.mark(Work::Prune, "0").await?;
        let pruned = tokio::select! {
            pruned = self.prune_marked(gone) => pruned,
            failed = self.keep_fresh(&mark) => Err(failed),
        };
        self.unmark(mark).await;
        pruned
    }

    async fn prune_marked(&self, gone: &[BackupId]) -> Result<Pruned, RepositoryError> {
        let mut named = BTreeSet::new();
        for id in self.backups().await?.iter().filter(|id| !gone.contains(id)) {
            let manifest = self.manifest(id).await?;
            named.extend(manifest.files.iter().map(|file| self.blob_name(&file.content())));
        }
        let mut pruned = Pruned::default();
        for id in gone {
            match self.store.delete(&self.manifest_path(id)).await {
                Ok(()) => pruned.backups.push(id.clone()),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => {
                    return Err(RepositoryError::storage("remove", format!("backups/{id}.json"))(source));
                }
            }
        }
        for (name, bytes) in self.known_blobs().await? {
            if named.contains(&name) {
                continue;
            }
            let object = format!("blobs/{name}");
            match self.store.delete(&self.path(&object)).await {
                Ok(()) => {
                    pruned.blobs += 1;
                    pruned.bytes += bytes;
                }
                Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(RepositoryError::storage("remove", object)(source)),
            }
        }
        if let Some(folder) = self.folder.clone() {
            computed(move || remove_left_behind(&folder.join("blobs"))).await;
        }
        Ok(pruned)
    }
}

/// Removes what a killed program left half written: the driver gives such files names with a `#`, which no blob has.
fn remove_left_behind(folder: &FilePath) {
    let Ok(entries) = folder.read_dir() else { return };
    for entry in entries.flatten() {
        let is_half = entry.file_name().to_string_lossy().contains('#');
        let is_old = || {
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok()?;
            Some(SystemTime::now().duration_since(modified).ok()? > LEFT_BEHIND_AFTER)
        };
        if is_half && is_old() == Some(true) {
            // What cannot be removed now is tried the next time.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
