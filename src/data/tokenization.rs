//! Text to token ids, the same for training, evaluation and serving.

use std::path::Path;

/// The tokenizer could not be read or could not read a text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TokenizationError(String);

/// A model's tokenizer with its truncation.
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    max_seq_length: usize,
}

impl TextTokenizer {
    /// Reads `tokenizer.json`; texts will be cut to `max_seq_length` tokens, special tokens included.
    ///
    /// # Errors
    /// Where the file is missing or is not a tokenizer.
    pub fn from_file(_path: &Path, _max_seq_length: usize) -> Result<Self, TokenizationError> {
        todo!("engine")
    }

    /// The same tokenizer with another limit.
    #[must_use]
    pub fn with_max_seq_length(&self, max_seq_length: usize) -> Self {
        Self { max_seq_length }
    }

    /// The most tokens that a text becomes.
    #[must_use]
    pub fn max_seq_length(&self) -> usize {
        self.max_seq_length
    }

    /// Token ids of each text, special tokens included, in order; on all cores.
    ///
    /// # Errors
    /// Where the tokenizer refuses a text.
    pub fn encode_batch<S: AsRef<str> + Sync>(&self, _texts: &[S]) -> Result<Vec<Vec<u32>>, TokenizationError> {
        todo!("engine")
    }

    /// How many tokens a text has before truncation, special tokens included.
    ///
    /// # Errors
    /// Where the tokenizer refuses the text.
    pub fn count(&self, _text: &str) -> Result<usize, TokenizationError> {
        todo!("engine")
    }
}
