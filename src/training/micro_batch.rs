//! One micro-batch's loss and gradient, in bounded memory.
//!
//! In-batch negatives tie all pairs of a micro-batch together, but only through their embeddings. So a micro-batch of
//! more tokens than the activations of which may be kept is computed in packs, as gradient caching does it (Gao, Zhang,
//! Han and Callan 2021; sentence-transformers' CachedMultipleNegativesRankingLoss): embed each pack and keep nothing,
//! take the loss and its gradient by all embeddings at once, then for each pack go forward again, with the same dropout
//! masks, and back. Sums may round differently; the mathematics is the same. The last pack is still kept when its
//! turn to go back comes first, so that a micro-batch of one pack is computed once, and is no case of its own.

use std::ops::Range;

use crate::data::packing::PackedBatch;
use crate::model::{DropoutKey, SentenceEncoder, Workspace};

use super::TrainError;
use super::losses::matryoshka::{LossOutput, MatryoshkaLoss};
use super::profile::{Spent, Stopwatch};

/// What the activations kept at once may take. The recipe's micro-batches of 32 pairs need about a seventh of it for
/// MiniLM and half of it for a BERT-base model.
const KEPT_BYTES: usize = 2 << 30;

/// The most tokens of a pack of this encoder.
#[must_use]
pub fn token_budget(encoder: &SentenceEncoder) -> usize {
    KEPT_BYTES / encoder.kept_bytes_per_token()
}

/// A micro-batch's tokens, ready to be computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicroBatch {
    /// In the order of the sequences.
    packs: Vec<PackedBatch>,
}

impl MicroBatch {
    /// Packs the anchors' sequences and, after them, the positives' in the same order, at most `token_budget` tokens
    /// together (or one sequence).
    pub fn pack<'a>(sequences: impl IntoIterator<Item = &'a [u32]>, token_budget: usize) -> Self {
        Self { packs: PackedBatch::within(sequences, token_budget) }
    }

    /// How many packs it is computed in.
    #[must_use]
    pub fn packs(&self) -> usize {
        self.packs.len()
    }

    fn sequences(&self) -> usize {
        self.packs.iter().map(PackedBatch::sequences).sum()
    }

    /// Each pack with the places of its sequences and the dropout masks of its place.
    fn placed(&self, dropout: Option<DropoutKey>) -> Vec<Placed<'_>> {
        let (mut sequence, mut token) = (0, 0);
        let place = |pack| {
            let placed = Placed {
                pack,
                sequences: sequence..sequence + PackedBatch::sequences(pack),
                dropout: dropout.map(|key| key.from(sequence, token)),
            };
            sequence += pack.sequences();
            token += pack.tokens();
            placed
        };
        self.packs.iter().map(place).collect()
    }
}

/// A pack at its place in the micro-batch.
struct Placed<'a> {
    pack: &'a PackedBatch,
    sequences: Range<usize>,
    dropout: Option<DropoutKey>,
}

/// Computes micro-batches and adds up their gradients.
#[derive(Debug)]
pub struct GradientAccumulator {
    loss: MatryoshkaLoss,
    /// The gradient so far, `[parameters]`.
    gradients: Vec<f32>,
    /// The micro-batch's embeddings, `[2 × pairs, dimension]`, and the loss's gradient by them.
    embeddings: Vec<f32>,
    d_embeddings: Vec<f32>,
    workspace: Workspace,
}

impl GradientAccumulator {
    /// Starts with a gradient of zero.
    #[must_use]
    pub fn new(encoder: &SentenceEncoder, loss: MatryoshkaLoss) -> Self {
        Self {
            loss,
            gradients: vec![0.0; encoder.parameters().flat.len()],
            embeddings: Vec::new(),
            d_embeddings: Vec::new(),
            workspace: Workspace::default(),
        }
    }

    /// The gradient since the start or the last [`GradientAccumulator::clear`], `[parameters]`.
    #[must_use]
    pub fn gradients(&self) -> &[f32] {
        &self.gradients
    }

    /// Sets the gradient to zero.
    pub fn clear(&mut self) {
        self.gradients.fill(0.0);
    }

    /// Room for the encoder to work in, to be shared with evaluations.
    pub fn workspace(&mut self) -> &mut Workspace {
        &mut self.workspace
    }

    /// Adds `share` times the gradient of a micro-batch's loss and returns the loss. Where the loss is not finite, no
    /// gradient is added. Time and work are added to `spent`. `keep_going` is asked before each pack.
    ///
    /// # Errors
    /// [`TrainError::Cancelled`] where `keep_going` says no.
    pub fn add(
        &mut self,
        encoder: &SentenceEncoder,
        micro_batch: &MicroBatch,
        dropout: Option<DropoutKey>,
        share: f32,
        spent: &mut Spent,
        keep_going: &dyn Fn() -> bool,
    ) -> Result<LossOutput, TrainError> {
        let go_on = || if keep_going() { Ok(()) } else { Err(TrainError::Cancelled) };
        let dimension = encoder.summary().dimension;
        let numbers = |rows: &Range<usize>| rows.start * dimension..rows.end * dimension;
        self.embeddings.resize(micro_batch.sequences() * dimension, 0.0);
        self.d_embeddings.resize(self.embeddings.len(), 0.0);
        let packs = micro_batch.placed(dropout);
        let mut watch = Stopwatch::start();
        let last = packs.len() - 1;
        for (number, Placed { pack, sequences, dropout }) in packs.iter().enumerate() {
            go_on()?;
            let embeddings = if number == last {
                encoder.forward(pack, *dropout, &mut self.workspace)
            } else {
                encoder.forward_unkept(pack, *dropout, &mut self.workspace)
            };
            self.embeddings[numbers(sequences)].copy_from_slice(embeddings);
        }
        watch.lap(&mut spent.seconds.forward);
        let (anchors, positives) = self.embeddings.split_at(self.embeddings.len() / 2);
        let (d_anchors, d_positives) = self.d_embeddings.split_at_mut(anchors.len());
        let output = self.loss.forward_backward(anchors, positives, dimension, share, d_anchors, d_positives);
        watch.lap(&mut spent.seconds.loss);
        if !output.total.is_finite() {
            return Ok(output);
        }
        for (number, Placed { pack, sequences, dropout }) in packs.iter().enumerate().rev() {
            if number != last {
                go_on()?;
                encoder.forward(pack, *dropout, &mut self.workspace);
                watch.lap(&mut spent.seconds.forward);
            }
            let d_embeddings = &self.d_embeddings[numbers(sequences)];
            encoder.backward(pack, d_embeddings, &mut self.workspace, &mut self.gradients);
            watch.lap(&mut spent.seconds.backward);
            spent.tokens += pack.tokens() as u64;
            // Backward multiplies by the weights and by the inputs, so it takes twice what forward takes.
            spent.operations += 3 * encoder.forward_operations(pack);
        }
        Ok(output)
    }
}
