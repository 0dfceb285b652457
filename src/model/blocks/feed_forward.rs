//! The feed-forward: a wide layer, GELU, a layer back, residual sum and norm.

use rayon::prelude::*;

use crate::kernels::gelu::{bias_gelu, gelu_backward};
use crate::kernels::layer_norm::{dropout_backward, dropout_residual_norm, norm_backward};
use crate::kernels::matmul::{Accumulate, add_column_sums};
use crate::kernels::team::Team;
use crate::kernels::{room, row_block, with_scratch};
use crate::model::{EncoderConfig, ModelError, Parameters};

use super::partial_sums::{PartialSums, add_to};
use super::{Dropout, DropoutSite, LinearWeights, NormWeights, Weights};

/// The block's weights.
#[derive(Debug, Clone)]
pub(in crate::model) struct FeedForward {
    inner: LinearWeights,
    outer: LinearWeights,
    norm: NormWeights,
    layer: usize,
}

/// What forward keeps.
#[derive(Debug, Default)]
pub(in crate::model) struct SavedFeedForward {
    /// What GELU is taken of, `[tokens, intermediate]`.
    hidden: Vec<f32>,
    normalized: Vec<f32>,
    inverse: Vec<f32>,
}

/// Room shared by all layers: what the weights' gradients are products of.
#[derive(Debug, Default)]
pub(in crate::model) struct FeedForwardScratch {
    activated: Vec<f32>,
    d_inner: Vec<f32>,
    d_hidden: Vec<f32>,
}

impl FeedForward {
    /// `number` is that of the first of its two linear layers.
    pub(in crate::model) fn find(
        parameters: &Parameters,
        config: &EncoderConfig,
        layer: usize,
        number: usize,
    ) -> Result<Self, ModelError> {
        let linear = |number: usize, name: &str| {
            LinearWeights::find(parameters, number, &[format!("encoder.layer.{layer}.{name}")])
        };
        let norm = format!("encoder.layer.{layer}.output.LayerNorm");
        Ok(Self {
            inner: linear(number, "intermediate.dense")?,
            outer: linear(number + 1, "output.dense")?,
            norm: NormWeights::find(parameters, &norm, config.layer_norm_eps)?,
            layer,
        })
    }

    /// Its linear layers, in the order of their numbers.
    pub(in crate::model) fn linears(&self) -> [&LinearWeights; 2] {
        [&self.inner, &self.outer]
    }

    /// A block of rows (`[rows, hidden]`, `inverse` `[rows]`), the first of which is number `first` of the batch, on this
    /// thread, or by a team. What GELU is taken of goes to `kept` (`[rows, intermediate]`) where it is wanted.
    #[expect(clippy::too_many_arguments, reason = "what it reads, what it writes, what backward will read")]
    pub(in crate::model) fn forward_rows(
        &self,
        team: Option<&Team>,
        weights: Weights<'_>,
        dropout: &Dropout<'_>,
        first: usize,
        input: &[f32],
        kept: Option<&mut [f32]>,
        normalized: &mut [f32],
        inverse: &mut [f32],
        output: &mut [f32],
    ) {
        let stream = dropout.stream(DropoutSite::FeedForwardOutput(self.layer));
        with_scratch(|[activated]| {
            let activated = room(activated, inverse.len() * self.inner.outputs());
            self.inner.forward(team, weights, input, activated);
            let bias = self.inner.only_bias(weights.flat);
            match (team, kept) {
                (Some(team), None) => {
                    let rows = activated.chunks_exact_mut(bias.len());
                    team.for_each(rows, |row| bias_gelu(row, bias, None));
                }
                (_, kept) => bias_gelu(activated, bias, kept),
            }
            self.outer.forward(team, weights, activated, normalized);
            let (bias, norm) = (self.outer.only_bias(weights.flat), self.norm.norm(weights.flat));
            dropout_residual_norm(first, normalized, bias, stream, input, norm, output, inverse);
        });
    }

    /// Reads `input` and writes `output`, both `[tokens, hidden]`; keeps in `saved` what backward needs.
    pub(in crate::model) fn forward(
        &self,
        weights: Weights<'_>,
        dropout: &Dropout<'_>,
        input: &[f32],
        saved: &mut SavedFeedForward,
        output: &mut [f32],
    ) {
        let (columns, inner) = (self.outer.outputs(), self.inner.outputs());
        let tokens = input.len() / columns;
        let block = row_block(tokens);
        let kept = room(&mut saved.hidden, tokens * inner).par_chunks_mut(block * inner);
        let normalized = room(&mut saved.normalized, input.len()).par_chunks_mut(block * columns);
        let inverse = room(&mut saved.inverse, tokens).par_chunks_mut(block);
        let blocks = input.par_chunks(block * columns).zip(output.par_chunks_mut(block * columns));
        let blocks = blocks.zip(kept).zip(normalized).zip(inverse).enumerate();
        blocks.for_each(|(number, ((((input, output), kept), normalized), inverse))| {
            self.forward_rows(None, weights, dropout, number * block, input, Some(kept), normalized, inverse, output);
        });
    }

    /// Turns `d_output` into the gradient by the input, in place, and adds to the weights' gradients.
    #[expect(clippy::too_many_arguments, reason = "the pass, the block's forward, and what it reads and writes")]
    pub(in crate::model) fn backward(
        &self,
        weights: Weights<'_>,
        dropout: &Dropout<'_>,
        input: &[f32],
        saved: &SavedFeedForward,
        scratch: &mut FeedForwardScratch,
        d_output: &mut [f32],
        gradients: &mut [f32],
    ) {
        let (columns, inner) = (self.outer.outputs(), self.inner.outputs());
        let tokens = input.len() / columns;
        let block = row_block(tokens);
        let stream = dropout.stream(DropoutSite::FeedForwardOutput(self.layer));
        let d_hidden = room(&mut scratch.d_hidden, tokens * columns);
        let activated = room(&mut scratch.activated, tokens * inner);
        let d_inner = room(&mut scratch.d_inner, tokens * inner);

        let blocks = d_output.par_chunks_mut(block * columns).zip(d_hidden.par_chunks_mut(block * columns));
        let blocks = blocks.zip(activated.par_chunks_mut(block * inner).zip(d_inner.par_chunks_mut(block * inner)));
        let kept = saved.normalized[..tokens * columns].par_chunks(block * columns);
        let kept = kept.zip(saved.inverse[..tokens].par_chunks(block));
        let kept = kept.zip(saved.hidden[..tokens * inner].par_chunks(block * inner));
        let sums: Vec<PartialSums> = blocks
            .zip(kept)
            .enumerate()
            .map(|(number, (((d_output, d_hidden), (activated, d_inner)), ((normalized, inverse), hidden)))| {
                let lengths = [columns, columns, columns, inner];
                let mut sums = PartialSums::new(lengths);
                let [d_scale, d_shift, d_outer_bias, d_inner_bias] = sums.split(lengths);
                norm_backward(d_output, normalized, inverse, self.norm.weight(weights.flat), d_scale, d_shift);
                dropout_backward(number * block, d_output, stream, columns, d_hidden);
                add_column_sums(d_hidden, d_outer_bias);
                self.outer.backward(weights, d_hidden, d_inner, Accumulate::Replace);
                gelu_backward(hidden, d_inner, activated);
                add_column_sums(d_inner, d_inner_bias);
                self.inner.backward(weights, d_inner, d_output, Accumulate::Add);
                sums
            })
            .collect();
        let biases = [self.outer.bias_places(), self.inner.bias_places()].concat();
        add_to(gradients, self.norm.places().into_iter().chain(biases), &PartialSums::total(&sums));
        self.outer.weight_gradients(weights.arithmetic, d_hidden, activated, gradients);
        self.inner.weight_gradients(weights.arithmetic, d_inner, input, gradients);
    }
}
