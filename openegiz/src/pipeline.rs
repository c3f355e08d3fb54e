//! From records to live state: journal, engine, hub, in that order.
//!
//! ```text
//!  intake, write gate, ticker, acceptor
//!        │ submit(batch)
//!        ▼
//!  journal: group commit ──► on commit, in offset order, on the committer's thread
//!        │                     1. the mark up to which a read has to wait, before anybody knows of it
//!        │                     2. the submitter's `committed` (PUBACKs go out)
//!        │                     3. the bytes into the bounded apply queue
//!        ▼
//!  apply thread: decode, apply under the write lock, unlock, tell the hub, answer who waits, hand over to history
//! ```
//!
//! State is applied only after it is durable: nobody ever sees a value that a crash could take back. When the apply queue
//! is full the committer waits, then the journal's queue fills, then sockets are not read: that is the back-pressure.
//!
//! What it refuses to do: parse payloads (`egiz-ingest`), decide writes (the engine), know a client (hub and broker).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use egiz_journal::{AppendError, Batch, Committed, Journal, Permit};
use egiz_model::record::{Body, Record};
use egiz_model::{Offset, Timestamp};
use egiz_server::{Applied, AppliedBatch, Progress};
use egiz_twin::{Change, ChangeKind, Engine, Outcome};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use crate::history::{Feed, Notes};
use crate::metrics::PipelineMetrics;
use crate::retained::Kept;

/// Batches between the committer and the apply thread. Full: the committer waits.
const APPLY_QUEUE_BATCHES: usize = 1024;
/// Records applied under one hold of the write lock; readers get their turn in between.
const RECORDS_PER_HOLD: usize = 512;

/// Where applied changes go. Called on the apply thread, in order; may wait, never for a client.
pub(crate) type ChangeSink = Box<dyn FnMut(AppliedBatch) + Send>;

/// Told of what happened in the engine, for policies such as accepting devices. Called on the apply thread; must not wait.
pub(crate) type Observer = Box<dyn FnMut(&[Change]) + Send>;

/// What the engine's state consists of, with what is derived from the records beside it.
pub(crate) struct State {
    /// The twins.
    pub(crate) engine: Arc<RwLock<Engine>>,
    /// What the broker must find again, as of the records applied.
    pub(crate) kept: Arc<Mutex<Kept>>,
}

/// Where applied records go on to; all of it is called on the apply thread, in order.
pub(crate) struct Followers {
    /// The live subscriptions.
    pub(crate) changes: ChangeSink,
    /// Policies.
    pub(crate) observer: Observer,
    /// History, where it is kept.
    pub(crate) history: Option<Feed>,
}

/// The way of every record.
pub(crate) struct Pipeline {
    journal: Arc<dyn Journal>,
    progress: Arc<Progress>,
    to_apply: SyncSender<Work>,
}

/// Called when a batch is durable, with the offset of its first record, or will never be.
type OnDurable = Box<dyn FnOnce(Result<Offset, &AppendError>) + Send>;

/// A committed batch, when it was durable, and who waits for what comes of it.
type Pending = (Committed, Timestamp, Option<oneshot::Sender<Vec<Applied>>>);

enum Work {
    Apply { committed: Committed, durable: Timestamp, answer: Option<oneshot::Sender<Vec<Applied>>> },
    Stop,
}

impl Pipeline {
    /// Starts the apply thread.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(crate) fn start(
        journal: Arc<dyn Journal>,
        state: State,
        clock: egiz_server::Clock,
        metrics: PipelineMetrics,
        followers: Followers,
    ) -> std::io::Result<(Arc<Self>, JoinHandle<()>)> {
        let (to_apply, work) = sync_channel(APPLY_QUEUE_BATCHES);
        let progress = Arc::new(Progress::at(state.engine.read().next_offset()));
        let applier = Applier { state, progress: Arc::clone(&progress), clock, metrics, followers };
        let thread = std::thread::Builder::new().name("apply".into()).spawn(move || applier.run(&work))?;
        Ok((Arc::new(Self { journal, progress, to_apply }), thread))
    }

    /// How far the records have come.
    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Waits for room for `bytes` in the journal's queue.
    pub(crate) async fn reserve(&self, bytes: usize) -> Permit {
        self.journal.reserve(bytes).await
    }

    /// Hands over a batch for which there is room; `on_durable` is called once, from the commit.
    pub(crate) fn submit(&self, batch: Batch, permit: Permit, on_durable: OnDurable) {
        self.submit_with_answer(batch, permit, on_durable, None);
    }

    /// Hands over a batch for which there is room and waits until it is applied.
    ///
    /// # Errors
    /// Where the journal could not take it; nothing of it was applied.
    pub(crate) async fn write(&self, batch: Batch, permit: Permit) -> Result<Vec<Applied>, AppendError> {
        let (answer, applied) = oneshot::channel();
        let (failure, failed) = oneshot::channel();
        let on_durable: OnDurable = Box::new(move |result| {
            if let Err(error) = result {
                // The waiting side may have gone; the write is refused all the same.
                let _ = failure.send(error.clone());
            }
        });
        self.submit_with_answer(batch, permit, on_durable, Some(answer));
        match applied.await {
            Ok(applied) => Ok(applied),
            Err(_) => Err(failed.await.unwrap_or(AppendError::Closed)),
        }
    }

    fn submit_with_answer(
        &self,
        batch: Batch,
        permit: Permit,
        on_durable: OnDurable,
        answer: Option<oneshot::Sender<Vec<Applied>>>,
    ) {
        let (to_apply, progress) = (self.to_apply.clone(), Arc::clone(&self.progress));
        let on_commit = Box::new(move |result: Result<Committed, AppendError>| match result {
            Ok(committed) => {
                progress.durable_before(committed.first + committed.batch.len() as Offset);
                on_durable(Ok(committed.first));
                let durable = Timestamp::from_micros(committed.durable_at_micros);
                let work = Work::Apply { committed, durable, answer };
                // The apply thread ends only after the journal is closed; until then somebody receives.
                let _ = to_apply.send(work);
            }
            Err(error) => on_durable(Err(&error)),
        });
        self.journal.submit(batch, permit, on_commit);
    }

    /// Ends the apply thread after everything that was committed before.
    pub(crate) fn stop(&self) {
        let _ = self.to_apply.send(Work::Stop);
    }
}

struct Applier {
    state: State,
    progress: Arc<Progress>,
    clock: egiz_server::Clock,
    metrics: PipelineMetrics,
    followers: Followers,
}

impl Applier {
    fn run(mut self, work: &Receiver<Work>) {
        let mut pending = Vec::new();
        let mut stopping = false;
        while !stopping {
            let Ok(first) = work.recv() else { return };
            let mut next = Some(first);
            let mut records = 0;
            while let Some(item) = next.take() {
                match item {
                    Work::Apply { committed, durable, answer } => {
                        records += committed.batch.len();
                        pending.push((committed, durable, answer));
                    }
                    Work::Stop => stopping = true,
                }
                if records < RECORDS_PER_HOLD && !stopping {
                    next = work.try_recv().ok();
                }
            }
            self.apply(&mut pending);
        }
    }

    fn apply(&mut self, pending: &mut Vec<Pending>) {
        let Some((_, durable, _)) = pending.last() else { return };
        let durable = *durable;
        let begun = Instant::now();
        let mut changes = Vec::new();
        let mut answers = Vec::new();
        let mut applied_batches = Vec::new();
        let next_offset;
        {
            let mut notes = self.followers.history.as_mut().map(Feed::notes);
            let mut engine = self.state.engine.write();
            for (committed, durable, answer) in pending.drain(..) {
                let mut outcomes = answer.as_ref().map(|_| Vec::with_capacity(committed.batch.len()));
                for (offset, bytes) in (committed.first..).zip(committed.batch.iter()) {
                    let mut place =
                        Place { engine: &mut engine, kept: &self.state.kept, notes: notes.as_deref_mut() };
                    let outcome = place.apply(offset, bytes, &mut changes).unwrap_or_else(|error| {
                        self.metrics.unreadable.inc();
                        tracing::error!(offset, %error, "a record of this program's own cannot be read");
                        Outcome::Ignored
                    });
                    if let Some(outcomes) = &mut outcomes {
                        outcomes.push(Applied { offset, durable, outcome });
                    }
                }
                self.metrics.records.inc_by(committed.batch.len() as u64);
                answers.extend(answer.zip(outcomes));
                if notes.is_some() {
                    applied_batches.push(committed);
                }
            }
            next_offset = engine.next_offset();
        }
        self.progress.applied_before(next_offset);
        self.metrics.apply_seconds.observe(begun.elapsed().as_secs_f64());
        let applied = (self.clock)();
        if !changes.is_empty() {
            (self.followers.observer)(&changes);
        }
        (self.followers.changes)(AppliedBatch { next_offset, durable, applied, changes });
        for (answer, outcomes) in answers {
            // A caller that went away does not want to know.
            let _ = answer.send(outcomes);
        }
        if let Some(history) = &mut self.followers.history {
            history.hand_over(applied_batches);
        }
    }
}

/// What a record is applied to.
pub(crate) struct Place<'a> {
    pub(crate) engine: &'a mut Engine,
    pub(crate) kept: &'a Mutex<Kept>,
    /// Where history is kept: what it needs to know.
    pub(crate) notes: Option<&'a mut Notes>,
}

impl Place<'_> {
    /// Applies one record as the journal has it: live and on replay.
    ///
    /// # Errors
    /// Where the bytes are no record of this version; the engine counts it and goes on with the next.
    pub(crate) fn apply(
        &mut self,
        offset: Offset,
        bytes: &[u8],
        changes: &mut Vec<Change>,
    ) -> Result<Outcome, egiz_model::record::DecodeError> {
        let record = Record::decode(bytes).inspect_err(|_| self.engine.skip(offset))?;
        match &record.body {
            Body::Message(message) if message.retain => self.kept.lock().retained.keep(message),
            Body::Broker(note) => {
                if let Err(error) = self.kept.lock().sessions.apply(offset, note) {
                    tracing::error!(offset, %error, "a note of the broker's cannot be read and is passed over");
                }
            }
            _ => {}
        }
        Ok(match &mut self.notes {
            Some(notes) => notes.apply(self.engine, offset, &record, changes),
            None => self.engine.apply(offset, &record, changes),
        })
    }
}

/// The ids of the devices that were heard for the first time.
pub(crate) fn newly_discovered(changes: &[Change]) -> impl Iterator<Item = &Change> {
    changes.iter().filter(|change| matches!(change.kind, ChangeKind::Discovered))
}
