//! How long a dataset's texts are in tokens, and how many a model would cut.

use serde::{Deserialize, Serialize};

use crate::domain::Pair;

use super::tokenization::{TextTokenizer, TokenizationError};

/// The lengths of one column's texts, in tokens, special tokens included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnLengths {
    /// Tokens that each bin spans: bin `i` counts lengths from `i * bin_width` to below `(i + 1) * bin_width`.
    pub bin_width: usize,
    /// Texts in each bin, up to the longest.
    pub bins: Vec<u64>,
    /// The mean length.
    pub mean: f64,
    /// Half of the texts are at most this long.
    pub p50: usize,
    /// 95 of 100 texts are at most this long.
    pub p95: usize,
    /// The longest.
    pub max: usize,
    /// Texts longer than the model's limit, which lose their end.
    pub truncated: u64,
}

/// The token lengths of both columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LengthHistogram {
    /// The model's limit in tokens.
    pub max_seq_length: usize,
    /// The questions.
    pub anchor: ColumnLengths,
    /// The passages.
    pub positive: ColumnLengths,
}

/// Counts every text's tokens before truncation, on all cores.
///
/// # Errors
/// Where the tokenizer refuses a text.
pub fn length_histogram(_tokenizer: &TextTokenizer, _pairs: &[Pair]) -> Result<LengthHistogram, TokenizationError> {
    todo!("data")
}
