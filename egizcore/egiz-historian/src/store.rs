//! The historian: takes rows in the journal's order, keeps them, and gives them back.
//!
//! ```text
//!  row() ──► head (memory) ──seal()──► part of one day and family ──maintain()──► fewer, larger parts ──► a day's part
//!                │                            │
//!                └────── read(), states_at() ─┴── every answer is put together from all of them
//! ```
//!
//! What was sealed is named in the manifest, which also says up to which record of the journal it reaches: a restart hands
//! over the records after that again, and nothing is kept twice. The journal may be trimmed only before
//! [`Historian::sealed_before`].
//!
//! It starts no thread, has no clock, and knows neither the journal nor the twins; who uses it calls [`Historian::seal`] and
//! [`Historian::maintain`] from time to time. Both may be called while others read and write.

mod copy;
mod measure;
mod merge;
mod past;
mod plan;
mod play;
mod read;
mod roll;
mod rolled;
mod seal;
mod span;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use egiz_model::{Offset, Timestamp};
use parking_lot::{Mutex, MutexGuard};

use crate::corrections::Corrections;
use crate::disk::Disk;
use crate::head::{Head, RowWriter};
use crate::manifest::{Entry, Level, Manifest, ManifestError};
use crate::part::{Part, PartError};
use crate::series::RollupLength;

pub use copy::FileInForce;
pub use past::{PropertyState, States, ThingState};
pub use play::{Cast, Passage};
pub use read::{Rows, View};
pub use rolled::{Rolled, Stretch};
pub use window::Window;

const DAY_MICROS: i64 = 86_400_000_000;

/// What is kept, and how long.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Days for which rows are kept.
    pub retention_days: u32,
    /// The same for Things of a definition, where it is another number.
    pub retention_of: BTreeMap<String, u32>,
    /// Days for which rollups of quarter hours are kept.
    pub quarters_days: u32,
    /// The same of hours.
    pub hours_days: u32,
    /// Bytes that all files may take. Where they take more, the oldest days go; nothing means no such bound.
    pub disk_budget: Option<u64>,
    /// Parts of one day and family that are put together while the day goes on.
    pub parts_to_merge: usize,
    /// How long after its end a day is put together for good.
    pub day_grace_micros: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention_days: 30,
            retention_of: BTreeMap::new(),
            quarters_days: 400,
            hours_days: 3660,
            disk_budget: None,
            parts_to_merge: 12,
            day_grace_micros: 3_600_000_000,
        }
    }
}

impl Settings {
    /// The oldest day that is kept of a definition, of what such parts hold.
    fn oldest_day(&self, level: Level, family: &str, now: i64) -> i64 {
        let days = match level.rollup_length() {
            Some(RollupLength::Quarter) => self.quarters_days,
            Some(RollupLength::Hour) => self.hours_days,
            None => *self.retention_of.get(family).unwrap_or(&self.retention_days),
        };
        day_of(now) - i64::from(days)
    }

    fn longest_retention_days(&self) -> u32 {
        self.retention_of.values().copied().max().unwrap_or_default().max(self.retention_days)
    }
}

/// Why history cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A part.
    #[error(transparent)]
    Part(#[from] PartError),
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The folder.
    #[error("the history's folder cannot be used")]
    Folder(#[source] std::io::Error),
}

impl HistoryError {
    /// Whether the disk did not give or take bytes, such as one that is full.
    fn is_of_disk(&self) -> bool {
        matches!(
            self,
            Self::Folder(_) | Self::Part(PartError::Io { .. }) | Self::Manifest(ManifestError::Io(_))
        )
    }
}

/// What was found when the history was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Parts in force.
    pub parts: usize,
    /// Files that were being written when the program stopped, or were about to be removed; they are gone now.
    pub removed: Vec<String>,
    /// Parts that are in force and cannot be used, with the reason. The rest is served.
    pub lost: Vec<String>,
}

/// Counts since the history was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows sealed.
    pub rows_sealed: u64,
    /// Rows older than what is kept when they came.
    pub rows_expired: u64,
    /// Rows of parts that were dropped because their time had come.
    pub rows_dropped: u64,
    /// Rows of parts that were dropped before that, because all took more than they may.
    pub rows_dropped_for_space: u64,
}

/// How it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Rows in memory.
    pub head_rows: usize,
    /// About how much memory they take.
    pub head_bytes: usize,
    /// Parts in force.
    pub parts: usize,
    /// Their bytes on disk.
    pub disk_bytes: u64,
    /// The bytes that they may take.
    pub disk_budget: Option<u64>,
    /// Those of `disk_bytes` that rollups take.
    pub rollup_bytes: u64,
    /// Rows in them, those of rollups left out.
    pub rows: u64,
    /// Samples in these.
    pub samples: u64,
    /// The offset of the first record that is not sealed.
    pub sealed_before: Offset,
    /// Counts.
    pub counts: Counts,
}

/// Keeps history in one folder.
pub struct Historian {
    disk: Arc<dyn Disk>,
    settings: Settings,
    state: Mutex<State>,
    /// Held by who seals. Merging a long day must not hold that up, so it has a lock of its own.
    sealing: Mutex<()>,
    /// Held by who merges, sums up or drops parts.
    maintaining: Mutex<Maintaining>,
    /// Held while a manifest is put in force.
    changing: Mutex<()>,
    /// The number of the next part.
    next_number: AtomicU64,
    corrections: Corrections,
}

/// What is remembered from one piece of maintenance to the next.
#[derive(Default)]
struct Maintaining {
    /// Parts that turned out to be damaged. They stay in force, for what can still be read of them.
    damaged: BTreeSet<String>,
    /// The disk did not take what the last one wrote.
    is_pressed: bool,
}

struct State {
    head: Head,
    /// What is being sealed; readers still need it.
    sealing: Option<Arc<Head>>,
    published: Arc<Published>,
    counts: Counts,
}

impl State {
    fn head_bytes(&self) -> usize {
        self.head.bytes() + self.sealing.as_deref().map_or(0, Head::bytes)
    }
}

/// The parts in force, open.
#[derive(Default)]
struct Published {
    manifest: Manifest,
    /// Beside the manifest's entries; nothing for a part that is lost.
    parts: Vec<Option<Arc<Part>>>,
}

impl Published {
    fn open_parts(&self) -> impl Iterator<Item = (&Entry, &Arc<Part>)> {
        self.manifest.parts.iter().zip(&self.parts).filter_map(|(entry, part)| Some((entry, part.as_ref()?)))
    }

    /// These parts by another manifest; those that are new in it are opened.
    fn with(&self, manifest: Manifest, disk: &dyn Disk) -> Result<Self, PartError> {
        let known = |name: &str| {
            self.manifest
                .parts
                .iter()
                .position(|entry| entry.name == name)
                .map(|index| self.parts[index].clone())
        };
        let parts = manifest.parts.iter().map(|entry| match known(&entry.name) {
            Some(part) => Ok(part),
            None => Part::open(disk, &entry.name, Some(entry.footer_crc32c)).map(|part| Some(Arc::new(part))),
        });
        let parts = parts.collect::<Result<_, _>>()?;
        Ok(Self { manifest, parts })
    }
}

impl Historian {
    /// Opens the history in a folder; an empty folder is one without any.
    ///
    /// # Errors
    /// Where the folder cannot be used or the manifest is damaged. A part that is damaged or missing is no error but in the
    /// report.
    pub fn open(disk: Arc<dyn Disk>, settings: Settings) -> Result<(Self, Recovery), HistoryError> {
        let manifest = Manifest::read(&*disk)?.unwrap_or_default();
        let mut recovery = Recovery { parts: manifest.parts.len(), ..Recovery::default() };
        for (name, _) in disk.list().map_err(HistoryError::Folder)? {
            let is_known =
                Manifest::is_own_file(&name) || manifest.parts.iter().any(|entry| entry.name == name);
            if !is_known {
                disk.remove(&name).map_err(HistoryError::Folder)?;
                recovery.removed.push(name);
            }
        }
        let mut parts = Vec::with_capacity(manifest.parts.len());
        for entry in &manifest.parts {
            match Part::open(&*disk, &entry.name, Some(entry.footer_crc32c)) {
                Ok(part) => parts.push(Some(Arc::new(part))),
                Err(error) => {
                    recovery.lost.push(with_causes(&error));
                    parts.push(None);
                }
            }
        }
        let state = State {
            head: Head::from(manifest.next_offset),
            sealing: None,
            published: Arc::new(Published { manifest, parts }),
            counts: Counts::default(),
        };
        let next_number = AtomicU64::new(state.published.manifest.next_number);
        let historian = Self {
            disk,
            settings,
            state: Mutex::new(state),
            sealing: Mutex::new(()),
            maintaining: Mutex::default(),
            changing: Mutex::new(()),
            next_number,
            corrections: Corrections::default(),
        };
        Ok((historian, recovery))
    }

    /// What is laid over what is kept when it is read.
    pub fn corrections(&self) -> &Corrections {
        &self.corrections
    }

    /// The offset of the first record that is in no part: from here on records must be handed over after a restart, and
    /// the journal must keep them.
    pub fn sealed_before(&self) -> Offset {
        self.state.lock().published.manifest.next_offset
    }

    /// Takes rows in; see [`Intake`].
    pub fn intake(&self) -> Intake<'_> {
        Intake(self.state.lock())
    }

    /// About how much memory the rows take that are not sealed; cheap enough to ask after every batch.
    pub fn head_bytes(&self) -> usize {
        self.state.lock().head_bytes()
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let state = self.state.lock();
        let manifest = &state.published.manifest;
        let sealing = state.sealing.as_deref();
        let is_rollup = |entry: &&Entry| entry.level.is_rolled();
        let rollups = || manifest.parts.iter().filter(is_rollup);
        let of_rows = || manifest.parts.iter().filter(|entry| !is_rollup(entry));
        Status {
            head_rows: state.head.rows + sealing.map_or(0, |head| head.rows),
            head_bytes: state.head_bytes(),
            parts: manifest.parts.len(),
            disk_bytes: manifest.parts.iter().map(|entry| entry.bytes).sum(),
            disk_budget: self.settings.disk_budget,
            rows: of_rows().map(|entry| entry.rows).sum(),
            samples: of_rows().map(|entry| entry.samples).sum(),
            rollup_bytes: rollups().map(|entry| entry.bytes).sum(),
            sealed_before: manifest.next_offset,
            counts: state.counts,
        }
    }
}

/// Takes rows in, under one hold of the lock: for some hundred records at a time.
pub struct Intake<'a>(MutexGuard<'a, State>);

impl Intake<'_> {
    /// Whether the record at this offset is still to be handed over. Records are handed over in their order.
    pub fn wants(&self, offset: Offset) -> bool {
        offset >= self.0.head.next
    }

    /// Begins a row: what a Thing of a family said at one time. Of rows with the same time, what came last holds.
    pub fn row(
        &mut self,
        thing: &str,
        family: &str,
        source: Timestamp,
        received: Timestamp,
    ) -> RowWriter<'_> {
        self.0.head.row(thing, family, source, received)
    }

    /// Says that the record at this offset was handed over wholly, whether anything of it is kept or not.
    pub fn done(&mut self, offset: Offset) {
        self.0.head.next = self.0.head.next.max(offset + 1);
    }
}

/// The error with what caused it, on one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The day of a time, since 1970 in UTC.
fn day_of(micros: i64) -> i64 {
    micros.div_euclid(DAY_MICROS)
}

#[cfg(test)]
mod tests;
