//! Where the writer stands, on disk: `influxdb/` in the data folder.
//!
//! | file | holds |
//! |---|---|
//! | `cursor` | up to which record everything is in the InfluxDB |
//! | `snapshot-….egs` | the engine as it was at a record at or before that one, as [`crate::snapshot`] writes it; the newest two |
//!
//! Both are replaced as a whole, so that an end of the program at any moment leaves the one before or the one after. A snapshot
//! is only written of where the cursor is: whichever of them is further is the place.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use egiz_model::Offset;

use super::format;
use crate::snapshot::{Snapshot, SnapshotFolder};

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Place {
    path: PathBuf,
    snapshots: SnapshotFolder,
}

/// What was found in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The newest engine that is whole.
    pub(super) snapshot: Option<Snapshot>,
    /// The record before which everything is in the InfluxDB; never before the snapshot's.
    pub(super) next: Offset,
    /// What was damaged.
    pub(super) damaged: Vec<String>,
}

impl Place {
    /// Opens the folder, making it if it is not there.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(super) fn open(data: &Path) -> anyhow::Result<Self> {
        let path = data.join("influxdb");
        let snapshots = SnapshotFolder::open(path.clone())
            .with_context(|| format!("the folder {} cannot be used", path.display()))?;
        Ok(Self { path, snapshots })
    }

    /// Reads it.
    ///
    /// # Errors
    /// Where the disk cannot be read; what is damaged is no error.
    pub(super) fn find(&self) -> io::Result<Found> {
        let (snapshot, mut damaged) = self.snapshots.newest()?;
        let cursor = match fs::read(self.path.join("cursor")) {
            Ok(bytes) => format::decode(&bytes)
                .inspect_err(|flaw| damaged.push(format!("cursor: {flaw}")))
                .unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let next = cursor.max(snapshot.as_ref().map_or(0, |snapshot| snapshot.next_offset));
        Ok(Found { snapshot, next, damaged })
    }

    /// Says that everything before a record is in the InfluxDB.
    ///
    /// # Errors
    /// Where the disk is full or broken; the place before stays.
    pub(super) fn set(&self, next: Offset) -> io::Result<()> {
        let under_way = self.path.join("cursor.under-way");
        let mut file = File::create(&under_way)?;
        file.write_all(&format::encode(next))?;
        file.sync_all()?;
        fs::rename(&under_way, self.path.join("cursor"))?;
        File::open(&self.path)?.sync_all()
    }

    /// Keeps the engine as it is where the cursor is.
    ///
    /// # Errors
    /// As for [`Self::set`].
    pub(super) fn keep(&self, next: Offset, engine: Vec<u8>) -> io::Result<()> {
        let snapshot = Snapshot { next_offset: next, engine, retained: Vec::new(), sessions: Vec::new() };
        self.snapshots.write(&snapshot).map(|_| ())
    }

    /// Forgets everything and begins anew with an engine: the snapshots of a place that no longer holds must not come back.
    ///
    /// # Errors
    /// As for [`Self::set`].
    pub(super) fn begin(&self, next: Offset, engine: Vec<u8>) -> io::Result<()> {
        for (_, path) in self.snapshots.newest_first()? {
            fs::remove_file(path)?;
        }
        self.set(next)?;
        self.keep(next, engine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_the_cursor_or_the_snapshot_whichever_is_further() {
        let data = tempfile::tempdir().expect("a folder");
        let place = Place::open(data.path()).expect("made");
        assert_eq!(place.find().expect("read"), Found { snapshot: None, next: 0, damaged: vec![] });
        place.begin(5, vec![1]).expect("written");
        place.set(9).expect("written");
        let found = place.find().expect("read");
        assert_eq!((found.snapshot.expect("there").next_offset, found.next), (5, 9));
        place.keep(12, vec![2]).expect("written");
        let found = place.find().expect("read");
        assert_eq!((found.snapshot.expect("there").engine, found.next), (vec![2], 12));
        place.begin(3, vec![3]).expect("written");
        let found = place.find().expect("read");
        assert_eq!((found.snapshot.expect("there").engine, found.next), (vec![3], 3));
    }

    #[test]
    fn a_damaged_cursor_leaves_the_snapshot() {
        let data = tempfile::tempdir().expect("a folder");
        let place = Place::open(data.path()).expect("made");
        place.begin(5, vec![1]).expect("written");
        fs::write(data.path().join("influxdb/cursor"), "nonsense").expect("written");
        let found = place.find().expect("read");
        assert_eq!((found.next, found.damaged.len()), (5, 1));
    }
}
