//! BERT (Devlin et al. 2018) as a composition of blocks: packed tokens in, token embeddings out, and back.

use crate::data::packing::PackedBatch;
use crate::kernels::linear::{Arithmetic, PackedLinear};
use crate::kernels::room;

use super::blocks::{
    AttentionScratch, Dropout, FeedForward, FeedForwardScratch, Keep, LinearWeights, SavedAttention, SavedEmbedding,
    SavedFeedForward, SelfAttention, TokenEmbedding, Weights,
};
use super::{DropoutKey, EncoderConfig, ModelError, Parameters};

/// Where BERT's weights lie.
#[derive(Debug, Clone)]
pub(super) struct Bert {
    embedding: TokenEmbedding,
    layers: Vec<(SelfAttention, FeedForward)>,
    hidden_size: usize,
    hidden_rate: f32,
    attention_rate: f32,
    heads: usize,
}

/// What forward keeps, and room to work in.
#[derive(Debug, Default)]
pub(super) struct BertWorkspace {
    embedding: SavedEmbedding,
    layers: Vec<(SavedAttention, SavedFeedForward)>,
    /// Each layer's input, and the last one's output.
    hidden: Vec<Vec<f32>>,
    attention: AttentionScratch,
    feed_forward: FeedForwardScratch,
}

impl Bert {
    pub(super) fn find(parameters: &Parameters, config: &EncoderConfig) -> Result<Self, ModelError> {
        let layers = (0..config.num_hidden_layers).map(|layer| {
            let number = layer * Self::LINEARS;
            let attention = SelfAttention::find(parameters, config, layer, number)?;
            let feed_forward = FeedForward::find(parameters, config, layer, number + attention.linears().len())?;
            Ok((attention, feed_forward))
        });
        Ok(Self {
            embedding: TokenEmbedding::find(parameters, config)?,
            layers: layers.collect::<Result<_, ModelError>>()?,
            hidden_size: config.hidden_size,
            hidden_rate: config.hidden_dropout_prob,
            attention_rate: config.attention_probs_dropout_prob,
            heads: config.num_attention_heads,
        })
    }

    /// Linear layers of one layer, those that are computed as one counted once.
    const LINEARS: usize = 4;

    fn linears(&self) -> impl Iterator<Item = &LinearWeights> {
        self.layers
            .iter()
            .flat_map(|(attention, feed_forward)| attention.linears().into_iter().chain(feed_forward.linears()))
    }

    /// Lays the weights of all linear layers out for products.
    pub(super) fn pack(&self, flat: &[f32], arithmetic: Arithmetic, for_backward: bool) -> Vec<PackedLinear> {
        self.linears().map(|linear| linear.pack(flat, arithmetic, for_backward)).collect()
    }

    /// Lays changed weights out, in the same way.
    pub(super) fn repack(&self, flat: &[f32], packed: &mut [PackedLinear]) {
        self.linears().for_each(|linear| linear.repack(flat, packed));
    }

    fn dropout(&self, key: Option<DropoutKey>) -> Dropout {
        Dropout::new(key, self.hidden_rate, self.attention_rate, self.heads)
    }

    /// Token embeddings, `[tokens, hidden]`.
    pub(super) fn forward<'w>(
        &self,
        weights: Weights<'_>,
        batch: &PackedBatch,
        dropout: Option<DropoutKey>,
        keep: Keep,
        workspace: &'w mut BertWorkspace,
    ) -> &'w [f32] {
        let dropout = self.dropout(dropout);
        let length = batch.tokens() * self.hidden_size;
        // Without backward one room serves all layers, as each has read its input by the time the next one writes.
        let place = |layer: usize| if keep == Keep::ForBackward { layer } else { 0 };
        let rooms = place(self.layers.len() - 1) + 1;
        if workspace.layers.len() < rooms {
            workspace.layers.resize_with(rooms, Default::default);
        }
        if workspace.hidden.len() < place(self.layers.len()) + 1 {
            workspace.hidden.resize_with(place(self.layers.len()) + 1, Vec::new);
        }
        let first = room(&mut workspace.hidden[0], length);
        self.embedding.forward(weights.flat, batch, &dropout, &mut workspace.embedding, first);
        for (number, (attention, feed_forward)) in self.layers.iter().enumerate() {
            let (saved_attention, saved_feed_forward) = &mut workspace.layers[place(number)];
            let input = &workspace.hidden[place(number)][..length];
            attention.forward(weights, &batch.cu_seqlens, &dropout, input, saved_attention);
            let output = room(&mut workspace.hidden[place(number + 1)], length);
            let input = saved_attention.output(length);
            feed_forward.forward(weights, &dropout, keep, input, saved_feed_forward, output);
        }
        &workspace.hidden[place(self.layers.len())][..length]
    }

    /// The last kept forward's token embeddings.
    pub(super) fn kept_output<'w>(&self, batch: &PackedBatch, workspace: &'w BertWorkspace) -> &'w [f32] {
        &workspace.hidden[self.layers.len()][..batch.tokens() * self.hidden_size]
    }

    /// Adds to `gradients` what the gradient by the token embeddings comes to; `d_hidden` is overwritten.
    pub(super) fn backward(
        &self,
        weights: Weights<'_>,
        batch: &PackedBatch,
        dropout: Option<DropoutKey>,
        workspace: &mut BertWorkspace,
        d_hidden: &mut [f32],
        gradients: &mut [f32],
    ) {
        let dropout = self.dropout(dropout);
        let length = d_hidden.len();
        for (number, (attention, feed_forward)) in self.layers.iter().enumerate().rev() {
            let (saved_attention, saved_feed_forward) = &workspace.layers[number];
            let input = saved_attention.output(length);
            let scratch = &mut workspace.feed_forward;
            feed_forward.backward(weights, &dropout, input, saved_feed_forward, scratch, d_hidden, gradients);
            let (input, scratch) = (&workspace.hidden[number][..length], &mut workspace.attention);
            let cu_seqlens = &batch.cu_seqlens;
            attention.backward(weights, cu_seqlens, &dropout, input, saved_attention, scratch, d_hidden, gradients);
        }
        self.embedding.backward(weights.flat, batch, &dropout, &workspace.embedding, d_hidden, gradients);
    }
}
