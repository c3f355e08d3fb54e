//! Starts the program's long-lived tasks, restarts those that fail, shows how they are doing, and stops them in order.
//!
//! ```text
//!             ┌──────────── delay, then again ───────────┐
//!             ▼                                          │
//!  spawn → Running ── error, panic, early end ──► BackingOff ── too often ──► Failed
//!             │                                          │
//!             └─ asked to stop ─► Stopped ◄──────────────┘        one-shot done ─► Finished
//! ```
//!
//! A task is a function that makes a future anew for each run and is given a token that says when to stop. A panic
//! ends the run, not the program. Stopping goes phase by phase — intake, work, storage — so that what was taken in
//! is still worked off and what was worked off is still stored. For the few dozen tasks that the program's wiring
//! names; connections own their tasks themselves.

mod run;
mod status;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::health::{Health, Part};
use crate::{Clock, RandomSource};

pub use status::{StopReport, TaskState, TaskStatus};

/// Why a run of a task ended badly.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;

/// When a task is stopped; earlier phases first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Takes things in: listeners, clients of external brokers.
    Intake,
    /// Works on them: fan-out, projections, timers.
    Work,
    /// Keeps them: journal, snapshots, registry.
    Storage,
}

impl Phase {
    const ALL: [Phase; 3] = [Phase::Intake, Phase::Work, Phase::Storage];
}

/// What to do when a run ends badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// How long to wait before the next run.
    pub backoff: Backoff,
    /// After how many bad ends in a row there is no next run; 1 never restarts.
    pub give_up_after: u32,
    /// A run that lasts this long starts the count anew.
    pub healthy_after: Duration,
}

impl Default for Restart {
    fn default() -> Restart {
        Restart { backoff: Backoff::default(), give_up_after: 10, healthy_after: Duration::from_secs(60) }
    }
}

/// What the supervisor knows about a task beforehand.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    name: &'static str,
    phase: Phase,
    critical: bool,
    one_shot: bool,
    restart: Restart,
}

impl TaskSpec {
    /// A task that runs until it is asked to stop, is restarted when it fails, and can be done without. The name
    /// appears in logs, metrics and health: `mqtt-listener`.
    pub fn new(name: &'static str, phase: Phase) -> TaskSpec {
        TaskSpec { name, phase, critical: false, one_shot: false, restart: Restart::default() }
    }

    /// The program cannot do without it: when the supervisor gives up on it, the program should end.
    pub fn critical(self) -> TaskSpec {
        TaskSpec { critical: true, ..self }
    }

    /// It may end by itself.
    pub fn one_shot(self) -> TaskSpec {
        TaskSpec { one_shot: true, ..self }
    }

    /// Restarts it in another way.
    pub fn restart(self, restart: Restart) -> TaskSpec {
        TaskSpec { restart, ..self }
    }
}

/// What the supervisor needs from the program.
#[derive(Clone)]
pub struct SupervisorOptions {
    /// The clock for [`TaskStatus::since`].
    pub clock: Clock,
    /// Chance for the jitter of restarts.
    pub random: RandomSource,
    /// Where each task reports under its name.
    pub health: Health,
    /// Where to count.
    pub metrics: SupervisorMetrics,
    /// How long stopping may take in all. Each phase gets half of what is left, the last one all of it.
    pub stop_deadline: Duration,
}

impl SupervisorOptions {
    /// The usual deadline for stopping.
    pub const STOP_DEADLINE: Duration = Duration::from_secs(25);
}

impl fmt::Debug for SupervisorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorOptions")
            .field("stop_deadline", &self.stop_deadline)
            .finish_non_exhaustive()
    }
}

type TaskLabel = [(&'static str, &'static str); 1];

/// Counters of the supervisor, one series a task.
#[derive(Debug, Clone, Default)]
pub struct SupervisorMetrics {
    restarts: Family<TaskLabel, Counter>,
    panics: Family<TaskLabel, Counter>,
}

impl SupervisorMetrics {
    /// Makes the counters and registers them.
    ///
    /// - `egiz_service_task_restarts_total{task}`: runs after the first.
    /// - `egiz_service_task_panics_total{task}`: runs that ended in a panic.
    pub fn register(registry: &mut Registry) -> SupervisorMetrics {
        let metrics = SupervisorMetrics::default();
        registry.register(
            "egiz_service_task_restarts",
            "Runs of a task after its first",
            metrics.restarts.clone(),
        );
        registry.register("egiz_service_task_panics", "Runs of a task that panicked", metrics.panics.clone());
        metrics
    }
}

/// Owns the tasks. Clones share them.
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("tasks", &self.tasks()).finish()
    }
}

struct Shared {
    options: SupervisorOptions,
    tokens: [CancellationToken; 3],
    tasks: Mutex<Vec<Task>>,
    given_up: watch::Sender<Option<String>>,
}

struct Task {
    status: TaskStatus,
    phase: Phase,
    part: Part,
    handle: Option<JoinHandle<()>>,
}

impl Supervisor {
    /// Makes a supervisor without tasks.
    pub fn new(options: SupervisorOptions) -> Supervisor {
        let (given_up, _) = watch::channel(None);
        let shared = Shared { options, tokens: Default::default(), tasks: Mutex::default(), given_up };
        Supervisor { shared: Arc::new(shared) }
    }

    /// Starts a task. `make` is called for every run; the token is cancelled when the run should end, and a run that
    /// ends after that ended well. After [`Supervisor::stop`] began nothing is started. Must be called inside a
    /// runtime.
    pub fn spawn<F, Fut, E>(&self, spec: TaskSpec, make: F)
    where
        F: Fn(CancellationToken) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<TaskError> + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let token = self.shared.token(spec.phase);
        let mut tasks = self.shared.lock();
        let part = self.shared.options.health.part(spec.name, spec.critical);
        let state = if token.is_cancelled() { TaskState::Stopped } else { TaskState::Running };
        let status = TaskStatus {
            name: spec.name,
            state,
            restarts: 0,
            last_error: None,
            since: (self.shared.options.clock)(),
        };
        let index = tasks.len();
        let (name, phase) = (spec.name, spec.phase);
        let handle = (state == TaskState::Running).then(|| {
            let make = Arc::new(move |token| {
                let future = make(token);
                async move { future.await.map_err(Into::into) }
            });
            tokio::spawn(run::run(shared, index, spec, make, token))
        });
        tasks.push(Task { status, phase, part, handle });
        tracing::debug!(task = name, "task added");
    }

    /// Says how each task is doing, in the order of their start.
    pub fn tasks(&self) -> Vec<TaskStatus> {
        self.shared.lock().iter().map(|task| task.status.clone()).collect()
    }

    /// Waits until the supervisor gives up on a critical task and says which.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn critical_failure(&self) -> String {
        let mut given_up = self.shared.given_up.subscribe();
        loop {
            if let Some(name) = given_up.borrow_and_update().clone() {
                return name;
            }
            if given_up.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Asks all tasks to stop, phase by phase, and waits; tasks that do not stop in time are aborted and reported.
    ///
    /// # Cancel safety
    /// When dropped, the phases reached so far have been asked to stop; call it again to go on.
    pub async fn stop(&self) -> StopReport {
        let started = Instant::now();
        let deadline = started + self.shared.options.stop_deadline;
        let mut report = StopReport::default();
        for phase in Phase::ALL {
            self.shared.token(phase).cancel();
            let left = deadline.saturating_duration_since(Instant::now());
            let share = if phase == Phase::Storage { left } else { left / 2 };
            self.stop_phase(phase, Instant::now() + share, &mut report).await;
        }
        report.took = started.elapsed();
        report
    }

    async fn stop_phase(&self, phase: Phase, until: Instant, report: &mut StopReport) {
        let running: Vec<_> = {
            let mut tasks = self.shared.lock();
            let in_phase = tasks.iter_mut().enumerate().filter(|(_, task)| task.phase == phase);
            in_phase
                .filter_map(|(index, task)| Some((index, task.status.name, task.handle.take()?)))
                .collect()
        };
        for (index, name, mut handle) in running {
            if tokio::time::timeout_at(until, &mut handle).await.is_ok() {
                report.stopped.push(name);
            } else {
                handle.abort();
                tracing::warn!(task = name, "task did not stop in time");
                self.shared.settle(index, TaskState::Failed, Some("did not stop in time".to_owned()));
                report.not_stopped.push(name);
            }
        }
    }
}

impl Shared {
    fn token(&self, phase: Phase) -> CancellationToken {
        self.tokens[phase as usize].clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Task>> {
        // Each entry is whole between any two statements, so a panic elsewhere does not spoil it.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down a task's new state and reports it.
    fn settle(&self, index: usize, state: TaskState, error: Option<String>) {
        let now = (self.options.clock)();
        let mut tasks = self.lock();
        let Some(task) = tasks.get_mut(index) else { return };
        let status = &mut task.status;
        (status.state, status.since) = (state, now);
        if error.is_some() {
            status.last_error = error;
        }
        status.restarts += u64::from(state == TaskState::BackingOff);
        let detail = || status.last_error.clone().unwrap_or_default();
        match state {
            TaskState::Running | TaskState::Finished => task.part.up(),
            TaskState::BackingOff => task.part.degraded(format!("restarting after: {}", detail())),
            TaskState::Stopped => task.part.down("stopped"),
            TaskState::Failed => task.part.down(detail()),
        }
    }
}

/// Writes an error and its causes in one line: `cannot open x: no such file`.
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        // Some libraries repeat the cause in their own text.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
