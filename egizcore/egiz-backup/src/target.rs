//! Where a repository lies: a folder, or S3-compatible storage.
//!
//! Credentials and endpoint of S3 come as settings by their well-known names (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, …), which the
//! program takes from its environment; they are never part of the address. Without TLS it is spoken to only where
//! `AWS_ALLOW_HTTP` is `true`. It refuses every other kind of storage.

mod s3;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use url::Url;

use crate::error::OpenError;

/// Where a repository lies.
#[derive(Debug, Clone)]
pub struct Target {
    shown: String,
    place: Place,
    settings: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
enum Place {
    Folder(PathBuf),
    S3 {
        url: Url,
        prefix: String,
    },
    /// For tests.
    Memory(Arc<InMemory>),
}

/// An open place.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// What every name begins with.
    pub(crate) prefix: String,
    /// Where it is a folder.
    pub(crate) folder: Option<PathBuf>,
}

impl Target {
    /// Reads an address. `settings` are those of the storage, by their well-known names; others are passed over.
    ///
    /// # Errors
    /// Where it is none that is known.
    pub fn parse(
        given: &str,
        settings: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, OpenError> {
        let wrong =
            |problem: &str| OpenError::Target { given: given.to_owned(), problem: problem.to_owned() };
        let place = match given.split_once("://") {
            None if given.trim().is_empty() => return Err(wrong("is empty")),
            None => Place::Folder(given.into()),
            Some(("file", path)) if path.starts_with('/') => Place::Folder(path.into()),
            Some(("file", _)) => return Err(wrong("names another machine")),
            Some(("s3", _)) => {
                let url = Url::parse(given).map_err(|error| wrong(&format!("is no address: {error}")))?;
                if url.host_str().is_none_or(str::is_empty) {
                    return Err(wrong("names no bucket"));
                }
                if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
                    return Err(wrong(
                        "holds more than a bucket and a prefix; credentials come from the environment",
                    ));
                }
                let prefix = url.path().trim_matches('/').to_owned();
                Place::S3 { url, prefix }
            }
            Some((scheme, _)) => return Err(wrong(&format!("is of the kind {scheme:?}"))),
        };
        Ok(Self { shown: given.to_owned(), place, settings: settings.into_iter().collect() })
    }

    /// A place that is gone with its last clone; for tests.
    #[must_use]
    pub fn memory() -> Self {
        Self { shown: "memory".to_owned(), place: Place::Memory(Arc::default()), settings: Vec::new() }
    }

    /// The address as it was given; it holds no secret.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Opens the place. `make`: a folder that is not there is made, readable to its owner only.
    pub(crate) fn open(&self, make: bool) -> Result<Opened, OpenError> {
        let settings = |source| OpenError::Settings { given: self.shown.clone(), source };
        match &self.place {
            Place::Folder(path) => {
                if make {
                    make_private(path).map_err(|error| settings(error.into()))?;
                } else if !path.is_dir() {
                    return Err(OpenError::Missing { target: self.shown.clone() });
                }
                // What was sent must be on disk before the manifest that names it is.
                let store = LocalFileSystem::new_with_prefix(path)
                    .map_err(|error| settings(error.into()))?
                    .with_fsync(true);
                Ok(Opened { store: Arc::new(store), prefix: String::new(), folder: Some(path.clone()) })
            }
            Place::S3 { url, prefix } => {
                let store = s3::open(url, &self.settings).map_err(settings)?;
                Ok(Opened { store, prefix: prefix.clone(), folder: None })
            }
            Place::Memory(store) => Ok(Opened {
                store: Arc::clone(store) as Arc<dyn ObjectStore>,
                prefix: String::new(),
                folder: None,
            }),
        }
    }
}

fn make_private(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, problem: &str) {
        match (Target::parse(given, []), problem) {
            (Ok(target), "") => assert_eq!(target.shown(), given),
            (Err(error), part) if !part.is_empty() => {
                let text = error.to_string();
                assert!(text.contains(part) && text.contains(given) && text.contains("allowed"), "{text}");
            }
            (other, _) => panic!("{given}: {other:?}"),
        }
    }

    #[test]
    fn folders_and_buckets_are_known_and_nothing_else() {
        check("/var/backups/plant", "");
        check("backups", "");
        check("file:///var/backups", "");
        check("s3://bucket", "");
        check("s3://bucket/plant/one", "");
        check("", "is empty");
        check("file://host/share", "another machine");
        check("s3://", "no");
        check("s3://key:secret@bucket/x", "credentials come from the environment");
        check("ftp://host/x", "of the kind \"ftp\"");
    }
}
