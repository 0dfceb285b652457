//! The one thread that owns the device and works through the queue.
//!
//! Everything about a running job is decided here: it is claimed, trained and finished on the worker's thread, and only
//! the store's own statements change a status. The rest of the program speaks to the thread through [`WorkerHandle`].

mod attempt;
mod error;
mod feed;
mod handle;
pub mod memory;
mod reconcile;
mod reserve;
mod runner;
mod shared;
mod start;
mod store_sink;
mod trainer;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::DataDir;
use crate::store::Store;

pub use error::WorkerError;
pub use feed::{EventFeed, LiveError, LiveEvents};
pub use handle::WorkerHandle;
pub use trainer::{EngineTrainer, Trainer};

use reserve::Reserve;
use runner::Runner;
use shared::Shared;

/// What a worker works with.
pub struct WorkerContext {
    /// Where jobs are queued and told of.
    pub store: Store,
    /// Where datasets, models and checkpoints lie.
    pub data_dir: DataDir,
    /// What trains.
    pub trainer: Box<dyn Trainer>,
    /// How often the queue is looked at without being woken.
    pub poll_interval: Duration,
}

impl WorkerContext {
    /// A look at the queue every 5 seconds.
    #[must_use]
    pub fn new(store: Store, data_dir: DataDir, trainer: impl Trainer + 'static) -> Self {
        Self { store, data_dir, trainer: Box::new(trainer), poll_interval: Duration::from_secs(5) }
    }
}

/// The worker.
#[derive(Debug)]
pub struct Worker;

impl Worker {
    /// Locks the data directory, deletes what a crash left half done, puts jobs that it cut off back to the queue, and
    /// starts the thread. To be called before the first upload is taken.
    ///
    /// # Errors
    /// Where another process works on the data directory, or the store or the disk fails.
    pub async fn start(context: WorkerContext) -> Result<WorkerHandle, WorkerError> {
        let WorkerContext { store, data_dir, trainer, poll_interval } = context;
        let lock = start::lock(&data_dir)?;
        start::sweep(&store, &data_dir).await?;
        for change in store.requeue_orphaned().await? {
            tracing::warn!(
                job_id = %change.job.id,
                status = change.job.status.as_str(),
                "the job was running when the server last ended"
            );
        }
        let thread_error = |source| WorkerError::Io { path: "worker thread".into(), source };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("matryo-worker-io")
            .enable_time()
            .build()
            .map_err(thread_error)?;
        let shared = Arc::new(Shared::new());
        let runner = Runner {
            reserve: Reserve::new(&data_dir),
            store: store.clone(),
            data_dir: data_dir.clone(),
            trainer,
            poll_interval,
            shared: Arc::clone(&shared),
            runtime,
            lock,
        };
        let thread =
            std::thread::Builder::new().name("matryo-worker".into()).spawn(|| runner.run()).map_err(thread_error)?;
        Ok(WorkerHandle::new(store, data_dir, shared, thread))
    }
}
