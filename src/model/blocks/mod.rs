//! The blocks that an encoder is composed of: each has a forward that keeps what its backward needs, and that backward.

mod attention;
mod embedding;
mod feed_forward;
mod partial_sums;
mod pooling;
mod weights;

pub(super) use attention::{AttentionScratch, SavedAttention, SelfAttention};
pub(super) use embedding::{SavedEmbedding, TokenEmbedding};
pub(super) use feed_forward::{FeedForward, FeedForwardScratch, SavedFeedForward};
pub(super) use pooling::{normalize, normalize_backward, pool, pool_backward};
pub(super) use weights::{LinearWeights, NormWeights, Weights, find};

use crate::kernels::dropout::DropoutStream;

use super::DropoutKey;

/// Whether a forward keeps what backward needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// All of it.
    ForBackward,
    /// Nothing: each layer uses the room of the one before.
    Nothing,
}

/// The dropout of one forward pass: none at all where there is no key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropout {
    key: Option<DropoutKey>,
    hidden_rate: f32,
    attention_rate: f32,
}

/// Where in a layer something is dropped.
#[derive(Debug, Clone, Copy)]
pub(super) enum DropoutSite {
    /// The embeddings, below all layers.
    Embedding,
    /// A layer's attention probabilities.
    Probabilities(usize),
    /// A layer's attention output.
    AttentionOutput(usize),
    /// A layer's feed-forward output.
    FeedForwardOutput(usize),
}

impl Dropout {
    pub(super) fn new(key: Option<DropoutKey>, hidden_rate: f32, attention_rate: f32) -> Self {
        Self { key, hidden_rate, attention_rate }
    }

    /// The masks at one site.
    fn stream(&self, site: DropoutSite) -> Option<DropoutStream> {
        let DropoutKey { seed, micro_batch } = self.key?;
        let (number, rate) = match site {
            DropoutSite::Embedding => (0, self.hidden_rate),
            DropoutSite::Probabilities(layer) => (3 * layer + 1, self.attention_rate),
            DropoutSite::AttentionOutput(layer) => (3 * layer + 2, self.hidden_rate),
            DropoutSite::FeedForwardOutput(layer) => (3 * layer + 3, self.hidden_rate),
        };
        DropoutStream::new(seed, micro_batch, number as u32, rate)
    }
}
