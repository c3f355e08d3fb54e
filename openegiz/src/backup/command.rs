//! `openegiz backup`, `openegiz backups` and `openegiz restore`.
//!
//! A backup of a running program is made by that program, to the target of its configuration: this command asks it, by its REST
//! API, and shows how far it is. Where no program has the data folder, this command makes the backup itself.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use egiz_api::{Backup, BackupState};
use egiz_backup::keep::Keep;
use egiz_backup::{BackupId, Passphrase, Progress, ProgressNow, Repository, Target};
use egiz_model::Timestamp;
use egiz_service::config::{BackupConfig, Loaded};
use reqwest::Method;

use super::past::{self, Plan};
use super::report::{line, say, size, told};
use super::restore::{self, Destination};
use super::schedule::Schedule;
use super::service::out_of_keeping;
use super::settings;
use super::stopped::Stopped;
use crate::cli::ConfigOptions;
use crate::manage::{Api, Remote, Table};
use crate::surroundings;

/// How often a running program is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How to make a backup.
#[derive(Args, Debug, Clone)]
pub(crate) struct BackupOptions {
    #[command(flatten)]
    pub(crate) config: ConfigOptions,
    /// Where to: a folder, or s3://bucket/prefix; in place of backup.to. A running program has its own.
    #[arg(long)]
    to: Option<String>,
    #[command(flatten)]
    key: KeyOptions,
    /// A file with the bearer token to show to the running program; EGIZ_TOKEN may hold the token itself.
    #[arg(long, env = "EGIZ_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

/// Which key.
#[derive(Args, Debug, Clone)]
pub(crate) struct KeyOptions {
    /// A file with the key of encrypted backups, in place of backup.key_file; EGIZ_BACKUP_KEY may hold the key itself.
    #[arg(long, env = "EGIZ_BACKUP_KEY_FILE")]
    key_file: Option<PathBuf>,
}

/// Where backups are.
#[derive(Args, Debug, Clone)]
pub(crate) struct From {
    #[command(flatten)]
    pub(crate) config: ConfigOptions,
    /// Where the backups are, in place of backup.to.
    #[arg(long)]
    from: Option<String>,
    #[command(flatten)]
    key: KeyOptions,
}

/// What to do with backups.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum BackupsCommand {
    /// List the backups.
    List(From),
    /// Read backups through and check every byte.
    Verify {
        /// Only this one.
        #[arg(long)]
        backup: Option<String>,
        #[command(flatten)]
        from: From,
    },
    /// Remove old backups and what only they need. The newest of all is kept always.
    Prune {
        /// Of so many days the newest.
        #[arg(long)]
        keep_daily: usize,
        /// Of so many weeks the newest.
        #[arg(long, default_value_t = 0)]
        keep_weekly: usize,
        #[command(flatten)]
        from: From,
    },
}

/// How to restore.
#[derive(Args, Debug, Clone)]
pub(crate) struct RestoreOptions {
    /// Where the backups are: a folder, or s3://bucket/prefix.
    #[arg(long)]
    from: String,
    /// Which one; without it the newest.
    #[arg(long, conflicts_with = "at")]
    backup: Option<String>,
    /// The moment to go back to, as 2026-03-01T14:30:00Z: what was received after it is left away.
    #[arg(long)]
    at: Option<String>,
    /// The folder to restore into; it must be empty or not there.
    #[arg(long)]
    data: PathBuf,
    #[command(flatten)]
    key: KeyOptions,
}

impl KeyOptions {
    /// The key, from the file that is named here or in the configuration, or from the environment.
    fn passphrase(&self, config: &BackupConfig) -> anyhow::Result<Option<Passphrase>> {
        settings::passphrase(self.key_file.as_deref().or(config.key_file.as_deref()))
    }
}

impl From {
    pub(crate) fn config(&self) -> &ConfigOptions {
        &self.config
    }

    async fn open(&self, loaded: &Loaded) -> anyhow::Result<Repository> {
        let backup = &loaded.config.backup;
        let from =
            self.from.as_ref().or(backup.to.as_ref()).context(
                "nothing says where the backups are: give --from, or a configuration with backup.to",
            )?;
        let passphrase = self.key.passphrase(backup)?;
        Ok(Repository::open(&settings::target(from)?, passphrase.as_ref(), surroundings::random()).await?)
    }
}

impl BackupsCommand {
    /// Where the configuration is.
    pub(crate) fn config(&self) -> &ConfigOptions {
        match self {
            Self::List(from) | Self::Verify { from, .. } | Self::Prune { from, .. } => from.config(),
        }
    }
}

/// `openegiz backup`.
///
/// # Errors
/// Why there is no backup.
pub(crate) fn backup(options: &BackupOptions, loaded: &Loaded) -> anyhow::Result<String> {
    blocking(async {
        let clock = surroundings::clock();
        match Stopped::open(&loaded.config, &clock)? {
            None => ask(options, loaded).await,
            Some(stopped) => {
                let begun = Instant::now();
                let backup = &loaded.config.backup;
                let to = options
                    .to
                    .as_ref()
                    .or(backup.to.as_ref())
                    .context("nothing says where the backup is to go: give --to, or set backup.to")?;
                let passphrase = options.key.passphrase(backup)?;
                let random = surroundings::random();
                let target: Target = settings::target(to)?;
                let repository =
                    Repository::open_or_make(&target, passphrase.as_ref(), random.clone()).await?;
                let progress = Progress::default();
                let made = stopped.back_up(&repository, (&clock, &random), &progress);
                let stored = told("backing up", &progress, made).await?;
                for path in &stored.manifest.missing {
                    say(&format!("{path} cannot be read, and is not in the backup"));
                }
                Ok(format!(
                    "backup {} is made: {} files, {}, of which {} were sent, in {:.1} s; records before {} are in it",
                    stored.manifest.id,
                    stored.manifest.files.len(),
                    size(stored.manifest.bytes()),
                    size(stored.bytes_sent),
                    begun.elapsed().as_secs_f64(),
                    stored.manifest.journal_next
                ))
            }
        }
    })
}

/// Asks the running program for a backup and waits for it.
async fn ask(options: &BackupOptions, loaded: &Loaded) -> anyhow::Result<String> {
    let config = &loaded.config;
    if let Some(to) = &options.to {
        ensure!(
            config.backup.to.as_ref() == Some(to),
            "--to {to}: a program has {} open, and makes backups only to its own backup.to ({}); leave --to away, or stop it first",
            config.data.dir.display(),
            config.backup.to.as_deref().unwrap_or("not set")
        );
    }
    let mut address = config.http.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let api = Api::new(&Remote::at(address, options.token_file.clone()))?;
    let begun: Backup = api.ask(Method::POST, &["backups"], None::<&()>).await?;
    let (started, mut said) = (Instant::now(), Instant::now());
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let now: Backup = api.ask(Method::GET, &["backups", &begun.id], None::<&()>).await?;
        match now.state {
            BackupState::Running => {
                if said.elapsed() >= Duration::from_secs(2)
                    && let Some(progress) = now.progress
                {
                    said = Instant::now();
                    let progress = ProgressNow {
                        files: progress.files,
                        files_done: progress.files_done,
                        bytes: progress.bytes,
                        bytes_done: progress.bytes_done,
                        bytes_sent: progress.sent_bytes,
                    };
                    say(&format!("backing up: {}, {} s", line(progress), started.elapsed().as_secs()));
                }
            }
            BackupState::Failed => {
                bail!("backup {} failed: {}", now.id, now.detail.as_deref().unwrap_or("the log says why"))
            }
            BackupState::Complete => {
                return Ok(format!(
                    "backup {} is made by the running program: {} files, {}; records before {} are in it",
                    now.id,
                    now.files.unwrap_or_default(),
                    size(now.size_bytes.unwrap_or_default()),
                    now.journal_next.unwrap_or_default()
                ));
            }
        }
    }
}

/// `openegiz backups`.
///
/// # Errors
/// Where the backups cannot be read, or one is damaged.
pub(crate) fn backups(command: &BackupsCommand, loaded: &Loaded) -> anyhow::Result<String> {
    blocking(async {
        match command {
            BackupsCommand::List(from) => {
                let repository = from.open(loaded).await?;
                let mut table = Table::new(["backup", "taken", "records before", "files", "size"]);
                for id in repository.backups().await? {
                    match repository.manifest(&id).await {
                        Ok(manifest) => table.row([
                            id.to_string(),
                            manifest.taken.to_string(),
                            manifest.journal_next.to_string(),
                            manifest.files.len().to_string(),
                            size(manifest.bytes()),
                        ]),
                        Err(error) => {
                            table.row([
                                id.to_string(),
                                error.to_string(),
                                String::new(),
                                String::new(),
                                String::new(),
                            ]);
                        }
                    }
                }
                Ok(table.text("there are no backups"))
            }
            BackupsCommand::Verify { backup, from } => {
                let repository = from.open(loaded).await?;
                let ids = match backup {
                    None => repository.backups().await?,
                    Some(name) => vec![named(&repository, name).await?],
                };
                let progress = Progress::default();
                let found = told("reading", &progress, repository.verify(&ids, &progress)).await?;
                if found.faults.is_empty() {
                    return Ok(format!(
                        "{} backups are whole: {} blobs, {}",
                        found.backups,
                        found.blobs,
                        size(found.bytes)
                    ));
                }
                let mut text = format!("{} things are damaged:", found.faults.len());
                for fault in &found.faults {
                    write!(text, "\n  {fault}")?;
                }
                bail!(text)
            }
            BackupsCommand::Prune { keep_daily, keep_weekly, from } => {
                let repository = from.open(loaded).await?;
                let schedule = Schedule::of(&loaded.config)?;
                let keep = Keep { recent_days: 0, daily: *keep_daily, weekly: *keep_weekly };
                let gone = out_of_keeping(&repository, &schedule, keep).await?;
                let pruned = repository.prune(&gone).await?;
                Ok(format!(
                    "{} backups and {} blobs are removed, {}",
                    pruned.backups.len(),
                    pruned.blobs,
                    size(pruned.bytes)
                ))
            }
        }
    })
}

/// `openegiz restore`.
///
/// # Errors
/// Why nothing was restored.
pub(crate) fn restore(options: &RestoreOptions) -> anyhow::Result<String> {
    let at = options.at.as_deref().map(|text| {
        Timestamp::parse(text).with_context(|| {
            format!("--at {text}: is no time; allowed: a time with its zone, as 2026-03-01T14:30:00Z")
        })
    });
    let at = at.transpose()?;
    blocking(async {
        let begun = Instant::now();
        let passphrase = settings::passphrase(options.key.key_file.as_deref())?;
        let random = surroundings::random();
        let target = settings::target(&options.from)?;
        let repository = Repository::open(&target, passphrase.as_ref(), random.clone()).await?;
        let plan = match (at, &options.backup) {
            (Some(at), _) => {
                let mut manifests = Vec::new();
                for id in repository.backups().await? {
                    manifests.push(repository.manifest(&id).await?);
                }
                past::plan(manifests, at)?
            }
            (None, Some(name)) => Plan::of(repository.manifest(&named(&repository, name).await?).await?),
            (None, None) => {
                let newest = repository.backups().await?.pop();
                let newest = newest.with_context(|| format!("there are no backups in {}", options.from))?;
                Plan::of(repository.manifest(&newest).await?)
            }
        };
        let to = Destination::begin(&options.data)?;
        let progress = Progress::default();
        let restoring = restore::restore(&repository, &plan, &to, random, &progress);
        let restored = told("restoring", &progress, restoring).await?;
        let mut text = format!(
            "backup {} of site {} is restored into {}: {} files, {}, each checked, in {:.1} s",
            plan.base.id,
            plan.base.site,
            options.data.display(),
            restored.files,
            size(restored.bytes),
            begun.elapsed().as_secs_f64()
        );
        if let Some((later, at)) = &plan.later {
            write!(
                text,
                "\nthe journal goes on with that of {} up to {at}; {} records received after that are left away",
                later.id, restored.cut
            )?;
        }
        let last =
            restored.last_received.map_or("there is none".to_owned(), |last| format!("received {last}"));
        write!(text, "\nit ends before record {}; the last one: {last}", restored.next)?;
        for path in &plan.base.missing {
            write!(text, "\n{path} could not be read when the backup was made, and is missing")?;
        }
        Ok(text)
    })
}

async fn named(repository: &Repository, name: &str) -> anyhow::Result<BackupId> {
    let ids = repository.backups().await?;
    let found = BackupId::parse(name).filter(|id| ids.contains(id));
    found.with_context(|| {
        let newest: Vec<&str> = ids.iter().rev().take(5).map(BackupId::as_str).collect();
        format!("--backup {name}: there is none of this name; the newest are: {}", newest.join(", "))
    })
}

fn blocking(work: impl Future<Output = anyhow::Result<String>>) -> anyhow::Result<String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no runtime")?
        .block_on(work)
}
