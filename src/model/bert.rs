//! BERT (Devlin et al. 2018) as a composition of blocks: packed tokens in, token embeddings out, and back.

use crate::data::packing::PackedBatch;
use crate::kernels::linear::{Arithmetic, PackedLinear};
use crate::kernels::team::Team;
use crate::kernels::{even_row_block, room, with_scratch};

use super::blocks::{
    AttentionScratch, Dropout, FeedForward, FeedForwardScratch, LinearWeights, SavedAttention, SavedEmbedding,
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
    unkept: Unkept,
}

/// Room of a forward that keeps nothing.
#[derive(Debug, Default)]
struct Unkept {
    hidden: Vec<f32>,
    qkv: Vec<f32>,
    context: Vec<f32>,
}

/// The most tokens for each thread of a batch whose weights are divided rather than its rows.
const SHORT: usize = 16;

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

    fn dropout<'k>(&self, key: Option<&'k DropoutKey>) -> Dropout<'k> {
        Dropout::new(key, self.hidden_rate, self.attention_rate, self.heads)
    }

    /// Token embeddings, `[tokens, hidden]`; what backward needs is kept.
    pub(super) fn forward<'w>(
        &self,
        weights: Weights<'_>,
        batch: &PackedBatch,
        dropout: Option<&DropoutKey>,
        workspace: &'w mut BertWorkspace,
    ) -> &'w [f32] {
        let dropout = self.dropout(dropout);
        let length = batch.tokens() * self.hidden_size;
        if workspace.layers.len() < self.layers.len() {
            workspace.layers.resize_with(self.layers.len(), Default::default);
            workspace.hidden.resize_with(self.layers.len() + 1, Vec::new);
        }
        let first = room(&mut workspace.hidden[0], length);
        self.embedding.forward(weights.flat, batch, &dropout, &mut workspace.embedding, first);
        for (number, (attention, feed_forward)) in self.layers.iter().enumerate() {
            let (saved_attention, saved_feed_forward) = &mut workspace.layers[number];
            let input = &workspace.hidden[number][..length];
            attention.forward(weights, &batch.cu_seqlens, &dropout, input, saved_attention);
            let output = room(&mut workspace.hidden[number + 1], length);
            feed_forward.forward(weights, &dropout, saved_attention.output(length), saved_feed_forward, output);
        }
        &workspace.hidden[self.layers.len()][..length]
    }

    /// As [`Bert::forward`], the same numbers, but keeps nothing. A layer is two steps for the team, attention and the
    /// rest: a row's way from one attention to the next does not depend on other rows. Of few rows each thread would read
    /// all weights for next to nothing; there the team divides the weights, and each product is a step.
    pub(super) fn forward_unkept<'w>(
        &self,
        team: &Team,
        weights: Weights<'_>,
        batch: &PackedBatch,
        dropout: Option<&DropoutKey>,
        workspace: &'w mut BertWorkspace,
    ) -> &'w [f32] {
        let dropout = self.dropout(dropout);
        let (columns, length) = (self.hidden_size, batch.tokens() * self.hidden_size);
        let can_divide = team.threads() > 1 && weights.arithmetic != Arithmetic::Gemm;
        let is_short = can_divide && batch.tokens() <= SHORT * team.threads();
        let block = if is_short { batch.tokens() } else { even_row_block(batch.tokens(), team.threads()) };
        let within = is_short.then_some(team);
        let Unkept { hidden, qkv, context } = &mut workspace.unkept;
        let (hidden, qkv, context) = (room(hidden, length), room(qkv, 3 * length), room(context, length));
        for_each_block(team, within, row_blocks(hidden, qkv, block, columns), |(first, hidden, qkv)| {
            with_scratch(|[normalized, inverse]| {
                let (normalized, inverse) = (room(normalized, hidden.len()), room(inverse, hidden.len() / columns));
                self.embedding.forward_rows(weights.flat, batch, &dropout, first, normalized, inverse, hidden);
            });
            self.layers[0].0.project_rows(within, weights, hidden, qkv);
        });
        for (number, (attention, feed_forward)) in self.layers.iter().enumerate() {
            attention.attend(team, &batch.cu_seqlens, &dropout, qkv, context);
            let (next, context) = (self.layers.get(number + 1), &*context);
            for_each_block(team, within, row_blocks(hidden, qkv, block, columns), |(first, hidden, qkv)| {
                with_scratch(|[rows, attended, normalized, inverse]| {
                    let (rows, attended) = (room(rows, hidden.len()), room(attended, hidden.len()));
                    let (normalized, inverse) = (room(normalized, hidden.len()), room(inverse, hidden.len() / columns));
                    attention.context_rows(&batch.cu_seqlens, context, first, rows);
                    attention
                        .finish_rows(within, weights, &dropout, first, hidden, rows, normalized, inverse, attended);
                    feed_forward
                        .forward_rows(within, weights, &dropout, first, attended, None, normalized, inverse, hidden);
                });
                if let Some((attention, _)) = next {
                    attention.project_rows(within, weights, hidden, qkv);
                }
            });
        }
        hidden
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
        dropout: Option<&DropoutKey>,
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

/// Runs `work` on each block: on this thread where a team is to divide the work within a block, of which there is one then;
/// other blocks by the team.
fn for_each_block<T>(
    team: &Team,
    within: Option<&Team>,
    blocks: impl Iterator<Item = T> + Send,
    work: impl Fn(T) + Sync,
) {
    if within.is_some() { blocks.for_each(work) } else { team.for_each(blocks, work) }
}

/// Blocks of rows with the number of each one's first: of `hidden`, `[tokens, columns]`, and of `qkv`,
/// `[tokens, 3 * columns]`.
fn row_blocks<'b>(
    hidden: &'b mut [f32],
    qkv: &'b mut [f32],
    block: usize,
    columns: usize,
) -> impl Iterator<Item = (usize, &'b mut [f32], &'b mut [f32])> + Send {
    let blocks = hidden.chunks_mut(block * columns).zip(qkv.chunks_mut(block * 3 * columns)).enumerate();
    blocks.map(move |(number, (hidden, qkv))| (number * block, hidden, qkv))
}
