//! The life of one task: run, judge the end, wait, run again.

use std::sync::Arc;

use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Shared, TaskError, TaskSpec, TaskState, error_chain};

pub(super) async fn run<F, Fut>(
    shared: Arc<Shared>,
    index: usize,
    spec: TaskSpec,
    make: Arc<F>,
    stop: CancellationToken,
) where
    F: Fn(CancellationToken) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), TaskError>> + Send + 'static,
{
    let mut failures = 0;
    loop {
        shared.settle(index, TaskState::Running, None);
        let started = Instant::now();
        let (make, token) = (Arc::clone(&make), stop.clone());
        // The future is made inside the inner task, so that a panic in `make` is caught as well.
        let ended = AbortOnDropHandle::new(tokio::spawn(async move { make(token).await })).await;
        let end = judge(ended, &spec, stop.is_cancelled(), &shared);
        let reason = match end {
            End::Good(state) => return shared.settle(index, state, None),
            End::Bad(reason) if stop.is_cancelled() => {
                tracing::warn!(task = spec.name, reason, "task ended badly while stopping");
                return shared.settle(index, TaskState::Stopped, Some(reason));
            }
            End::Bad(reason) => reason,
        };
        if started.elapsed() >= spec.restart.healthy_after {
            failures = 0;
        }
        failures += 1;
        if failures >= spec.restart.give_up_after {
            tracing::error!(task = spec.name, reason, failures, "task failed for good");
            shared.settle(index, TaskState::Failed, Some(reason));
            if spec.critical {
                shared.given_up.send_replace(Some(spec.name.to_owned()));
            }
            return;
        }
        let delay = spec.restart.backoff.random_delay(failures, &shared.options.random);
        tracing::warn!(
            task = spec.name,
            reason,
            failures,
            delay_ms = delay.as_millis() as u64,
            "task will restart"
        );
        shared.settle(index, TaskState::BackingOff, Some(reason));
        shared.options.metrics.restarts.get_or_create(&[("task", spec.name)]).inc();
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stop.cancelled() => return shared.settle(index, TaskState::Stopped, None),
        }
    }
}

enum End {
    Good(TaskState),
    Bad(String),
}

fn judge(
    ended: Result<Result<(), TaskError>, JoinError>,
    spec: &TaskSpec,
    asked_to_stop: bool,
    shared: &Shared,
) -> End {
    match ended {
        Ok(Ok(())) if asked_to_stop => End::Good(TaskState::Stopped),
        Ok(Ok(())) if spec.one_shot => End::Good(TaskState::Finished),
        Ok(Ok(())) => End::Bad("ended without being asked to stop".to_owned()),
        Ok(Err(error)) => End::Bad(error_chain(error.as_ref())),
        Err(join) => match join.try_into_panic() {
            Ok(panic) => {
                shared.options.metrics.panics.get_or_create(&[("task", spec.name)]).inc();
                let text = panic
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned());
                End::Bad(format!("panicked: {}", text.as_deref().unwrap_or("without a text")))
            }
            Err(_) => End::Bad("was aborted".to_owned()),
        },
    }
}
