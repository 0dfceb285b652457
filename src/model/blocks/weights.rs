//! Where a block's tensors lie in the flat vector of weights, and so in that of gradients.

use std::ops::Range;

use crate::kernels::layer_norm::{Norm, NormGradients};
use crate::kernels::matmul::{Accumulate, Layout, linear, linear_backward_input, linear_backward_weight};

use crate::model::{ModelError, Parameters};

/// The place of the tensor called `name`.
///
/// # Errors
/// Where there is none.
pub(in crate::model) fn find(parameters: &Parameters, name: &str) -> Result<Range<usize>, ModelError> {
    let spec = parameters.specs.iter().find(|spec| spec.name == name);
    let spec = spec.ok_or_else(|| ModelError::Unsupported(format!("the tensor `{name}` is missing")))?;
    Ok(spec.offset..spec.offset + spec.len)
}

/// A linear layer's weight (`[outputs, inputs]`) and bias (`[outputs]`).
#[derive(Debug, Clone)]
pub(in crate::model) struct LinearWeights {
    weight: Range<usize>,
    bias: Range<usize>,
}

impl LinearWeights {
    pub(in crate::model) fn find(parameters: &Parameters, name: &str) -> Result<Self, ModelError> {
        let weight = find(parameters, &format!("{name}.weight"))?;
        Ok(Self { weight, bias: find(parameters, &format!("{name}.bias"))? })
    }

    /// Outputs of the layer.
    pub(super) fn outputs(&self) -> usize {
        self.bias.len()
    }

    pub(super) fn bias<'p>(&self, flat: &'p [f32]) -> &'p [f32] {
        &flat[self.bias.clone()]
    }

    pub(super) fn bias_mut<'p>(&self, flat: &'p mut [f32]) -> &'p mut [f32] {
        &mut flat[self.bias.clone()]
    }

    /// `output = input weightᵀ`; the bias is left to what comes after.
    pub(super) fn forward(&self, flat: &[f32], input: &[f32], output: &mut [f32], layout: Layout) {
        linear(input, &flat[self.weight.clone()], output, layout);
    }

    /// Adds to the weight's gradient, and writes or adds to the input's.
    pub(super) fn backward(
        &self,
        flat: &[f32],
        (input, d_input): (&[f32], &mut [f32]),
        into: Accumulate,
        (d_output, layout): (&[f32], Layout),
        gradients: &mut [f32],
    ) {
        linear_backward_weight(d_output, layout, input, &mut gradients[self.weight.clone()]);
        linear_backward_input(d_output, layout, &flat[self.weight.clone()], d_input, into);
    }
}

/// A layer norm's scale and shift.
#[derive(Debug, Clone)]
pub(in crate::model) struct NormWeights {
    weight: Range<usize>,
    bias: Range<usize>,
    epsilon: f32,
}

impl NormWeights {
    pub(in crate::model) fn find(parameters: &Parameters, name: &str, epsilon: f32) -> Result<Self, ModelError> {
        let weight = find(parameters, &format!("{name}.weight"))?;
        Ok(Self { weight, bias: find(parameters, &format!("{name}.bias"))?, epsilon })
    }

    pub(super) fn weight<'p>(&self, flat: &'p [f32]) -> &'p [f32] {
        &flat[self.weight.clone()]
    }

    pub(super) fn norm<'p>(&self, flat: &'p [f32]) -> Norm<'p> {
        Norm { weight: self.weight(flat), bias: &flat[self.bias.clone()], epsilon: self.epsilon }
    }

    pub(super) fn gradients<'p>(&self, gradients: &'p mut [f32]) -> NormGradients<'p> {
        let [weight, bias] = gradients
            .get_disjoint_mut([self.weight.clone(), self.bias.clone()])
            .expect("two tensors lie in different places");
        NormGradients { weight, bias }
    }
}
