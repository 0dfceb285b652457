//! The way to the worker from everywhere else.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{Mutex, broadcast};

use crate::domain::{DataDir, EventRecord, Job, JobId};
use crate::store::{Store, StoreError};

use super::WorkerError;
use super::feed::{EventFeed, LiveEvents};
use super::shared::Shared;

/// Submits, pauses, cancels, resumes and deletes jobs, and hears what they tell. Clones speak to the same worker, which is
/// asked to end when the last one is dropped.
#[derive(Debug, Clone)]
pub struct WorkerHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    data_dir: DataDir,
    shared: Arc<Shared>,
    /// None once it has ended. Held while somebody waits for that, so that everybody who asks waits as long.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl WorkerHandle {
    pub(super) fn new(store: Store, data_dir: DataDir, shared: Arc<Shared>, thread: JoinHandle<()>) -> Self {
        Self(Arc::new(Inner { store, data_dir, shared, thread: Mutex::new(Some(thread)) }))
    }

    /// Queues a job and wakes the worker.
    ///
    /// # Errors
    /// As [`Store::insert_job`].
    pub async fn submit(&self, job: &Job) -> Result<Job, StoreError> {
        let change = self.0.store.insert_job(job).await?;
        self.0.shared.publish_change(&change);
        self.wake();
        Ok(change.job)
    }

    /// Cancels a job: at once where it is queued or paused, within one micro-batch where it runs.
    ///
    /// # Errors
    /// As [`Store::request_cancel`].
    pub async fn cancel(&self, id: JobId) -> Result<Job, StoreError> {
        let change = self.0.store.request_cancel(id).await?;
        self.0.shared.publish_change(&change);
        // After the database: the worker announces a job before it reads the database's flag, so one of the two sees
        // the other.
        if let Some(flag) = self.0.shared.flag(id) {
            flag.cancel();
        }
        Ok(change.job)
    }

    /// Pauses a job: at once where it is queued, within one micro-batch where it runs. What it did since its last
    /// checkpoint is done again when it goes on.
    ///
    /// # Errors
    /// As [`Store::request_pause`].
    pub async fn pause(&self, id: JobId) -> Result<Job, StoreError> {
        let change = self.0.store.request_pause(id).await?;
        self.0.shared.publish_change(&change);
        // After the database, as in `cancel`.
        if let Some(flag) = self.0.shared.flag(id) {
            flag.pause();
        }
        Ok(change.job)
    }

    /// Queues a paused, failed or cancelled job again and wakes the worker; it goes on from its last checkpoint.
    ///
    /// # Errors
    /// As [`Store::resume`].
    pub async fn resume(&self, id: JobId) -> Result<Job, StoreError> {
        let change = self.0.store.resume(id).await?;
        self.0.shared.publish_change(&change);
        self.wake();
        Ok(change.job)
    }

    /// Deletes a job that has ended, with everything it made.
    ///
    /// # Errors
    /// As [`Store::delete_job`], and where its folder cannot be deleted; what is left of it goes at the next start.
    pub async fn delete(&self, id: JobId) -> Result<(), WorkerError> {
        self.0.store.delete_job(id).await?;
        let path = self.0.data_dir.job(id);
        match tokio::fs::remove_dir_all(&path).await {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(WorkerError::Io { path, source }),
            _ => Ok(()),
        }
    }

    /// Tells the worker that something may be queued; it looks by itself now and then.
    pub fn wake(&self) {
        self.0.shared.wake.notify_one();
    }

    /// The job that runs.
    #[must_use]
    pub fn running(&self) -> Option<JobId> {
        self.0.shared.running()
    }

    /// Hears a job's events from now on, those that are not stored included.
    #[must_use]
    pub fn subscribe(&self, id: JobId) -> LiveEvents {
        LiveEvents::new(id, self.0.shared.listen())
    }

    /// Hears the events of all jobs from now on.
    #[must_use]
    pub fn subscribe_to_all(&self) -> broadcast::Receiver<Arc<EventRecord>> {
        self.0.shared.listen()
    }

    /// Hears a job's events after the one numbered `last_event_id` (all where there is none): first from the store, then
    /// live, without a gap and without repeats, until the job has ended.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such job.
    pub async fn follow(&self, id: JobId, last_event_id: Option<u64>) -> Result<EventFeed, StoreError> {
        // Listening starts before the first look into the store, so nothing falls between the two.
        let live = self.subscribe(id);
        self.0.store.get_job(id).await?;
        Ok(EventFeed::new(self.0.store.clone(), live, last_event_id.unwrap_or(0)))
    }

    /// Stops the worker: the running job ends at its next micro-batch and goes back to the queue, so that the next start
    /// goes on from its last checkpoint. Returns when the thread has ended.
    ///
    /// # Errors
    /// Where the thread itself panicked, which no job can make it do.
    pub async fn shutdown(&self) -> Result<(), WorkerError> {
        self.0.shared.stop();
        let mut thread = self.0.thread.lock().await;
        let Some(thread) = thread.take() else {
            return Ok(());
        };
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(WorkerError::Io {
                path: PathBuf::from("worker thread"),
                source: std::io::Error::other("it panicked"),
            }),
        }
    }
}
