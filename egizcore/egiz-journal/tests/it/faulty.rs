//! A disk that refuses writes and forgets what was not synced, and the journal on it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use egiz_journal::storage::{Storage, StoredFile};
use egiz_journal::{AppendError, FileJournal, Journal};
use parking_lot::Mutex;

use crate::{append, batch, config, metrics, read};

/// One thing that was done to the disk, for replaying its prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Create(String),
    Write(String, u64, Vec<u8>),
    Truncate(String, u64),
    Sync(String),
    Remove(String),
    SyncFolder,
}

/// Files in memory, with every action noted.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) files: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(crate) actions: Mutex<Vec<Action>>,
    /// Error code for the next writes and syncs: 0 is none, else an `errno`.
    pub(crate) broken: AtomicU32,
    /// Whether only syncs fail.
    pub(crate) only_syncs: std::sync::atomic::AtomicBool,
}

/// A handle for the journal.
pub(crate) struct DiskStorage(pub(crate) Arc<Disk>);

struct DiskFile(Arc<Disk>, String);

impl Disk {
    fn note(&self, action: Action) {
        self.actions.lock().push(action);
    }

    fn check(&self, is_sync: bool) -> io::Result<()> {
        match self.broken.load(Ordering::SeqCst) {
            0 => Ok(()),
            _ if self.only_syncs.load(Ordering::SeqCst) && !is_sync => Ok(()),
            code => Err(io::Error::from_raw_os_error(code.cast_signed())),
        }
    }
}

impl Storage for DiskStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.files.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn StoredFile>> {
        let mut files = self.0.files.lock();
        if !files.contains_key(name) {
            if !create {
                return Err(io::ErrorKind::NotFound.into());
            }
            self.0.check(false)?;
            files.insert(name.to_owned(), Vec::new());
            self.0.note(Action::Create(name.to_owned()));
        }
        Ok(Box::new(DiskFile(Arc::clone(&self.0), name.to_owned())))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.files.lock().remove(name);
        self.0.note(Action::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.0.check(true)?;
        self.0.note(Action::SyncFolder);
        Ok(())
    }

    fn describe(&self) -> String {
        "a disk in memory".to_owned()
    }
}

/// Writes into a file in memory, growing it as a file system does.
pub(crate) fn write_into(file: &mut Vec<u8>, position: u64, bytes: &[u8]) {
    let position = usize::try_from(position).expect("small files");
    if file.len() < position + bytes.len() {
        file.resize(position + bytes.len(), 0);
    }
    file[position..position + bytes.len()].copy_from_slice(bytes);
}

impl StoredFile for DiskFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.files.lock().get(&self.1).map_or(0, Vec::len) as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let files = self.0.files.lock();
        let file = files.get(&self.1).ok_or(io::ErrorKind::NotFound)?;
        let rest = file.get(usize::try_from(position).expect("small files")..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let result = self.0.check(false);
        // A failing write may have written a part.
        let written = if result.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        self.0.note(Action::Write(self.1.clone(), position, written.to_vec()));
        write_into(self.0.files.lock().entry(self.1.clone()).or_default(), position, written);
        result
    }

    fn sync(&self) -> io::Result<()> {
        self.0.check(true)?;
        self.0.note(Action::Sync(self.1.clone()));
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.check(false)?;
        self.0.note(Action::Truncate(self.1.clone(), length));
        self.0
            .files
            .lock()
            .entry(self.1.clone())
            .or_default()
            .resize(usize::try_from(length).expect("small files"), 0);
        Ok(())
    }
}

const ENOSPC: u32 = 28;
const EIO: u32 = 5;

fn fails_and_recovers(code: u32, only_syncs: bool, is_expected: fn(&AppendError) -> bool) {
    let disk = Arc::new(Disk::default());
    let open = || {
        FileJournal::open_storage(Arc::new(DiskStorage(Arc::clone(&disk))), config(), metrics())
            .expect("it opens")
    };
    let (journal, _) = open();
    append(&journal, batch(&["before"])).expect("committed");

    disk.only_syncs.store(only_syncs, Ordering::SeqCst);
    disk.broken.store(code, Ordering::SeqCst);
    for _ in 0..3 {
        let error = append(&journal, batch(&["refused"])).expect_err("the disk is broken");
        assert!(is_expected(&error), "{error}");
    }
    assert!(journal.status().failing.is_some());
    assert_eq!(read(&journal, 0).len(), 1, "it stays readable");

    disk.broken.store(0, Ordering::SeqCst);
    let mut first = Err(AppendError::Closed);
    for _ in 0..100 {
        first = append(&journal, batch(&["after"]));
        if first.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    assert_eq!(first, Ok(1), "it takes writes again without a restart");
    assert!(journal.status().failing.is_none());
    let expected = [(0, b"before".to_vec()), (1, b"after".to_vec())];
    assert_eq!(read(&journal, 0), expected);
    drop(journal);
    assert_eq!(read(&open().0, 0), expected, "and says the same when opened again");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    fails_and_recovers(ENOSPC, false, |error| matches!(error, AppendError::NoSpace(_)));
}

#[test]
fn a_disk_that_fails_to_write_refuses_and_recovers() {
    fails_and_recovers(EIO, false, |error| matches!(error, AppendError::Io(_)));
}

#[test]
fn a_failed_sync_is_never_trusted() {
    fails_and_recovers(EIO, true, |error| matches!(error, AppendError::Io(_)));
}
