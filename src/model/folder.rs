//! A model folder in sentence-transformers' layout or plain transformers': what it says, and how it is written.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::tokenization::TextTokenizer;
use crate::domain::ModelSummary;

use super::{EncoderConfig, ModelError, Parameters};

/// All that a model folder says, weights apart.
#[derive(Debug, Clone)]
pub(super) struct ModelFolder {
    /// The encoder.
    pub(super) config: EncoderConfig,
    /// What the model is.
    pub(super) summary: ModelSummary,
    /// The tokenizer, cut to `summary.max_seq_length`.
    pub(super) tokenizer: TextTokenizer,
    /// Prompts by name, such as `query`.
    pub(super) prompts: BTreeMap<String, String>,
}

impl ModelFolder {
    /// Reads a folder's configuration, tokenizer, and tensor names and shapes (not their values), and refuses what the
    /// encoder does not compute.
    ///
    /// # Errors
    /// Where a file is missing, malformed, or asks for something that is not supported.
    pub(super) fn read(_folder: &Path) -> Result<Self, ModelError> {
        todo!("model folder")
    }

    /// Reads the weights of the folder that `self` was read from.
    ///
    /// # Errors
    /// Where a tensor is missing, of another shape, or not finite.
    pub(super) fn read_weights(&self, _folder: &Path) -> Result<Parameters, ModelError> {
        todo!("model folder")
    }

    /// Writes a sentence-transformers folder into an existing empty one.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub(super) fn write(
        &self,
        _folder: &Path,
        _parameters: &Parameters,
        _matryoshka_dims: &[usize],
    ) -> Result<(), ModelError> {
        todo!("model folder")
    }
}
