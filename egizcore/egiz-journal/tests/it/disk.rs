//! A disk in memory that notes everything done to it, refuses on request, and forgets what was not synced.
//!
//! Names and contents are apart, as on a real disk: removing a file and making another of the same name gives a new content.
//! A failed sync does what Linux does: some of the pages are marked clean without being on disk, and no later sync writes them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use egiz_journal::storage::{Storage, StoredFile};
use parking_lot::Mutex;

/// One thing that was done to the disk. Contents are numbered in the order in which they were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Create(String, usize),
    Remove(String),
    SyncFolder,
    Write(usize, u64, Vec<u8>),
    Truncate(usize, u64),
    Sync(usize),
    SyncFailed(usize),
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    names: Mutex<BTreeMap<String, usize>>,
    contents: Mutex<Vec<Vec<u8>>>,
    pub(crate) actions: Mutex<Vec<Action>>,
    /// The system's error number that operations fail with; 0 is none.
    pub(crate) broken: AtomicI32,
    /// Whether only syncs fail.
    pub(crate) only_syncs: AtomicBool,
    /// Bytes of contents beyond which writes fail with "no space"; 0 is no limit.
    pub(crate) space: AtomicU64,
    /// From the action with this number on, three operations in four fail; 0 is never.
    pub(crate) flaky_from: AtomicU64,
}

pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;

/// A handle for a journal.
pub(crate) struct DiskStorage(pub(crate) Arc<Disk>);

struct DiskFile(Arc<Disk>, usize);

impl Disk {
    /// A disk with these files, all synced.
    pub(crate) fn with_files(files: BTreeMap<String, Vec<u8>>) -> Self {
        let names = files.keys().cloned().zip(0..).collect();
        let contents = files.into_values().collect();
        Self { names: Mutex::new(names), contents: Mutex::new(contents), ..Self::default() }
    }

    fn note(&self, action: Action) {
        self.actions.lock().push(action);
    }

    fn check(&self, is_sync: bool) -> io::Result<()> {
        let flaky_from = self.flaky_from.load(Ordering::SeqCst);
        let done = self.actions.lock().len() as u64;
        if flaky_from > 0 && done >= flaky_from && done < flaky_from + 6 && done % 4 != 3 {
            self.note(Action::SyncFailed(usize::MAX));
            return Err(io::Error::from_raw_os_error(EIO));
        }
        match self.broken.load(Ordering::SeqCst) {
            0 => Ok(()),
            _ if self.only_syncs.load(Ordering::SeqCst) && !is_sync => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// Writes into a content, growing it as a file system does.
pub(crate) fn write_into(content: &mut Vec<u8>, position: u64, bytes: &[u8]) {
    let position = usize::try_from(position).expect("small files");
    if content.len() < position + bytes.len() {
        content.resize(position + bytes.len(), 0);
    }
    content[position..position + bytes.len()].copy_from_slice(bytes);
}

impl Storage for DiskStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.names.lock().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        self.0.check(false)?;
        let mut names = self.0.names.lock();
        if names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut contents = self.0.contents.lock();
        let number = contents.len();
        contents.push(Vec::new());
        names.insert(name.to_owned(), number);
        self.0.note(Action::Create(name.to_owned(), number));
        Ok(Box::new(DiskFile(Arc::clone(&self.0), number)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let number = *self.0.names.lock().get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(DiskFile(Arc::clone(&self.0), number)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.check(false)?;
        self.0.names.lock().remove(name).ok_or(io::ErrorKind::NotFound)?;
        self.0.note(Action::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.0.check(true)?;
        self.0.note(Action::SyncFolder);
        Ok(())
    }

    fn salt(&self) -> u64 {
        // Different for each segment, and the same in each run.
        (self.0.contents.lock().len() as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn describe(&self) -> String {
        "a disk in memory".to_owned()
    }
}

impl StoredFile for DiskFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.contents.lock()[self.1].len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let contents = self.0.contents.lock();
        let rest =
            contents[self.1].get(usize::try_from(position).expect("small files")..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut result = self.0.check(false);
        let mut contents = self.0.contents.lock();
        let space = self.0.space.load(Ordering::SeqCst);
        if space > 0 {
            let names = self.0.names.lock();
            let used: u64 = names.values().map(|number| contents[*number].len() as u64).sum();
            if used + bytes.len() as u64 > space {
                result = Err(io::Error::from_raw_os_error(ENOSPC));
            }
        }
        // A write that fails may have written a part.
        let written = if result.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        self.0.note(Action::Write(self.1, position, written.to_vec()));
        write_into(&mut contents[self.1], position, written);
        result
    }

    fn sync(&self) -> io::Result<()> {
        let result = self.0.check(true);
        self.0.note(if result.is_ok() { Action::Sync(self.1) } else { Action::SyncFailed(self.1) });
        result
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.check(false)?;
        self.0.note(Action::Truncate(self.1, length));
        self.0.contents.lock()[self.1].resize(usize::try_from(length).expect("small files"), 0);
        Ok(())
    }
}
