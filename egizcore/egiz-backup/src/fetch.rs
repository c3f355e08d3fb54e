//! Fetching a backup's files into a folder, each checked before it counts.

use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _};

use crate::error::RepositoryError;
use crate::format::FileEntry;
use crate::progress::Progress;
use crate::repository::{Repository, computed};

const AT_ONCE: usize = 4;

impl Repository {
    /// Fetches these files into `folder`, below which the folders of their paths are made. Every byte is checked; when it
    /// returns, all are on disk. The future may be dropped, which leaves files behind.
    ///
    /// # Errors
    /// At the first file that cannot be had or is not what was written, by name.
    pub async fn fetch(
        &self,
        files: &[FileEntry],
        folder: &Path,
        progress: &Progress,
    ) -> Result<(), RepositoryError> {
        progress.begin(files.len() as u64, files.iter().map(|file| file.bytes).sum());
        futures::stream::iter(files)
            .map(|entry| async move {
                let path = folder.join(&entry.path);
                if let Some(parent) = path.parent() {
                    let parent = parent.to_owned();
                    computed(move || {
                        make_private(&parent).map_err(|error| RepositoryError::file("made", &parent)(error))
                    })
                    .await?;
                }
                self.fetch_blob(entry, Some(&path)).await?;
                progress.sent(entry.bytes);
                progress.file_done(entry.bytes);
                Ok::<_, RepositoryError>(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }
}

/// Makes a folder that is its owner's alone, with those above it that are missing; it may be there already.
///
/// # Errors
/// Where it cannot be made.
pub fn make_private(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
