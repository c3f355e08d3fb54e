//! The file system as the journal uses it, small enough to be replaced by one that fails on purpose.
//!
//! The faulty twin in the tests refuses writes, tears them, and forgets what was not synced; the real one is here. Only what
//! the journal needs: files that are written at a place, synced, cut and removed.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder of files that can be written at a place and synced.
pub trait Storage: Send + Sync + 'static {
    /// Names of the files there.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file that is not there yet.
    ///
    /// # Errors
    /// Where it is there or cannot be made.
    fn create(&self, name: &str) -> io::Result<Box<dyn StoredFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// Where it is not there or cannot be opened.
    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>>;

    /// Removes a file. Who has it open can still use it.
    ///
    /// # Errors
    /// Where it is not there or cannot be removed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations and removals durable.
    ///
    /// # Errors
    /// Where the folder cannot be synced.
    fn sync_folder(&self) -> io::Result<()>;

    /// A number that who sends records cannot guess; a new one each time.
    fn salt(&self) -> u64;

    /// Where it is, for messages.
    fn describe(&self) -> String;
}

/// An open file.
pub trait StoredFile: Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// Where the system cannot say.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from `position`; fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `position`; after an error, any part of them may be there.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// Makes data and length durable.
    ///
    /// # Errors
    /// Where it cannot be synced; then nothing is known about writes since the last sync, and a later sync that succeeds does
    /// not change that.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file.
    ///
    /// # Errors
    /// Where it cannot be cut.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

/// How long a lock that is taken is tried again: a program that starts a child holds a copy of the lock in the child for the
/// instant between fork and exec, even after it has given its own back.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A folder of the operating system, locked against a second program.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens the folder, making it if it is not there; only its owner may look inside.
    ///
    /// # Errors
    /// Where it cannot be made; of kind `WouldBlock` where another program has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let missing: Vec<_> = path
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
            .collect();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        for parent in missing.iter().filter_map(|folder| folder.parent()) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            File::open(parent)?.sync_all()?;
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))?;
        let mut waited = Duration::ZERO;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path: path.to_owned(), _lock: lock }),
                Err(fs::TryLockError::WouldBlock) if waited < LOCK_PATIENCE => {
                    std::thread::sleep(LOCK_PAUSE);
                    waited += LOCK_PAUSE;
                }
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(io::Error::new(
                        io::ErrorKind::WouldBlock,
                        "another program has the journal open",
                    ));
                }
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}

impl Storage for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = self.path.read_dir()?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn salt(&self) -> u64 {
        // The standard library seeds its hashers from the system's random source.
        RandomState::new().hash_one(0_u8)
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

struct RealFile(File);

impl StoredFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}
