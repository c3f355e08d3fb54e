//! The power goes at any point of the recorded order of writes, syncs, renames and removals.
//!
//! What was synced is there afterwards; what was not is there, is not, or is there up to some point. Whatever the disk comes
//! to, the history opens, holds everything that it had said was sealed, and nothing twice.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::disk::{Disk, Readable, Writable};

/// One thing that was done to the disk.
#[derive(Debug, Clone)]
enum Deed {
    Create(String, usize),
    Write(usize, Vec<u8>),
    Sync(usize),
    Rename(String, String),
    Remove(String),
    SyncFolder,
}

/// A disk in memory that remembers what was done to it.
#[derive(Clone, Default)]
struct RecordedDisk(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
    deeds: Vec<Deed>,
}

impl Recorded {
    fn carry_out(&mut self, deed: Deed) {
        match &deed {
            Deed::Create(name, file) => {
                self.files.resize(self.files.len().max(file + 1), Vec::new());
                self.names.insert(name.clone(), *file);
            }
            Deed::Write(file, bytes) => self.files[*file].extend_from_slice(bytes),
            Deed::Rename(from, to) => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Deed::Remove(name) => {
                self.names.remove(name);
            }
            Deed::Sync(_) | Deed::SyncFolder => {}
        }
        self.deeds.push(deed);
    }

    /// The disk after the power went, when `lasts` says how many of some deeds that were not synced happened all the same.
    fn after_power_loss(deeds: &[Deed], mut lasts: impl FnMut(usize) -> usize) -> Self {
        let last_folder_sync = deeds.iter().rposition(|deed| matches!(deed, Deed::SyncFolder)).unwrap_or(0);
        let is_of_folder =
            |deed: &Deed| matches!(deed, Deed::Create(..) | Deed::Rename(..) | Deed::Remove(..));
        let unsynced_folder = deeds[last_folder_sync..].iter().filter(|deed| is_of_folder(deed)).count();
        let mut folder_left = lasts(unsynced_folder);
        let mut after = Self::default();
        let files = deeds.iter().filter_map(|deed| match deed {
            Deed::Create(_, file) => Some(*file + 1),
            _ => None,
        });
        after.files.resize(files.max().unwrap_or(0), Vec::new());
        for file in 0..after.files.len() {
            let is_of_file = |deed: &Deed| matches!(deed, Deed::Write(of, _) if *of == file);
            let last_sync =
                deeds.iter().rposition(|deed| matches!(deed, Deed::Sync(of) if *of == file)).unwrap_or(0);
            let unsynced = deeds[last_sync..].iter().filter(|deed| is_of_file(deed)).count();
            let mut left = lasts(unsynced);
            for (at, deed) in deeds.iter().enumerate() {
                if let Deed::Write(of, bytes) = deed
                    && *of == file
                {
                    if at > last_sync {
                        if left == 0 {
                            break;
                        }
                        left -= 1;
                    }
                    after.files[file].extend_from_slice(bytes);
                }
            }
        }
        for (at, deed) in deeds.iter().enumerate() {
            if is_of_folder(deed) {
                if at > last_folder_sync {
                    if folder_left == 0 {
                        break;
                    }
                    folder_left -= 1;
                }
                match deed {
                    Deed::Create(name, file) => {
                        after.names.insert(name.clone(), *file);
                    }
                    other => after.carry_out(other.clone()),
                }
            }
        }
        after
    }
}

impl Disk for RecordedDisk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let recorded = self.0.lock();
        Ok(recorded
            .names
            .iter()
            .map(|(name, file)| (name.clone(), recorded.files[*file].len() as u64))
            .collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Readable>> {
        let recorded = self.0.lock();
        let file = recorded.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Content(recorded.files[*file].clone().into())))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Writable>> {
        let mut recorded = self.0.lock();
        let file = recorded.files.len();
        recorded.carry_out(Deed::Create(name.to_owned(), file));
        Ok(Box::new(Growing { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.lock().carry_out(Deed::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().carry_out(Deed::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.0.lock().carry_out(Deed::SyncFolder);
        Ok(())
    }
}

struct Content(Bytes);

impl Readable for Content {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        let begin = usize::try_from(position).expect("it is in memory");
        let content = self.0.get(begin..begin + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(content);
        Ok(())
    }
}

struct Growing {
    disk: RecordedDisk,
    file: usize,
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Some bytes at a time, so that power can go between them.
        let taken = bytes.len().min(1500);
        self.disk.0.lock().carry_out(Deed::Write(self.file, bytes[..taken].to_vec()));
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writable for Growing {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.0.lock().carry_out(Deed::Sync(self.file));
        Ok(())
    }
}

/// A disk on which rows were sealed, merged, summed up and dropped, and how far was sealed after which deed.
fn busy_days() -> (Vec<Deed>, Vec<(usize, Offset)>) {
    let disk = RecordedDisk::default();
    let settings = Settings { parts_to_merge: 3, retention_days: 400, ..Settings::default() };
    let (historian, _) = Historian::open(Arc::new(disk.clone()), settings).expect("it opens");
    let mut sealed = vec![(0, 0)];
    for offset in 0..24_u64 {
        let second = BEGIN_S + i64::try_from(offset).expect("small") * 5 * 3600;
        let time = Timestamp::from_seconds(second);
        {
            let mut intake = historian.intake();
            let mut row = intake.row("a:b", "family", time, time);
            let value = ValueRef::Int(i64::try_from(offset).expect("small"));
            row.set("f", "x", &value, Quality::Good, QualityReason::None);
            drop(row);
            intake.done(offset);
        }
        historian.seal(time).expect("sealed");
        sealed.push((disk.0.lock().deeds.len(), historian.sealed_before()));
        while historian.maintain(time).expect("maintained") {}
    }
    let deeds = disk.0.lock().deeds.clone();
    (deeds, sealed)
}

fn check(deeds: &[Deed], sealed: &[(usize, Offset)], lasts: impl FnMut(usize) -> usize) {
    let promised =
        sealed.iter().rev().find(|(after, _)| *after <= deeds.len()).map_or(0, |(_, offset)| *offset);
    let after = Recorded::after_power_loss(deeds, lasts);
    let disk = RecordedDisk(Arc::new(Mutex::new(after)));
    let (historian, recovery) =
        Historian::open(Arc::new(disk), Settings::default()).expect("it opens after every power loss");
    assert_eq!(recovery.lost, Vec::<String>::new(), "after {} deeds", deeds.len());
    let reached = historian.sealed_before();
    assert!(reached >= promised, "{reached} of {promised} after {} deeds", deeds.len());
    let rows = historian.read("a:b", Timestamp::MIN, Timestamp::MAX, |_, _| true).expect("readable");
    let found: Vec<f64> = rows.samples("f", "x", None).iter().map(|sample| sample.value).collect();
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let expected: Vec<f64> = (0..reached).map(|offset| offset as f64).collect();
    assert_eq!(found, expected, "after {} deeds", deeds.len());
}

#[test]
fn after_power_is_lost_at_any_point_what_was_sealed_is_there() {
    let (deeds, sealed) = busy_days();
    for end in 0..=deeds.len() {
        check(&deeds[..end], &sealed, |_| 0);
        check(&deeds[..end], &sealed, |unsynced| unsynced);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_much_of_what_was_not_synced_lasts(
        end in any::<prop::sample::Index>(),
        lasts in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
    ) {
        let (deeds, sealed) = busy_days();
        let mut lasts = lasts.into_iter().cycle();
        let end = end.index(deeds.len() + 1);
        check(&deeds[..end], &sealed, |unsynced| lasts.next().map_or(0, |index| index.index(unsynced + 1)));
    }
}
