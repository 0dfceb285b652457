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
pub(super) struct Dropout<'a> {
    key: Option<&'a DropoutKey>,
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

impl DropoutSite {
    /// Its number, which names its masks.
    pub(super) fn number(self) -> u32 {
        let number = match self {
            Self::Embedding => 0,
            Self::Probabilities(layer) => 3 * layer + 1,
            Self::AttentionOutput(layer) => 3 * layer + 2,
            Self::FeedForwardOutput(layer) => 3 * layer + 3,
        };
        number as u32
    }
}

impl<'a> Dropout<'a> {
    pub(super) fn new(key: Option<&'a DropoutKey>, hidden_rate: f32, attention_rate: f32, heads: usize) -> Self {
        Self { key, hidden_rate, attention_rate, heads }
    }

    /// The masks at one site.
    fn stream(&self, site: DropoutSite) -> Option<DropoutStream<'a>> {
        let DropoutKey { seed, sequences, tokens } = self.key?;
        match site {
            DropoutSite::Probabilities(_) => {
                DropoutStream::over(*seed, sequences, site.number(), self.attention_rate, self.heads)
            }
            DropoutSite::Embedding | DropoutSite::AttentionOutput(_) | DropoutSite::FeedForwardOutput(_) => {
                DropoutStream::over(*seed, tokens, site.number(), self.hidden_rate, 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DropoutPart;

    const HEADS: usize = 4;

    /// The mask of a unit at a site: of a token, or of one head of a sequence.
    fn mask(key: &DropoutKey, site: DropoutSite, unit: usize) -> Vec<f32> {
        let mut mask = vec![1.0; 50];
        let stream = Dropout::new(Some(key), 0.3, 0.4, HEADS).stream(site).expect("the rate is above 0");
        stream.apply(unit as u32, &mut mask);
        mask
    }

    #[test]
    fn a_pack_has_the_masks_of_its_places_in_the_micro_batches() {
        let (whole, next) = (DropoutKey::new(7, 9), DropoutKey::new(7, 10));
        let part = |micro_batch, sequence, token, first_sequence, first_token| DropoutPart {
            micro_batch,
            sequence,
            token,
            first_sequence,
            first_token,
        };
        // From the fourth sequence on, which is the 21st token; after two sequences of 8 tokens together the next micro-batch.
        let pack = DropoutKey::of(7, [part(9, 0, 0, 3, 20), part(10, 2, 8, 0, 0)]);
        for site in [DropoutSite::Embedding, DropoutSite::AttentionOutput(1), DropoutSite::FeedForwardOutput(0)] {
            assert_eq!(mask(&pack, site, 5), mask(&whole, site, 25));
            assert_eq!(mask(&pack, site, 9), mask(&next, site, 1));
            assert_ne!(mask(&pack, site, 5), mask(&whole, site, 5));
        }
        let site = DropoutSite::Probabilities(1);
        assert_eq!(mask(&pack, site, HEADS + 1), mask(&whole, site, 4 * HEADS + 1));
        assert_eq!(mask(&pack, site, 3 * HEADS + 1), mask(&next, site, HEADS + 1));
    }
}
