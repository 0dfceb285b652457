//! Requests between the callers' tasks and the thread that computes.
//!
//! A request larger than a batch gives way after each batch: what is left of it goes to the back, so that a short
//! request never waits for a long one's end.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::EmbedError;
use super::batch::{Batch, Work};

/// Requests that wait.
pub(super) struct Queue<E> {
    state: Mutex<State<E>>,
    changed: Condvar,
    max_batch_tokens: usize,
}

struct State<E> {
    waiting: VecDeque<Work<E>>,
    closed: bool,
}

impl<E> Queue<E> {
    pub(super) fn new(max_batch_tokens: usize) -> Self {
        let state = Mutex::new(State { waiting: VecDeque::new(), closed: false });
        Self { state, changed: Condvar::new(), max_batch_tokens }
    }

    /// Adds requests; after [`Queue::close`] they are answered at once.
    pub(super) fn push(&self, works: impl IntoIterator<Item = Work<E>>) {
        let mut state = self.state();
        if state.closed {
            drop(state);
            refuse(works);
        } else {
            state.waiting.extend(works);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Waits for the next batch; none after [`Queue::close`].
    pub(super) fn next_batch(&self) -> Option<Batch<E>> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(batch) = Batch::form(&mut state.waiting, self.max_batch_tokens) {
                return Some(batch);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Answers what waits with [`EmbedError::ShuttingDown`], as all that comes later.
    pub(super) fn close(&self) {
        let waiting = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        self.changed.notify_all();
        refuse(waiting);
    }

    fn state(&self) -> MutexGuard<'_, State<E>> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse<E>(works: impl IntoIterator<Item = Work<E>>) {
    for work in works {
        work.answer(Err(EmbedError::ShuttingDown));
    }
}
