//! The way of samples into history: everything that Things took up, each sample once, whenever the program ends.
//!
//! ```text
//!  apply thread:   apply a record ─► note what history needs to know beyond its bytes, under the write lock
//!        │ one message for each hold of the lock; bounded, and where it is full the apply thread waits
//!        ▼
//!  history thread: rows into the historian's memory
//!        ▼
//!  [`History::seal`]: into parts, at every snapshot and when the memory is at its bound; then [`History::keep`] merges
//! ```
//!
//! Once: the historian knows up to which record it has sealed, and passes over older ones. Nothing lost: a snapshot of the
//! engine is published, and the journal released, only before what is sealed, so that a restart meets every other record
//! again, with the engine as it was when the record first came.
//!
//! It refuses to decide what a sample is worth (the engine does), to know files (`egiz-historian`), and to keep what
//! devices say that nobody has accepted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use egiz_historian::{Historian, HistoryError, Intake, Status};
use egiz_journal::Committed;
use egiz_model::Offset;
use egiz_model::record::Record;
use egiz_server::Clock;
use egiz_service::health::Part;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::metrics::HistoryMetrics;

mod catch_up;
mod note;
mod recorder;

pub(crate) use catch_up::{CatchUp, catch_up};
pub(crate) use note::{Note, Notes, Row, Rows};
pub(crate) use recorder::Recorder;

/// Messages between the apply thread and the history thread. Full: the apply thread waits.
const QUEUE_MESSAGES: usize = 64;
/// The memory may grow to this many times the bound at which it is sealed; then nothing is taken in until it is.
const HEAD_BOUNDS: usize = 4;
/// How often it is looked whether there is something to seal, and again after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether there is something to merge or to drop.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(30);
/// How long a snapshot waits for the history thread to come to where the engine is.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(30);

/// History while the program runs.
pub(crate) struct History {
    pub(crate) historian: Arc<Historian>,
    clock: Clock,
    metrics: HistoryMetrics,
    health: Mutex<Trouble>,
    seal_bytes: usize,
    /// There may be something to seal or to maintain.
    wake: Notify,
    sealed: AtomicBool,
    /// The program is about to end: what waits is taken in whatever it takes.
    stopping: AtomicBool,
}

/// What is wrong, for health.
struct Trouble {
    part: Part,
    sealing: Option<String>,
    maintaining: Option<String>,
    /// Its files take nearly what they may, or more.
    space: Option<String>,
    is_full: bool,
    /// The history thread ended before its time.
    has_ended: bool,
    lost_parts: usize,
}

/// Records that were applied, with what history needs to know of them.
struct Applied {
    batches: Vec<Committed>,
    notes: Vec<(Offset, Note)>,
}

/// The apply thread's end of the way. When it is dropped, the history thread takes in what waits and ends.
pub(crate) struct Feed {
    queue: SyncSender<Applied>,
    history: Arc<History>,
    notes: Notes,
    has_ended: bool,
}

impl History {
    /// Starts the history thread.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(crate) fn start(
        historian: Arc<Historian>,
        settings: HistorySettings,
    ) -> std::io::Result<(Arc<Self>, Feed, JoinHandle<()>)> {
        let HistorySettings { clock, metrics, part, seal_bytes, lost_parts } = settings;
        let health = Trouble {
            part,
            sealing: None,
            maintaining: None,
            space: None,
            is_full: false,
            has_ended: false,
            lost_parts,
        };
        health.tell();
        let history = Arc::new(Self {
            historian,
            clock,
            metrics,
            health: Mutex::new(health),
            seal_bytes,
            wake: Notify::new(),
            sealed: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        });
        let (queue, applied) = sync_channel(QUEUE_MESSAGES);
        let own = Arc::clone(&history);
        let thread = std::thread::Builder::new().name("history".into()).spawn(move || own.run(&applied))?;
        let feed = Feed { queue, history: Arc::clone(&history), notes: Notes::default(), has_ended: false };
        Ok((history, feed, thread))
    }

    fn run(&self, applied: &Receiver<Applied>) {
        let mut recorder = Recorder::default();
        while let Ok(Applied { batches, notes }) = applied.recv() {
            self.wait_for_room();
            for (_, bytes, note) in records(&batches, &notes) {
                note.into_iter().for_each(|note| recorder.prepare(bytes, note, Some(&self.historian)));
            }
            {
                let mut intake = self.historian.intake();
                for (offset, bytes, note) in records(&batches, &notes) {
                    take_in(&mut intake, offset, bytes, note, &mut recorder);
                }
            }
            self.metrics.skipped_samples.inc_by(recorder.take_skipped());
            if self.head_bytes() >= self.seal_bytes {
                self.wake.notify_one();
            }
        }
    }

    /// Waits while the memory is full, which it is only when sealing keeps failing or does not keep up.
    fn wait_for_room(&self) {
        let bound = self.seal_bytes.saturating_mul(HEAD_BOUNDS);
        if self.head_bytes() < bound {
            return;
        }
        self.metrics.head_full.inc();
        tracing::warn!(bound, "history in memory is full; nothing is taken in until it is in files");
        self.with_health(|trouble| trouble.is_full = true);
        while self.head_bytes() >= bound && !self.stopping.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.with_health(|trouble| trouble.is_full = false);
    }

    fn head_bytes(&self) -> usize {
        self.historian.head_bytes()
    }

    /// Says that the program is about to end: nothing waits for room from now on.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Seals what was taken in; returns whether it could. If not, it stays in memory, and log and health say why.
    pub(crate) fn seal(&self) -> bool {
        let failure = self.historian.seal((self.clock)()).err().map(with_causes);
        if let Some(error) = &failure {
            self.metrics.failures.inc();
            tracing::warn!(error, "history cannot be written; it stays in memory and is tried again");
        }
        let is_sealed = failure.is_none();
        self.with_health(|trouble| trouble.sealing = failure);
        self.sealed.fetch_or(is_sealed, Ordering::AcqRel);
        is_sealed
    }

    /// Whether sealing failed the last time.
    pub(crate) fn is_failing(&self) -> bool {
        self.health.lock().sealing.is_some()
    }

    /// Seals all records before this offset, those that are on their way included. Returns whether it could; health and
    /// log say why not.
    pub(crate) fn seal_before(&self, offset: Offset) -> bool {
        if self.health.lock().has_ended {
            return false;
        }
        let begun = Instant::now();
        while offset > 0 && self.historian.intake().wants(offset - 1) {
            if begun.elapsed() > CATCH_UP_PATIENCE {
                tracing::warn!(offset, "history is far behind the live state");
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let is_sealed = || self.historian.sealed_before() >= offset;
        is_sealed() || (self.seal() && is_sealed())
    }

    /// Seals when the memory is at its bound, merges small files, and drops what is older than is kept, until `stop`.
    ///
    /// # Errors
    /// Where a thread that does it panicked; it may be started again.
    pub(crate) async fn keep(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut maintained: Option<Instant> = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.wake.notified() => {}
                () = stop.cancelled() => return Ok(()),
            }
            let mut is_well = true;
            if self.head_bytes() >= self.seal_bytes {
                let own = Arc::clone(&self);
                is_well = tokio::task::spawn_blocking(move || own.seal()).await?;
            }
            let is_due = maintained.is_none_or(|then| then.elapsed() >= MAINTENANCE_INTERVAL);
            if self.sealed.swap(false, Ordering::AcqRel) || is_due {
                let (own, stop) = (Arc::clone(&self), stop.clone());
                tokio::task::spawn_blocking(move || own.maintain(&stop)).await?;
                maintained = Some(Instant::now());
            }
            if !is_well {
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = stop.cancelled() => return Ok(()),
                }
            }
        }
    }

    fn maintain(&self, stop: &CancellationToken) {
        let result = loop {
            match self.historian.maintain((self.clock)()) {
                Ok(true) if !stop.is_cancelled() => {}
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let failure = result.err().map(with_causes);
        if let Some(error) = &failure {
            self.metrics.failures.inc();
            tracing::warn!(
                error,
                "history's files cannot be merged; all of it is there, and it is tried again"
            );
        }
        let space = shortage(&self.historian.status());
        self.with_health(|trouble| {
            if let Some(shortage) = &space
                && trouble.space.is_none()
            {
                tracing::warn!(shortage, "history nears its bound on the disk");
            }
            trouble.maintaining = failure;
            trouble.space = space;
        });
    }

    fn with_health(&self, change: impl FnOnce(&mut Trouble)) {
        let mut trouble = self.health.lock();
        change(&mut trouble);
        trouble.tell();
    }
}

/// What history needs from the program.
pub(crate) struct HistorySettings {
    pub(crate) clock: Clock,
    pub(crate) metrics: HistoryMetrics,
    pub(crate) part: Part,
    /// Memory at which rows are sealed.
    pub(crate) seal_bytes: usize,
    /// Files that could not be used at the start.
    pub(crate) lost_parts: usize,
}

impl Trouble {
    fn tell(&self) {
        match self {
            Self { has_ended: true, .. } => self.part.down("its thread has ended; a restart catches up"),
            Self { is_full: true, sealing, .. } => self.part.down(format!(
                "nothing more is taken in until what is in memory is in files{}",
                sealing.as_ref().map(|error| format!(": {error}")).unwrap_or_default()
            )),
            Self { sealing: Some(error), .. } => self.part.down(error),
            Self { maintaining: Some(error), .. } => self.part.degraded(error),
            Self { space: Some(shortage), .. } => self.part.degraded(shortage),
            Self { lost_parts: 0, .. } => self.part.up(),
            Self { lost_parts, .. } => {
                self.part.degraded(format!(
                    "{lost_parts} files of history could not be used at the start; the log names them"
                ));
            }
        }
    }
}

impl Feed {
    /// Where what history needs is noted while records are applied.
    pub(crate) fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }

    /// Hands over records that were applied. Waits where the queue is full.
    pub(crate) fn hand_over(&mut self, batches: Vec<Committed>) {
        let applied = Applied { batches, notes: self.notes.take() };
        let is_taken = match self.queue.try_send(applied) {
            Err(TrySendError::Full(applied)) => {
                self.history.metrics.queue_full.inc();
                self.queue.send(applied).is_ok()
            }
            result => result.is_ok(),
        };
        if !is_taken && !std::mem::replace(&mut self.has_ended, true) {
            tracing::error!(
                "the history thread has ended; no snapshot is taken any more, and a restart catches up"
            );
            self.history.with_health(|trouble| trouble.has_ended = true);
        }
    }
}

/// The records of batches in order, each with its note.
fn records<'a>(
    batches: &'a [Committed],
    notes: &'a [(Offset, Note)],
) -> impl Iterator<Item = (Offset, &'a [u8], Option<&'a Note>)> {
    let mut notes = notes.iter().peekable();
    let records = batches.iter().flat_map(|committed| (committed.first..).zip(committed.batch.iter()));
    records.map(move |(offset, bytes)| {
        let note = notes.next_if(|(of, _)| *of == offset);
        (offset, bytes, note.map(|(_, note)| note))
    })
}

/// Brings a record into history, live and on replay.
pub(crate) fn take_in(
    intake: &mut Intake<'_>,
    offset: Offset,
    bytes: &[u8],
    note: Option<&Note>,
    recorder: &mut Recorder,
) {
    if let Some(note) = note
        && intake.wants(offset)
        && let Ok(record) = Record::decode_again(bytes)
    {
        note.write(&record, intake, recorder);
    }
    intake.done(offset);
}

/// What is to be said of the room that history takes; nothing while it takes less than nine tenths of its bound.
fn shortage(status: &Status) -> Option<String> {
    let budget = status.disk_budget?;
    let Status { disk_bytes, counts, .. } = status;
    let gone = match counts.rows_dropped_for_space {
        0 => String::new(),
        rows => format!("; {rows} rows went before their time"),
    };
    (disk_bytes.saturating_mul(10) >= budget.saturating_mul(9)).then(|| {
        format!(
            "its files take {disk_bytes} of history.disk_budget_bytes = {budget}, and beyond that the oldest days go{gone}"
        )
    })
}

/// The error with what caused it, on one line.
fn with_causes(error: HistoryError) -> String {
    format!("{:#}", anyhow::Error::new(error))
}

#[cfg(test)]
mod tests;
