//! Which parts are in force, and up to which record of the journal they reach.
//!
//! The file `MANIFEST` is `openegiz-manifest <crc32c of the rest, 8 hexadecimal digits>`, a line end, and JSON (version 2, which has rollups; version 1 is read).
//! It is replaced as a whole: written under another name, synced, renamed, and the folder synced. A part that is not named
//! in it is not there; one that is named was synced before.

use std::io::Write as _;

use egiz_model::Offset;
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::series::RollupLength;

const NAME: &str = "MANIFEST";
const UNDER_WAY: &str = "MANIFEST.under-way";
const MAGIC: &str = "openegiz-manifest ";
const VERSION: u32 = 2;

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) version: u32,
    /// The offset of the first record that is in no part.
    pub(crate) next_offset: Offset,
    /// The number of the next part.
    pub(crate) next_number: u64,
    pub(crate) parts: Vec<Entry>,
}

/// What a part is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    /// Sealed from memory.
    Sealed,
    /// Several of a day put together while it goes on.
    Merged,
    /// A day that is over.
    Day,
    /// The last value of everything when its day began.
    Keyframe,
    /// Rollups of the quarter hours of a day.
    Quarters,
    /// Those of a month that is over; its day is the first of the month.
    QuartersOfMonth,
    /// Rollups of the hours of a month that is over.
    HoursOfMonth,
}

impl Level {
    /// Whether its rows are what machines said.
    pub(crate) fn has_samples(self) -> bool {
        matches!(self, Self::Sealed | Self::Merged | Self::Day)
    }

    /// How long the stretch of time is that each of its rows sums up; nothing where they do not.
    pub(crate) fn rollup_length(self) -> Option<RollupLength> {
        match self {
            Self::Quarters | Self::QuartersOfMonth => Some(RollupLength::Quarter),
            Self::HoursOfMonth => Some(RollupLength::Hour),
            Self::Sealed | Self::Merged | Self::Day | Self::Keyframe => None,
        }
    }

    /// Whether its rows are rollups.
    pub(crate) fn is_rolled(self) -> bool {
        self.rollup_length().is_some()
    }
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) level: Level,
    /// The day of its rows, since 1970 in UTC.
    pub(crate) day: i64,
    pub(crate) family: String,
    /// Of two parts that say something of the same time, the one with the higher rank holds.
    pub(crate) rank: u64,
    pub(crate) rows: u64,
    pub(crate) samples: u64,
    pub(crate) things: usize,
    /// Times of the first and the last row, in microseconds.
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) bytes: u64,
    /// CRC-32C of the file's footer; its pages have checksums of their own.
    pub(crate) footer_crc32c: u32,
    /// Whether its rows are in rollups.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) is_rolled: bool,
    /// Of a month's rollups, the days that are in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) days: Vec<i64>,
}

impl Entry {
    /// The days whose rollups are in it.
    pub(crate) fn rolled_days(&self) -> &[i64] {
        match self.level {
            Level::Quarters => std::slice::from_ref(&self.day),
            Level::QuartersOfMonth | Level::HoursOfMonth => &self.days,
            Level::Sealed | Level::Merged | Level::Day | Level::Keyframe => &[],
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The disk does not give or take it.
    #[error("the history's MANIFEST cannot be read or written")]
    Io(#[from] std::io::Error),
    /// It is not what was written.
    #[error("the history's MANIFEST is damaged: {0}; restore it, or move the folder away to begin anew")]
    Damaged(String),
}

impl Default for Manifest {
    fn default() -> Self {
        Self { version: VERSION, next_offset: 0, next_number: 1, parts: Vec::new() }
    }
}

impl Manifest {
    /// The name of its file.
    pub(crate) const FILE_NAME: &'static str = NAME;

    /// Reads the manifest; nothing where there is none yet.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Self>, ManifestError> {
        let file = match disk.open(NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let length =
            usize::try_from(file.length()).map_err(|_| ManifestError::Damaged("it is too long".into()))?;
        let mut bytes = vec![0; length];
        file.read_at(0, &mut bytes)?;
        Self::decode(&bytes).map(Some)
    }

    fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let damaged = |flaw: &str| ManifestError::Damaged(flaw.to_owned());
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
        let rest = text.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin as one"))?;
        let (crc, json) = rest.split_once('\n').ok_or_else(|| damaged("it is cut short"))?;
        if u32::from_str_radix(crc, 16).ok() != Some(crc32c::crc32c(json.as_bytes())) {
            return Err(damaged("its checksum does not hold"));
        }
        let mut manifest: Self =
            serde_json::from_str(json).map_err(|error| ManifestError::Damaged(error.to_string()))?;
        if manifest.version > VERSION {
            return Err(ManifestError::Damaged(format!(
                "it has version {}, which this program does not know",
                manifest.version
            )));
        }
        manifest.version = VERSION;
        Ok(manifest)
    }

    fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("it has only texts and numbers");
        format!("{MAGIC}{:08x}\n{json}", crc32c::crc32c(json.as_bytes())).into_bytes()
    }

    /// Puts the manifest in force.
    ///
    /// # Errors
    /// Where the disk does not take it; the one before stays in force.
    pub(crate) fn publish(&self, disk: &dyn Disk) -> Result<(), ManifestError> {
        let mut file = disk.create(UNDER_WAY)?;
        file.write_all(&self.encode())?;
        file.sync()?;
        drop(file);
        disk.rename(UNDER_WAY, NAME)?;
        disk.sync_folder()?;
        Ok(())
    }

    /// Whether nothing is left of a family's day but its rollups. What still comes of it would stand alone beside them.
    pub(crate) fn is_closed(&self, day: i64, family: &str) -> bool {
        let mut of_family = self.parts.iter().filter(|entry| entry.family == family);
        of_family.clone().any(|entry| entry.rolled_days().contains(&day))
            && !of_family.any(|entry| entry.level.has_samples() && entry.day == day)
    }

    /// Whether the file belongs to the manifest itself.
    pub(crate) fn is_own_file(name: &str) -> bool {
        name == NAME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Folder;

    fn manifest() -> Manifest {
        let part = Entry {
            name: "2026-03-01_oven_000001.parquet".into(),
            level: Level::Sealed,
            day: 20_513,
            family: "openegiz:oven:1.0.0".into(),
            rank: 1,
            rows: 10,
            samples: 100,
            things: 2,
            first: 5,
            last: 9,
            bytes: 1234,
            footer_crc32c: 77,
            is_rolled: false,
            days: Vec::new(),
        };
        Manifest { next_offset: 42, next_number: 2, parts: vec![part], ..Manifest::default() }
    }

    #[test]
    fn what_is_published_is_read_and_the_rest_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Folder::open(folder.path()).expect("it is made");
        assert_eq!(Manifest::read(&disk).expect("there is none"), None);
        manifest().publish(&disk).expect("written");
        assert_eq!(Manifest::read(&disk).expect("whole"), Some(manifest()));
    }

    fn with_rollups() -> Manifest {
        let mut manifest = manifest();
        let day = Entry { level: Level::Day, is_rolled: true, ..manifest.parts[0].clone() };
        let of = |level| Entry { level, ..manifest.parts[0].clone() };
        let month = |level| Entry { day: 20_513, days: vec![20_513, 20_515], ..of(level) };
        manifest.parts =
            vec![day, of(Level::Quarters), month(Level::QuartersOfMonth), month(Level::HoursOfMonth)];
        manifest
    }

    /// The bytes of version 1; what was written must stay readable.
    #[test]
    fn version_1_is_read() {
        let golden = include_str!("../tests/golden/manifest-v1");
        assert_eq!(Manifest::decode(golden.as_bytes()).expect("whole"), manifest());
    }

    /// The bytes of version 2; what is written must stay readable.
    #[test]
    fn version_2_stays_as_it_is() {
        let golden = include_str!("../tests/golden/manifest-v2");
        assert_eq!(std::str::from_utf8(&with_rollups().encode()), Ok(golden));
        assert_eq!(Manifest::decode(golden.as_bytes()).expect("whole"), with_rollups());
    }

    #[test]
    fn every_damaged_byte_is_found() {
        let whole = manifest().encode();
        for at in 0..whole.len() {
            assert!(Manifest::decode(&whole[..at]).is_err(), "cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert!(Manifest::decode(&flipped).is_err(), "flipped at {at}");
        }
    }
}
