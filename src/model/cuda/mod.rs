//! The encoder on a CUDA device: weights, gradient and passes; the host keeps the folder, the tokenizer and the layout of
//! parameters.

mod bert;
mod check;
mod layer;
mod layout;
mod pack;
#[cfg(test)]
mod tests;
mod workspace;

use std::ops::Range;

use crate::data::packing::PackedBatch;
use crate::domain::{ModelSummary, Pooling, Precision};
use crate::kernels::cuda::attention::is_supported;
use crate::kernels::cuda::pooling::{PoolKind, normalize, normalize_backward, pool, pool_backward};
use crate::kernels::cuda::{Address, Buffer, CudaError, Device, Numbers, View};

use super::{DropoutKey, EncoderConfig, ModelError, SentenceEncoder};
use bert::{Bert, Weights};
pub use check::check_model;
pub(crate) use layout::Layout;
use pack::DevicePack;
use workspace::Workspace;

/// A model on a device.
#[derive(Debug)]
pub(crate) struct CudaEncoder {
    device: Device,
    layout: Layout,
    bert: Bert,
    summary: ModelSummary,
    numbers: Numbers,
    most_sequence_tokens: usize,
    /// `[parameters]`, in the layout's order.
    weights: Buffer<f32>,
    /// The weights rounded, where products take rounded ones.
    shadow: Option<Buffer<u16>>,
    workspace: Workspace,
    dropout: Option<DropoutKey>,
    /// Of the last pack, `[sequences, dimension]`, and `[sequences]`.
    pooled: Buffer<f32>,
    norms: Buffer<f32>,
    d_pooled: Buffer<f32>,
}

/// The numbers of a precision's activations and products.
fn numbers(precision: Precision) -> Numbers {
    if precision == Precision::Float32 { Numbers::Float32 } else { Numbers::Bf16 }
}

/// Why a model cannot be computed on a device, where it cannot.
pub(crate) fn unsupported(config: &EncoderConfig, precision: Precision) -> Option<String> {
    let numbers = numbers(precision);
    let head_size = config.hidden_size / config.num_attention_heads;
    if !is_supported(numbers, head_size) {
        let most = if numbers == Numbers::Bf16 { "16, 32, 64 and 128" } else { "16, 32 and 64" };
        return Some(format!("its heads are of size {head_size}; in {precision} the GPU computes those of {most}"));
    }
    let sizes = [("hidden_size", config.hidden_size), ("intermediate_size", config.intermediate_size)];
    let uneven = sizes.iter().find(|(_, size)| size % 8 != 0);
    uneven.map(|(name, size)| format!("its {name} is {size}; the GPU computes multiples of 8"))
}

impl CudaEncoder {
    /// Copies a model's weights to a device.
    ///
    /// # Errors
    /// As the device says, and where a tensor is missing.
    pub(crate) fn new(
        device: &Device,
        encoder: &SentenceEncoder,
        precision: Precision,
    ) -> Result<Self, CudaModelError> {
        let config = encoder.config();
        let numbers = numbers(precision);
        if let Some(reason) = unsupported(config, precision) {
            return Err(ModelError::Unsupported(reason).into());
        }
        let layout = Layout::new(&encoder.parameters().specs);
        // So they are where hidden and intermediate sizes are multiples of 8; kernels stand on it.
        assert!(layout.is_aligned(), "tensors begin at multiples of 8 numbers");
        let bert = Bert::find(&layout, config)?;
        let shadow = match numbers {
            Numbers::Bf16 => Some(Buffer::new(device, layout.len())?),
            Numbers::Float32 => None,
        };
        let mut made = Self {
            device: device.clone(),
            bert,
            summary: encoder.summary().clone(),
            numbers,
            most_sequence_tokens: config.max_position_embeddings,
            weights: Buffer::new(device, layout.len())?,
            layout,
            shadow,
            workspace: Workspace::new(device, numbers)?,
            dropout: None,
            pooled: Buffer::new(device, 0)?,
            norms: Buffer::new(device, 0)?,
            d_pooled: Buffer::new(device, 0)?,
        };
        made.set_weights(&encoder.parameters().flat)?;
        Ok(made)
    }

    /// Copies weights (`[parameters]`, in the host's order) to the device.
    ///
    /// # Errors
    /// As the device says.
    pub(crate) fn set_weights(&mut self, flat: &[f32]) -> Result<(), CudaError> {
        let weights = self.layout.to_device(flat);
        self.weights.write(0, &weights)?;
        if let Some(shadow) = &mut self.shadow {
            let rounded: Vec<u16> = weights.iter().map(|weight| half::bf16::from_f32(*weight).to_bits()).collect();
            shadow.write(0, &rounded)?;
        }
        Ok(())
    }

    /// The order of parameters on the device.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The weights, `[parameters]`.
    pub(crate) fn weights(&self) -> &Buffer<f32> {
        &self.weights
    }

    /// Where the rounded weights stand, and their numbers; none where products take the weights as they are.
    pub(crate) fn shadow(&self) -> (Address, Numbers) {
        let address = self.shadow.as_ref().map_or(Address::NONE, |shadow| shadow.view().address());
        (address, self.numbers)
    }

    /// Numbers of an embedding.
    pub(crate) fn dimension(&self) -> usize {
        self.summary.dimension
    }

    /// Gives back the memory that passes work in.
    ///
    /// # Errors
    /// As the device says.
    pub(crate) fn release(&mut self) -> Result<(), CudaError> {
        self.workspace = Workspace::new(&self.device, self.numbers)?;
        Ok(())
    }

    fn pass_weights(&self) -> Weights {
        let flat = self.weights.view();
        let factors = self.shadow.as_ref().map_or(flat.address(), |shadow| shadow.view().address());
        Weights { flat, factors }
    }

    fn kind(&self) -> PoolKind {
        match self.summary.pooling {
            Pooling::Cls => PoolKind::Cls,
            Pooling::Mean => PoolKind::Mean,
            Pooling::Max => PoolKind::Max,
        }
    }

    /// Takes the memory of passes over packs of so many tokens and sequences.
    ///
    /// # Errors
    /// As the device says; what was taken before stays.
    pub(crate) fn reserve(&mut self, tokens: usize, sequences: usize, keep: bool) -> Result<(), CudaError> {
        let config = &self.bert.config;
        self.workspace.pack.reserve(DevicePack::most_words(tokens, sequences))?;
        self.workspace.reserve(config, keep, tokens)?;
        if keep {
            // As many bits as sequences of the greatest length would have.
            let groups = (tokens * self.most_sequence_tokens).div_ceil(256) + sequences;
            self.workspace.reserve_masks(config, tokens, groups as u32)?;
            self.d_pooled.grow(sequences * self.summary.dimension)?;
        }
        self.pooled.grow(sequences * self.summary.dimension)?;
        self.norms.grow(sequences)
    }

    /// Embeds a pack: `embeddings` (`[sequences, dimension]`) gets them pooled, and normalised where the model does so. What
    /// [`CudaEncoder::backward`] needs is kept where `keep` is set, in place of what an earlier pack kept.
    ///
    /// # Errors
    /// As the device says.
    pub(crate) fn forward(
        &mut self,
        pack: &PackedBatch,
        dropout: Option<&DropoutKey>,
        keep: bool,
        embeddings: View<f32>,
    ) -> Result<(), CudaError> {
        let (sequences, dimension) = (pack.sequences(), self.summary.dimension);
        self.pooled.grow(sequences * dimension)?;
        self.norms.grow(sequences)?;
        self.bert.forward(&self.device, self.pass_weights(), pack, dropout, keep, &mut self.workspace)?;
        let (cu_seqlens, output) = (self.workspace.pack.cu_seqlens(), self.workspace.output);
        let pooled = if self.summary.normalize { self.pooled.view().address() } else { embeddings.address() };
        pool(&self.device, self.numbers, self.kind(), cu_seqlens, dimension, output, pooled)?;
        if self.summary.normalize {
            let norms = self.norms.view().address();
            normalize(&self.device, (sequences, dimension), pooled, embeddings.address(), norms)?;
        }
        if keep {
            self.dropout = dropout.cloned();
        }
        Ok(())
    }

    /// Adds to `gradients` (`[parameters]`, in the layout's order) the gradient whose derivative by the embeddings of the
    /// last kept forward, `embeddings`, is `d_embeddings`, both `[sequences, dimension]`.
    ///
    /// # Errors
    /// As the device says.
    pub(crate) fn backward(
        &mut self,
        embeddings: View<f32>,
        d_embeddings: View<f32>,
        gradients: View<f32>,
    ) -> Result<(), CudaError> {
        let (sequences, dimension) = (self.workspace.pack.sequences, self.summary.dimension);
        let mut d_pooled = d_embeddings.address();
        if self.summary.normalize {
            self.d_pooled.grow(sequences * dimension)?;
            let kept = (embeddings.address(), self.norms.view().address());
            let into = self.d_pooled.view().address();
            normalize_backward(&self.device, (sequences, dimension), kept, d_pooled, into)?;
            d_pooled = into;
        }
        let (cu_seqlens, output) = (self.workspace.pack.cu_seqlens(), self.workspace.output);
        let d_hidden = self.workspace.d_hidden.address();
        pool_backward(&self.device, self.numbers, self.kind(), cu_seqlens, dimension, output, d_pooled, d_hidden)?;
        let weights = self.pass_weights();
        self.bert.backward(&self.device, weights, self.dropout.as_ref(), &mut self.workspace, gradients)
    }

    /// Bytes of a kept forward and its backward for each token of a pack.
    pub(crate) fn bytes_per_token(config: &EncoderConfig, precision: Precision) -> usize {
        let number = if precision == Precision::Float32 { 4 } else { 2 };
        let (hidden, inner, heads) = (config.hidden_size, config.intermediate_size, config.num_attention_heads);
        let layer = number * (3 * hidden + 5 * hidden + inner) + 4 * (heads + 2);
        let shared = number * (2 * hidden + inner + 3 * hidden + inner.max(3 * hidden)) + 4 * (1 + heads);
        let masks = hidden / 8 + heads * config.max_position_embeddings / 8;
        config.num_hidden_layers * layer + shared + masks + 64
    }
}

/// What can go wrong with a model on a device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CudaModelError {
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The device.
    #[error(transparent)]
    Cuda(#[from] CudaError),
}

/// Rows of embeddings.
pub(crate) fn rows_of(embeddings: View<f32>, rows: &Range<usize>, dimension: usize) -> View<f32> {
    embeddings.part(rows.start * dimension, rows.len() * dimension)
}
