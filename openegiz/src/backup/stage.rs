//! Everything of one moment, held in a folder on the same disk.
//!
//! The order makes them fit together: the registry first, then snapshots, then history, the journal last. So the journal reaches
//! at least to where each of the others is, and history at least to where the snapshots are. Nothing is trimmed meanwhile: the
//! caller holds what releases the journal.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use egiz_backup::{FileKind, Manifest, Source};
use egiz_historian::Historian;
use egiz_journal::FileJournal;

use super::{REGISTRY, STAGING};
use crate::snapshot::SnapshotFolder;

/// Where the parts are.
pub(super) struct Parts<'a> {
    /// The data folder.
    pub(super) data: &'a Path,
    pub(super) journal: &'a FileJournal,
    pub(super) snapshots: &'a SnapshotFolder,
    /// Where it is kept.
    pub(super) historian: Option<&'a Historian>,
}

/// A folder with what is to be sent. It goes when this does.
pub(super) struct Staging {
    folder: PathBuf,
    sources: Vec<Source>,
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is at the next start or backup.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes what a backup that was cut off left in the data folder.
pub(crate) fn clear(data: &Path) -> io::Result<bool> {
    match fs::remove_dir_all(data.join(STAGING)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Staging {
    /// Makes an empty folder.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(super) fn begin(data: &Path) -> anyhow::Result<Self> {
        let folder = data.join(STAGING);
        clear(data).and_then(|_| fs::create_dir(&folder)).with_context(|| {
            format!("the folder {} for what is to be backed up cannot be made", folder.display())
        })?;
        Ok(Self { folder, sources: Vec::new() })
    }

    /// Where the registry's copy is to be put before [`Self::hold`].
    pub(super) fn registry(&self) -> PathBuf {
        self.folder.join(REGISTRY)
    }

    /// Takes everything else in, and says in the manifest what it is.
    ///
    /// # Errors
    /// Where a file cannot be linked or copied.
    pub(super) fn hold(
        &mut self,
        parts: &Parts<'_>,
        clock: &egiz_server::Clock,
        about: &mut Manifest,
    ) -> anyhow::Result<()> {
        let registry = self.registry();
        if registry.is_file() {
            self.add(REGISTRY.to_owned(), FileKind::Registry, registry)?;
        }
        let snapshots = parts.snapshots.newest_first().context("the snapshots cannot be read")?;
        about.snapshot_next = snapshots.first().map(|(next, _)| *next);
        for (_, path) in snapshots {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.link(&path, format!("snapshots/{name}"), FileKind::Snapshot)?;
        }
        if let Some(historian) = parts.historian {
            about.history_next = Some(self.hold_history(historian, parts.data, &mut about.missing)?);
        }
        self.hold_models(&parts.data.join("models"), "models")?;
        about.taken = clock();
        self.hold_journal(parts, about)
    }

    fn hold_history(
        &mut self,
        historian: &Historian,
        data: &Path,
        missing: &mut Vec<String>,
    ) -> anyhow::Result<u64> {
        let folder = data.join("history");
        historian.files_in_force(|file| {
            let path = format!("history/{}", file.name);
            let from = folder.join(file.name);
            if !file.is_usable && !from.is_file() {
                missing.push(path);
                return Ok(());
            }
            self.link(&from, path, FileKind::History)
        })
    }

    fn hold_journal(&mut self, parts: &Parts<'_>, about: &mut Manifest) -> anyhow::Result<()> {
        let segments = parts.journal.committed_segments();
        about.journal_first = segments.first().map_or(0, |segment| segment.base);
        about.journal_next = segments.last().map_or(0, |segment| segment.next);
        let last = segments.len().saturating_sub(1);
        for (at, segment) in segments.into_iter().enumerate() {
            let from = parts.data.join("journal").join(&segment.name);
            let path = format!("journal/{}", segment.name);
            let length = match fs::metadata(&from) {
                Ok(metadata) => metadata.len(),
                // Released and trimmed this instant: nothing in this backup needs it. Or empty, and being made anew.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if at == last && segment.has_records() {
                        return Err(error).with_context(|| format!("{} is gone", from.display()));
                    }
                    if at != last {
                        about.journal_first = segment.next;
                    }
                    continue;
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("{} cannot be read", from.display()));
                }
            };
            if at != last && length == segment.bytes {
                self.link(&from, path, FileKind::Journal)?;
            } else {
                self.copy(&from, path, FileKind::Journal, segment.bytes)?;
            }
        }
        Ok(())
    }

    /// Models are copied: who trains them may write them in place.
    fn hold_models(&mut self, folder: &Path, name: &str) -> anyhow::Result<()> {
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", folder.display())),
        };
        for entry in entries {
            let entry = entry?;
            let path = format!("{name}/{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.hold_models(&entry.path(), &path)?;
            } else if kind.is_file() {
                self.copy(&entry.path(), path, FileKind::Model, entry.metadata()?.len())?;
            }
        }
        Ok(())
    }

    /// Holds a file that never changes: by a link where the disk knows links, or by a copy.
    fn link(&mut self, from: &Path, path: String, kind: FileKind) -> anyhow::Result<()> {
        let to = self.place(&path)?;
        if fs::hard_link(from, &to).is_err() {
            fs::copy(from, &to).with_context(|| format!("{} cannot be copied", from.display()))?;
        }
        self.add(path, kind, to)
    }

    /// Copies the first bytes of a file.
    fn copy(&mut self, from: &Path, path: String, kind: FileKind, bytes: u64) -> anyhow::Result<()> {
        let to = self.place(&path)?;
        let copied = File::open(from)
            .and_then(|file| io::copy(&mut file.take(bytes), &mut File::create(&to)?))
            .with_context(|| format!("{} cannot be copied", from.display()))?;
        anyhow::ensure!(copied == bytes, "{} has {copied} bytes of {bytes}", from.display());
        self.add(path, kind, to)
    }

    fn place(&self, path: &str) -> anyhow::Result<PathBuf> {
        let to = self.folder.join(path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
        }
        Ok(to)
    }

    fn add(&mut self, path: String, kind: FileKind, file: PathBuf) -> anyhow::Result<()> {
        let bytes = fs::metadata(&file).with_context(|| format!("{} cannot be read", file.display()))?.len();
        self.sources.push(Source { path, kind, file, bytes });
        Ok(())
    }

    /// What is held.
    pub(super) fn sources(&self) -> Vec<Source> {
        self.sources.clone()
    }
}
