//! The thread's loop: claim, run, finish; wait where there is nothing.

use std::fs::File;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::domain::{DataDir, Job};
use crate::store::{PeakBytes, Store, StoreError};

use super::attempt::{Ending, attempt};
use super::reserve::Reserve;
use super::shared::Shared;
use super::trainer::Trainer;

/// Everything that the thread owns.
pub(super) struct Runner {
    pub(super) store: Store,
    pub(super) data_dir: DataDir,
    pub(super) trainer: Box<dyn Trainer>,
    pub(super) poll_interval: Duration,
    pub(super) shared: Arc<Shared>,
    /// Waits for the store. The thread has a runtime of its own, so that it neither needs the caller's to be alive and
    /// driven nor takes a thread of it; one worker thread drives what the pool does in the background while the
    /// trainer computes.
    pub(super) runtime: Runtime,
    /// Locked as long as the thread lives.
    pub(super) lock: File,
    /// For a job's end on a full disk.
    pub(super) reserve: Reserve,
}

impl Runner {
    /// Works until it is asked to stop.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while !shared.stopping() {
            // Registered before the look-up, so that a job queued right after it is not slept through.
            let mut wake = pin!(shared.wake.notified());
            wake.as_mut().enable();
            match self.runtime.block_on(self.store.claim_next()) {
                Ok(Some(change)) => {
                    shared.publish_change(&change);
                    self.work(&change.job);
                    continue;
                }
                Ok(None) => {}
                Err(error) => report("the queue cannot be read", &error),
            }
            if !shared.stopping() {
                // Woken or not, the queue is looked at again.
                let _ = self.runtime.block_on(async { tokio::time::timeout(self.poll_interval, wake).await });
            }
        }
        shared.close();
        drop(self.lock);
    }

    fn work(&mut self, job: &Job) {
        let span = tracing::info_span!("job", job_id = %job.id);
        let _entered = span.enter();
        tracing::info!(base_model = job.base_model, precision = %job.training.precision, "job taken up");
        self.reserve.hold();
        let (ending, memory) =
            attempt(&mut *self.trainer, &self.runtime, &self.store, &self.data_dir, &self.shared, job);
        self.settle(job, &ending, memory);
        self.shared.end();
    }

    /// Writes how an attempt ended, on a full disk into the space kept back, and again and again where the store cannot
    /// take it: nobody else will. Gives up when the server stops; the next start then finds the job running and puts it back.
    fn settle(&self, job: &Job, ending: &Ending, memory: PeakBytes) {
        loop {
            let settled = self.runtime.block_on(async {
                match ending {
                    Ending::Final(outcome) => self.store.finish(job.id, outcome, memory).await,
                    Ending::Interrupted => {
                        self.store.requeue(job.id, "the server stops; the job goes on at its next start").await
                    }
                }
            });
            match settled {
                Ok(change) => {
                    let error = change.job.error.as_ref().map(|error| format!("{}: {}", error.code, error.message));
                    tracing::info!(status = change.job.status.as_str(), error, "job left");
                    self.shared.publish_change(&change);
                    return;
                }
                Err(error @ (StoreError::NotFound { .. } | StoreError::Conflict { .. })) => {
                    report("the job changed under the worker", &error);
                    return;
                }
                Err(StoreError::Full(_)) if self.reserve.release() => continue,
                Err(error) => report("the job's end cannot be stored", &error),
            }
            if self.shared.stopping() {
                return;
            }
            let pause = async { tokio::time::timeout(self.poll_interval, self.shared.wake.notified()).await };
            let _ = self.runtime.block_on(pause);
        }
    }
}

/// Logs an error with its cause.
fn report(what: &str, error: &StoreError) {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(%error, cause, "{what}");
}
