//! The one thread that owns the device and works through the queue.
//!
//! Everything about a running job is decided here: it is claimed, trained and finished on the worker's thread, and only
//! the store's own statements change a status. The rest of the program speaks to the thread through [`WorkerHandle`].

mod error;
mod feed;
mod handle;
mod shared;
mod trainer;

use std::time::Duration;

use crate::domain::DataDir;
use crate::store::Store;

pub use error::WorkerError;
pub use feed::{EventFeed, LiveError, LiveEvents};
pub use handle::WorkerHandle;
pub use trainer::{EngineTrainer, Trainer};

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
    /// The real trainer, and a look at the queue every 5 seconds.
    #[must_use]
    pub fn new(store: Store, data_dir: DataDir) -> Self {
        Self { store, data_dir, trainer: Box::new(EngineTrainer), poll_interval: Duration::from_secs(5) }
    }
}

/// The worker.
#[derive(Debug)]
pub struct Worker;

impl Worker {
    /// Locks the data directory, puts jobs that a crash cut off back to the queue, and starts the thread.
    ///
    /// # Errors
    /// Where another process works on the data directory, or the store or the disk fails.
    pub async fn start(_context: WorkerContext) -> Result<WorkerHandle, WorkerError> {
        todo!("worker")
    }
}
