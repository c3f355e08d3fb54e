//! The file system as the historian uses it, small enough to be replaced by one that fails on purpose.
//!
//! One flat folder. A file is written whole under a passing name, synced, and renamed; it is never changed afterwards, so
//! who has one open can go on reading it after it was removed. Nothing here knows what a file holds.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of files that are written once.
pub trait Disk: Send + Sync + 'static {
    /// Names and sizes of the files there.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// Where it is not there or cannot be opened.
    fn open(&self, name: &str) -> io::Result<Arc<dyn Readable>>;

    /// Makes a file, or empties the one that is there.
    ///
    /// # Errors
    /// Where it cannot be made.
    fn create(&self, name: &str) -> io::Result<Box<dyn Writable>>;

    /// Gives a file another name, in place of what had it; durable after [`Disk::sync_folder`].
    ///
    /// # Errors
    /// Where it cannot be renamed.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Where it is not there or cannot be removed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// Where the folder cannot be synced.
    fn sync_folder(&self) -> io::Result<()>;
}

/// A file open for reading; it stays readable after it was removed.
pub trait Readable: Send + Sync {
    /// Its length in bytes.
    fn length(&self) -> u64;

    /// Fills `bytes` with what is in it from a position on.
    ///
    /// # Errors
    /// Where it is shorter or cannot be read.
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()>;
}

/// A file being written.
pub trait Writable: Write + Send {
    /// Makes what was written durable.
    ///
    /// # Errors
    /// Where it cannot be synced.
    fn sync(&mut self) -> io::Result<()>;
}

/// A folder of the operating system.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// Opens the folder, making it if it is not there.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in self.0.read_dir()? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                files.push((name, metadata.len()));
            }
        }
        files.sort();
        Ok(files)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Readable>> {
        let file = File::open(self.0.join(name))?;
        let length = file.metadata()?.len();
        Ok(Arc::new(OpenFile { file, length }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Writable>> {
        Ok(Box::new(File::create(self.0.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

struct OpenFile {
    file: File,
    length: u64,
}

impl Readable for OpenFile {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        if position.saturating_add(bytes.len() as u64) > self.length {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file is shorter than it should be",
            ));
        }
        self.file.read_exact_at(bytes, position)
    }
}

impl Writable for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
