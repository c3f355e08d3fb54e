//! A repository, open: its identity, its list of backups, its manifests.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use egiz_model::Timestamp;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

use crate::error::{OpenError, RepositoryError};
use crate::format::{Manifest, from_hex, to_hex};
use crate::key::{Encryption, Keys, Passphrase};
use crate::target::{Opened, Target};

/// Fills a buffer with unpredictable bytes; given by the program.
pub type RandomSource = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

const IDENTITY: &str = "repository.json";
const VERSION: u32 = 1;
/// A larger identity or manifest is not read.
const IDENTITY_BYTES_MAX: u64 = 64 << 10;
const MANIFEST_BYTES_MAX: u64 = 256 << 20;
/// What a sealed manifest begins with.
const SEALED: &[u8] = b"openegiz-backup-sealed 1\n";

/// The contents of `repository.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    version: u32,
    id: String,
    encryption: Option<Encryption>,
}

/// A repository, open. Clones share the connection.
#[derive(Clone)]
pub struct Repository {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) keys: Option<Keys>,
    pub(crate) random: RandomSource,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) owner: Option<String>,
    prefix: String,
    shown: String,
}

impl fmt::Debug for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Repository").field("target", &self.shown).finish_non_exhaustive()
    }
}

/// A backup's name: when it was begun, to the millisecond, and chance. Names sort by time; no two of one plant are begun in one
/// millisecond, as one is made at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(String);

impl BackupId {
    /// A new name.
    #[must_use]
    pub fn new(begun: Timestamp, random: &RandomSource) -> Self {
        let mut chance = [0; 4];
        random(&mut chance);
        let time: String = begun.to_string().chars().take(19).filter(|c| *c != '-' && *c != ':').collect();
        let millis = begun.as_micros().rem_euclid(1_000_000) / 1000;
        Self(format!("{time}{millis:03}Z-{}", to_hex(&chance)))
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (time, chance) = text.split_once("Z-")?;
        let (day, hour) = time.split_once('T')?;
        let is_digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
        (is_digits(day, 8) && is_digits(hour, 9) && from_hex::<4>(chance).is_some())
            .then(|| Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Repository {
    /// Opens the repository that is there.
    ///
    /// # Errors
    /// Where there is none, it cannot be reached, or the passphrase is not the one that belongs to it.
    pub async fn open(
        target: &Target,
        passphrase: Option<&Passphrase>,
        random: RandomSource,
    ) -> Result<Self, OpenError> {
        let place = target.open(false)?;
        match read_identity(target, &place).await? {
            Some(identity) => Self::known(target, place, &identity, passphrase, random).await,
            None => Err(OpenError::Missing { target: target.shown().to_owned() }),
        }
    }

    /// Opens the repository that is there, or makes one: encrypted where there is a passphrase.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub async fn open_or_make(
        target: &Target,
        passphrase: Option<&Passphrase>,
        random: RandomSource,
    ) -> Result<Self, OpenError> {
        let place = target.open(true)?;
        if let Some(identity) = read_identity(target, &place).await? {
            return Self::known(target, place, &identity, passphrase, random).await;
        }
        let (mut id, mut salt) = ([0; 8], [0; 16]);
        random(&mut id);
        random(&mut salt);
        let encryption = match passphrase.cloned() {
            None => None,
            Some(passphrase) => Some(computed(move || Encryption::new(&passphrase, salt).0).await),
        };
        let identity = Identity { version: VERSION, id: to_hex(&id), encryption };
        let json = serde_json::to_vec_pretty(&identity).expect("it has only texts and numbers");
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let path = at(&place.prefix, IDENTITY);
        let identity = match place.store.put_opts(&path, Bytes::from(json).into(), options).await {
            Ok(_) => identity,
            // Somebody else made it this instant.
            Err(object_store::Error::AlreadyExists { .. }) => {
                let found = read_identity(target, &place).await?;
                found.ok_or_else(|| OpenError::Missing { target: target.shown().to_owned() })?
            }
            Err(source) => return Err(OpenError::Storage { target: target.shown().to_owned(), source }),
        };
        Self::known(target, place, &identity, passphrase, random).await
    }

    async fn known(
        target: &Target,
        place: Opened,
        identity: &Identity,
        passphrase: Option<&Passphrase>,
        random: RandomSource,
    ) -> Result<Self, OpenError> {
        let shown = || target.shown().to_owned();
        let keys = match (identity.encryption.clone(), passphrase.cloned()) {
            (None, None) => None,
            (None, Some(_)) => return Err(OpenError::NotEncrypted { target: shown() }),
            (Some(_), None) => return Err(OpenError::KeyMissing { target: shown() }),
            (Some(encryption), Some(passphrase)) => {
                let keys = computed(move || encryption.open(&passphrase)).await;
                let keys = keys.map_err(|flaw| OpenError::Damaged { target: shown(), flaw })?;
                Some(keys.ok_or_else(|| OpenError::KeyWrong { target: shown() })?)
            }
        };
        let Opened { store, prefix, folder } = place;
        Ok(Self { store, keys, random, folder, owner: None, prefix, shown: shown() })
    }

    /// The same for an owner that does one thing at a time, so that it can tell marks of its own from others'.
    #[must_use]
    pub fn owned_by(self, owner: &str) -> Self {
        Self { owner: Some(owner.to_owned()), ..self }
    }

    /// Its address, without secrets.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether what is in it is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.keys.is_some()
    }

    /// The backups there are, the oldest first.
    ///
    /// # Errors
    /// Where the storage does not answer.
    pub async fn backups(&self) -> Result<Vec<BackupId>, RepositoryError> {
        let folder = self.path("backups");
        let found: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(RepositoryError::storage("list", "backups"))?;
        let name = |path: &Path| BackupId::parse(path.filename()?.strip_suffix(".json")?);
        let mut ids: Vec<BackupId> = found.iter().filter_map(|object| name(&object.location)).collect();
        ids.sort();
        Ok(ids)
    }

    /// A backup's manifest.
    ///
    /// # Errors
    /// Where there is none, or it is not what was written.
    pub async fn manifest(&self, id: &BackupId) -> Result<Manifest, RepositoryError> {
        let path = self.manifest_path(id);
        let damaged = |flaw: String| RepositoryError::ManifestDamaged { backup: id.to_string(), flaw };
        let object = format!("backups/{id}.json");
        let bytes = match read_small(&*self.store, &path, MANIFEST_BYTES_MAX).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(damaged("it is far too long".to_owned())),
            Err(object_store::Error::NotFound { .. }) => {
                return Err(RepositoryError::NoSuchBackup(id.to_string()));
            }
            Err(source) => return Err(RepositoryError::storage("read", object)(source)),
        };
        let bytes = match &self.keys {
            None => bytes.to_vec(),
            Some(keys) => {
                let sealed =
                    bytes.strip_prefix(SEALED).ok_or_else(|| damaged("it is not sealed".to_owned()))?;
                let mut manifest = sealed.to_vec();
                if !keys.manifest(id.as_str()).open(0, true, &mut manifest) {
                    return Err(damaged("it does not open with the repository's key".to_owned()));
                }
                manifest
            }
        };
        let manifest = Manifest::decode(&bytes).map_err(damaged)?;
        if manifest.id != id.as_str() {
            return Err(damaged(format!("it is that of {}", manifest.id)));
        }
        Ok(manifest)
    }

    /// Writes a manifest, and with it makes the backup one.
    pub(crate) async fn write_manifest(&self, manifest: &Manifest) -> Result<u64, RepositoryError> {
        let id = BackupId(manifest.id.clone());
        let mut bytes = manifest.encode();
        if let Some(keys) = &self.keys {
            keys.manifest(id.as_str()).seal(0, true, &mut bytes);
            bytes.splice(0..0, SEALED.iter().copied());
        }
        let length = bytes.len() as u64;
        self.store
            .put(&self.manifest_path(&id), Bytes::from(bytes).into())
            .await
            .map_err(RepositoryError::storage("write", format!("backups/{id}.json")))?;
        Ok(length)
    }

    pub(crate) fn manifest_path(&self, id: &BackupId) -> Path {
        self.path(&format!("backups/{id}.json"))
    }

    /// A name in the repository.
    pub(crate) fn path(&self, name: &str) -> Path {
        at(&self.prefix, name)
    }
}

fn at(prefix: &str, name: &str) -> Path {
    Path::from(if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") })
}

async fn read_identity(target: &Target, place: &Opened) -> Result<Option<Identity>, OpenError> {
    let shown = || target.shown().to_owned();
    let path = at(&place.prefix, IDENTITY);
    let damaged = |flaw: String| OpenError::Damaged { target: shown(), flaw };
    let bytes = match read_small(&*place.store, &path, IDENTITY_BYTES_MAX).await {
        Ok(bytes) => bytes.ok_or_else(|| damaged("it is far too long".to_owned()))?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(source) => return Err(OpenError::Storage { target: shown(), source }),
    };
    let identity: Identity = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if identity.version != VERSION {
        let flaw = format!("it has format version {}, this program reads {VERSION}", identity.version);
        return Err(damaged(flaw));
    }
    Ok(Some(identity))
}

/// Reads a whole object; nothing where it is longer than `bytes_max`.
async fn read_small(
    store: &dyn ObjectStore,
    path: &Path,
    bytes_max: u64,
) -> object_store::Result<Option<Bytes>> {
    let found = store.get(path).await?;
    if found.meta.size > bytes_max {
        return Ok(None);
    }
    found.bytes().await.map(Some)
}

/// Runs what computes for long beside the asynchronous work.
pub(crate) async fn computed<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time_and_are_read_again() {
        let random: RandomSource = Arc::new(|bytes| bytes.fill(0xab));
        let id = BackupId::new(Timestamp::parse("2026-03-01T02:00:59.5Z").expect("a time"), &random);
        assert_eq!(id.as_str(), "20260301T020059500Z-abababab");
        assert_eq!(BackupId::parse(id.as_str()), Some(id.clone()));
        let later: RandomSource = Arc::new(|bytes| bytes.fill(0));
        let later = BackupId::new(Timestamp::parse("2026-03-01T02:00:59.501Z").expect("a time"), &later);
        assert!(id < later, "chance does not decide which is the newest of one second");
        for text in [
            "",
            "x",
            "20260301T020059000Z-ABABABAB",
            "../20260301T020059000Z-abababab",
            "20260301T0200Z-abababab",
        ] {
            assert_eq!(BackupId::parse(text), None, "{text}");
        }
    }
}
