//! Where a block's tensors lie in the flat vector of weights, and so in that of gradients.

use std::ops::Range;

use crate::kernels::layer_norm::Norm;
use crate::kernels::linear::{Arithmetic, PackedLinear, weight_gradients};
use crate::kernels::matmul::{Accumulate, add_to_columns};
use crate::kernels::team::Team;
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

/// All weights: as they are, and those of linear layers also laid out for products.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Weights<'a> {
    /// As [`Parameters::flat`].
    pub(in crate::model) flat: &'a [f32],
    /// By [`LinearWeights::number`].
    pub(in crate::model) packed: &'a [PackedLinear],
    /// How products are computed.
    pub(in crate::model) arithmetic: Arithmetic,
}

/// The weights (each `[outputs, inputs]`) and biases (`[outputs]`) of a linear layer, or of several that read the same
/// input and are computed as one, their outputs side by side.
#[derive(Debug, Clone)]
pub(in crate::model) struct LinearWeights {
    weights: Vec<Range<usize>>,
    biases: Vec<Range<usize>>,
    inputs: usize,
    outputs: usize,
    /// The place among the encoder's packed layers.
    number: usize,
}

impl LinearWeights {
    pub(in crate::model) fn find(parameters: &Parameters, number: usize, names: &[String]) -> Result<Self, ModelError> {
        let ranges = |part: &str| -> Result<Vec<Range<usize>>, ModelError> {
            names.iter().map(|name| find(parameters, &format!("{name}.{part}"))).collect()
        };
        let (weights, biases) = (ranges("weight")?, ranges("bias")?);
        let outputs = biases.iter().map(Range::len).sum();
        let inputs = weights.iter().map(Range::len).sum::<usize>() / outputs;
        Ok(Self { weights, biases, inputs, outputs, number })
    }

    /// Outputs of all the layers.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    fn parts<'f>(&self, flat: &'f [f32]) -> Vec<&'f [f32]> {
        self.weights.iter().map(|range| &flat[range.clone()]).collect()
    }

    /// Lays the weights out for products.
    pub(in crate::model) fn pack(&self, flat: &[f32], arithmetic: Arithmetic, for_backward: bool) -> PackedLinear {
        PackedLinear::pack(&self.parts(flat), self.inputs, arithmetic, for_backward)
    }

    /// Lays changed weights out.
    pub(in crate::model) fn repack(&self, flat: &[f32], packed: &mut [PackedLinear]) {
        packed[self.number].repack(&self.parts(flat));
    }

    /// Adds the biases to each row of `output`, `[rows, outputs]`.
    pub(super) fn add_bias(&self, flat: &[f32], output: &mut [f32]) {
        let mut first = 0;
        for range in &self.biases {
            add_to_columns(output, self.outputs, first, &flat[range.clone()]);
            first += range.len();
        }
    }

    /// The bias of a layer that stands alone.
    pub(super) fn only_bias<'f>(&self, flat: &'f [f32]) -> &'f [f32] {
        let [bias] = &self.biases[..] else { unreachable!("the layer is computed with others") };
        &flat[bias.clone()]
    }

    /// The places of the biases' gradients.
    pub(super) fn bias_places(&self) -> Vec<Range<usize>> {
        self.biases.clone()
    }

    /// `output = input weightᵀ` for a block of rows, on this thread, or by a team; the bias is left to what comes after.
    pub(super) fn forward(&self, team: Option<&Team>, weights: Weights<'_>, input: &[f32], output: &mut [f32]) {
        let packed = &weights.packed[self.number];
        match team {
            None => packed.forward(input, output),
            Some(team) => packed.forward_by_team(team, input, output),
        }
    }

    /// Writes the gradient by a block of rows' input, or adds to it, on this thread.
    pub(super) fn backward(&self, weights: Weights<'_>, d_output: &[f32], d_input: &mut [f32], into: Accumulate) {
        weights.packed[self.number].backward(&self.parts(weights.flat), d_output, d_input, into);
    }

    /// Adds to the gradients of the weights; all rows, on all threads.
    pub(super) fn weight_gradients(
        &self,
        arithmetic: Arithmetic,
        d_output: &[f32],
        input: &[f32],
        gradients: &mut [f32],
    ) {
        // Tensors are sorted by name, so that layers that are computed as one lie in no particular order.
        let mut order: Vec<usize> = (0..self.weights.len()).collect();
        order.sort_by_key(|part| self.weights[*part].start);
        let mut parts: Vec<&mut [f32]> = Vec::new();
        parts.resize_with(order.len(), Default::default);
        let (mut rest, mut start) = (gradients, 0);
        for part in order {
            let range = &self.weights[part];
            let (place, after) = rest.split_at_mut(range.start - start).1.split_at_mut(range.len());
            (parts[part], rest, start) = (place, after, range.end);
        }
        weight_gradients(arithmetic, d_output, input, self.inputs, &mut parts);
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

    /// The places of the gradients by scale and shift.
    pub(super) fn places(&self) -> [Range<usize>; 2] {
        [self.weight.clone(), self.bias.clone()]
    }
}
