//! Snapshots of the live state: written beside the journal, so that a restart replays minutes instead of years.
//!
//! A file `snapshot-<next offset>.egs` holds `magic version next-offset engine-length engine retained-length retained sessions-length
//! sessions crc32c`; it is written under another name, synced, renamed, and the folder synced, so that a half-written one never
//! carries the name. The newest two are kept: should the newest be damaged, the older one and more of the journal give the
//! same state. The journal is trimmed only behind the older of the two.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use egiz_model::Offset;

const MAGIC: &[u8; 8] = b"EGIZSNAP";
const VERSION: u32 = 2;
/// The version before there were sessions.
const VERSION_1: u32 = 1;
const KEPT: usize = 2;

/// What a snapshot holds, still encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The offset of the first record that is not in it.
    pub(crate) next_offset: Offset,
    /// The engine's own format.
    pub(crate) engine: Vec<u8>,
    /// The retained messages' own format.
    pub(crate) retained: Vec<u8>,
    /// The MQTT sessions' own format.
    pub(crate) sessions: Vec<u8>,
}

/// The folder with the snapshots.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotFolder(PathBuf);

impl SnapshotFolder {
    /// Opens the folder, making it if it is not there.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Writes a snapshot; returns the offset behind which the journal is no longer needed.
    ///
    /// # Errors
    /// Where the disk is full or broken; the older snapshots are untouched.
    pub(crate) fn write(&self, snapshot: &Snapshot) -> io::Result<Offset> {
        let mut bytes = Vec::with_capacity(
            snapshot.engine.len() + snapshot.retained.len() + snapshot.sessions.len() + 64,
        );
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&snapshot.next_offset.to_le_bytes());
        for part in [&snapshot.engine, &snapshot.retained, &snapshot.sessions] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());

        let under_way = self.0.join("snapshot.under-way");
        let mut file = File::create(&under_way)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&under_way, self.path(snapshot.next_offset))?;
        File::open(&self.0)?.sync_all()?;
        for (_, path) in self.newest_first()?.into_iter().skip(KEPT) {
            fs::remove_file(path)?;
        }
        Ok(self.newest_first()?.last().map_or(snapshot.next_offset, |(offset, _)| *offset))
    }

    /// The newest snapshot that is whole, and what was wrong with newer ones.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub(crate) fn newest(&self) -> io::Result<(Option<Snapshot>, Vec<String>)> {
        let mut damaged = Vec::new();
        for (_, path) in self.newest_first()? {
            match fs::read(&path)
                .map_err(|error| error.to_string())
                .and_then(|bytes| decode(&bytes).map_err(str::to_owned))
            {
                Ok(snapshot) => return Ok((Some(snapshot), damaged)),
                Err(reason) => damaged.push(format!("{}: {reason}", path.display())),
            }
        }
        Ok((None, damaged))
    }

    fn path(&self, next_offset: Offset) -> PathBuf {
        self.0.join(format!("snapshot-{next_offset:020}.egs"))
    }

    /// The snapshots there are, the newest first, with the offset of the first record that is not in each.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub(crate) fn newest_first(&self) -> io::Result<Vec<(Offset, PathBuf)>> {
        let mut found = Vec::new();
        for entry in self.0.read_dir()? {
            let path = entry?.path();
            found.extend(offset_of(&path).map(|offset| (offset, path)));
        }
        found.sort_by(|a, b| b.cmp(a));
        Ok(found)
    }
}

fn offset_of(path: &Path) -> Option<Offset> {
    path.file_name()?.to_str()?.strip_prefix("snapshot-")?.strip_suffix(".egs")?.parse().ok()
}

fn decode(bytes: &[u8]) -> Result<Snapshot, &'static str> {
    let (body, checksum) = bytes.split_last_chunk::<4>().ok_or("it is cut short")?;
    let body = body.strip_prefix(MAGIC).ok_or("it is no snapshot")?;
    let (version, rest) = body.split_first_chunk::<4>().ok_or("it is cut short")?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION && version != VERSION_1 {
        return Err("it was written by another version");
    }
    if crc32c::crc32c(&bytes[..bytes.len() - 4]) != u32::from_le_bytes(*checksum) {
        return Err("its checksum does not match");
    }
    let (next_offset, rest) = rest.split_first_chunk::<8>().ok_or("it is cut short")?;
    let (engine, rest) = part(rest)?;
    let (retained, rest) = part(rest)?;
    let (sessions, rest) = if version == VERSION_1 { (&[][..], rest) } else { part(rest)? };
    if !rest.is_empty() {
        return Err("it has bytes left over");
    }
    Ok(Snapshot {
        next_offset: Offset::from_le_bytes(*next_offset),
        engine: engine.to_vec(),
        retained: retained.to_vec(),
        sessions: sessions.to_vec(),
    })
}

fn part(bytes: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or("it is cut short")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| "a length is out of range")?;
    rest.split_at_checked(length).ok_or("it is cut short")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(next_offset: Offset) -> Snapshot {
        Snapshot { next_offset, engine: vec![1; 100], retained: vec![2; 10], sessions: vec![3; 5] }
    }

    #[test]
    fn the_newest_two_are_kept_and_the_journal_is_needed_from_the_older() {
        let folder = tempfile::tempdir().expect("a folder");
        let snapshots = SnapshotFolder::open(folder.path().join("snapshots")).expect("it is made");
        assert_eq!(snapshots.newest().expect("readable"), (None, vec![]));
        assert_eq!(snapshots.write(&snapshot(10)).expect("written"), 10);
        assert_eq!(snapshots.write(&snapshot(20)).expect("written"), 10);
        assert_eq!(snapshots.write(&snapshot(30)).expect("written"), 20);
        assert_eq!(snapshots.newest().expect("readable").0, Some(snapshot(30)));
    }

    #[test]
    fn a_damaged_one_is_named_and_the_older_one_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let snapshots = SnapshotFolder::open(folder.path().to_owned()).expect("it is there");
        snapshots.write(&snapshot(10)).expect("written");
        snapshots.write(&snapshot(20)).expect("written");
        let newest = snapshots.path(20);
        let whole = fs::read(&newest).expect("it is there");
        for end in 0..whole.len() {
            fs::write(&newest, &whole[..end]).expect("written");
            let (found, damaged) = snapshots.newest().expect("readable");
            assert_eq!(found, Some(snapshot(10)));
            assert_eq!(damaged.len(), 1);
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            fs::write(&newest, flipped).expect("written");
            assert_eq!(snapshots.newest().expect("readable").0, Some(snapshot(10)), "bit flipped at {at}");
        }
    }
}
