//! Bringing a backup back: into an empty folder, checked before the folder counts.
//!
//! ```text
//!  fetch, each checksum ─► cut the journal, for a past moment ─► open every part as a start does ─► give it its name
//! ```
//!
//! Until all of it is checked it lies in `<folder>.restoring`, or in `.restoring` inside a folder that is there and empty (the
//! root of a mounted disk cannot be renamed). It refuses a folder with anything in it, and a backup that is not wholly there.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use egiz_backup::{FileEntry, Progress, Repository, make_private};
use egiz_historian::{Historian, Settings};
use egiz_journal::cut::cut_before;
use egiz_journal::{FileJournal, Journal as _, JournalConfig, JournalMetrics};
use egiz_model::record::Record;
use egiz_model::{Offset, Timestamp};
use egiz_server::RandomSource;
use egiz_store::{Store, StoreOptions};
use prometheus_client::registry::Registry;
use ring::digest;

use super::REGISTRY;
use super::past::Plan;
use crate::snapshot::SnapshotFolder;

const UNDER_WAY: &str = ".restoring";

/// What was brought back.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) files: usize,
    pub(super) bytes: u64,
    /// The offset of the first record that is not in it.
    pub(super) next: Offset,
    /// When the last record of it was received.
    pub(super) last_received: Option<Timestamp>,
    /// Records behind the moment that were left away.
    pub(super) cut: u64,
}

/// The folder to restore into, and where its files lie until they count.
#[derive(Debug)]
pub(super) struct Destination {
    folder: PathBuf,
    staging: PathBuf,
    is_there: bool,
}

impl Destination {
    /// Looks at the folder, and makes the place beside or in it.
    ///
    /// # Errors
    /// Where there is something in it, or no place can be made.
    pub(super) fn begin(folder: &Path) -> anyhow::Result<Self> {
        let is_there = match folder.read_dir() {
            Ok(entries) => {
                for entry in entries {
                    let name = entry?.file_name();
                    ensure!(
                        name == UNDER_WAY || name == "lost+found",
                        "--data {}: is not empty, it holds {:?}; allowed: a folder that is empty or not there",
                        folder.display(),
                        name.display()
                    );
                }
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                return Err(error).with_context(|| format!("--data {} cannot be used", folder.display()));
            }
        };
        let staging = if is_there {
            folder.join(UNDER_WAY)
        } else {
            let mut name = folder.file_name().context("--data names no folder")?.to_owned();
            name.push(UNDER_WAY);
            folder.with_file_name(name)
        };
        // What a restore that was cut off left behind.
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} cannot be removed", staging.display()));
            }
            _ => {}
        }
        make_private(&staging).with_context(|| format!("{} cannot be made", staging.display()))?;
        Ok(Self { folder: folder.to_owned(), staging, is_there })
    }

    /// Gives what was restored its name.
    fn finish(&self) -> io::Result<()> {
        if !self.is_there {
            fs::rename(&self.staging, &self.folder)?;
            let parent = self.folder.parent().filter(|parent| !parent.as_os_str().is_empty());
            return File::open(parent.unwrap_or(Path::new(".")))?.sync_all();
        }
        let mut names: Vec<_> =
            self.staging.read_dir()?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        // The journal last: without it, the folder is none that a start would take for whole.
        names.sort_by_key(|name| name == "journal");
        for name in names {
            fs::rename(self.staging.join(&name), self.folder.join(&name))?;
        }
        fs::remove_dir(&self.staging)?;
        File::open(&self.folder)?.sync_all()
    }
}

/// Brings a plan's backup back into a folder.
///
/// # Errors
/// Where anything is missing, damaged or does not fit together; the folder is as it was then.
pub(super) async fn restore(
    repository: &Repository,
    plan: &Plan,
    to: &Destination,
    random: RandomSource,
    progress: &Progress,
) -> anyhow::Result<Restored> {
    let restored = restore_staged(repository, plan, &to.staging, random, progress).await;
    let restored = match restored {
        Ok(restored) => restored,
        Err(error) => {
            // It is of no use; what cannot be removed is the next time.
            let _ = fs::remove_dir_all(&to.staging);
            return Err(error);
        }
    };
    to.finish().with_context(|| format!("what was restored cannot be put into {}", to.folder.display()))?;
    Ok(restored)
}

async fn restore_staged(
    repository: &Repository,
    plan: &Plan,
    staging: &Path,
    random: RandomSource,
    progress: &Progress,
) -> anyhow::Result<Restored> {
    let files = plan.files();
    repository.fetch(&files, staging, progress).await?;
    // A start expects the folders, also where there was nothing in them.
    for folder in ["journal", "snapshots"] {
        make_private(&staging.join(folder))?;
    }
    let (own, staging_of_check) = (plan.clone(), staging.to_owned());
    let mut restored = tokio::task::spawn_blocking(move || cut_and_check(&own, &staging_of_check)).await??;
    let registry = staging.join(REGISTRY);
    if registry.is_file() {
        let store = Store::open(&registry, StoreOptions::new(random)).await?;
        store.ping().await?;
        store.close().await;
    }
    restored.files = files.len();
    restored.bytes = files.iter().map(|file| file.bytes).sum();
    Ok(restored)
}

fn cut_and_check(plan: &Plan, staging: &Path) -> anyhow::Result<Restored> {
    for entry in plan.must_begin_with() {
        check_beginning(staging, &entry, plan)?;
    }
    let mut cut = 0;
    if let Some((_, at)) = &plan.later {
        let found = look(staging, plan.base.journal_next, Some(*at))?;
        if let Some(offset) = found.first_after {
            cut_before(&staging.join("journal"), offset)?;
            cut = found.next - offset;
        }
    }
    let Found { next, last_received, .. } = look(staging, plan.base.journal_first, None)?;
    let snapshots = SnapshotFolder::open(staging.join("snapshots"))?;
    let (newest, damaged) = snapshots.newest()?;
    ensure!(damaged.is_empty(), "the snapshots cannot be read: {}", damaged.join("; "));
    if let Some(newest) = newest {
        ensure!(
            newest.next_offset <= next,
            "the snapshot reaches to record {}, the journal only to {next}",
            newest.next_offset
        );
    }
    if staging.join("history/MANIFEST").is_file() {
        check_history(plan, staging, next)?;
    }
    Ok(Restored { files: 0, bytes: 0, next, last_received, cut })
}

/// What a walk through the journal found.
struct Found {
    next: Offset,
    last_received: Option<Timestamp>,
    /// The first record received after the moment.
    first_after: Option<Offset>,
}

/// Opens the journal as a start does, but reading all of it, and walks through the records from an offset on.
fn look(staging: &Path, from: Offset, at: Option<Timestamp>) -> anyhow::Result<Found> {
    let config = JournalConfig { verify_all: true, total_bytes_max: u64::MAX, ..JournalConfig::default() };
    let metrics = JournalMetrics::register(&mut Registry::default());
    let (journal, report) = FileJournal::open(&staging.join("journal"), config, metrics, Arc::new(|| 0))
        .context("the restored journal cannot be opened")?;
    if let Some(torn) = report.torn_tail {
        bail!("the restored journal does not end where it should: {torn}");
    }
    let mut found = Found { next: report.next, last_received: None, first_after: None };
    let mut cursor = journal.read(from.max(report.first))?;
    while cursor.next_group(|offset, bytes| {
        // One that cannot be read is passed over by a start, too.
        let Ok(record) = Record::decode_again(bytes) else { return };
        let received = record.header.received;
        found.last_received = Some(received);
        if at.is_some_and(|at| received > at) && found.first_after.is_none() {
            found.first_after = Some(offset);
        }
    })? {
        if found.first_after.is_some() {
            break;
        }
    }
    journal.close();
    Ok(found)
}

/// Checks that a file of the later journal begins with what the base has of it.
fn check_beginning(staging: &Path, of_base: &FileEntry, plan: &Plan) -> anyhow::Result<()> {
    let path = staging.join(&of_base.path);
    let mut file =
        File::open(&path).with_context(|| format!("{} cannot be read", path.display()))?.take(of_base.bytes);
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        length += count as u64;
    }
    let later = plan.later.as_ref().map_or("", |(later, _)| later.id.as_str());
    ensure!(
        length == of_base.bytes && hash.finish().as_ref() == of_base.sha256,
        "{} of backup {later} does not go on from that of {}: they are of two different plants, or one was made after a restore of an older one",
        of_base.path,
        plan.base.id
    );
    Ok(())
}

fn check_history(plan: &Plan, staging: &Path, next: Offset) -> anyhow::Result<()> {
    let folder = egiz_historian::disk::Folder::open(&staging.join("history"))?;
    let (historian, recovery) = Historian::open(Arc::new(folder), Settings::default())
        .context("the restored history cannot be opened")?;
    let known = plan.base.missing.len();
    ensure!(
        recovery.lost.len() <= known,
        "history has {} files that cannot be used, {known} of them were missing when the backup was made: {}",
        recovery.lost.len(),
        recovery.lost.join("; ")
    );
    ensure!(
        historian.sealed_before() <= next,
        "history reaches to record {}, the journal only to {next}",
        historian.sealed_before()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("journal"), "").expect("written");
        let error = Destination::begin(folder.path()).expect_err("it is not empty").to_string();
        assert!(error.contains("journal") && error.contains("allowed"), "{error}");
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }

    #[test]
    fn what_was_cut_off_before_is_in_nobodys_way() {
        for is_there in [true, false] {
            let parent = tempfile::tempdir().expect("a folder");
            let folder = parent.path().join("data");
            if is_there {
                fs::create_dir(&folder).expect("made");
            }
            for _ in 0..2 {
                let to = Destination::begin(&folder).expect("it is empty");
                fs::create_dir(to.staging.join("journal")).expect("made");
                fs::write(to.staging.join("registry.sqlite"), "x").expect("written");
            }
            let to = Destination::begin(&folder).expect("it is empty");
            assert_eq!(to.staging.read_dir().expect("there").count(), 0);
            fs::create_dir(to.staging.join("journal")).expect("made");
            to.finish().expect("renamed");
            let names: Vec<_> =
                folder.read_dir().expect("there").map(|entry| entry.expect("an entry").file_name()).collect();
            assert_eq!(names, ["journal"]);
            assert_eq!(parent.path().read_dir().expect("there").count(), 1);
        }
    }
}
