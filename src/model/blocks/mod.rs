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

/// The dropout of one forward pass: none at all where there is no key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dropout {
    key: Option<DropoutKey>,
    hidden_rate: f32,
    attention_rate: f32,
    heads: usize,
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
    pub(super) fn new(key: Option<DropoutKey>, hidden_rate: f32, attention_rate: f32, heads: usize) -> Self {
        Self { key, hidden_rate, attention_rate, heads }
    }

    /// The masks at one site.
    fn stream(&self, site: DropoutSite) -> Option<DropoutStream> {
        let DropoutKey { seed, micro_batch, first_sequence, first_token } = self.key?;
        let (number, rate, first_unit) = match site {
            DropoutSite::Embedding => (0, self.hidden_rate, first_token),
            DropoutSite::Probabilities(layer) => (3 * layer + 1, self.attention_rate, first_sequence * self.heads),
            DropoutSite::AttentionOutput(layer) => (3 * layer + 2, self.hidden_rate, first_token),
            DropoutSite::FeedForwardOutput(layer) => (3 * layer + 3, self.hidden_rate, first_token),
        };
        let stream = DropoutStream::new(seed, micro_batch, number as u32, rate)?;
        Some(stream.from_unit(first_unit as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: usize = 4;

    /// The mask of a unit at a site: of a token, or of one head of a sequence.
    fn mask(key: DropoutKey, site: DropoutSite, unit: usize) -> Vec<f32> {
        let mut mask = vec![1.0; 50];
        let stream = Dropout::new(Some(key), 0.3, 0.4, HEADS).stream(site).expect("the rate is above 0");
        stream.apply(unit as u32, &mut mask);
        mask
    }

    #[test]
    fn a_pack_has_the_masks_of_its_place_in_the_micro_batch() {
        let whole = DropoutKey::new(7, 9);
        let pack = whole.from(3, 20);
        for site in [DropoutSite::Embedding, DropoutSite::AttentionOutput(1), DropoutSite::FeedForwardOutput(0)] {
            assert_eq!(mask(pack, site, 5), mask(whole, site, 25));
            assert_ne!(mask(pack, site, 5), mask(whole, site, 5));
        }
        let site = DropoutSite::Probabilities(1);
        assert_eq!(mask(pack, site, 2 * HEADS + 1), mask(whole, site, 5 * HEADS + 1));
    }
}
