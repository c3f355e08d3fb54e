//! What the supervisor tells about its tasks.

use std::time::Duration;

use egiz_model::Timestamp;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// It runs.
    Running,
    /// It ended badly and runs again after a delay.
    BackingOff,
    /// It was one-shot and is done.
    Finished,
    /// It was asked to stop and did.
    Stopped,
    /// It ended badly too often, or did not stop in time.
    Failed,
}

/// How a task is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// Its name.
    pub name: &'static str,
    /// Where it is in its life.
    pub state: TaskState,
    /// How often it was started again.
    pub restarts: u64,
    /// Why a run last ended badly.
    pub last_error: Option<String>,
    /// Since when it has been in this state.
    pub since: Timestamp,
}

/// How stopping went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopReport {
    /// Tasks that had ended or ended in time, in the order of their phases.
    pub stopped: Vec<&'static str>,
    /// Tasks that were aborted.
    pub not_stopped: Vec<&'static str>,
    /// How long it took.
    pub took: Duration,
}
