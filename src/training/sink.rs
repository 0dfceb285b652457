//! The trainer's only way to the outside.

use crate::domain::TrainEvent;

use super::TrainError;

/// Hears what the trainer does, and may stop it.
pub trait TrainSink: Send {
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
