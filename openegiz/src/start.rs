//! Opening what was kept: the journal, the newest whole snapshot, and the records after it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use egiz_broker::Ledger;
use egiz_journal::{Durability, FileJournal, Journal, JournalConfig, JournalMetrics};
use egiz_service::config;
use egiz_twin::{Engine, Limits};
use parking_lot::{Mutex, RwLock};

use crate::pipeline::{State, apply_record};
use crate::retained::{Kept, Retained};
use crate::snapshot::{Snapshot, SnapshotFolder};

/// How many faults of a file are named at most.
const FAULTS_SHOWN: usize = 20;

/// What was opened.
pub(crate) struct Opened {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) snapshots: SnapshotFolder,
    pub(crate) state: State,
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
    let journal_clock = Arc::new(move || clock().as_micros());
    // After a power cut with durability "os" the log may end before the snapshot; offsets must not be given out twice.
    let next_at_least = newest.as_ref().map_or(0, |snapshot| snapshot.next_offset);
    let journal_config = JournalConfig { next_at_least, ..journal_config(&config.journal) };
    let (journal, recovery) =
        FileJournal::open(&folder.join("journal"), journal_config, metrics, journal_clock)
            .with_context(|| format!("the data folder {} cannot be opened", folder.display()))?;
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
    let journal: Arc<dyn Journal> = Arc::new(journal);
    let state = replay(&*journal, newest, config)?;
    Ok(Opened { journal, snapshots, state })
}

fn journal_config(config: &config::JournalConfig) -> JournalConfig {
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

fn replay(journal: &dyn Journal, newest: Option<Snapshot>, config: &config::Config) -> anyhow::Result<State> {
    let begun = Instant::now();
    let limits = limits(config);
    let mut retained = Retained::new(
        config.mqtt.max_retained_messages,
        usize::try_from(config.mqtt.max_retained_bytes).unwrap_or(usize::MAX),
    );
    let mut sessions = Ledger::default();
    let mut engine = match newest {
        None => Engine::new(limits),
        Some(snapshot) => {
            retained.decode(&snapshot.retained).context("the snapshot's retained messages cannot be read")?;
            sessions =
                Ledger::decode(&snapshot.sessions).context("the snapshot's MQTT sessions cannot be read")?;
            Engine::restore(&snapshot.engine, limits).context("the snapshot cannot be read")?
        }
    };
    let from = engine.next_offset();
    let kept = Mutex::new(Kept { retained, sessions });
    let mut changes = Vec::new();
    let mut records = 0_u64;
    let mut unreadable = 0_u64;
    let status = journal.status();
    anyhow::ensure!(
        from <= status.next,
        "the snapshot reaches to record {from}, yet the journal ends at {}: they do not belong together; restore both from one backup",
        status.next
    );
    let mut cursor = journal.read(from).with_context(|| {
        format!("the records from {from} on, which the newest snapshot lacks, cannot be read")
    })?;
    loop {
        let more = cursor.next_group(|offset, bytes| {
            changes.clear();
            records += 1;
            if let Err(error) = apply_record(&mut engine, &kept, offset, bytes, &mut changes) {
                unreadable += 1;
                tracing::error!(offset, %error, "a record cannot be read and is passed over");
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
