//! What can be wrong with a model.

use std::path::PathBuf;

use crate::data::tokenization::TokenizationError;

/// A model folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected.
        message: String,
    },
    /// The model is sound but of a kind that this encoder does not compute.
    #[error("the model is not supported: {0}")]
    Unsupported(String),
    /// The tokenizer failed.
    #[error(transparent)]
    Tokenization(#[from] TokenizationError),
    /// The device that computes it failed.
    #[error("the GPU failed: {0}")]
    Device(String),
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}
