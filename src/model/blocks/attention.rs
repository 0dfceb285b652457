//! Self-attention with its output layer, residual sum and norm.

use crate::kernels::attention::{Shape, attention, attention_backward};
use crate::kernels::layer_norm::{dropout_backward, dropout_residual_norm, norm_backward};
use crate::kernels::matmul::{Accumulate, Layout, add_column_sums, add_to_rows};
use crate::kernels::room;
use crate::model::{EncoderConfig, ModelError, Parameters};

use super::{Dropout, DropoutSite, LinearWeights, NormWeights};

/// The block's weights.
#[derive(Debug, Clone)]
pub(in crate::model) struct SelfAttention {
    /// Query, key, value: written side by side into rows of `3 * hidden`.
    projections: [LinearWeights; 3],
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
    qkv_bias: Vec<f32>,
    d_hidden: Vec<f32>,
    d_context: Vec<f32>,
    d_qkv: Vec<f32>,
}

impl SelfAttention {
    pub(in crate::model) fn find(
        parameters: &Parameters,
        config: &EncoderConfig,
        layer: usize,
    ) -> Result<Self, ModelError> {
        let linear = |name: &str| LinearWeights::find(parameters, &format!("encoder.layer.{layer}.attention.{name}"));
        let norm = format!("encoder.layer.{layer}.attention.output.LayerNorm");
        Ok(Self {
            projections: [linear("self.query")?, linear("self.key")?, linear("self.value")?],
            output: linear("output.dense")?,
            norm: NormWeights::find(parameters, &norm, config.layer_norm_eps)?,
            layer,
            heads: config.num_attention_heads,
        })
    }

    fn hidden(&self) -> usize {
        self.output.outputs()
    }

    fn shape<'a>(&self, cu_seqlens: &'a [usize]) -> Shape<'a> {
        Shape { cu_seqlens, heads: self.heads, head_size: self.hidden() / self.heads }
    }

    /// Reads `input` (`[tokens, hidden]`) and leaves the output in `saved`.
    pub(in crate::model) fn forward(
        &self,
        flat: &[f32],
        cu_seqlens: &[usize],
        dropout: &Dropout,
        input: &[f32],
        scratch: &mut AttentionScratch,
        saved: &mut SavedAttention,
    ) {
        let hidden = self.hidden();
        let tokens = input.len() / hidden;
        let qkv = room(&mut saved.qkv, 3 * input.len());
        let biases = room(&mut scratch.qkv_bias, 3 * hidden);
        for (part, (projection, bias)) in self.projections.iter().zip(biases.chunks_exact_mut(hidden)).enumerate() {
            let layout = Layout::columns_of(0, tokens, 3 * hidden, part * hidden, hidden);
            projection.forward(flat, input, qkv, layout);
            bias.copy_from_slice(projection.bias(flat));
        }
        add_to_rows(qkv, biases);
        let context = room(&mut saved.context, input.len());
        let log_sums = room(&mut saved.log_sums, tokens * self.heads);
        let probabilities = dropout.stream(DropoutSite::Probabilities(self.layer));
        attention(self.shape(cu_seqlens), qkv, probabilities, context, log_sums);
        let normalized = room(&mut saved.normalized, input.len());
        self.output.forward(flat, context, normalized, Layout::dense(tokens, hidden));
        dropout_residual_norm(
            normalized,
            self.output.bias(flat),
            dropout.stream(DropoutSite::AttentionOutput(self.layer)),
            input,
            self.norm.norm(flat),
            room(&mut saved.output, input.len()),
            room(&mut saved.inverse, tokens),
        );
    }

    /// Turns `d_output` into the gradient by the input, in place, and adds to the weights' gradients.
    #[expect(clippy::too_many_arguments, reason = "the pass, the block's forward, and what it reads and writes")]
    pub(in crate::model) fn backward(
        &self,
        flat: &[f32],
        cu_seqlens: &[usize],
        dropout: &Dropout,
        input: &[f32],
        saved: &SavedAttention,
        scratch: &mut AttentionScratch,
        d_output: &mut [f32],
        gradients: &mut [f32],
    ) {
        let (hidden, length) = (self.hidden(), input.len());
        let tokens = length / hidden;
        let rows = Layout::dense(tokens, hidden);
        let (normalized, inverse) = (&saved.normalized[..length], &saved.inverse[..tokens]);
        norm_backward(d_output, normalized, inverse, self.norm.weight(flat), self.norm.gradients(gradients));
        let d_hidden = room(&mut scratch.d_hidden, length);
        dropout_backward(d_output, dropout.stream(DropoutSite::AttentionOutput(self.layer)), hidden, d_hidden);
        add_column_sums(d_hidden, self.output.bias_mut(gradients));
        let context = (&saved.context[..length], room(&mut scratch.d_context, length));
        self.output.backward(flat, context, Accumulate::Replace, (d_hidden, rows), gradients);

        let d_qkv = room(&mut scratch.d_qkv, 3 * length);
        attention_backward(
            self.shape(cu_seqlens),
            &saved.qkv[..3 * length],
            &saved.log_sums[..tokens * self.heads],
            dropout.stream(DropoutSite::Probabilities(self.layer)),
            &scratch.d_context[..length],
            d_qkv,
        );
        let bias_sums = room(&mut scratch.qkv_bias, 3 * hidden);
        bias_sums.fill(0.0);
        add_column_sums(d_qkv, bias_sums);
        for (part, projection) in self.projections.iter().enumerate() {
            let layout = Layout::columns_of(0, tokens, 3 * hidden, part * hidden, hidden);
            let input = (input, &mut *d_output);
            projection.backward(flat, input, Accumulate::Add, (d_qkv, layout), gradients);
            let sums = &bias_sums[part * hidden..(part + 1) * hidden];
            for (gradient, sum) in projection.bias_mut(gradients).iter_mut().zip(sums) {
                *gradient += sum;
            }
        }
    }
}
