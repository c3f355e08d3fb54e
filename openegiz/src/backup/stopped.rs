//! A backup of a data folder that no program has open.
//!
//! The folder is opened as a start opens it, with its lock, so that nobody begins to use it meanwhile; nothing is replayed. Where
//! a program has it, that is told apart from every other failure.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use egiz_backup::{BackupId, Manifest, Progress, RandomSource, Repository, Stored};
use egiz_journal::{FileJournal, JournalConfig, JournalMetrics, OpenError};
use egiz_server::Clock;
use egiz_service::config::Config;
use egiz_store::{Store, StoreOptions};
use prometheus_client::registry::Registry;

use super::REGISTRY;
use super::service::owner;
use super::stage::{Parts, Staging};
use crate::snapshot::SnapshotFolder;
use crate::start;

/// A data folder that this program has now.
pub(super) struct Stopped<'a> {
    config: &'a Config,
    journal: FileJournal,
}

impl<'a> Stopped<'a> {
    /// Takes the folder; nothing where a program has it.
    ///
    /// # Errors
    /// Where it is not there or cannot be used.
    pub(super) fn open(config: &'a Config, clock: &Clock) -> anyhow::Result<Option<Self>> {
        let data = &config.data.dir;
        anyhow::ensure!(
            data.join("journal").is_dir(),
            "data.dir = {:?} holds no data: there is no folder journal in it; name the configuration of the program with --config",
            data.display()
        );
        let clock = clock.clone();
        let journal_config = JournalConfig { next_at_least: 0, ..start::journal_config(&config.journal) };
        let metrics = JournalMetrics::register(&mut Registry::default());
        let opened = FileJournal::open(
            &data.join("journal"),
            journal_config,
            metrics,
            Arc::new(move || clock().as_micros()),
        );
        match opened {
            Ok((journal, _)) => Ok(Some(Self { config, journal })),
            Err(OpenError::InUse { .. }) => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("the data folder {} cannot be opened", data.display()))
            }
        }
    }

    /// Makes a backup of it.
    ///
    /// # Errors
    /// Where a part of it or the storage fails.
    pub(super) async fn back_up(
        &self,
        repository: &Repository,
        (clock, random): (&Clock, &RandomSource),
        progress: &Progress,
    ) -> anyhow::Result<Stored> {
        let data: &Path = &self.config.data.dir;
        let begun = clock();
        let id = BackupId::new(begun, random);
        let mut about = Manifest::begin(&id, env!("CARGO_PKG_VERSION"), &self.config.site.name, begun);
        let mut staging = Staging::begin(data)?;
        let registry = data.join(REGISTRY);
        let mut repository = repository.clone();
        if registry.is_file() {
            let store = Store::open(&registry, StoreOptions::new(random.clone())).await?;
            // Its key is made the first time, before the copy that has it.
            let owner = owner(&store).await;
            let copied = store.copy_to(&staging.registry()).await;
            store.close().await;
            copied.context("the registry cannot be copied")?;
            repository = repository.owned_by(&owner?);
            repository.clear_own_marks().await?;
        }
        let history = self.config.history.enabled.then(|| start::open_history(self.config)).transpose()?;
        let snapshots = SnapshotFolder::open(data.join("snapshots"))?;
        let parts = Parts {
            data,
            journal: &self.journal,
            snapshots: &snapshots,
            historian: history.as_ref().map(|history| &*history.historian),
        };
        staging.hold(&parts, clock, &mut about)?;
        Ok(repository.make(about, staging.sources(), progress).await?)
    }
}
