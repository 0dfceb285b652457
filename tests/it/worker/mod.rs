//! The worker with a trainer that trains nothing, on a real SQLite file.

mod cancel;
mod events;
mod failures;
mod pause;
mod queue;
mod recovery;

use std::time::Duration;

use matryo::domain::{DataDir, Dataset, EventRecord, Job, JobId, JobStatus, Model};
use matryo::store::{Store, StoreOptions};
use matryo::worker::{Trainer, Worker, WorkerContext, WorkerHandle};
use tempfile::TempDir;

use crate::helpers::rows;

/// A worker, and what jobs are made from.
struct Fixture {
    store: Store,
    data_dir: DataDir,
    worker: WorkerHandle,
    dataset: Dataset,
    model: Model,
    _folder: TempDir,
}

impl Fixture {
    async fn start(trainer: impl Trainer + 'static) -> Self {
        Self::start_with(trainer, &StoreOptions::default()).await
    }

    async fn start_with(trainer: impl Trainer + 'static, options: &StoreOptions) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = DataDir::new(folder.path());
        let store = Store::open_with(&data_dir.database(), options).await.expect("it opens");
        let (dataset, model) = rows::inputs(&store, &data_dir).await;
        let worker = start_worker(&store, &data_dir, trainer).await;
        Self { store, data_dir, worker, dataset, model, _folder: folder }
    }

    /// Starts another worker where this one has ended.
    async fn restart(self, trainer: impl Trainer + 'static) -> Self {
        self.worker.shutdown().await.expect("it ends");
        self.start_again(trainer).await
    }

    /// Starts a worker on what is there; an earlier one must have ended.
    async fn start_again(self, trainer: impl Trainer + 'static) -> Self {
        let worker = start_worker(&self.store, &self.data_dir, trainer).await;
        Self { worker, ..self }
    }

    async fn submit(&self) -> Job {
        self.worker.submit(&rows::job(&self.dataset, &self.model)).await.expect("it is queued")
    }

    async fn job(&self, id: JobId) -> Job {
        self.store.get_job(id).await.expect("it is there")
    }

    /// Follows a job to its end; everything that it told.
    async fn follow(&self, id: JobId) -> Vec<EventRecord> {
        let mut feed = self.worker.follow(id, None).await.expect("it is there");
        let mut told = Vec::new();
        while let Some(record) = within_patience(feed.next()).await.expect("the store answers") {
            told.push(record);
        }
        told
    }

    /// Waits for a job's end.
    async fn end(&self, id: JobId) -> Job {
        self.follow(id).await;
        let job = self.job(id).await;
        assert!(job.status.is_final(), "{:?}", job.status);
        job
    }

    /// Waits until a job has told something of this type.
    async fn told(&self, id: JobId, type_name: &str) {
        let mut feed = self.worker.follow(id, None).await.expect("it is there");
        loop {
            let record = within_patience(feed.next()).await.expect("the store answers").expect("it goes on");
            if record.event.type_name() == type_name {
                return;
            }
        }
    }
}

async fn start_worker(store: &Store, data_dir: &DataDir, trainer: impl Trainer + 'static) -> WorkerHandle {
    Worker::start(WorkerContext::new(store.clone(), data_dir.clone(), trainer)).await.expect("it starts")
}

/// Something hangs where this takes long.
async fn within_patience<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it comes in time")
}

/// What a job told, as types; statuses by their word.
fn types(told: &[EventRecord]) -> Vec<&str> {
    let word = |record: &'_ EventRecord| match &record.event {
        matryo::domain::JobEvent::Status { status, .. } => JobStatus::as_str(*status),
        other => other.type_name(),
    };
    told.iter().map(word).collect()
}
