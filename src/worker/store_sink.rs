//! From the trainer to the store and to whoever listens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::domain::{JobId, TrainEvent};
use crate::store::{PeakBytes, Store, StoreError};
use crate::training::TrainSink;

use super::memory::PeakMemory;
use super::shared::{Shared, StopFlag};

/// The least time between two writes of steps, and between two of progress alone. Small models make hundreds of steps a
/// second, and each write costs a commit; a person looking on does not see the delay.
const BATCH: Duration = Duration::from_millis(250);

/// Stores a run's events in batches, with the facts they bring, and tells them to listeners once they are stored.
/// Whatever is not a step is stored before the trainer goes on, so that a checkpoint never stands on disk before the
/// evaluation that preceded it stands in the database.
pub(super) struct StoreSink<'a> {
    runtime: &'a Runtime,
    store: &'a Store,
    shared: &'a Shared,
    job_id: JobId,
    stop: Arc<StopFlag>,
    memory: PeakMemory,
    pending: Vec<TrainEvent>,
    written_at: Option<Instant>,
    /// When a step was last written. Of its own, because progress comes right before each step: the steps of a large
    /// model would otherwise wait for the next one's progress.
    step_written_at: Option<Instant>,
    /// The most bytes of a GPU that the run told of.
    gpu_memory: Option<u64>,
    /// What the store answered when it could not take an event; the run ends then.
    failure: Option<StoreError>,
}

impl<'a> StoreSink<'a> {
    pub(super) fn new(
        runtime: &'a Runtime,
        store: &'a Store,
        shared: &'a Shared,
        job_id: JobId,
        stop: Arc<StopFlag>,
    ) -> Self {
        Self {
            runtime,
            store,
            shared,
            job_id,
            stop,
            memory: PeakMemory::start(),
            pending: Vec::new(),
            written_at: None,
            step_written_at: None,
            gpu_memory: None,
            failure: None,
        }
    }

    /// Stores what waits. After a failure nothing is stored any more: events must not be missing in the middle.
    pub(super) fn flush(&mut self) {
        if self.pending.is_empty() || self.failure.is_some() {
            return;
        }
        match self.runtime.block_on(self.store.record_events(self.job_id, &self.pending)) {
            Ok(records) => records.into_iter().for_each(|record| self.shared.publish(record)),
            Err(error) => self.failure = Some(error),
        }
        let now = Some(Instant::now());
        self.written_at = now;
        if self.pending.iter().any(|event| matches!(event, TrainEvent::Step { .. })) {
            self.step_written_at = now;
        }
        self.pending.clear();
    }

    /// What the store could not take, where it could not.
    pub(super) fn take_failure(&mut self) -> Option<StoreError> {
        self.failure.take()
    }

    /// The most memory held so far.
    pub(super) fn peak_memory(&mut self) -> PeakBytes {
        PeakBytes { host: self.memory.bytes(), gpu: self.gpu_memory }
    }
}

impl TrainSink for StoreSink<'_> {
    fn on_event(&mut self, event: TrainEvent) {
        self.memory.sample();
        let is_due = |written_at: Option<Instant>| written_at.is_none_or(|at| at.elapsed() >= BATCH);
        let is_due = match event {
            TrainEvent::Step { .. } => is_due(self.step_written_at),
            TrainEvent::Progress { .. } => is_due(self.written_at),
            _ => true,
        };
        // Only the last progress counts.
        if matches!(self.pending.last(), Some(TrainEvent::Progress { .. }))
            && matches!(event, TrainEvent::Progress { .. })
        {
            self.pending.pop();
        }
        self.pending.push(event);
        if is_due {
            self.flush();
        }
    }

    fn on_gpu_memory(&mut self, most_bytes: u64) {
        self.gpu_memory = self.gpu_memory.max(Some(most_bytes));
    }

    /// The store forgets a checkpoint only where no alias means it. What could not be stored leaves it in place.
    fn on_removal(&mut self, epoch: u32) -> bool {
        self.flush();
        if self.failure.is_some() {
            return false;
        }
        match self.runtime.block_on(self.store.release_checkpoint(self.job_id, epoch)) {
            Ok(Some(record)) => {
                self.shared.publish(record);
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.failure = Some(error);
                false
            }
        }
    }

    fn should_stop(&self) -> bool {
        self.stop.is_set() || self.failure.is_some()
    }
}
