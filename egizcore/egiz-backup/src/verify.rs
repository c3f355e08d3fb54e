//! Reading backups through, to know that they can be restored before they must be.

use std::collections::BTreeMap;

use futures::StreamExt as _;

use crate::error::RepositoryError;
use crate::format::{Content, FileEntry};
use crate::progress::Progress;
use crate::repository::{BackupId, Repository};

const AT_ONCE: usize = 4;

/// What was found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Backups that were looked at.
    pub backups: usize,
    /// Blobs that were read, each once.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong, each by the name of a manifest or of a blob.
    pub faults: Vec<RepositoryError>,
}

impl Repository {
    /// Reads the manifests of these backups and every blob that they name.
    ///
    /// # Errors
    /// Where the storage does not answer; what is damaged is no error but in the report.
    pub async fn verify(&self, ids: &[BackupId], progress: &Progress) -> Result<Verified, RepositoryError> {
        let mut found = Verified { backups: ids.len(), ..Verified::default() };
        let mut wanted: BTreeMap<Content, FileEntry> = BTreeMap::new();
        for id in ids {
            match self.manifest(id).await {
                Ok(manifest) => {
                    wanted.extend(manifest.files.into_iter().map(|file| (file.content(), file)));
                }
                Err(error @ RepositoryError::ManifestDamaged { .. }) => found.faults.push(error),
                Err(error) => return Err(error),
            }
        }
        (found.blobs, found.bytes) = (wanted.len(), wanted.values().map(|file| file.bytes).sum());
        progress.begin(found.blobs as u64, found.bytes);
        let mut checks = futures::stream::iter(wanted.values())
            .map(|entry| async move { (entry.bytes, self.fetch_blob(entry, None).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((bytes, checked)) = checks.next().await {
            progress.sent(bytes);
            progress.file_done(bytes);
            match checked {
                Ok(()) => {}
                Err(error @ RepositoryError::BlobDamaged { .. }) => found.faults.push(error),
                Err(error) => return Err(error),
            }
        }
        drop(checks);
        Ok(found)
    }
}
