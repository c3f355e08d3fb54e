//! A plant's files, and a repository to put them in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use egiz_backup::{
    BackupId, FileKind, Manifest, Passphrase, Progress, RandomSource, Repository, Source, Stored, Target,
};
use egiz_model::Timestamp;
use tempfile::TempDir;

pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    random: RandomSource,
    passphrase: Option<Passphrase>,
}

impl Bench {
    pub(crate) fn new(passphrase: Option<&str>) -> Self {
        let count = AtomicU32::new(1);
        let random: RandomSource = Arc::new(move |bytes| {
            let number = count.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            for (at, byte) in bytes.iter_mut().rev().enumerate() {
                *byte = number[3 - at % 4];
            }
        });
        let passphrase = passphrase.map(|text| Passphrase::new(text.as_bytes()).expect("long enough"));
        Self { folder: tempfile::tempdir().expect("a folder"), random, passphrase }
    }

    pub(crate) fn target(&self) -> Target {
        Target::parse(&self.backups().display().to_string(), []).expect("a folder")
    }

    pub(crate) fn backups(&self) -> PathBuf {
        self.folder.path().join("backups")
    }

    pub(crate) async fn open(&self) -> Repository {
        Repository::open_or_make(&self.target(), self.passphrase.as_ref(), self.random.clone())
            .await
            .expect("it opens")
    }

    pub(crate) async fn open_with(
        &self,
        passphrase: Option<&str>,
    ) -> Result<Repository, egiz_backup::OpenError> {
        let passphrase = passphrase.map(|text| Passphrase::new(text.as_bytes()).expect("long enough"));
        Repository::open(&self.target(), passphrase.as_ref(), self.random.clone()).await
    }

    /// Writes the plant's files.
    pub(crate) fn sources(&self, files: &[(&str, &[u8])]) -> Vec<Source> {
        let data = self.folder.path().join("data");
        files
            .iter()
            .map(|(path, bytes)| {
                let file = data.join(path);
                std::fs::create_dir_all(file.parent().expect("it has one")).expect("made");
                std::fs::write(&file, bytes).expect("written");
                let kind = if path.starts_with("journal") { FileKind::Journal } else { FileKind::History };
                Source { path: (*path).to_owned(), kind, file, bytes: bytes.len() as u64 }
            })
            .collect()
    }

    /// Makes a backup, as if at an hour since 1970.
    pub(crate) async fn make(
        &self,
        repository: &Repository,
        hour: i64,
        files: &[(&str, &[u8])],
    ) -> Result<Stored, egiz_backup::RepositoryError> {
        let begun = Timestamp::from_seconds(hour * 3600);
        let about = Manifest::begin(&BackupId::new(begun, &self.random), "0.1.0", "factory", begun);
        repository.make(about, self.sources(files), &Progress::default()).await
    }
}

/// What lies below a folder, by path.
pub(crate) fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in next.read_dir().expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below").display().to_string();
                found.push((name, std::fs::read(&path).expect("readable")));
            }
        }
    }
    found.sort();
    found
}
