//! What the worker's thread and its handles share.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, broadcast};

use crate::domain::{EventRecord, JobId};
use crate::store::StatusChange;

/// Live events that a subscriber may fall behind; then it reads from the store what it missed.
const LIVE_EVENTS: usize = 1024;

/// Asks a run to stop; the run looks between micro-batches.
#[derive(Debug, Default)]
pub(super) struct StopFlag(AtomicU8);

const GO_ON: u8 = 0;
const SHUTDOWN: u8 = 1;
const PAUSE: u8 = 2;
const CANCEL: u8 = 3;

impl StopFlag {
    /// The owner no longer wants the job. Outweighs a shutdown, since the job would otherwise come back.
    pub(super) fn cancel(&self) {
        self.0.fetch_max(CANCEL, Ordering::Relaxed);
    }

    /// The owner wants the job to rest. What becomes of it then, the database knows: a shutdown that comes with it
    /// changes nothing.
    pub(super) fn pause(&self) {
        self.0.fetch_max(PAUSE, Ordering::Relaxed);
    }

    /// The server stops.
    pub(super) fn shut_down(&self) {
        self.0.fetch_max(SHUTDOWN, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != GO_ON
    }

    pub(super) fn is_cancel(&self) -> bool {
        self.0.load(Ordering::Relaxed) == CANCEL
    }
}

/// Behind a mutex that is never held across a wait.
#[derive(Debug)]
struct State {
    /// The job that runs, with its flag.
    running: Option<(JobId, Arc<StopFlag>)>,
    /// True once the worker should end.
    stopping: bool,
    /// None once the worker ended, so that every subscriber hears of it.
    events: Option<broadcast::Sender<Arc<EventRecord>>>,
}

/// What the worker's thread and its handles share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Told when there may be something to claim, or when the worker should end.
    pub(super) wake: Notify,
    state: Mutex<State>,
}

impl Shared {
    pub(super) fn new() -> Self {
        let (events, _) = broadcast::channel(LIVE_EVENTS);
        Self { wake: Notify::new(), state: Mutex::new(State { running: None, stopping: false, events: Some(events) }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and the state would be whole even then.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells everybody who listens.
    pub(super) fn publish(&self, record: EventRecord) {
        if let Some(events) = &self.state().events {
            // An error only means that nobody listens.
            let _ = events.send(Arc::new(record));
        }
    }

    /// Tells of a change of status, where there was one.
    pub(super) fn publish_change(&self, change: &StatusChange) {
        if let Some(event) = &change.event {
            self.publish(event.clone());
        }
    }

    /// Hears what is published from now on; nothing where the worker has ended.
    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<EventRecord>> {
        match &self.state().events {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    /// The job that runs.
    pub(super) fn running(&self) -> Option<JobId> {
        self.state().running.as_ref().map(|(id, _)| *id)
    }

    /// Announces that a job runs now; the flag is set already where the worker should end.
    pub(super) fn begin(&self, id: JobId) -> Arc<StopFlag> {
        let flag = Arc::new(StopFlag::default());
        let mut state = self.state();
        if state.stopping {
            flag.shut_down();
        }
        state.running = Some((id, Arc::clone(&flag)));
        flag
    }

    /// Announces that no job runs.
    pub(super) fn end(&self) {
        self.state().running = None;
    }

    /// The job's flag, where it is the one that runs.
    pub(super) fn flag(&self, id: JobId) -> Option<Arc<StopFlag>> {
        let state = self.state();
        state.running.as_ref().filter(|(running, _)| *running == id).map(|(_, flag)| Arc::clone(flag))
    }

    /// Asks the worker to end.
    pub(super) fn stop(&self) {
        {
            let mut state = self.state();
            state.stopping = true;
            if let Some((_, flag)) = &state.running {
                flag.shut_down();
            }
        }
        self.wake.notify_one();
    }

    pub(super) fn stopping(&self) -> bool {
        self.state().stopping
    }

    /// Ends the live events of every subscriber.
    pub(super) fn close(&self) {
        self.state().events = None;
    }
}
