//! What the worker asks to train, behind a trait so that the queue can be tested without a model.

use crate::training::{self, TrainError, TrainReport, TrainRequest, TrainSink};

/// Trains one job after another on the thread that owns the device.
pub trait Trainer: Send {
    /// Runs a job; see [`training::run`].
    ///
    /// # Errors
    /// As [`training::run`].
    fn train(&mut self, request: &TrainRequest, sink: &mut dyn TrainSink) -> Result<TrainReport, TrainError>;
}

/// The real one.
#[derive(Debug, Default)]
pub struct EngineTrainer;

impl Trainer for EngineTrainer {
    fn train(&mut self, request: &TrainRequest, sink: &mut dyn TrainSink) -> Result<TrainReport, TrainError> {
        training::run(request, sink)
    }
}
