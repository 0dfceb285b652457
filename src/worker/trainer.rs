//! What the worker asks to train, behind a trait so that the queue can be tested without a model.

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::model::Hardware;
use crate::training::{self, TrainError, TrainReport, TrainRequest, TrainSink};

/// Trains one job after another on the thread that owns the device.
pub trait Trainer: Send {
    /// Runs a job; see [`training::run`].
    ///
    /// # Errors
    /// As [`training::run`].
    fn train(&mut self, request: &TrainRequest, sink: &mut dyn TrainSink) -> Result<TrainReport, TrainError>;
}

/// The real one, with threads of its own.
#[derive(Debug)]
pub struct EngineTrainer {
    pool: ThreadPool,
    hardware: Hardware,
}

impl EngineTrainer {
    /// As many threads as there are cores. They give way to all others by their niceness, so that a request to embed has
    /// the cores for itself within moments, also in the middle of a step.
    ///
    /// # Errors
    /// Where the system gives no threads.
    pub fn new(nice: u8, hardware: Hardware) -> Result<Self, ThreadPoolBuildError> {
        let pool = ThreadPoolBuilder::new().thread_name(|index| format!("matryo-training-{index}"));
        let pool = pool.start_handler(move |_| give_way(nice)).build()?;
        Ok(Self { pool, hardware })
    }
}

/// On Linux niceness is a thread's own.
#[cfg(target_os = "linux")]
fn give_way(nice: u8) {
    if let Err(error) = rustix::process::nice(nice.into()) {
        tracing::warn!(%error, "training cannot be made to give way to embedding");
    }
}

#[cfg(not(target_os = "linux"))]
fn give_way(_nice: u8) {}

impl Trainer for EngineTrainer {
    fn train(&mut self, request: &TrainRequest, sink: &mut dyn TrainSink) -> Result<TrainReport, TrainError> {
        self.pool.install(|| training::run(&self.hardware, request, sink))
    }
}
