//! The chores, on tokio-cron-scheduler: coarse, idempotent jobs in UTC that only wake the engine.
//!
//! Its sweep is a second, independent clock beside the engine's timer. A fault in it delays chores, never a start.

use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::engine::Input;

/// A chore: when, and what the engine is told.
type Chore = (&'static str, fn() -> Input);

/// Each chore: when, in UTC with seconds first, and what the engine is told.
const CHORES: [Chore; 4] = [
    ("0 * * * * *", || Input::Sweep),
    ("30 * * * * *", || Input::RereadCalendars),
    ("0 17 * * * *", || Input::CheckAccounts),
    ("0 41 3 * * *", || Input::Prune),
];

/// Runs the chores until the engine is gone. Each message on `rebuild` has the scheduler built again, since it may stay
/// silent after the clock was set back.
pub async fn run(inputs: mpsc::Sender<Input>, mut rebuild: mpsc::Receiver<()>) {
    loop {
        let scheduler = match build(&inputs).await {
            Ok(scheduler) => Some(scheduler),
            Err(error) => {
                tracing::error!(
                    "the housekeeping could not be started; starts and stops go on without it: {error}"
                );
                None
            }
        };
        let again = tokio::select! {
            again = rebuild.recv() => again.is_some(),
            () = inputs.closed() => false,
        };
        if let Some(mut scheduler) = scheduler
            && let Err(error) = scheduler.shutdown().await
        {
            tracing::debug!("the housekeeping did not end tidily: {error}");
        }
        if !again {
            return;
        }
    }
}

async fn build(inputs: &mpsc::Sender<Input>) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    for (when, what) in CHORES {
        let inputs = inputs.clone();
        let job = Job::new_async(when, move |_, _| {
            // A full queue means that the engine is busy: the next tick comes soon enough.
            let _ = inputs.try_send(what());
            Box::pin(std::future::ready(()))
        })?;
        scheduler.add(job).await?;
    }
    scheduler.start().await?;
    Ok(scheduler)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_chore_is_a_schedule_that_the_scheduler_takes_and_it_can_be_built_again() {
        let (inputs, receiver) = mpsc::channel(8);
        let (again, rebuild) = mpsc::channel(1);
        let running = tokio::spawn(run(inputs.clone(), rebuild));

        again.send(()).await.unwrap();
        again.send(()).await.unwrap();
        drop(receiver);

        running.await.unwrap();
        assert!(build(&inputs).await.is_ok());
    }
}
