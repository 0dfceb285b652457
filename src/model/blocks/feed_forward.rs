//! The feed-forward: a wide layer, GELU, a layer back, residual sum and norm.

use crate::kernels::gelu::{bias_gelu, gelu, gelu_backward};
use crate::kernels::layer_norm::{dropout_backward, dropout_residual_norm, norm_backward};
use crate::kernels::matmul::{Accumulate, Layout, add_column_sums};
use crate::kernels::room;
use crate::model::{EncoderConfig, ModelError, Parameters};

use super::{Dropout, DropoutSite, LinearWeights, NormWeights};

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

/// Room shared by all layers.
#[derive(Debug, Default)]
pub(in crate::model) struct FeedForwardScratch {
    activated: Vec<f32>,
    d_inner: Vec<f32>,
    d_hidden: Vec<f32>,
}

impl FeedForward {
    pub(in crate::model) fn find(
        parameters: &Parameters,
        config: &EncoderConfig,
        layer: usize,
    ) -> Result<Self, ModelError> {
        let linear = |name: &str| LinearWeights::find(parameters, &format!("encoder.layer.{layer}.{name}"));
        let norm = format!("encoder.layer.{layer}.output.LayerNorm");
        Ok(Self {
            inner: linear("intermediate.dense")?,
            outer: linear("output.dense")?,
            norm: NormWeights::find(parameters, &norm, config.layer_norm_eps)?,
            layer,
        })
    }

    /// Reads `input` and writes `output`, both `[tokens, hidden]`.
    pub(in crate::model) fn forward(
        &self,
        flat: &[f32],
        dropout: &Dropout,
        input: &[f32],
        scratch: &mut FeedForwardScratch,
        saved: &mut SavedFeedForward,
        output: &mut [f32],
    ) {
        let (columns, inner) = (self.outer.outputs(), self.inner.outputs());
        let tokens = input.len() / columns;
        let hidden = room(&mut saved.hidden, tokens * inner);
        self.inner.forward(flat, input, hidden, Layout::dense(tokens, inner));
        let activated = room(&mut scratch.activated, tokens * inner);
        bias_gelu(hidden, self.inner.bias(flat), activated);
        let normalized = room(&mut saved.normalized, input.len());
        self.outer.forward(flat, activated, normalized, Layout::dense(tokens, columns));
        dropout_residual_norm(
            normalized,
            self.outer.bias(flat),
            dropout.stream(DropoutSite::FeedForwardOutput(self.layer)),
            input,
            self.norm.norm(flat),
            output,
            room(&mut saved.inverse, tokens),
        );
    }

    /// Turns `d_output` into the gradient by the input, in place, and adds to the weights' gradients.
    #[expect(clippy::too_many_arguments, reason = "the pass, the block's forward, and what it reads and writes")]
    pub(in crate::model) fn backward(
        &self,
        flat: &[f32],
        dropout: &Dropout,
        input: &[f32],
        saved: &SavedFeedForward,
        scratch: &mut FeedForwardScratch,
        d_output: &mut [f32],
        gradients: &mut [f32],
    ) {
        let (columns, inner, length) = (self.outer.outputs(), self.inner.outputs(), input.len());
        let tokens = length / columns;
        let (normalized, inverse) = (&saved.normalized[..length], &saved.inverse[..tokens]);
        norm_backward(d_output, normalized, inverse, self.norm.weight(flat), self.norm.gradients(gradients));
        let d_hidden = room(&mut scratch.d_hidden, length);
        dropout_backward(d_output, dropout.stream(DropoutSite::FeedForwardOutput(self.layer)), columns, d_hidden);
        add_column_sums(d_hidden, self.outer.bias_mut(gradients));

        let hidden = &saved.hidden[..tokens * inner];
        let activated = room(&mut scratch.activated, tokens * inner);
        gelu(hidden, activated);
        let d_inner = room(&mut scratch.d_inner, tokens * inner);
        let outer = (d_hidden as &[f32], Layout::dense(tokens, columns));
        self.outer.backward(flat, (activated, d_inner), Accumulate::Replace, outer, gradients);
        gelu_backward(hidden, d_inner);
        add_column_sums(d_inner, self.inner.bias_mut(gradients));
        let inner = (&*d_inner, Layout::dense(tokens, inner));
        self.inner.backward(flat, (input, d_output), Accumulate::Add, inner, gradients);
    }
}
