//! Requests between the callers' tasks and the thread that computes.
//!
//! A request larger than a batch gives way after each batch: what is left of it goes to the back, so that a short
//! request never waits for a long one's end.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::EmbedError;
use super::batch::{Batch, Work};
use super::metrics::QueueMetrics;

/// Requests that wait.
pub(super) struct Queue<E> {
    state: Mutex<State<E>>,
    changed: Condvar,
    max_batch_tokens: usize,
    pub(super) metrics: QueueMetrics,
}

struct State<E> {
    waiting: VecDeque<Work<E>>,
    closed: bool,
    /// How fast tokens were computed lately, per second; none before the first batch.
    tokens_per_second: Option<f64>,
}

/// The share of the latest batch in the rate.
const LATEST: f64 = 0.2;
/// What clients are told to wait at most, in seconds.
const LONGEST_WAIT: f64 = 60.0;

impl<E> Queue<E> {
    pub(super) fn new(max_batch_tokens: usize) -> Self {
        let state = Mutex::new(State { waiting: VecDeque::new(), closed: false, tokens_per_second: None });
        Self { state, changed: Condvar::new(), max_batch_tokens, metrics: QueueMetrics::new() }
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

    /// Notes how large a batch was and how long it took.
    pub(super) fn computed(&self, texts: usize, tokens: usize, duration: Duration) {
        self.metrics.batch_texts.observe(texts as f64);
        self.metrics.batch_tokens.observe(tokens as f64);
        self.metrics.batch_seconds.observe(duration.as_secs_f64());
        let rate = tokens as f64 / duration.as_secs_f64().max(f64::MIN_POSITIVE);
        let mut state = self.state();
        let before = state.tokens_per_second.unwrap_or(rate);
        state.tokens_per_second = Some(before + LATEST * (rate - before));
    }

    /// Sets the gauges to what waits now.
    pub(super) fn measure(&self) {
        let state = self.state();
        let sum = |count: fn(&Work<E>) -> usize| state.waiting.iter().map(count).sum::<usize>() as i64;
        self.metrics.waiting_texts.set(sum(Work::waiting_texts));
        self.metrics.waiting_tokens.set(sum(Work::waiting_tokens));
    }

    /// How long it takes until about half of what waits is done, in whole seconds: when it is worth trying again.
    pub(super) fn retry_after_seconds(&self) -> u64 {
        let state = self.state();
        let waiting: usize = state.waiting.iter().map(Work::waiting_tokens).sum();
        let seconds = state.tokens_per_second.map_or(0.0, |rate| waiting as f64 / 2.0 / rate);
        seconds.ceil().clamp(1.0, LONGEST_WAIT) as u64
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
        work.answer(Some(EmbedError::ShuttingDown));
    }
}
