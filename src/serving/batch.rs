//! What the thread computes at once: sequences of one model, from as many requests as fit.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::model::{ModelError, SentenceEncoder, Workspace};

use super::EmbedError;

/// What is wanted of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// An embedding for each sequence, as pooled.
    Pooled,
    /// An embedding for each token.
    Tokens,
}

impl Output {
    /// Embeddings that sequences give.
    pub(super) fn rows(self, sequences: &[Vec<u32>]) -> usize {
        match self {
            Self::Pooled => sequences.len(),
            Self::Tokens => sequences.iter().map(Vec::len).sum(),
        }
    }
}

/// What the queue needs of a model; a trait so that queue and thread are tested without weights.
pub(super) trait Encoder: Send + Sync + 'static {
    /// The length of an embedding.
    fn dimension(&self) -> usize;

    /// Embeds sequences, `[rows, dimension]`; see [`Output`] and [`SentenceEncoder::encode_pooled`].
    fn encode(
        &self,
        sequences: &[Vec<u32>],
        output: Output,
        workspace: &mut Workspace,
        on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f32>, ModelError>;
}

impl Encoder for SentenceEncoder {
    fn dimension(&self) -> usize {
        self.summary().dimension
    }

    fn encode(
        &self,
        sequences: &[Vec<u32>],
        output: Output,
        workspace: &mut Workspace,
        on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f32>, ModelError> {
        match output {
            Output::Pooled => self.encode_pooled(sequences, workspace, on_progress),
            Output::Tokens => self.encode_tokens(sequences, workspace, on_progress),
        }
    }
}

/// A request's embeddings.
#[derive(Debug)]
pub(super) struct Computed {
    /// `[rows, dimension]`.
    pub(super) values: Vec<f32>,
    /// How long it waited for its first batch.
    pub(super) queue: Duration,
    /// From then to its end.
    pub(super) inference: Duration,
}

/// One request on its way through the queue.
pub(super) struct Work<E> {
    encoder: Arc<E>,
    output: Output,
    /// Token ids; those of sequences that a batch has taken are empty.
    sequences: Vec<Vec<u32>>,
    /// How many sequences batches have taken.
    taken: usize,
    /// Embeddings so far.
    values: Vec<f32>,
    /// The caller; closed once it has left.
    reply: oneshot::Sender<Result<Computed, EmbedError>>,
    /// The request's places among those that may wait, given back with it.
    place: OwnedSemaphorePermit,
    queued_at: Instant,
    begun_at: Option<Instant>,
}

/// The answer to come.
pub(super) type Answer = oneshot::Receiver<Result<Computed, EmbedError>>;

impl<E> Work<E> {
    /// A request that begins to wait now, and where its answer will be.
    pub(super) fn new(
        encoder: Arc<E>,
        output: Output,
        sequences: Vec<Vec<u32>>,
        place: OwnedSemaphorePermit,
    ) -> (Self, Answer) {
        let (reply, answer) = oneshot::channel();
        let (taken, values, queued_at, begun_at) = (0, Vec::new(), Instant::now(), None);
        (Self { encoder, output, sequences, taken, values, reply, place, queued_at, begun_at }, answer)
    }

    pub(super) fn caller_has_left(&self) -> bool {
        self.reply.is_closed()
    }

    /// Texts that no batch has taken yet.
    pub(super) fn waiting_texts(&self) -> usize {
        self.sequences.len() - self.taken
    }

    /// Tokens that no batch has taken yet.
    pub(super) fn waiting_tokens(&self) -> usize {
        self.sequences.iter().map(Vec::len).sum()
    }

    /// Adds what a batch computed of it. True where that was the last.
    pub(super) fn add(&mut self, values: Vec<f32>) -> bool {
        if self.values.is_empty() {
            self.values = values
        } else {
            self.values.extend(values)
        }
        self.taken == self.sequences.len()
    }

    /// Ends the request. Its places are free before the caller knows, so that he finds room for his next one.
    pub(super) fn answer(self, failure: Option<EmbedError>) {
        let Self { values, reply, place, queued_at, begun_at, .. } = self;
        drop(place);
        let begun_at = begun_at.unwrap_or_else(Instant::now);
        let computed = Computed { values, queue: begun_at - queued_at, inference: begun_at.elapsed() };
        // An error here means that the caller has left.
        let _ = reply.send(failure.map_or(Ok(computed), Err));
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
        if used > 0 {
            self.begun_at.get_or_insert_with(Instant::now);
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
    pub(super) output: Output,
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
                output: work.output,
                sequences: Vec::new(),
                parts: Vec::new(),
            });
            if !Arc::ptr_eq(&batch.encoder, &work.encoder) || batch.output != work.output {
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
