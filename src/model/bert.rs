//! BERT (Devlin et al. 2018) as a composition of blocks: packed tokens in, token embeddings out, and back.

use crate::data::packing::PackedBatch;
use crate::kernels::room;

use super::blocks::{
    AttentionScratch, Dropout, FeedForward, FeedForwardScratch, SavedAttention, SavedEmbedding, SavedFeedForward,
    SelfAttention, TokenEmbedding,
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

/// Whether a forward keeps what backward needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// All of it.
    ForBackward,
    /// Nothing: each layer uses the room of the one before.
    Nothing,
}

impl Bert {
    pub(super) fn find(parameters: &Parameters, config: &EncoderConfig) -> Result<Self, ModelError> {
        let layers = (0..config.num_hidden_layers).map(|layer| {
            Ok((SelfAttention::find(parameters, config, layer)?, FeedForward::find(parameters, config, layer)?))
        });
        Ok(Self {
            embedding: TokenEmbedding::find(parameters, config)?,
            layers: layers.collect::<Result<_, ModelError>>()?,
            hidden_size: config.hidden_size,
            hidden_rate: config.hidden_dropout_prob,
            attention_rate: config.attention_probs_dropout_prob,
        })
    }

    fn dropout(&self, key: Option<DropoutKey>) -> Dropout {
        Dropout::new(key, self.hidden_rate, self.attention_rate)
    }

    /// Token embeddings, `[tokens, hidden]`.
    pub(super) fn forward<'w>(
        &self,
        flat: &[f32],
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
        self.embedding.forward(flat, batch, &dropout, &mut workspace.embedding, first);
        for (number, (attention, feed_forward)) in self.layers.iter().enumerate() {
            let (saved_attention, saved_feed_forward) = &mut workspace.layers[place(number)];
            let input = &workspace.hidden[place(number)][..length];
            attention.forward(flat, &batch.cu_seqlens, &dropout, input, &mut workspace.attention, saved_attention);
            let output = room(&mut workspace.hidden[place(number + 1)], length);
            let input = saved_attention.output(length);
            feed_forward.forward(flat, &dropout, input, &mut workspace.feed_forward, saved_feed_forward, output);
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
        flat: &[f32],
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
            feed_forward.backward(flat, &dropout, input, saved_feed_forward, scratch, d_hidden, gradients);
            let (input, scratch) = (&workspace.hidden[number][..length], &mut workspace.attention);
            let cu_seqlens = &batch.cu_seqlens;
            attention.backward(flat, cu_seqlens, &dropout, input, saved_attention, scratch, d_hidden, gradients);
        }
        self.embedding.backward(flat, batch, &dropout, &workspace.embedding, d_hidden, gradients);
    }
}
