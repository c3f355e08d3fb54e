//! Marks of who is at work, so that thinning out never takes a blob that a backup being made counts on.
//!
//! Each writes its own mark first and then looks for others': of two that begin at once at least one sees the other. Backups go
//! together; thinning out goes with nothing. A mark is written anew while the work goes on; one that was not for
//! [`STALE_AFTER_S`] belongs to a program that was killed and counts no more. Who has the data folder's lock knows that its own
//! earlier marks are of the dead, and takes them away. Times are the storage's own.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};

use crate::error::RepositoryError;
use crate::format::to_hex;
use crate::repository::Repository;

const FRESHENED_EVERY: Duration = Duration::from_secs(60);
const STALE_AFTER_S: i64 = 900;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A backup is made.
    Backup,
    /// Backups and blobs are removed.
    Prune,
}

impl Work {
    fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Prune => "prune",
        }
    }
}

/// A mark that stands.
#[derive(Debug)]
pub(crate) struct Mark(Path);

impl Repository {
    /// Sets a mark.
    pub(crate) async fn mark(&self, work: Work, name: &str) -> Result<Mark, RepositoryError> {
        let mut chance = [0; 4];
        (self.random)(&mut chance);
        let owner = self.owner.as_deref().unwrap_or("command");
        let mark = Mark(self.path(&format!("marks/{}-{owner}-{name}-{}", work.word(), to_hex(&chance))));
        self.write_mark(&mark).await?;
        match self.conflict(work, &mark).await {
            Ok(None) => Ok(mark),
            Ok(Some(busy)) => {
                self.unmark(mark).await;
                Err(busy)
            }
            Err(error) => {
                self.unmark(mark).await;
                Err(error)
            }
        }
    }

    /// Takes away what this owner marked before. For who knows that nothing of its own is under way.
    ///
    /// # Errors
    /// Where the storage does not answer.
    pub async fn clear_own_marks(&self) -> Result<(), RepositoryError> {
        let Some(owner) = &self.owner else { return Ok(()) };
        let own = |mark: &ObjectMeta| {
            let name = mark.location.filename().unwrap_or_default();
            name.split_once('-')
                .is_some_and(|(_, rest)| rest.strip_prefix(owner).is_some_and(|rest| rest.starts_with('-')))
        };
        for mark in self.marks().await?.iter().filter(|mark| own(mark)) {
            match self.store.delete(&mark.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => {
                    return Err(RepositoryError::storage("remove", mark.location.to_string())(source));
                }
            }
        }
        Ok(())
    }

    async fn marks(&self) -> Result<Vec<ObjectMeta>, RepositoryError> {
        let all = self.store.list(Some(&self.path("marks"))).try_collect().await;
        all.map_err(RepositoryError::storage("list", "marks"))
    }

    /// Takes a mark away. Where that fails it counts no more after a while.
    pub(crate) async fn unmark(&self, mark: Mark) {
        let _ = self.store.delete(&mark.0).await;
    }

    /// Writes the mark anew for as long as it is polled; comes back only with an error.
    pub(crate) async fn keep_fresh(&self, mark: &Mark) -> RepositoryError {
        loop {
            tokio::time::sleep(FRESHENED_EVERY).await;
            if let Err(error) = self.write_mark(mark).await {
                return error;
            }
        }
    }

    async fn write_mark(&self, mark: &Mark) -> Result<(), RepositoryError> {
        let written = self.store.put(&mark.0, Bytes::from_static(b"at work\n").into()).await;
        written.map_err(RepositoryError::storage("write", mark.0.to_string())).map(|_| ())
    }

    async fn conflict(&self, work: Work, own: &Mark) -> Result<Option<RepositoryError>, RepositoryError> {
        let all = self.marks().await?;
        let Some(now) = all.iter().find(|mark| mark.location == own.0).map(|mark| mark.last_modified) else {
            return Ok(None);
        };
        for mark in all.iter().filter(|mark| mark.location != own.0) {
            let name = mark.location.filename().unwrap_or_default();
            let since_s = (now - mark.last_modified).num_seconds();
            if since_s >= STALE_AFTER_S {
                let _ = self.store.delete(&mark.location).await;
                continue;
            }
            if work == Work::Prune || name.starts_with(Work::Prune.word()) {
                return Ok(Some(RepositoryError::Busy {
                    who: name.to_owned(),
                    since_s: since_s.max(0),
                    advice: "try again when it has ended; after a quarter of an hour without a sign of life it counts as ended",
                }));
            }
        }
        Ok(None)
    }
}
