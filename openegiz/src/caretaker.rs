//! What is done once in a while: ticks that make silent Things stale, snapshots, and a look at the journal's health.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use egiz_journal::Journal;
use egiz_model::Offset;
use egiz_model::record::{Body, Header, Record};
use egiz_server::{Clock, WriteGate};
use egiz_service::health::Part;
use egiz_twin::Engine;
use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use crate::history::History;
use crate::influxdb::Hold;
use crate::metrics::PipelineMetrics;
use crate::retained::Kept;
use crate::snapshot::{Snapshot, SnapshotFolder};

/// Ticks and looks come at most this often.
const PAUSE: Duration = Duration::from_secs(1);
/// How long after a snapshot that had to wait for history the next is tried.
const SNAPSHOT_AGAIN: Duration = Duration::from_secs(10);

/// Appends a tick when a Thing may have become stale.
pub(crate) struct Ticker {
    pub(crate) engine: Arc<RwLock<Engine>>,
    pub(crate) writes: Arc<dyn WriteGate>,
    pub(crate) clock: Clock,
}

impl Ticker {
    /// Runs until `stop`.
    ///
    /// # Errors
    /// Where the tick cannot be appended; it may be started again.
    pub(crate) async fn run(&self, stop: CancellationToken) -> anyhow::Result<()> {
        while !paused_or_stopped(&stop).await {
            let now = (self.clock)();
            let due = self.engine.read().next_deadline().is_some_and(|deadline| deadline <= now);
            if due {
                let header = Header { received: now, principal: "openegiz/ticker", correlation: "" };
                self.writes.submit(vec![Record { header, body: Body::Tick }.to_bytes()]).await?;
            }
        }
        Ok(())
    }
}

/// Takes snapshots so that a restart is quick and the journal can be trimmed. A snapshot is published only when history has
/// sealed everything before it: what comes after the snapshot is what a restart hands over again.
pub(crate) struct Snapshots {
    pub(crate) engine: Arc<RwLock<Engine>>,
    pub(crate) kept: Arc<Mutex<Kept>>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) folder: SnapshotFolder,
    /// Where history is kept.
    pub(crate) history: Option<Arc<History>>,
    /// Where an InfluxDB is written to: what it still needs of the journal.
    pub(crate) influxdb: Option<Arc<Hold>>,
    /// From where on snapshots and history need the journal.
    pub(crate) needed_from: AtomicU64,
    pub(crate) interval: Duration,
    pub(crate) every_records: u64,
    /// The journal may grow by this much between snapshots, so that it can be trimmed before it is full.
    pub(crate) every_bytes: u64,
    /// When the journal has grown to this, it is trimmed although MQTT sessions still need it.
    pub(crate) session_bytes_max: u64,
    pub(crate) metrics: PipelineMetrics,
    /// The offset of the last snapshot.
    pub(crate) last: Mutex<Offset>,
    /// Held while a snapshot is published and the journal released: who copies the data folder holds it meanwhile.
    pub(crate) publishing: Mutex<()>,
}

impl Snapshots {
    /// Runs until `stop`, and takes a last one then.
    ///
    /// # Errors
    /// Where a snapshot cannot be written; the older ones stay, and it may be started again.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut taken = Instant::now();
        let mut bytes_then = self.journal.status().disk_bytes;
        let mut not_before = taken;
        loop {
            let stopping = paused_or_stopped(&stop).await;
            let status = self.journal.status();
            let records = status.next.saturating_sub(*self.last.lock());
            let bytes = status.disk_bytes.saturating_sub(bytes_then);
            let due = taken.elapsed() >= self.interval
                || records >= self.every_records
                || bytes >= self.every_bytes;
            if records > 0 && (stopping || (due && Instant::now() >= not_before)) {
                let own = Arc::clone(&self);
                if tokio::task::spawn_blocking(move || own.take()).await?? {
                    taken = Instant::now();
                    bytes_then = self.journal.status().disk_bytes;
                } else {
                    not_before = Instant::now() + SNAPSHOT_AGAIN;
                }
            }
            if stopping {
                return Ok(());
            }
        }
    }

    /// From where on MQTT sessions need the journal; nothing where that has become too much. A session whose client does
    /// not come back must not stop the plant: its messages are given up then, which is counted when they are missed.
    fn needed_by_sessions(&self) -> Option<Offset> {
        let from = self.kept.lock().sessions.needed_from()?;
        let status = self.journal.status();
        if status.disk_bytes < self.session_bytes_max {
            return Some(from);
        }
        if from > status.first {
            tracing::warn!(
                from,
                disk_bytes = status.disk_bytes,
                "MQTT sessions are too far behind; the journal is trimmed without them"
            );
        }
        None
    }

    /// Lets go of the journal what nobody needs any more.
    fn release(&self) {
        let influxdb = self.influxdb.as_ref().and_then(|hold| hold.needed_from());
        let needed = [Some(self.needed_from.load(Ordering::Acquire)), self.needed_by_sessions(), influxdb];
        self.journal.release_before(needed.into_iter().flatten().min().unwrap_or_default());
    }

    /// The same, when somebody who kept the journal needs less of it. Not while the data folder is copied: then the next
    /// snapshot does it.
    pub(crate) fn release_more(&self) {
        if let Some(_publishing) = self.publishing.try_lock() {
            self.release();
        }
    }

    /// Takes one now; returns whether it could. If not, history is not sealed as far as the engine is; log and health say
    /// why, the older snapshots stay, and the journal is kept from them on.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn take(&self) -> std::io::Result<bool> {
        let _publishing = self.publishing.lock();
        // Where the disk does not take history, it is not worth encoding the engine to find that out.
        if self.history.as_ref().is_some_and(|history| history.is_failing() && !history.seal()) {
            return Ok(false);
        }
        let begun = Instant::now();
        let mut engine_bytes = Vec::new();
        let (mut retained_bytes, mut session_bytes) = (Vec::new(), Vec::new());
        let next_offset = {
            let engine = self.engine.read();
            engine.snapshot(&mut engine_bytes);
            // Changed only under the engine's write lock, so all are of one moment.
            let kept = self.kept.lock();
            kept.retained.encode(&mut retained_bytes);
            kept.sessions.encode(&mut session_bytes);
            engine.next_offset()
        };
        self.metrics.snapshot_seconds.observe(begun.elapsed().as_secs_f64());
        if next_offset == *self.last.lock() {
            return Ok(true);
        }
        if self.history.as_ref().is_some_and(|history| !history.seal_before(next_offset)) {
            return Ok(false);
        }
        let size_bytes = engine_bytes.len();
        let snapshot =
            Snapshot { next_offset, engine: engine_bytes, retained: retained_bytes, sessions: session_bytes };
        let sealed_before = self.history.as_ref().map(|history| history.historian.sealed_before());
        let needed_from = self.folder.write(&snapshot)?.min(sealed_before.unwrap_or(Offset::MAX));
        *self.last.lock() = next_offset;
        self.needed_from.store(needed_from, Ordering::Release);
        self.release();
        tracing::debug!(next_offset, size_bytes, "took a snapshot");
        Ok(true)
    }
}

/// Tells health how the journal stands.
pub(crate) async fn watch_journal(journal: Arc<dyn Journal>, part: Part, stop: CancellationToken) {
    loop {
        match journal.status().failing {
            None => part.up(),
            Some(error) => part.down(error.to_string()),
        }
        if paused_or_stopped(&stop).await {
            return;
        }
    }
}

async fn paused_or_stopped(stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(PAUSE) => false,
        () = stop.cancelled() => true,
    }
}
