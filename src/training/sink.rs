//! The trainer's only way to the outside.

use crate::domain::TrainEvent;

/// Hears what the trainer does, and may stop it.
pub trait TrainSink {
    /// Takes an event. A checkpoint's folder is complete on disk before its event comes.
    fn on_event(&mut self, event: TrainEvent);

    /// True where the run should stop; asked between micro-batches and between packs of an evaluation.
    fn should_stop(&self) -> bool;
}
