//! The trainer's only way to the outside.

use crate::domain::{EvaluationMetrics, TrainEvent};
use crate::evaluation::Rankings;
use crate::evaluation::information_retrieval::RetrievalTask;

use super::{StepLog, TrainError};

/// Where a run begins: all of it empty or 0, unless it goes on from a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct RunStart<'a> {
    /// Epochs done.
    pub epoch: u32,
    /// Optimizer steps done.
    pub step: u64,
    /// What was logged by then.
    pub log: &'a [StepLog],
    /// Metrics by epoch, baseline first.
    pub evaluations: &'a [EvaluationMetrics],
    /// The dimensions that evaluations will be of.
    pub dims: &'a [usize],
}

/// Hears what the trainer does, and may stop it.
pub trait TrainSink: Send {
    /// Hears where the run begins, before anything else.
    fn on_start(&mut self, _start: &RunStart<'_>) {}

    /// Hears what evaluations will ask; true where it wants to hear what they find.
    fn on_task(&mut self, _task: &RetrievalTask) -> bool {
        false
    }

    /// Hears what the evaluation of an epoch found, right before its event.
    fn on_rankings(&mut self, _epoch: u32, _rankings: &Rankings) {}

    /// Hears the most bytes of a GPU's memory that the run held so far, where a GPU computes it.
    fn on_gpu_memory(&mut self, _most_bytes: u64) {}

    /// Takes an event. A checkpoint's folder is complete on disk before its event comes.
    fn on_event(&mut self, event: TrainEvent);

    /// Hears that a checkpoint is about to be deleted, to keep to `save_total_limit`; false where it must stay.
    fn on_removal(&mut self, epoch: u32) -> bool {
        self.on_event(TrainEvent::CheckpointRemoved { epoch });
        true
    }

    /// True where the run should stop; asked between the packs of micro-batches and of an evaluation.
    fn should_stop(&self) -> bool;
}

/// Asks the sink.
///
/// # Errors
/// [`TrainError::Cancelled`] where the run should stop.
pub(super) fn stop_if_asked(sink: &dyn TrainSink) -> Result<(), TrainError> {
    if sink.should_stop() { Err(TrainError::Cancelled) } else { Ok(()) }
}
