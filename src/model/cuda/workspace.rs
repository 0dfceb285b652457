//! The device's memory that passes work in; grows to the largest pack and is then reused.

use crate::kernels::cuda::dropout::{probability_words, row_words};
use crate::kernels::cuda::embedding::most_slots;
use crate::kernels::cuda::norm::most_partials;
use crate::kernels::cuda::{Address, Buffer, CudaError, Device, Numbers, Tensor};
use crate::model::EncoderConfig;

use super::pack::DevicePack;

/// What the embeddings' forward keeps.
#[derive(Debug)]
pub(super) struct EmbeddingRoom {
    /// `[tokens, hidden]`.
    pub(super) normalized: Tensor,
    /// `[tokens]`.
    pub(super) inverse: Buffer<f32>,
}

/// What a layer's forward keeps; without a backward all layers share one.
#[derive(Debug)]
pub(super) struct LayerRoom {
    /// `[tokens, 3 * hidden]`.
    pub(super) qkv: Tensor,
    /// `[heads, tokens]`.
    pub(super) log_sums: Buffer<f32>,
    /// `[tokens, hidden]`.
    pub(super) context: Tensor,
    /// The attention's output layer, and in its place its norm, `[tokens, hidden]`.
    pub(super) attention_normalized: Tensor,
    /// `[tokens]`.
    pub(super) attention_inverse: Buffer<f32>,
    /// `[tokens, hidden]`.
    pub(super) attended: Tensor,
    /// What GELU is taken of, `[tokens, intermediate]`.
    pub(super) inner: Tensor,
    /// `[tokens, hidden]`.
    pub(super) normalized: Tensor,
    /// `[tokens]`.
    pub(super) inverse: Buffer<f32>,
}

/// Room for a pass.
#[derive(Debug)]
pub(super) struct Workspace {
    device: Device,
    pub(super) numbers: Numbers,
    pub(super) pack: DevicePack,
    pub(super) embedding: EmbeddingRoom,
    pub(super) layers: Vec<LayerRoom>,
    /// Each layer's input, and the last one's output, `[tokens, hidden]`.
    pub(super) hidden: Vec<Tensor>,
    /// GELU's output, `[tokens, intermediate]`.
    pub(super) activated: Tensor,
    pub(super) row_mask: Buffer<u32>,
    pub(super) probability_mask: Buffer<u32>,
    /// The gradient by a layer's output, then by its input, `[tokens, hidden]`.
    pub(super) d_hidden: Tensor,
    /// Gradients within a layer, `[tokens, hidden]`, `[tokens, hidden]` and `[tokens, max(3 * hidden, intermediate)]`.
    pub(super) d_branch: Tensor,
    pub(super) d_context: Tensor,
    pub(super) d_wide: Tensor,
    /// Sums of rows of each token and head, for attention's backward.
    pub(super) row_sums: Buffer<f32>,
    /// Partial sums.
    pub(super) scratch: Buffer<f32>,
    /// Where the last forward's token embeddings stand.
    pub(super) output: Address,
}

impl EmbeddingRoom {
    fn new(device: &Device, numbers: Numbers) -> Result<Self, CudaError> {
        Ok(Self { normalized: Tensor::new(device, numbers, 0)?, inverse: Buffer::new(device, 0)? })
    }
}

impl LayerRoom {
    fn new(device: &Device, numbers: Numbers) -> Result<Self, CudaError> {
        let tensor = || Tensor::new(device, numbers, 0);
        let buffer = || Buffer::new(device, 0);
        Ok(Self {
            qkv: tensor()?,
            log_sums: buffer()?,
            context: tensor()?,
            attention_normalized: tensor()?,
            attention_inverse: buffer()?,
            attended: tensor()?,
            inner: tensor()?,
            normalized: tensor()?,
            inverse: buffer()?,
        })
    }

    fn reserve(&mut self, config: &EncoderConfig, tokens: usize) -> Result<(), CudaError> {
        let hidden = config.hidden_size;
        self.qkv.grow(3 * hidden * tokens)?;
        self.log_sums.grow(config.num_attention_heads * tokens)?;
        for tensor in [&mut self.context, &mut self.attention_normalized, &mut self.attended, &mut self.normalized] {
            tensor.grow(hidden * tokens)?;
        }
        self.inner.grow(config.intermediate_size * tokens)?;
        self.attention_inverse.grow(tokens)?;
        self.inverse.grow(tokens)
    }
}

impl Workspace {
    pub(super) fn new(device: &Device, numbers: Numbers) -> Result<Self, CudaError> {
        let tensor = || Tensor::new(device, numbers, 0);
        Ok(Self {
            device: device.clone(),
            numbers,
            pack: DevicePack::new(device)?,
            embedding: EmbeddingRoom::new(device, numbers)?,
            layers: Vec::new(),
            hidden: Vec::new(),
            activated: tensor()?,
            row_mask: Buffer::new(device, 0)?,
            probability_mask: Buffer::new(device, 0)?,
            d_hidden: tensor()?,
            d_branch: tensor()?,
            d_context: tensor()?,
            d_wide: tensor()?,
            row_sums: Buffer::new(device, 0)?,
            scratch: Buffer::new(device, 0)?,
            output: Address::NONE,
        })
    }

    /// Takes the memory of a pass over so many tokens, with what its backward needs where that is to follow. Masks of
    /// dropout are left to [`Workspace::reserve_masks`].
    ///
    /// # Errors
    /// As the device says.
    pub(super) fn reserve(&mut self, config: &EncoderConfig, keep: bool, tokens: usize) -> Result<(), CudaError> {
        let (hidden, inner, layers) = (config.hidden_size, config.intermediate_size, config.num_hidden_layers);
        let (rooms, inputs) = if keep { (layers, layers + 1) } else { (1, 2) };
        while self.layers.len() < rooms {
            self.layers.push(LayerRoom::new(&self.device, self.numbers)?);
        }
        while self.hidden.len() < inputs {
            self.hidden.push(Tensor::new(&self.device, self.numbers, 0)?);
        }
        for room in &mut self.layers[..rooms] {
            room.reserve(config, tokens)?;
        }
        for room in &mut self.hidden[..inputs] {
            room.grow(hidden * tokens)?;
        }
        self.activated.grow(inner * tokens)?;
        if keep {
            self.embedding.normalized.grow(hidden * tokens)?;
            self.embedding.inverse.grow(tokens)?;
            self.d_hidden.grow(hidden * tokens)?;
            self.d_branch.grow(hidden * tokens)?;
            self.d_context.grow(hidden * tokens)?;
            self.d_wide.grow(inner.max(3 * hidden) * tokens)?;
            self.row_sums.grow(config.num_attention_heads * tokens)?;
            let partials = most_partials(tokens, hidden, [inner, 3 * hidden]);
            self.scratch.grow(partials.max(most_slots(tokens) * hidden))?;
        }
        Ok(())
    }

    /// Takes the memory of dropout masks, for so many groups of the probabilities' bits for each head.
    ///
    /// # Errors
    /// As the device says.
    pub(super) fn reserve_masks(
        &mut self,
        config: &EncoderConfig,
        tokens: usize,
        groups: u32,
    ) -> Result<(), CudaError> {
        self.row_mask.grow(row_words(config.hidden_size) * tokens)?;
        self.probability_mask.grow(probability_words(groups, config.num_attention_heads))
    }
}
