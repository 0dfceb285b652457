//! The service that embeds: what is asked, what is answered, and the handle to it.

use std::sync::Arc;

use crate::domain::{DataDir, ModelReference, ModelSummary};
use crate::store::Store;

use super::EmbedError;

/// The service's limits.
#[derive(Debug, Clone)]
pub struct ServingOptions {
    /// Memory for loaded weights; the least recently used model is dropped beyond it. One model is always kept.
    pub cache_bytes: u64,
    /// Texts that may wait; more are refused with [`EmbedError::Overloaded`].
    pub max_waiting_texts: usize,
}

/// One text to embed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbedInput {
    /// Text, to be tokenised.
    Text(String),
    /// Token ids of this model's tokenizer, special tokens included.
    TokenIds(Vec<u32>),
}

/// What to embed, with what.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedRequest {
    /// The model.
    pub model: ModelReference,
    /// The texts.
    pub inputs: Vec<EmbedInput>,
    /// Cuts embeddings to this length (before normalising).
    pub dimensions: Option<usize>,
    /// True to give embeddings length 1; false leaves the pooled embedding as it is.
    pub normalize: bool,
    /// True to cut texts that are too long; false refuses them.
    pub truncate: bool,
    /// The name of one of the model's prompts, put before each text.
    pub prompt_name: Option<String>,
}

/// Embeddings in the order of the inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// The length of each.
    pub dimension: usize,
    /// `[inputs, dimension]`.
    pub values: Vec<f32>,
    /// Tokens of each input, after truncation.
    pub tokens: Vec<usize>,
}

/// Embeds; clones share the loaded models and the thread.
#[derive(Debug, Clone)]
pub struct EmbeddingService(Arc<Inner>);

#[derive(Debug)]
struct Inner {}

impl EmbeddingService {
    /// Starts the thread; models are loaded when they are first asked for.
    #[must_use]
    pub fn start(_store: Store, _data_dir: DataDir, _options: ServingOptions) -> Self {
        todo!("serving")
    }

    /// Embeds.
    ///
    /// # Errors
    /// See [`EmbedError`].
    pub async fn embed(&self, _request: EmbedRequest) -> Result<Embeddings, EmbedError> {
        todo!("serving")
    }

    /// What a model is, loading it where it is not loaded.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`].
    pub async fn summary(&self, _model: &ModelReference) -> Result<ModelSummary, EmbedError> {
        todo!("serving")
    }

    /// Token ids of each text with the model's tokenizer, special tokens included, uncut.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`].
    pub async fn tokenize(&self, _model: &ModelReference, _texts: Vec<String>) -> Result<Vec<Vec<u32>>, EmbedError> {
        todo!("serving")
    }

    /// Drops a model from memory, such as before its files are deleted; requests under way end with it.
    pub async fn evict(&self, _model: &ModelReference) {
        todo!("serving")
    }

    /// Answers what waits with [`EmbedError::ShuttingDown`] and ends the thread.
    pub async fn shutdown(&self) {
        todo!("serving")
    }
}
