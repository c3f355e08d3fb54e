//! Making a backup: what is not there yet is sent, and the manifest is written last.

use std::collections::BTreeSet;
use std::path::PathBuf;

use egiz_model::Timestamp;
use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;

use crate::blob::{Known, content_of};
use crate::error::RepositoryError;
use crate::format::{FileEntry, FileKind, Manifest, VERSION};
use crate::marks::Work;
use crate::progress::Progress;
use crate::repository::{BackupId, Repository};

/// Files that are read and sent at once.
const AT_ONCE: usize = 4;

/// A file that is to be in a backup. It does not change any more.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its path in the data folder.
    pub path: String,
    /// What it is for.
    pub kind: FileKind,
    /// Where it lies now.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// What a backup came to.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its manifest.
    pub manifest: Manifest,
    /// Blobs that were not there before.
    pub blobs_sent: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
}

impl Repository {
    /// Makes a backup of these files. `about` says what it is of; its list of files is made here. The future may be dropped:
    /// then there is no backup.
    ///
    /// # Errors
    /// Where a file or the storage fails, or the repository is being thinned out; there is no backup then.
    pub async fn make(
        &self,
        about: Manifest,
        sources: Vec<Source>,
        progress: &Progress,
    ) -> Result<Stored, RepositoryError> {
        let mark = self.mark(Work::Backup, &about.id).await?;
        let made = tokio::select! {
            made = self.make_marked(about, sources, progress) => made,
            failed = self.keep_fresh(&mark) => Err(failed),
        };
        self.unmark(mark).await;
        made
    }

    async fn make_marked(
        &self,
        about: Manifest,
        sources: Vec<Source>,
        progress: &Progress,
    ) -> Result<Stored, RepositoryError> {
        progress.begin(sources.len() as u64, sources.iter().map(|source| source.bytes).sum());
        let known = self.known_blobs().await?;
        // Two files with the same content are sent once.
        let sending = Mutex::new(BTreeSet::new());
        let sent: Vec<(FileEntry, Option<u64>)> = futures::stream::iter(sources)
            .map(|source| self.store_one(source, &known, &sending, progress))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let blobs_sent = sent.iter().filter(|(_, bytes)| bytes.is_some()).count() as u64;
        let bytes: u64 = sent.iter().filter_map(|(_, bytes)| *bytes).sum();
        let mut files: Vec<FileEntry> = sent.into_iter().map(|(entry, _)| entry).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let manifest = Manifest { version: VERSION, files, ..about };
        let bytes_sent = bytes + self.write_manifest(&manifest).await?;
        Ok(Stored { manifest, blobs_sent, bytes_sent })
    }

    async fn store_one(
        &self,
        source: Source,
        known: &Known,
        sending: &Mutex<BTreeSet<String>>,
        progress: &Progress,
    ) -> Result<(FileEntry, Option<u64>), RepositoryError> {
        let content = content_of(&source.file, source.bytes).await?;
        let name = self.blob_name(&content);
        // A blob of another length is one that the storage damaged: it is sent again.
        let is_there = known.get(&name) == Some(&self.stored_bytes(&content));
        let mut sent = None;
        if !is_there && sending.lock().insert(name) {
            let bytes = self.send_blob(&source.file, &content).await?;
            progress.sent(bytes);
            sent = Some(bytes);
        }
        progress.file_done(content.bytes);
        let Source { path, kind, .. } = source;
        Ok((FileEntry { path, kind, bytes: content.bytes, sha256: content.sha256 }, sent))
    }
}

impl Manifest {
    /// A manifest to be filled in, of a backup that is begun now.
    #[must_use]
    pub fn begin(id: &BackupId, program: &str, site: &str, begun: Timestamp) -> Self {
        Self {
            version: VERSION,
            id: id.to_string(),
            program: program.to_owned(),
            site: site.to_owned(),
            begun,
            taken: begun,
            journal_first: 0,
            journal_next: 0,
            snapshot_next: None,
            history_next: None,
            missing: Vec::new(),
            files: Vec::new(),
        }
    }
}
