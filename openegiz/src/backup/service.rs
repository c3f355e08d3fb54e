//! Backups by the running program: on schedule and when asked, one at a time, with health and metrics.
//!
//! ```text
//!  POST /api/v1/backups ─┐
//!                        ├─► task: stage ─► send ─► thin out ─► health, metrics
//!  schedule ─────────────┘
//! ```
//!
//! One that fails on schedule is tried again after a while. It is done from links beside the data, so the program goes on;
//! when the program stops it is cut off, which leaves no backup.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use egiz_api::{Backup, BackupProgress, BackupState};
use egiz_backup::keep::{Keep, to_remove};
use egiz_backup::{BackupId, Manifest, Progress, Repository, Target};
use egiz_historian::Historian;
use egiz_journal::FileJournal;
use egiz_model::Timestamp;
use egiz_server::{BackupError, Backups, Clock, RandomSource};
use egiz_service::config::{BackupConfig, Config};
use egiz_service::health::Part;
use egiz_store::Store;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::schedule::Schedule;
use super::settings;
use super::stage::{Parts, Staging, clear};
use crate::caretaker::Snapshots;

/// How often it is looked whether one is due.
const PAUSE: Duration = Duration::from_secs(20);
/// How long after one that failed the next is tried.
const AGAIN_MICROS: i64 = 15 * 60 * 1_000_000;
/// Backups that one answer lists at most, the newest.
const LISTED: usize = 500;
/// Of so many days every backup is kept.
const RECENT_DAYS: i64 = 2;

/// What the program counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct BackupMetrics {
    /// `egiz_backup_last_success_timestamp_seconds`: when what the last one holds was taken.
    last_success: Gauge,
    /// `egiz_backup_duration_seconds`: how long the last took.
    duration: Gauge<f64, std::sync::atomic::AtomicU64>,
    /// `egiz_backup_size_bytes`: all files of the last.
    size: Gauge,
    /// `egiz_backup_sent_bytes_total`: what was not there before.
    sent: Counter,
    /// `egiz_backup_completed_total`.
    completed: Counter,
    /// `egiz_backup_failures_total`.
    failures: Counter,
    /// `egiz_backup_prune_failures_total`.
    prune_failures: Counter,
}

impl BackupMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let Self { last_success, duration, size, sent, completed, failures, prune_failures } =
            metrics.clone();
        registry.register(
            "egiz_backup_last_success_timestamp_seconds",
            "When what the newest backup holds was taken, 0 while none is known",
            last_success,
        );
        registry.register("egiz_backup_duration_seconds", "How long the last backup took", duration);
        registry.register("egiz_backup_size_bytes", "Bytes of all files of the last backup", size);
        registry.register(
            "egiz_backup_sent_bytes",
            "Bytes sent for backups, which were not there before",
            sent,
        );
        registry.register("egiz_backup_completed", "Backups made", completed);
        registry.register("egiz_backup_failures", "Backups that failed", failures);
        registry.register(
            "egiz_backup_prune_failures",
            "Times that old backups could not be removed; tried again after the next backup",
            prune_failures,
        );
        metrics
    }
}

/// What is backed up.
pub(crate) struct BackupParts {
    pub(crate) data: PathBuf,
    pub(crate) site: String,
    pub(crate) journal: Arc<FileJournal>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) historian: Option<Arc<Historian>>,
    pub(crate) store: Store,
}

/// Makes backups.
pub(crate) struct BackupService {
    parts: BackupParts,
    target: Target,
    config: BackupConfig,
    schedule: Schedule,
    clock: Clock,
    random: RandomSource,
    part: Part,
    metrics: BackupMetrics,
    asked: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Job>,
    /// The last one that failed, until one succeeds.
    failed: Option<Backup>,
    /// What the newest one holds was taken then.
    last_success: Option<Timestamp>,
    /// When one that is due may be tried again.
    not_before: Option<Timestamp>,
    /// Whether the repository was asked for its newest backup.
    knows_newest: bool,
    /// Manifests that were read, by name; they never change.
    known: BTreeMap<BackupId, Backup>,
}

#[derive(Clone)]
struct Job {
    id: BackupId,
    begun: Timestamp,
    progress: Progress,
}

impl Job {
    fn shown(&self) -> Backup {
        let now = self.progress.now();
        Backup {
            id: self.id.to_string(),
            state: BackupState::Running,
            begun: self.begun,
            taken: None,
            journal_next: None,
            files: None,
            size_bytes: None,
            progress: Some(BackupProgress {
                files: now.files,
                files_done: now.files_done,
                bytes: now.bytes,
                bytes_done: now.bytes_done,
                sent_bytes: now.bytes_sent,
            }),
            detail: None,
        }
    }
}

/// A backup that is made.
fn complete(manifest: &Manifest) -> Backup {
    Backup {
        id: manifest.id.clone(),
        state: BackupState::Complete,
        begun: manifest.begun,
        taken: Some(manifest.taken),
        journal_next: Some(manifest.journal_next),
        files: Some(manifest.files.len() as u64),
        size_bytes: Some(manifest.bytes()),
        progress: None,
        detail: (!manifest.missing.is_empty())
            .then(|| format!("could not be read when it was made: {}", manifest.missing.join(", "))),
    }
}

impl BackupService {
    /// The service of a configuration; nothing where it names no target.
    ///
    /// # Errors
    /// Where the target or the schedule cannot be used.
    pub(crate) fn new(
        config: &Config,
        parts: BackupParts,
        (clock, random): (Clock, RandomSource),
        part: impl FnOnce() -> Part,
        metrics: BackupMetrics,
    ) -> anyhow::Result<Option<Arc<Self>>> {
        if clear(&parts.data).context("what a backup left behind cannot be removed")? {
            tracing::info!("what a backup that was cut off had staged is removed");
        }
        let Some(to) = &config.backup.to else { return Ok(None) };
        Ok(Some(Arc::new(Self {
            parts,
            target: settings::target(to)?,
            config: config.backup.clone(),
            schedule: Schedule::of(config)?,
            clock,
            random,
            part: part(),
            metrics,
            asked: Notify::new(),
            state: Mutex::default(),
        })))
    }

    /// Runs until `stop`.
    ///
    /// # Errors
    /// Never for a backup that fails: health, metrics and log say so.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            self.learn_newest().await;
            if self.state.lock().current.is_none() && self.is_due() {
                // Refused only where somebody asked for one this instant.
                let _ = self.begin();
            }
            let job = self.state.lock().current.clone();
            if let Some(job) = job {
                let own = Arc::clone(&self);
                let made = tokio::select! {
                    made = own.work(&job) => made,
                    () = stop.cancelled() => Err(anyhow::anyhow!("the program stopped")),
                };
                self.ended(&job, made);
            }
            self.tell_health();
            tokio::select! {
                () = self.asked.notified() => {}
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    fn is_due(&self) -> bool {
        let now = (self.clock)();
        let state = self.state.lock();
        // While it is not known what there is, none is made for want of one.
        state.knows_newest
            && state.not_before.is_none_or(|then| then <= now)
            && self.schedule.due(state.last_success, now).is_some_and(|due| due <= now)
    }

    /// Asks the repository once for its newest backup.
    async fn learn_newest(&self) {
        if self.state.lock().knows_newest {
            return;
        }
        let newest = async {
            let repository = match self.open().await {
                Err(error) if is_missing(&error) => return Ok(None),
                other => other?,
            };
            match repository.backups().await?.last() {
                Some(id) => anyhow::Ok(Some(repository.manifest(id).await?)),
                None => Ok(None),
            }
        };
        let newest = newest.await;
        let mut state = self.state.lock();
        match newest {
            Ok(newest) => {
                state.knows_newest = true;
                if let Some(manifest) = newest {
                    self.metrics.last_success.set(manifest.taken.as_micros() / 1_000_000);
                    state.last_success = Some(manifest.taken);
                }
            }
            Err(error) => {
                tracing::warn!("the backups that there are cannot be read: {error:#}");
                self.part
                    .degraded(format!("the backups in {} cannot be read: {error:#}", self.target.shown()));
            }
        }
    }

    async fn open(&self) -> anyhow::Result<Repository> {
        let passphrase = settings::passphrase(self.config.key_file.as_deref())?;
        Ok(Repository::open(&self.target, passphrase.as_ref(), self.random.clone()).await?)
    }

    async fn work(self: &Arc<Self>, job: &Job) -> anyhow::Result<Manifest> {
        let begun = Instant::now();
        tracing::info!(backup = %job.id, to = self.target.shown(), "a backup is begun");
        let passphrase = settings::passphrase(self.config.key_file.as_deref())?;
        let repository =
            Repository::open_or_make(&self.target, passphrase.as_ref(), self.random.clone()).await?;
        let repository = repository.owned_by(&owner(&self.parts.store).await?);
        repository.clear_own_marks().await?;
        let (staging, about) = self.stage(job).await?;
        let staged_ms = begun.elapsed().as_millis() as u64;
        let stored = repository.make(about, staging.sources(), &job.progress).await?;
        drop(staging);
        self.metrics.sent.inc_by(stored.bytes_sent);
        self.metrics.duration.set(begun.elapsed().as_secs_f64());
        tracing::info!(
            backup = %job.id,
            staged_ms,
            took_ms = begun.elapsed().as_millis() as u64,
            files = stored.manifest.files.len(),
            bytes = stored.manifest.bytes(),
            sent_bytes = stored.bytes_sent,
            journal_next = stored.manifest.journal_next,
            "a backup is made"
        );
        if let Err(error) = self.thin_out(&repository).await {
            self.metrics.prune_failures.inc();
            tracing::warn!("old backups cannot be removed; it is tried again after the next one: {error:#}");
        }
        Ok(stored.manifest)
    }

    /// Holds everything of one moment.
    async fn stage(self: &Arc<Self>, job: &Job) -> anyhow::Result<(Staging, Manifest)> {
        let mut staging = Staging::begin(&self.parts.data)?;
        self.parts.store.copy_to(&staging.registry()).await.context("the registry cannot be copied")?;
        let mut about = Manifest::begin(&job.id, env!("CARGO_PKG_VERSION"), &self.parts.site, job.begun);
        let own = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let parts = &own.parts;
            // So that little is to be replayed after a restore; the one before is as good, only older.
            if let Err(error) = parts.snapshots.take() {
                tracing::warn!(%error, "no snapshot could be taken for the backup; an older one goes along");
            }
            let _held = parts.snapshots.publishing.lock();
            let parts = Parts {
                data: &parts.data,
                journal: &parts.journal,
                snapshots: &parts.snapshots.folder,
                historian: parts.historian.as_deref(),
            };
            staging.hold(&parts, &own.clock, &mut about)?;
            anyhow::Ok((staging, about))
        })
        .await?
    }

    async fn thin_out(&self, repository: &Repository) -> anyhow::Result<()> {
        let keep =
            Keep { recent_days: RECENT_DAYS, daily: self.config.keep_daily, weekly: self.config.keep_weekly };
        if keep.daily == 0 && keep.weekly == 0 {
            return Ok(());
        }
        let gone = out_of_keeping(repository, &self.schedule, keep).await?;
        let pruned = repository.prune(&gone).await?;
        if !pruned.backups.is_empty() {
            tracing::info!(
                backups = pruned.backups.len(),
                blobs = pruned.blobs,
                bytes = pruned.bytes,
                "old backups are removed"
            );
        }
        let mut state = self.state.lock();
        state.known.retain(|id, _| !pruned.backups.contains(id));
        Ok(())
    }

    fn ended(&self, job: &Job, made: anyhow::Result<Manifest>) {
        let mut state = self.state.lock();
        state.current = None;
        match made {
            Ok(manifest) => {
                self.metrics.completed.inc();
                self.metrics.last_success.set(manifest.taken.as_micros() / 1_000_000);
                self.metrics.size.set(i64::try_from(manifest.bytes()).unwrap_or(i64::MAX));
                state.last_success = Some(manifest.taken);
                (state.failed, state.not_before, state.knows_newest) = (None, None, true);
                state.known.insert(job.id.clone(), complete(&manifest));
            }
            Err(error) => {
                self.metrics.failures.inc();
                tracing::error!(backup = %job.id, "a backup failed: {error:#}");
                let detail = Some(format!("{error:#}"));
                state.failed =
                    Some(Backup { state: BackupState::Failed, progress: None, detail, ..job.shown() });
                state.not_before = Some((self.clock)().plus_micros(AGAIN_MICROS));
            }
        }
    }

    fn tell_health(&self) {
        let now = (self.clock)();
        let state = self.state.lock();
        if !state.knows_newest {
            return;
        }
        let failed = state.failed.as_ref().and_then(|failed| failed.detail.clone());
        let age = state.last_success.map(|then| now.micros_since(then).max(0) / 1_000_000);
        let too_old = self.schedule.too_old_after_s().zip(age).filter(|(limit, age)| age > limit);
        match (too_old, failed) {
            (Some((_, age)), failed) => {
                let why = failed.map_or(String::new(), |error| format!(": {error}"));
                self.part.degraded(format!("the newest backup is {} hours old{why}", age / 3_600));
            }
            (None, Some(error)) => self.part.degraded(format!("the last backup failed: {error}")),
            (None, None) => self.part.up(),
        }
    }
}

/// By which name the installation knows its own marks.
pub(super) async fn owner(store: &Store) -> anyhow::Result<String> {
    let key = store.installation_key("backup").await?;
    Ok(egiz_backup::format::to_hex(&key[..4]))
}

/// The backups that are not to be kept.
pub(super) async fn out_of_keeping(
    repository: &Repository,
    schedule: &Schedule,
    keep: Keep,
) -> anyhow::Result<Vec<BackupId>> {
    let ids = repository.backups().await?;
    let mut days = Vec::with_capacity(ids.len());
    for id in &ids {
        days.push(schedule.day(repository.manifest(id).await?.begun));
    }
    Ok(to_remove(&days, keep).into_iter().map(|at| ids[at].clone()).collect())
}

fn is_missing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(egiz_backup::OpenError::Missing { .. }))
}

#[async_trait]
impl Backups for BackupService {
    fn begin(&self) -> Result<Backup, BackupError> {
        let mut state = self.state.lock();
        if let Some(current) = &state.current {
            return Err(BackupError::UnderWay(current.id.to_string()));
        }
        let begun = (self.clock)();
        let job = Job { id: BackupId::new(begun, &self.random), begun, progress: Progress::default() };
        let shown = job.shown();
        state.current = Some(job);
        self.asked.notify_one();
        Ok(shown)
    }

    async fn list(&self) -> Result<Vec<Backup>, BackupError> {
        let failed = |error: anyhow::Error| BackupError::Failed(format!("{error:#}"));
        let (mut list, failure) = {
            let state = self.state.lock();
            (state.current.iter().map(Job::shown).collect::<Vec<_>>(), state.failed.clone())
        };
        list.extend(failure);
        let repository = match self.open().await {
            Err(error) if is_missing(&error) => return Ok(list),
            other => other.map_err(failed)?,
        };
        let ids = repository.backups().await.map_err(|error| failed(error.into()))?;
        for id in ids.iter().rev().take(LISTED) {
            let known = self.state.lock().known.get(id).cloned();
            let shown = match known {
                Some(known) => known,
                None => {
                    let shown = match repository.manifest(id).await {
                        Ok(manifest) => complete(&manifest),
                        // Removed this instant.
                        Err(egiz_backup::RepositoryError::NoSuchBackup(_)) => continue,
                        Err(error) => return Err(failed(error.into())),
                    };
                    self.state.lock().known.insert(id.clone(), shown.clone());
                    shown
                }
            };
            list.push(shown);
        }
        list.sort_by(|a, b| b.id.cmp(&a.id));
        Ok(list)
    }

    async fn get(&self, id: &str) -> Result<Option<Backup>, BackupError> {
        let Some(id) = BackupId::parse(id) else { return Ok(None) };
        {
            let state = self.state.lock();
            if let Some(job) = state.current.iter().find(|job| job.id == id) {
                return Ok(Some(job.shown()));
            }
            if let Some(failed) = state.failed.iter().find(|failed| failed.id == id.as_str()) {
                return Ok(Some(failed.clone()));
            }
            if let Some(known) = state.known.get(&id) {
                return Ok(Some(known.clone()));
            }
        }
        Ok(self.list().await?.into_iter().find(|backup| backup.id == id.as_str()))
    }
}
