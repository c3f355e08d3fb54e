use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

use egiz_model::Timestamp;

use crate::health::HealthState;

/// A supervisor on the runtime's paused clock: delays and deadlines pass at once.
fn supervisor() -> (Supervisor, Health, SupervisorMetrics) {
    let clock: Clock = Arc::new(|| Timestamp::from_seconds(0));
    let health = Health::new(Arc::clone(&clock));
    let metrics = SupervisorMetrics::default();
    let options = SupervisorOptions {
        clock,
        random: Arc::new(|buffer: &mut [u8]| buffer.fill(0xff)),
        health: health.clone(),
        metrics: metrics.clone(),
        stop_deadline: SupervisorOptions::STOP_DEADLINE,
    };
    (Supervisor::new(options), health, metrics)
}

type Never = std::convert::Infallible;

async fn until_asked(stop: CancellationToken) -> Result<(), Never> {
    stop.cancelled().await;
    Ok(())
}

/// Lets time pass until the only task reaches the state.
async fn reached(supervisor: &Supervisor, state: TaskState) -> TaskStatus {
    for _ in 0..100_000 {
        let status = supervisor.tasks().remove(0);
        if status.state == state {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{state:?} is not reached: {supervisor:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_is_started_again_and_seen_in_health() {
    let (supervisor, health, metrics) = supervisor();
    let runs = Arc::new(AtomicU32::new(0));
    supervisor.spawn(TaskSpec::new("flaky", Phase::Work), move |stop| {
        let run = runs.fetch_add(1, Ordering::Relaxed);
        async move {
            match run {
                0 => Err(std::io::Error::other("no route")),
                1 => panic!("index {run} out of range"),
                2 => Ok(()),
                _ => {
                    stop.cancelled().await;
                    Ok(())
                }
            }
        }
    });
    let status = reached(&supervisor, TaskState::BackingOff).await;
    assert_eq!(status.last_error.as_deref(), Some("no route"));
    assert_eq!(health.report().parts[0].detail.as_deref(), Some("restarting after: no route"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = reached(&supervisor, TaskState::Running).await;
    assert_eq!(
        (status.restarts, status.last_error.as_deref()),
        (3, Some("ended without being asked to stop"))
    );
    assert_eq!(health.report().state, HealthState::Up);
    let label = [("task", "flaky")];
    assert_eq!(metrics.restarts.get_or_create(&label).get(), 3);
    assert_eq!(metrics.panics.get_or_create(&label).get(), 1);
    assert_eq!(supervisor.stop().await.stopped, ["flaky"]);
    assert_eq!(supervisor.tasks()[0].state, TaskState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_critical_task_that_keeps_failing_is_given_up_and_announced() {
    let (supervisor, health, _) = supervisor();
    let restart = Restart { give_up_after: 3, ..Restart::default() };
    let spec = TaskSpec::new("journal", Phase::Storage).critical().restart(restart);
    supervisor.spawn(spec, |_| async { Err::<(), _>("disk is gone") });
    assert_eq!(supervisor.critical_failure().await, "journal");
    let status = supervisor.tasks().remove(0);
    assert_eq!((status.state, status.restarts), (TaskState::Failed, 2));
    let report = health.report();
    assert_eq!((report.state, report.parts[0].detail.as_deref()), (HealthState::Down, Some("disk is gone")));
    assert_eq!(supervisor.critical_failure().await, "journal", "it stays announced");
}

#[tokio::test(start_paused = true)]
async fn a_long_run_forgives_earlier_failures() {
    let (supervisor, _, _) = supervisor();
    let restart = Restart { give_up_after: 2, ..Restart::default() };
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    supervisor.spawn(TaskSpec::new("slow", Phase::Work).restart(restart), move |_| {
        let run = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            if run < 5 {
                tokio::time::sleep(Duration::from_secs(61)).await;
            }
            Err::<(), _>("again")
        }
    });
    reached(&supervisor, TaskState::Failed).await;
    assert_eq!(
        runs.load(Ordering::Relaxed),
        6,
        "the last long run counts as one, the short one as the second"
    );
}

#[tokio::test(start_paused = true)]
async fn a_one_shot_task_may_end_and_a_panic_in_its_making_is_caught() {
    let (supervisor, _, _) = supervisor();
    supervisor.spawn(TaskSpec::new("seed", Phase::Work).one_shot(), |_| async { Ok::<(), Never>(()) });
    reached(&supervisor, TaskState::Finished).await;
    let never = Restart { give_up_after: 1, ..Restart::default() };
    supervisor.spawn(TaskSpec::new("broken", Phase::Work).restart(never), |_| {
        if supervisor_is_broken() {
            panic!("cannot be made");
        }
        async { Ok::<(), Never>(()) }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = supervisor.tasks().remove(1);
    assert_eq!(
        (status.state, status.last_error.as_deref()),
        (TaskState::Failed, Some("panicked: cannot be made"))
    );
}

/// Keeps the compiler from seeing that the closure never returns.
fn supervisor_is_broken() -> bool {
    std::hint::black_box(true)
}

#[tokio::test(start_paused = true)]
async fn stopping_goes_phase_by_phase() {
    let (supervisor, _, _) = supervisor();
    let order = Arc::new(Mutex::new(Vec::new()));
    for (name, phase) in [("store", Phase::Storage), ("listener", Phase::Intake), ("apply", Phase::Work)] {
        let order = Arc::clone(&order);
        supervisor.spawn(TaskSpec::new(name, phase), move |stop| {
            let order = Arc::clone(&order);
            async move {
                stop.cancelled().await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                order.lock().unwrap().push(name);
                Ok::<(), Never>(())
            }
        });
    }
    tokio::task::yield_now().await;
    let report = supervisor.stop().await;
    assert_eq!(*order.lock().unwrap(), ["listener", "apply", "store"]);
    assert_eq!(report.stopped, ["listener", "apply", "store"]);
    assert_eq!(report.took.as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_stop_is_aborted_and_leaves_time_for_storage() {
    let (supervisor, _, _) = supervisor();
    let dropped = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&dropped);
    supervisor.spawn(TaskSpec::new("stuck", Phase::Intake), move |_| {
        let guard = CountDrop(Arc::clone(&counted));
        async move {
            let _guard = guard;
            std::future::pending::<Result<(), Never>>().await
        }
    });
    supervisor.spawn(TaskSpec::new("store", Phase::Storage), |stop| async move {
        stop.cancelled().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok::<(), Never>(())
    });
    tokio::task::yield_now().await;
    let report = supervisor.stop().await;
    assert_eq!((report.stopped, report.not_stopped), (vec!["store"], vec!["stuck"]));
    assert!(report.took < SupervisorOptions::STOP_DEADLINE, "{:?}", report.took);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(dropped.load(Ordering::Relaxed), 1, "the run itself is gone, not only its keeper");
    assert_eq!(supervisor.tasks()[0].state, TaskState::Failed);
}

struct CountDrop(Arc<AtomicU32>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_its_restart_stops_at_once_and_none_starts_afterwards() {
    let (supervisor, _, _) = supervisor();
    let backoff = Backoff { first: Duration::from_secs(3_600), cap: Duration::from_secs(3_600) };
    let restart = Restart { backoff, ..Restart::default() };
    supervisor.spawn(TaskSpec::new("flaky", Phase::Work).restart(restart), |_| async { Err::<(), _>("no") });
    reached(&supervisor, TaskState::BackingOff).await;
    let report = supervisor.stop().await;
    assert_eq!((report.stopped, report.took.as_secs()), (vec!["flaky"], 0));
    supervisor.spawn(TaskSpec::new("late", Phase::Work), until_asked);
    assert_eq!(supervisor.tasks()[1].state, TaskState::Stopped);
    assert_eq!(supervisor.stop().await.stopped, Vec::<&str>::new(), "stopping twice is harmless");
}

#[test]
fn an_error_is_written_with_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot open x")]
    struct Outer(#[source] std::io::Error);
    assert_eq!(error_chain(&Outer(std::io::Error::other("no such file"))), "cannot open x: no such file");
}
