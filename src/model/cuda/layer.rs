//! One layer, forward and backward: `model/blocks/attention.rs` and `feed_forward.rs` of the CPU, kernel by kernel.

use crate::kernels::cuda::attention::{Attention, AttentionKept, DroppedProbabilities, attention, attention_backward};
use crate::kernels::cuda::gelu::{gelu, gelu_backward};
use crate::kernels::cuda::norm::{
    Kept, NormBackward, NormPlaces, ResidualNorm, Shape, column_sums, residual_norm, residual_norm_backward,
};
use crate::kernels::cuda::{Address, CudaError, View};
use crate::model::blocks::DropoutSite;

use super::bert::{Linear, Norm, Pass, kept};

impl Pass<'_> {
    fn attention(&self, dropout: Option<DroppedProbabilities>) -> Attention<'_> {
        let (config, pack) = (&self.bert.config, &self.workspace.pack);
        Attention {
            numbers: self.numbers(),
            heads: config.num_attention_heads,
            head_size: config.hidden_size / config.num_attention_heads,
            tokens: self.tokens(),
            plan: &pack.attention,
            tiles: pack.attention_tiles(),
            dropout,
        }
    }

    /// From `hidden[number]` to `hidden[number + 1]`.
    ///
    /// # Errors
    /// As the device says.
    pub(super) fn layer_forward(&self, number: usize, keep: bool) -> Result<(), CudaError> {
        let layer = self.bert.layers[number];
        let room = &self.workspace.layers[if keep { number } else { 0 }];
        let (hidden, next) = (self.hidden(number, keep), self.hidden(number + 1, keep));
        self.linear(layer.projections, hidden, room.qkv.address(), true)?;
        let shape = self.attention(self.probability_mask(number)?);
        let log_sums = keep.then(|| room.log_sums.view());
        attention(self.device, &shape, room.qkv.address(), room.context.address(), log_sums)?;

        let (branch, attended) = (room.attention_normalized.address(), room.attended.address());
        self.linear(layer.output, room.context.address(), branch, false)?;
        let site = DropoutSite::AttentionOutput(number);
        let kept_norm = kept(keep, &room.attention_normalized, &room.attention_inverse);
        self.finish(site, (layer.output, branch), hidden, layer.attention_norm, kept_norm, attended)?;

        self.linear(layer.inner, attended, room.inner.address(), true)?;
        let activated = self.workspace.activated.address();
        gelu(self.device, self.numbers(), room.inner.address(), activated, self.tokens() * layer.inner.outputs)?;
        let branch = room.normalized.address();
        self.linear(layer.outer, activated, branch, false)?;
        let site = DropoutSite::FeedForwardOutput(number);
        let kept_norm = kept(keep, &room.normalized, &room.inverse);
        self.finish(site, (layer.outer, branch), attended, layer.norm, kept_norm, next)
    }

    /// `output = norm(residual + dropout(branch + bias))`.
    fn finish(
        &self,
        site: DropoutSite,
        (linear, branch): (Linear, Address),
        residual: Address,
        norm: Norm,
        kept: Kept,
        output: Address,
    ) -> Result<(), CudaError> {
        let from = ResidualNorm {
            hidden: branch,
            bias: self.weight(linear.bias),
            mask: self.row_mask(site)?,
            residual,
            norm: self.norm(norm),
            epsilon: self.bert.config.layer_norm_eps,
        };
        residual_norm(self.device, self.shape(), &from, kept, output)
    }

    /// From the gradient by `hidden[number + 1]`, in `d_hidden`, to that by `hidden[number]`, in its place; adds to the
    /// weights' gradients.
    ///
    /// # Errors
    /// As the device says.
    pub(super) fn layer_backward(&mut self, number: usize, gradients: View<f32>) -> Result<(), CudaError> {
        let layer = self.bert.layers[number];
        let d = self.workspace.d_hidden.address();
        let d_branch = self.workspace.d_branch.address();
        let d_wide = self.workspace.d_wide.address();
        let activated = self.workspace.activated.address();
        let hidden = self.hidden(number, true);
        let room = &self.workspace.layers[number];
        let (attended, inner) = (room.attended.address(), room.inner.address());
        let (qkv, context, log_sums) = (room.qkv.address(), room.context.address(), room.log_sums.view());
        let attention_kept = kept(true, &room.attention_normalized, &room.attention_inverse);
        let feed_forward_kept = kept(true, &room.normalized, &room.inverse);

        self.norm_backward(
            DropoutSite::FeedForwardOutput(number),
            layer.norm,
            layer.outer,
            feed_forward_kept,
            gradients,
        )?;
        self.linear_backward(layer.outer, d_branch, d_wide, false)?;
        let shape = Shape { columns: layer.inner.outputs, ..self.shape() };
        let d_bias = gradients.part(layer.inner.bias, layer.inner.outputs).address();
        gelu_backward(self.device, shape, inner, d_wide, activated, d_bias, &mut self.workspace.scratch)?;
        self.weight_gradient(layer.outer, d_branch, activated, gradients)?;
        self.weight_gradient(layer.inner, d_wide, attended, gradients)?;
        self.linear_backward(layer.inner, d_wide, d, true)?;

        self.norm_backward(
            DropoutSite::AttentionOutput(number),
            layer.attention_norm,
            layer.output,
            attention_kept,
            gradients,
        )?;
        let d_context = self.workspace.d_context.address();
        self.weight_gradient(layer.output, d_branch, context, gradients)?;
        self.linear_backward(layer.output, d_branch, d_context, false)?;
        let shape = self.attention(self.probability_mask(number)?);
        let kept = AttentionKept { qkv, context, log_sums };
        attention_backward(self.device, &shape, kept, d_context, self.workspace.row_sums.view(), d_wide)?;
        let shape = Shape { columns: layer.projections.outputs, ..self.shape() };
        let d_bias = gradients.part(layer.projections.bias, layer.projections.outputs).address();
        column_sums(self.device, shape, d_wide, d_bias, &mut self.workspace.scratch)?;
        self.weight_gradient(layer.projections, d_wide, hidden, gradients)?;
        self.linear_backward(layer.projections, d_wide, d, true)
    }

    /// Through a norm, the residual sum and the dropout before it: `d_hidden` becomes the gradient by the residual,
    /// `d_branch` that by the linear layer's output.
    fn norm_backward(
        &mut self,
        site: DropoutSite,
        norm: Norm,
        linear: Linear,
        kept: Kept,
        gradients: View<f32>,
    ) -> Result<(), CudaError> {
        let mask = self.row_mask(site)?;
        let gradient = |place: usize| gradients.part(place, 0).address();
        let d = self.workspace.d_hidden.address();
        let backward = NormBackward {
            d_output: d,
            d_sum: d,
            kept,
            weight: self.weight(norm.weight),
            gradients: NormPlaces { weight: gradient(norm.weight), shift: gradient(norm.shift) },
        };
        let branch = (self.workspace.d_branch.address(), gradient(linear.bias));
        residual_norm_backward(self.device, self.shape(), &backward, mask, branch, &mut self.workspace.scratch)
    }
}
