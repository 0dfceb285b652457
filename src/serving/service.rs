//! The service that embeds: what is asked, what is answered, and the handle to it.

use std::sync::Arc;

use crate::domain::{DataDir, ModelReference, ModelSummary};
use crate::store::Store;

use super::{EmbedError, EmbedRequest, Embeddings};

/// The service's limits.
#[derive(Debug, Clone)]
pub struct ServingOptions {
    /// Memory for loaded weights; the least recently used model is dropped beyond it. One model is always kept.
    pub cache_bytes: u64,
    /// Texts that may wait; more are refused with [`EmbedError::Overloaded`].
    pub max_waiting_texts: usize,
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
        Self(Arc::new(Inner {}))
    }

    /// Embeds.
    ///
    /// # Errors
    /// See [`EmbedError`].
    pub async fn embed(&self, _request: EmbedRequest) -> Result<Embeddings, EmbedError> {
        Err(EmbedError::ShuttingDown)
    }

    /// What a model is, loading it where it is not loaded.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`].
    pub async fn summary(&self, _model: &ModelReference) -> Result<ModelSummary, EmbedError> {
        Err(EmbedError::ShuttingDown)
    }

    /// Token ids of each text with the model's tokenizer, special tokens included, uncut.
    ///
    /// # Errors
    /// As [`EmbeddingService::embed`].
    pub async fn tokenize(&self, _model: &ModelReference, _texts: Vec<String>) -> Result<Vec<Vec<u32>>, EmbedError> {
        Err(EmbedError::ShuttingDown)
    }

    /// Drops a model from memory, such as before its files are deleted; requests under way end with it.
    pub async fn evict(&self, _model: &ModelReference) {}

    /// Answers what waits with [`EmbedError::ShuttingDown`] and ends the thread.
    pub async fn shutdown(&self) {}
}
