//! The sentence encoder: the one implementation behind training, evaluation and serving.

use std::path::Path;

use crate::data::packing::PackedBatch;
use crate::data::tokenization::TextTokenizer;
use crate::domain::ModelSummary;

use super::{ModelError, Parameters};

/// Names one micro-batch's dropout masks: the same key gives the same masks, so that nothing need be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropoutKey {
    /// The job's seed.
    pub seed: u64,
    /// The micro-batch's number since the start of the run.
    pub micro_batch: u64,
}

/// What forward saves for backward, and room to work in; grows to the largest batch seen and is then reused.
#[derive(Debug, Default)]
pub struct Workspace {}

/// A text encoder with its tokenizer.
#[derive(Debug)]
pub struct SentenceEncoder {}

impl SentenceEncoder {
    /// Reads a model folder (sentence-transformers' layout or plain transformers').
    ///
    /// # Errors
    /// Where a file is missing, malformed, or asks for something that is not supported.
    pub fn load(_folder: &Path) -> Result<Self, ModelError> {
        todo!("engine")
    }

    /// Reads only what tells whether a folder could be loaded: configuration, tokenizer, tensor names and shapes.
    ///
    /// # Errors
    /// As [`SentenceEncoder::load`].
    pub fn inspect(_folder: &Path) -> Result<ModelSummary, ModelError> {
        todo!("engine")
    }

    /// Writes a sentence-transformers folder: config.json (with `matryoshka_dimensions`), model.safetensors,
    /// tokenizer files, modules.json, 1_Pooling, 2_Normalize where the model has it. The folder must exist, empty.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn save(&self, _folder: &Path, _matryoshka_dims: &[usize]) -> Result<(), ModelError> {
        todo!("engine")
    }

    /// What the model is.
    #[must_use]
    pub fn summary(&self) -> &ModelSummary {
        todo!("engine")
    }

    /// The tokenizer, with the model's own length limit.
    #[must_use]
    pub fn tokenizer(&self) -> &TextTokenizer {
        todo!("engine")
    }

    /// Cuts texts to fewer tokens from now on; [`SentenceEncoder::save`] writes the limit with the model.
    pub fn set_max_seq_length(&mut self, _max_seq_length: usize) {
        todo!("engine")
    }

    /// The weights.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        todo!("engine")
    }

    /// The weights, to be stepped.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        todo!("engine")
    }

    /// Prompts of config_sentence_transformers.json by name, such as `query`.
    #[must_use]
    pub fn prompts(&self) -> &std::collections::BTreeMap<String, String> {
        todo!("engine")
    }

    /// Embeds a packed batch and saves in `workspace` what [`SentenceEncoder::backward`] needs. Without a key there is
    /// no dropout. Returns `[sequences, dimension]`, pooled, and normalised where the model does so.
    pub fn forward<'w>(
        &self,
        _batch: &PackedBatch,
        _dropout: Option<DropoutKey>,
        _workspace: &'w mut Workspace,
    ) -> &'w [f32] {
        todo!("engine")
    }

    /// Adds to `gradients` (`[parameters]`, as [`Parameters::flat`]) the gradient of the loss whose derivative by the
    /// embeddings of the last [`SentenceEncoder::forward`] is `d_embeddings` (`[sequences, dimension]`).
    pub fn backward(
        &self,
        _batch: &PackedBatch,
        _d_embeddings: &[f32],
        _workspace: &mut Workspace,
        _gradients: &mut [f32],
    ) {
        todo!("engine")
    }

    /// Embeds any number of sequences, sorted by length and packed by a token budget; `[sequences, dimension]` in
    /// the order given, normalised where the model does so. `on_progress` is told how many are done after each pack,
    /// and returns false to stop.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`] where `on_progress` says so.
    pub fn encode(
        &self,
        _sequences: &[Vec<u32>],
        _workspace: &mut Workspace,
        _on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f32>, ModelError> {
        todo!("engine")
    }

    /// As [`SentenceEncoder::encode`], but always as pooled, before any normalising.
    ///
    /// # Errors
    /// As [`SentenceEncoder::encode`].
    pub fn encode_pooled(
        &self,
        _sequences: &[Vec<u32>],
        _workspace: &mut Workspace,
        _on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f32>, ModelError> {
        todo!("engine")
    }
}
