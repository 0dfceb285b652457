//! A job's events for one listener: replay, then live.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::domain::{EventRecord, JobEvent, JobId};
use crate::store::{Store, StoreError};

/// Events read from the store at once.
const REPLAY: u32 = 500;

/// A job's events as they happen.
#[derive(Debug)]
pub struct LiveEvents {
    job_id: JobId,
    receiver: broadcast::Receiver<Arc<EventRecord>>,
}

/// Why no live event comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LiveError {
    /// The listener was too slow and missed some; the store has those that count.
    #[error("events were missed")]
    Lagged,
    /// The worker has ended.
    #[error("the worker has ended")]
    Closed,
}

impl LiveEvents {
    pub(super) fn new(job_id: JobId, receiver: broadcast::Receiver<Arc<EventRecord>>) -> Self {
        Self { job_id, receiver }
    }

    /// Waits for the job's next event. May be dropped at any time without losing one.
    ///
    /// # Errors
    /// [`LiveError::Lagged`], after which it goes on, and [`LiveError::Closed`], after which it does not.
    pub async fn next(&mut self) -> Result<Arc<EventRecord>, LiveError> {
        loop {
            match self.receiver.recv().await {
                Ok(record) if record.job_id == self.job_id => return Ok(record),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Err(LiveError::Lagged),
                Err(RecvError::Closed) => return Err(LiveError::Closed),
            }
        }
    }
}

/// A job's events, each stored one exactly once and in order, those that are not stored as they come.
#[derive(Debug)]
pub struct EventFeed {
    store: Store,
    live: LiveEvents,
    /// The last stored event that was given out.
    last_id: u64,
    replayed: VecDeque<EventRecord>,
    /// True while the store may hold events that were not given out.
    behind: bool,
    ended: bool,
}

impl EventFeed {
    pub(super) fn new(store: Store, live: LiveEvents, last_id: u64) -> Self {
        Self { store, live, last_id, replayed: VecDeque::new(), behind: true, ended: false }
    }

    /// Waits for the next event; none once the job has ended and everything was told, or the worker has stopped. May be
    /// dropped at any time without losing one.
    ///
    /// # Errors
    /// Where the store fails; the feed may be asked again.
    pub async fn next(&mut self) -> Result<Option<EventRecord>, StoreError> {
        loop {
            if let Some(record) = self.replayed.pop_front() {
                self.last_id = record.id.unwrap_or(self.last_id);
                return Ok(Some(record));
            }
            if self.ended {
                return Ok(None);
            }
            if self.behind {
                self.replay().await?;
                continue;
            }
            match self.live.next().await {
                Ok(record) => match record.id {
                    None => return Ok(Some(EventRecord::clone(&record))),
                    // Replay has told it already.
                    Some(id) if id <= self.last_id => {}
                    Some(id) => {
                        self.last_id = id;
                        // Whether this is the end, the store knows: the job may have been resumed at once.
                        self.behind = matches!(&record.event, JobEvent::Status { status, .. } if status.is_final());
                        return Ok(Some(EventRecord::clone(&record)));
                    }
                },
                Err(LiveError::Lagged) => self.behind = true,
                Err(LiveError::Closed) => self.ended = true,
            }
        }
    }

    /// Reads what the store has beyond the last event; finds out whether the job has ended where it has nothing.
    async fn replay(&mut self) -> Result<(), StoreError> {
        // The status is read before the events: a job that had ended by then tells nothing after.
        let status = match self.store.get_job(self.live.job_id).await {
            Ok(job) => Some(job.status),
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let records = self.store.events_after(self.live.job_id, self.last_id, REPLAY).await?;
        if records.is_empty() {
            self.behind = false;
            self.ended = status.is_none_or(|status| status.is_final());
        }
        self.replayed = records.into();
        Ok(())
    }
}
