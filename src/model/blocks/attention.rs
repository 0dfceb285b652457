//! Self-attention with its output layer, residual sum and norm.

use rayon::prelude::*;

use crate::kernels::attention::{Shape, attention, attention_backward, attention_by_head, gather_heads};
use crate::kernels::layer_norm::{dropout_backward, dropout_residual_norm, norm_backward};
use crate::kernels::matmul::{Accumulate, add_column_sums};
use crate::kernels::team::Team;
use crate::kernels::{room, row_block};
use crate::model::{EncoderConfig, ModelError, Parameters};

use super::partial_sums::{PartialSums, add_to};
use super::{Dropout, DropoutSite, LinearWeights, NormWeights, Weights};

/// The block's weights.
#[derive(Debug, Clone)]
pub(in crate::model) struct SelfAttention {
    /// Query, key and value, side by side in rows of `3 * hidden`.
    projections: LinearWeights,
    output: LinearWeights,
    norm: NormWeights,
    layer: usize,
    heads: usize,
}

/// What forward keeps.
#[derive(Debug, Default)]
pub(in crate::model) struct SavedAttention {
    qkv: Vec<f32>,
    log_sums: Vec<f32>,
    context: Vec<f32>,
    normalized: Vec<f32>,
    inverse: Vec<f32>,
    output: Vec<f32>,
}

impl SavedAttention {
    /// The block's output, `[tokens, hidden]`.
    pub(in crate::model) fn output(&self, length: usize) -> &[f32] {
        &self.output[..length]
    }
}

/// Room for gradients, shared by all layers.
#[derive(Debug, Default)]
pub(in crate::model) struct AttentionScratch {
    d_hidden: Vec<f32>,
    d_context: Vec<f32>,
    d_qkv: Vec<f32>,
}

impl SelfAttention {
    /// `number` is that of the first of its two linear layers.
    pub(in crate::model) fn find(
        parameters: &Parameters,
        config: &EncoderConfig,
        layer: usize,
        number: usize,
    ) -> Result<Self, ModelError> {
        let linear = |number: usize, names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| format!("encoder.layer.{layer}.attention.{name}")).collect();
            LinearWeights::find(parameters, number, &names)
        };
        let norm = format!("encoder.layer.{layer}.attention.output.LayerNorm");
        Ok(Self {
            projections: linear(number, &["self.query", "self.key", "self.value"])?,
            output: linear(number + 1, &["output.dense"])?,
            norm: NormWeights::find(parameters, &norm, config.layer_norm_eps)?,
            layer,
            heads: config.num_attention_heads,
        })
    }

    /// Its linear layers, in the order of their numbers.
    pub(in crate::model) fn linears(&self) -> [&LinearWeights; 2] {
        [&self.projections, &self.output]
    }

    fn hidden(&self) -> usize {
        self.output.outputs()
    }

    fn shape<'a>(&self, cu_seqlens: &'a [usize]) -> Shape<'a> {
        Shape { cu_seqlens, heads: self.heads, head_size: self.hidden() / self.heads }
    }

    /// Query, key and value of a block of rows: `qkv` (`[rows, 3 * hidden]`) from `input` (`[rows, hidden]`), on this
    /// thread, or by a team.
    pub(in crate::model) fn project_rows(
        &self,
        team: Option<&Team>,
        weights: Weights<'_>,
        input: &[f32],
        qkv: &mut [f32],
    ) {
        self.projections.forward(team, weights, input, qkv);
        self.projections.add_bias(weights.flat, qkv);
    }

    /// Attention of all tokens without keeping anything, to `context`, `[heads, tokens, head_size]`.
    pub(in crate::model) fn attend(
        &self,
        team: &Team,
        cu_seqlens: &[usize],
        dropout: &Dropout<'_>,
        qkv: &[f32],
        context: &mut [f32],
    ) {
        let probabilities = dropout.stream(DropoutSite::Probabilities(self.layer));
        attention_by_head(team, self.shape(cu_seqlens), qkv, probabilities, context);
    }

    /// The rows of [`SelfAttention::attend`]'s context from row `first` on, `[rows, hidden]`.
    pub(in crate::model) fn context_rows(&self, cu_seqlens: &[usize], context: &[f32], first: usize, rows: &mut [f32]) {
        gather_heads(self.shape(cu_seqlens), context, first, rows);
    }

    /// Output layer, residual sum and norm of a block of rows (all `[rows, hidden]`, `inverse` `[rows]`), the first of
    /// which is number `first` of the batch, on this thread, or by a team.
    #[expect(clippy::too_many_arguments, reason = "what it reads, what it writes, what backward will read")]
    pub(in crate::model) fn finish_rows(
        &self,
        team: Option<&Team>,
        weights: Weights<'_>,
        dropout: &Dropout<'_>,
        first: usize,
        input: &[f32],
        context: &[f32],
        normalized: &mut [f32],
        inverse: &mut [f32],
        output: &mut [f32],
    ) {
        self.output.forward(team, weights, context, normalized);
        let bias = self.output.only_bias(weights.flat);
        let stream = dropout.stream(DropoutSite::AttentionOutput(self.layer));
        dropout_residual_norm(first, normalized, bias, stream, input, self.norm.norm(weights.flat), output, inverse);
    }

    /// Reads `input` (`[tokens, hidden]`) and leaves the output in `saved`, with what backward needs.
    pub(in crate::model) fn forward(
        &self,
        weights: Weights<'_>,
        cu_seqlens: &[usize],
        dropout: &Dropout<'_>,
        input: &[f32],
        saved: &mut SavedAttention,
    ) {
        let hidden = self.hidden();
        let tokens = input.len() / hidden;
        let block = row_block(tokens);
        let qkv = room(&mut saved.qkv, 3 * input.len());
        let blocks = qkv.par_chunks_mut(block * 3 * hidden).zip(input.par_chunks(block * hidden));
        blocks.for_each(|(qkv, input)| self.project_rows(None, weights, input, qkv));
        let context = room(&mut saved.context, input.len());
        let log_sums = room(&mut saved.log_sums, tokens * self.heads);
        let probabilities = dropout.stream(DropoutSite::Probabilities(self.layer));
        attention(self.shape(cu_seqlens), qkv, probabilities, context, log_sums);

        let normalized = room(&mut saved.normalized, input.len()).par_chunks_mut(block * hidden);
        let inverse = room(&mut saved.inverse, tokens).par_chunks_mut(block);
        let output = room(&mut saved.output, input.len()).par_chunks_mut(block * hidden);
        let blocks = input.par_chunks(block * hidden).zip(context.par_chunks(block * hidden));
        let blocks = blocks.zip(normalized).zip(inverse).zip(output).enumerate();
        blocks.for_each(|(number, ((((input, context), normalized), inverse), output))| {
            self.finish_rows(None, weights, dropout, number * block, input, context, normalized, inverse, output);
        });
    }

    /// Turns `d_output` into the gradient by the input, in place, and adds to the weights' gradients.
    #[expect(clippy::too_many_arguments, reason = "the pass, the block's forward, and what it reads and writes")]
    pub(in crate::model) fn backward(
        &self,
        weights: Weights<'_>,
        cu_seqlens: &[usize],
        dropout: &Dropout<'_>,
        input: &[f32],
        saved: &SavedAttention,
        scratch: &mut AttentionScratch,
        d_output: &mut [f32],
        gradients: &mut [f32],
    ) {
        let (hidden, length) = (self.hidden(), input.len());
        let tokens = length / hidden;
        let block = row_block(tokens);
        let stream = dropout.stream(DropoutSite::AttentionOutput(self.layer));
        let d_hidden = room(&mut scratch.d_hidden, length);
        let d_context = room(&mut scratch.d_context, length);
        let blocks = d_output.par_chunks_mut(block * hidden).zip(d_hidden.par_chunks_mut(block * hidden));
        let blocks = blocks.zip(d_context.par_chunks_mut(block * hidden));
        let kept = saved.normalized[..length].par_chunks(block * hidden).zip(saved.inverse[..tokens].par_chunks(block));
        let sums: Vec<PartialSums> = blocks
            .zip(kept)
            .enumerate()
            .map(|(number, (((d_output, d_hidden), d_context), (normalized, inverse)))| {
                let mut sums = PartialSums::new([hidden; 3]);
                let [d_scale, d_shift, d_bias] = sums.split([hidden; 3]);
                norm_backward(d_output, normalized, inverse, self.norm.weight(weights.flat), d_scale, d_shift);
                dropout_backward(number * block, d_output, stream, hidden, d_hidden);
                add_column_sums(d_hidden, d_bias);
                self.output.backward(weights, d_hidden, d_context, Accumulate::Replace);
                sums
            })
            .collect();
        let places = self.norm.places().into_iter().chain(self.output.bias_places());
        add_to(gradients, places, &PartialSums::total(&sums));
        self.output.weight_gradients(weights.arithmetic, d_hidden, &saved.context[..length], gradients);

        let (qkv, log_sums) = (&saved.qkv[..3 * length], &saved.log_sums[..tokens * self.heads]);
        let d_qkv = room(&mut scratch.d_qkv, 3 * length);
        let probabilities = dropout.stream(DropoutSite::Probabilities(self.layer));
        attention_backward(self.shape(cu_seqlens), qkv, log_sums, probabilities, d_context, d_qkv);
        let blocks = d_output.par_chunks_mut(block * hidden).zip(d_qkv.par_chunks(block * 3 * hidden));
        let sums: Vec<PartialSums> = blocks
            .map(|(d_output, d_qkv)| {
                let mut sums = PartialSums::new([3 * hidden]);
                let [d_bias] = sums.split([3 * hidden]);
                add_column_sums(d_qkv, d_bias);
                self.projections.backward(weights, d_qkv, d_output, Accumulate::Add);
                sums
            })
            .collect();
        add_to(gradients, self.projections.bias_places(), &PartialSums::total(&sums));
        self.projections.weight_gradients(weights.arithmetic, d_qkv, input, gradients);
    }
}
