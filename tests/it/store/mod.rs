//! Every statement of the store, on a freshly migrated file.

mod checkpoints;
mod datasets;
mod events;
mod full;
mod jobs;
mod metrics;
mod migrations;
mod models;
mod pause;
mod queue;
mod recovery;
mod token_lengths;

use matryo::domain::{DataDir, Dataset, Job, JobId, Model};
use matryo::store::{JobOutcome, PeakBytes, Store, StoreError};
use tempfile::TempDir;

use crate::helpers::rows;

/// A store with a dataset and a model that jobs can be queued with.
struct Fixture {
    store: Store,
    dataset: Dataset,
    model: Model,
    folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = DataDir::new(folder.path());
        let store = Store::open(&data_dir.database()).await.expect("it opens");
        let (dataset, model) = rows::inputs(&store, &data_dir).await;
        Self { store, dataset, model, folder }
    }

    /// Queues a job.
    async fn queue(&self) -> Job {
        let job = rows::job(&self.dataset, &self.model);
        self.store.insert_job(&job).await.expect("it is queued").job
    }

    /// Queues a job and claims it; there must be no other in the queue.
    async fn run(&self) -> Job {
        let id = self.queue().await.id;
        let claimed = self.store.claim_next().await.expect("it is claimed").expect("one waits").job;
        assert_eq!(claimed.id, id);
        claimed
    }

    async fn finish(&self, id: JobId) -> Job {
        let outcome = JobOutcome::Succeeded { timings: [("train".to_owned(), 1.5)].into(), profile: rows::profile() };
        self.store.finish(id, &outcome, PeakBytes { host: Some(1 << 20), gpu: None }).await.expect("it ends").job
    }
}

/// The words of an error that a client may read.
fn conflict(error: &StoreError) -> &str {
    match error {
        StoreError::Conflict { message } => message,
        other => panic!("a conflict was expected: {other:?}"),
    }
}

fn assert_not_found<T: std::fmt::Debug>(result: Result<T, StoreError>, kind: &str) {
    match result {
        Err(StoreError::NotFound { kind: found, .. }) => assert_eq!(found, kind),
        other => panic!("no such {kind} was expected: {other:?}"),
    }
}

#[tokio::test]
async fn everything_is_there_after_closing_and_opening_again() {
    let fixture = Fixture::new().await;
    let job = fixture.queue().await;
    fixture.store.close().await;
    let store = Store::open(&fixture.folder.path().join("matryo.db")).await.expect("it opens again");
    store.ping().await.expect("it answers");
    assert_eq!(store.get_job(job.id).await.expect("it is there"), job);
    assert_eq!(store.get_dataset(fixture.dataset.id).await.expect("it is there"), fixture.dataset);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("matryo.db");
    std::fs::write(&path, "this is not a database, and long enough for SQLite to notice".repeat(100)).expect("written");
    assert!(matches!(Store::open(&path).await, Err(StoreError::Database(_))));
}
