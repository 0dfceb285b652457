//! What the thread computes at once: sequences of one model, from as many requests as fit.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::model::{ModelError, SentenceEncoder, Workspace};

use super::EmbedError;

/// What the queue needs of a model; a trait so that queue and thread are tested without weights.
pub(super) trait Encoder: Send + Sync + 'static {
    /// The length of an embedding.
    fn dimension(&self) -> usize;

    /// Embeds sequences, `[sequences, dimension]`, as pooled; see [`SentenceEncoder::encode_pooled`].
    fn encode_pooled(
        &self,
        sequences: &[Vec<u32>],
        workspace: &mut Workspace,
        on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f32>, ModelError>;
}

impl Encoder for SentenceEncoder {
    fn dimension(&self) -> usize {
        self.summary().dimension
    }

    fn encode_pooled(
        &self,
        sequences: &[Vec<u32>],
        workspace: &mut Workspace,
        on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f32>, ModelError> {
        SentenceEncoder::encode_pooled(self, sequences, workspace, on_progress)
    }
}

/// One request on its way through the queue.
pub(super) struct Work<E> {
    pub(super) encoder: Arc<E>,
    /// Token ids; those of sequences that a batch has taken are empty.
    pub(super) sequences: Vec<Vec<u32>>,
    /// How many sequences batches have taken.
    pub(super) taken: usize,
    /// Embeddings so far, `[sequences done, dimension]`.
    pub(super) values: Vec<f32>,
    /// The caller; closed once it has left.
    pub(super) reply: oneshot::Sender<Result<Vec<f32>, EmbedError>>,
    /// The request's place among those that may wait, given back with it.
    pub(super) place: OwnedSemaphorePermit,
}

impl<E> Work<E> {
    pub(super) fn caller_has_left(&self) -> bool {
        self.reply.is_closed()
    }

    /// Ends the request. Its place is free before the caller knows, so that he finds room for his next one.
    pub(super) fn answer(self, answer: Result<Vec<f32>, EmbedError>) {
        drop(self.place);
        // An error here means that the caller has left.
        let _ = self.reply.send(answer);
    }

    /// Moves the next sequences out, as long as they fit into `tokens`; `whatever` the first one's length.
    fn take(&mut self, tokens: usize, whatever: bool, sequences: &mut Vec<Vec<u32>>) -> usize {
        let mut used = 0;
        for sequence in &mut self.sequences[self.taken..] {
            let fits = used + sequence.len() <= tokens || (whatever && used == 0);
            if !fits {
                break;
            }
            used += sequence.len();
            self.taken += 1;
            sequences.push(std::mem::take(sequence));
        }
        used
    }
}

/// One request's share of a batch.
pub(super) struct Part<E> {
    pub(super) work: Work<E>,
    /// Its sequences in the batch.
    pub(super) range: Range<usize>,
}

/// What is computed at once.
pub(super) struct Batch<E> {
    pub(super) encoder: Arc<E>,
    pub(super) sequences: Vec<Vec<u32>>,
    pub(super) parts: Vec<Part<E>>,
}

impl<E> Batch<E> {
    /// Takes what comes first, and what waits for the same model up to `max_tokens`; a single sequence may exceed them.
    /// Requests whose callers have left are dropped. What does not fit stays where it was, so it comes first next time.
    pub(super) fn form(waiting: &mut VecDeque<Work<E>>, max_tokens: usize) -> Option<Self> {
        let mut batch: Option<Self> = None;
        let mut left = max_tokens;
        let mut stay = VecDeque::with_capacity(waiting.len());
        for mut work in waiting.drain(..).filter(|work| !work.caller_has_left()) {
            let is_first = batch.is_none();
            let batch = batch.get_or_insert_with(|| Self {
                encoder: Arc::clone(&work.encoder),
                sequences: Vec::new(),
                parts: Vec::new(),
            });
            if !Arc::ptr_eq(&batch.encoder, &work.encoder) {
                stay.push_back(work);
                continue;
            }
            let start = batch.sequences.len();
            left = left.saturating_sub(work.take(left, is_first, &mut batch.sequences));
            let range = start..batch.sequences.len();
            if range.is_empty() {
                stay.push_back(work);
            } else {
                batch.parts.push(Part { work, range });
            }
        }
        *waiting = stay;
        batch
    }
}
