//! Opening what was kept: the journal, history, the newest whole snapshot, and the records after it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use egiz_broker::Ledger;
use egiz_historian::{Historian, Recovery};
use egiz_journal::{Durability, FileJournal, Journal, JournalConfig, JournalMetrics};
use egiz_model::Offset;
use egiz_service::config;
use egiz_twin::{Engine, Limits};
use parking_lot::{Mutex, RwLock};

use crate::history::{CatchUp, Notes, catch_up};
use crate::pipeline::{Place, State};
use crate::retained::{Kept, Retained};
use crate::snapshot::{Snapshot, SnapshotFolder};

/// How many faults of a file are named at most.
const FAULTS_SHOWN: usize = 20;

/// What was opened.
pub(crate) struct Opened {
    pub(crate) journal: Arc<dyn Journal>,
    /// The same as the files that it is.
    pub(crate) journal_files: Arc<FileJournal>,
    pub(crate) snapshots: SnapshotFolder,
    pub(crate) state: State,
    /// Where it is kept.
    pub(crate) history: Option<OpenedHistory>,
}

/// History as it was opened.
pub(crate) struct OpenedHistory {
    pub(crate) historian: Arc<Historian>,
    /// Files that cannot be used.
    pub(crate) lost_parts: usize,
}

/// Opens the data folder and brings the engine to where the journal ends.
///
/// # Errors
/// Where the folder cannot be used, another program has it, or acknowledged records are damaged.
pub(crate) fn open(
    config: &config::Config,
    metrics: JournalMetrics,
    clock: egiz_server::Clock,
) -> anyhow::Result<Opened> {
    let folder = &config.data.dir;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("the data folder {} cannot be made", folder.display()))?;
    let snapshots = SnapshotFolder::open(folder.join("snapshots"))?;
    let (newest, damaged) = snapshots.newest().context("the snapshots cannot be read")?;
    let clock_of_seals = clock.clone();
    let journal_clock: egiz_journal::Clock = Arc::new(move || clock().as_micros());
    // After a power cut with durability "os" the log may end before the snapshot; offsets must not be given out twice.
    let next_at_least = newest.as_ref().map_or(0, |snapshot| snapshot.next_offset);
    let journal_config = JournalConfig { next_at_least, ..journal_config(&config.journal) };
    let open_journal = |config: JournalConfig| {
        FileJournal::open(&folder.join("journal"), config, metrics.clone(), journal_clock.clone())
            .with_context(|| format!("the data folder {} cannot be opened", folder.display()))
    };
    let (mut journal, recovery) = open_journal(journal_config)?;
    // Only now: the journal's lock says that nobody else has the folder.
    let history = config.history.enabled.then(|| open_history(config)).transpose()?;
    let sealed_before = history.as_ref().map_or(0, |history| history.historian.sealed_before());
    if sealed_before > journal.status().next {
        tracing::warn!(
            journal_next = journal.status().next,
            history_next = sealed_before,
            "history has records that the journal lost; their numbers are not given out again"
        );
        drop(journal);
        (journal, _) = open_journal(JournalConfig { next_at_least: sealed_before, ..journal_config })?;
    }
    for damage in damaged {
        tracing::warn!(
            damage,
            "a snapshot is damaged; an older one and more of the journal give the same state"
        );
    }
    if let Some(torn) = &recovery.torn_tail {
        tracing::warn!(
            ?torn,
            "the journal's end was being written when the program stopped; nothing in it had been acknowledged, and it was cut off"
        );
    }
    let journal_files = Arc::new(journal);
    let journal: Arc<dyn Journal> = Arc::clone(&journal_files) as Arc<dyn Journal>;
    let historian = history.as_ref().map(|history| &*history.historian);
    let state = Replay { journal: &*journal, historian, clock: &clock_of_seals, config }.run(newest)?;
    Ok(Opened { journal, journal_files, snapshots, state, history })
}

pub(crate) fn open_history(config: &config::Config) -> anyhow::Result<OpenedHistory> {
    let path = config.data.dir.join("history");
    let folder = egiz_historian::disk::Folder::open(&path)
        .with_context(|| format!("the folder {} cannot be used", path.display()))?;
    let settings = egiz_historian::Settings {
        retention_days: config.history.retention_days,
        retention_of: config
            .history_retention
            .iter()
            .map(|retention| (retention.template.clone(), retention.days))
            .collect(),
        quarters_days: config.history.rollup_15m_days,
        hours_days: config.history.rollup_1h_days,
        disk_budget: (config.history.disk_budget_bytes > 0).then_some(config.history.disk_budget_bytes),
        ..egiz_historian::Settings::default()
    };
    let (historian, Recovery { parts, removed, lost }) = Historian::open(Arc::new(folder), settings)
        .with_context(|| format!("history in {} cannot be opened", path.display()))?;
    if !removed.is_empty() {
        tracing::info!(
            ?removed,
            "files of history that were being written or removed when the program stopped are gone"
        );
    }
    for reason in &lost {
        tracing::error!(reason, "a file of history cannot be used; the rest is served");
    }
    tracing::info!(parts, sealed_before = historian.sealed_before(), "history is open");
    Ok(OpenedHistory { historian: Arc::new(historian), lost_parts: lost.len() })
}

pub(crate) fn journal_config(config: &config::JournalConfig) -> JournalConfig {
    JournalConfig {
        durability: match config.durability {
            config::Durability::Fsync => Durability::Fsync,
            config::Durability::Os => Durability::Os,
            config::Durability::Memory => Durability::Memory,
        },
        linger: Duration::from_micros(config.linger_micros),
        segment_bytes: config.segment_bytes,
        total_bytes_max: config.max_total_bytes,
        queue_bytes: usize::try_from(config.queue_bytes).unwrap_or(usize::MAX),
        ..JournalConfig::default()
    }
}

pub(crate) fn limits(config: &config::Config) -> Limits {
    let accepts = config.ingest.unknown_devices != config::UnknownDevices::Ignore;
    Limits {
        things_max: config.twin.max_things,
        discovered_max: if accepts { config.ingest.max_discovered } else { 0 },
        names_max: config.twin.max_names,
        stale_after_micros: i64::try_from(config.twin.stale_after_s).ok().map(|seconds| seconds * 1_000_000),
        ..Limits::default()
    }
}

/// Brings engine and history to where the journal ends.
struct Replay<'a> {
    journal: &'a dyn Journal,
    historian: Option<&'a Historian>,
    clock: &'a egiz_server::Clock,
    config: &'a config::Config,
}

impl Replay<'_> {
    fn run(&self, newest: Option<Snapshot>) -> anyhow::Result<State> {
        match self.historian {
            None => self.records(newest, None),
            Some(historian) => catch_up(
                historian,
                || self.seal_if_large(historian),
                |history| self.records(newest, Some(history)),
            ),
        }
    }

    fn records(&self, newest: Option<Snapshot>, mut history: Option<&mut CatchUp>) -> anyhow::Result<State> {
        let begun = Instant::now();
        let (mut engine, kept) = restore(newest, self.config)?;
        let from = engine.next_offset();
        let kept = Mutex::new(kept);
        let mut changes = Vec::new();
        let mut notes = Notes::default();
        let mut records = 0_u64;
        let mut unreadable = 0_u64;
        let status = self.journal.status();
        anyhow::ensure!(
            from <= status.next,
            "the snapshot reaches to record {from}, yet the journal ends at {}: they do not belong together; restore both from one backup",
            status.next
        );
        if let Some(historian) = self.historian {
            pass_over_gap(historian, from);
        }
        let mut cursor = self.journal.read(from).with_context(|| {
            format!("the records from {from} on, which the newest snapshot lacks, cannot be read")
        })?;
        loop {
            let more = cursor.next_group(|offset, bytes| {
                changes.clear();
                records += 1;
                let notes_of = history.is_some().then_some(&mut notes);
                let mut place = Place { engine: &mut engine, kept: &kept, notes: notes_of };
                if let Err(error) = place.apply(offset, bytes, &mut changes) {
                    unreadable += 1;
                    tracing::error!(offset, %error, "a record cannot be read and is passed over");
                }
                if let Some(history) = &mut history {
                    let note = notes.take().pop().map(|(_, note)| note);
                    history.add(offset, bytes, note);
                }
            });
            if !more.context("the journal cannot be read")? {
                break;
            }
        }
        tracing::info!(
            things = engine.len(),
            from_snapshot = from,
            replayed_records = records,
            unreadable_records = unreadable,
            took_ms = begun.elapsed().as_millis() as u64,
            "live state is where the journal ends"
        );
        Ok(State { engine: Arc::new(RwLock::new(engine)), kept: Arc::new(kept) })
    }

    /// Where the disk does not take it, it goes on in memory: the records that are not sealed are bounded by where the
    /// program stopped to take them in.
    fn seal_if_large(&self, historian: &Historian) {
        let bound = usize::try_from(self.config.history.seal_bytes).unwrap_or(usize::MAX);
        if historian.head_bytes() >= bound
            && let Err(error) = historian.seal((self.clock)())
        {
            let error = anyhow::Error::new(error);
            tracing::warn!("history cannot be written and stays in memory: {error:#}");
        }
    }
}

/// What the snapshot has and history has not is gone: the journal need not have it any more, and the engine is past it.
fn pass_over_gap(historian: &Historian, from: Offset) {
    let missing = historian.sealed_before();
    if from > missing {
        tracing::warn!(
            from = missing,
            before = from,
            "history lacks these records of the journal: it was off or its folder is not the one that belongs here; it goes on from the newest snapshot"
        );
        historian.intake().done(from - 1);
    }
}

fn restore(newest: Option<Snapshot>, config: &config::Config) -> anyhow::Result<(Engine, Kept)> {
    let limits = limits(config);
    let mut retained = Retained::new(
        config.mqtt.max_retained_messages,
        usize::try_from(config.mqtt.max_retained_bytes).unwrap_or(usize::MAX),
    );
    let mut sessions = Ledger::default();
    let engine = match newest {
        None => Engine::new(limits),
        Some(snapshot) => {
            retained.decode(&snapshot.retained).context("the snapshot's retained messages cannot be read")?;
            sessions =
                Ledger::decode(&snapshot.sessions).context("the snapshot's MQTT sessions cannot be read")?;
            Engine::restore(&snapshot.engine, limits).context("the snapshot cannot be read")?
        }
    };
    Ok((engine, Kept { retained, sessions }))
}

/// Checks the files that the configuration names, without opening anything else.
///
/// # Errors
/// Those of [`templates`] and [`layout`].
pub(crate) fn check_files(config: &config::Config) -> anyhow::Result<()> {
    templates(config.templates.file.as_deref())?;
    layout(config.layout.file.as_deref(), false)?;
    Ok(())
}

/// The templates of a file, or those that come with the program.
///
/// # Errors
/// Where the file cannot be read or a template is wrong.
pub(crate) fn templates(file: Option<&Path>) -> anyhow::Result<Vec<egiz_store::Template>> {
    let text = match file {
        None => include_str!("../../configs/thing-templates.json").to_owned(),
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("templates.file {} cannot be read", file.display()))?,
    };
    egiz_store::parse_templates(&text).map_err(|error| {
        let name = file.map_or("of the program".to_owned(), |file| file.display().to_string());
        let faults = error.lines(FAULTS_SHOWN).replace('\n', "\n  ");
        anyhow::anyhow!("templates.file {name} cannot be used:\n  {faults}")
    })
}

/// The layout of a file, or in a demo that of the simulated factory.
///
/// # Errors
/// Where the file cannot be read or is no JSON.
pub(crate) fn layout(file: Option<&Path>, demo: bool) -> anyhow::Result<Option<Vec<u8>>> {
    let bytes = match file {
        None if demo => include_bytes!("../../configs/factory-layout.json").to_vec(),
        None => return Ok(None),
        Some(file) => {
            std::fs::read(file).with_context(|| format!("layout.file {} cannot be read", file.display()))?
        }
    };
    let name = || {
        file.map_or("the demonstration's layout".to_owned(), |file| format!("layout.file {}", file.display()))
    };
    let layout = serde_json::from_slice(&bytes).with_context(|| format!("{} is no JSON", name()))?;
    if let Err(error) = egiz_server::check_layout(&layout) {
        let mut faults: Vec<String> =
            error.found.iter().map(|(pointer, reason)| format!("{pointer} {reason}")).collect();
        if error.more > 0 {
            faults.push(format!("and {} more", error.more));
        }
        anyhow::bail!("{} cannot be used:\n  {}", name(), faults.join("\n  "));
    }
    Ok(Some(bytes))
}
