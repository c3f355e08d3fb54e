//! Attacks the opening of a whole journal of many segments: files are damaged, cut, swapped or lost. It opens or refuses, never
//! panics; what it gives to read is what was committed at that offset, never anything else; where single bytes changed, no
//! commit is lost in silence but one at the very end that was hit itself; and an opened journal takes new records.
#![no_main]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, LazyLock, mpsc};

use arbitrary::Arbitrary;
use egiz_fuzz::damage::Damage;
use egiz_journal::storage::{Storage, StoredFile};
use egiz_journal::{
    Batch, FileJournal, Journal as _, JournalConfig, JournalMetrics, OpenError, RecoveryReport,
};
use libfuzzer_sys::fuzz_target;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

#[derive(Debug, Arbitrary)]
struct Input {
    accidents: Vec<Accident>,
    verify_all: bool,
    next_at_least: u8,
}

#[derive(Debug, Arbitrary)]
enum Accident {
    Damage(u8, Damage),
    Remove(u8),
    Swap(u8, u8),
    Strange(u8, Vec<u8>),
}

type Files = BTreeMap<String, Vec<u8>>;

const RECORDS: u64 = 40;
/// Two records a commit.
const COMMIT: u64 = 2;

fn record(offset: u64) -> Vec<u8> {
    format!("record {offset} of the journal").into_bytes()
}

/// A journal in several segments.
static WHOLE: LazyLock<Files> = LazyLock::new(|| {
    let disk = Arc::new(Disk::default());
    let (journal, _) = open(&disk, config()).expect("an empty disk takes a journal");
    for commit in 0..RECORDS / COMMIT {
        assert_eq!(
            append(&journal, &[record(commit * COMMIT), record(commit * COMMIT + 1)]),
            commit * COMMIT
        );
    }
    drop(journal);
    let files = disk.files();
    assert!(files.len() > 4, "there are several segments");
    files
});

fuzz_target!(|input: Input| {
    let mut files = WHOLE.clone();
    let only_flips =
        input.accidents.iter().all(|accident| matches!(accident, Accident::Damage(_, Damage::Flip { .. })));
    input.accidents.iter().take(4).for_each(|accident| strike(accident, &mut files));
    let disk = Arc::new(Disk::default());
    for (name, bytes) in &files {
        let file = disk.create(name).expect("it is new");
        file.write_at(bytes, 0).expect("memory takes it");
    }
    let config = JournalConfig {
        verify_all: input.verify_all,
        next_at_least: u64::from(input.next_at_least),
        ..config()
    };
    let Ok((journal, report)) = open(&disk, config) else { return };
    assert!(report.next >= u64::from(input.next_at_least));
    let (read, whole) = read_all(&journal, report.first);
    assert!(!input.verify_all || whole || !only_flips, "what was verified can be read");
    for (offset, bytes) in &read {
        assert_eq!(*bytes, record(*offset), "at offset {offset}");
    }
    if only_flips && whole {
        // Each of the last commits looks torn when it is hit itself.
        let expected = RECORDS - COMMIT * input.accidents.iter().take(4).count().max(1) as u64;
        assert!(read.len() as u64 >= expected, "{} of {expected} records: {report:?}", read.len());
    }
    let added = append(&journal, &[b"added".to_vec()]);
    assert_eq!(added, report.next);
    drop(journal);
    let (journal, again) =
        open(&disk, JournalConfig { verify_all: false, ..config }).expect("it was just open");
    assert_eq!((again.next, again.torn_tail), (added + 1, None));
    let (tail, _) = read_all(&journal, added);
    assert_eq!(tail, [(added, b"added".to_vec())]);
});

fn strike(accident: &Accident, files: &mut Files) {
    let name_of = |number: u8| {
        let names: Vec<_> = files.keys().cloned().collect();
        names.get(usize::from(number) % names.len().max(1)).cloned().unwrap_or_default()
    };
    match accident {
        Accident::Damage(number, damage) => {
            let name = name_of(*number);
            if let Some(bytes) = files.get_mut(&name) {
                damage.strike(bytes);
            }
        }
        Accident::Remove(number) => {
            files.remove(&name_of(*number));
        }
        Accident::Swap(one, other) => {
            let (one, other) = (name_of(*one), name_of(*other));
            let kept = files.get(&one).cloned().unwrap_or_default();
            if let Some(bytes) = files.insert(other, kept) {
                files.insert(one, bytes);
            }
        }
        Accident::Strange(number, bytes) => {
            files.insert(format!("{number:020}.egj"), bytes.clone());
        }
    }
}

fn config() -> JournalConfig {
    JournalConfig { segment_bytes: 400, total_bytes_max: 1 << 20, ..JournalConfig::default() }
}

fn open(disk: &Arc<Disk>, config: JournalConfig) -> Result<(FileJournal, RecoveryReport), OpenError> {
    let metrics = JournalMetrics::register(&mut Registry::default());
    FileJournal::open_storage(Arc::clone(disk) as Arc<dyn Storage>, config, metrics, Arc::new(|| 0))
}

fn append(journal: &FileJournal, records: &[Vec<u8>]) -> u64 {
    let mut batch = Batch::new();
    records.iter().for_each(|record| batch.push(record));
    let (done, committed) = mpsc::channel();
    let permit = journal.reserve_blocking(batch.byte_len());
    let tell = move |result| done.send(result).expect("somebody waits");
    journal.submit(batch, permit, Box::new(tell));
    committed.recv().expect("every batch is answered").expect("memory takes it").first
}

/// What can be read from `from` on, and whether the end was reached.
fn read_all(journal: &FileJournal, from: u64) -> (Vec<(u64, Vec<u8>)>, bool) {
    let mut records = Vec::new();
    let Ok(mut cursor) = journal.read(from) else { return (records, false) };
    loop {
        match cursor.next_group(|offset, record| records.push((offset, record.to_vec()))) {
            Ok(true) => {}
            Ok(false) => return (records, true),
            Err(_) => return (records, false),
        }
    }
}

/// A disk in memory that never fails.
#[derive(Default)]
struct Disk(Mutex<BTreeMap<String, Content>>);

type Content = Arc<Mutex<Vec<u8>>>;

struct DiskFile(Content);

impl Disk {
    fn files(&self) -> Files {
        self.0.lock().iter().map(|(name, content)| (name.clone(), content.lock().clone())).collect()
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let content = Content::default();
        match self.0.lock().insert(name.to_owned(), Arc::clone(&content)) {
            None => Ok(Box::new(DiskFile(content))),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let content = self.0.lock().get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(DiskFile(content)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }

    fn salt(&self) -> u64 {
        (self.0.lock().len() as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn describe(&self) -> String {
        "a disk in memory".to_owned()
    }
}

impl StoredFile for DiskFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let content = self.0.lock();
        let rest = content.get(position as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut content = self.0.lock();
        let end = position as usize + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[position as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.lock().resize(length as usize, 0);
        Ok(())
    }
}
