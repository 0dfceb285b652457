//! How long a dataset's texts are in tokens, and how many a model would cut.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::Pair;

use super::tokenization::{TextTokenizer, TokenizationError};

/// The bins that a histogram has at most; their width is the least power of two from 8 on for which that holds.
const MAX_BINS: usize = 32;

/// The lengths of one column's texts, in tokens, special tokens included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ColumnLengths {
    /// Tokens that each bin spans: bin `i` counts lengths from `i * bin_width` to below `(i + 1) * bin_width`.
    pub bin_width: usize,
    /// Texts in each bin, up to the longest.
    pub bins: Vec<u64>,
    /// The mean length.
    pub mean: f64,
    /// The least length that half of the texts do not exceed.
    pub p50: usize,
    /// The least length that 95 of 100 texts do not exceed.
    pub p95: usize,
    /// The longest.
    pub max: usize,
    /// Texts longer than the model's limit, which lose their end.
    pub truncated: u64,
}

impl ColumnLengths {
    /// Counts lengths; all is 0 where there are none.
    #[must_use]
    pub fn from_lengths(mut lengths: Vec<usize>, max_seq_length: usize) -> Self {
        lengths.sort_unstable();
        let max = lengths.last().copied().unwrap_or(0);
        let mut bin_width = 8;
        while max / bin_width >= MAX_BINS {
            bin_width *= 2;
        }
        let mut bins = vec![0; if lengths.is_empty() { 0 } else { max / bin_width + 1 }];
        for length in &lengths {
            bins[length / bin_width] += 1;
        }
        // The nearest rank, computed in integers: the value that at least this share of the texts does not exceed.
        let percentile = |percent: usize| {
            let rank = (lengths.len() * percent).div_ceil(100);
            lengths.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self {
            bin_width,
            bins,
            mean: lengths.iter().sum::<usize>() as f64 / lengths.len().max(1) as f64,
            p50: percentile(50),
            p95: percentile(95),
            max,
            truncated: lengths.iter().filter(|length| **length > max_seq_length).count() as u64,
        }
    }
}

/// The token lengths of both columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
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
pub fn length_histogram(tokenizer: &TextTokenizer, pairs: &[Pair]) -> Result<LengthHistogram, TokenizationError> {
    let max_seq_length = tokenizer.max_seq_length();
    let column = |text: fn(&Pair) -> &str| {
        let lengths: Result<Vec<usize>, _> = pairs.par_iter().map(|pair| tokenizer.count(text(pair))).collect();
        Ok(ColumnLengths::from_lengths(lengths?, max_seq_length))
    };
    Ok(LengthHistogram {
        max_seq_length,
        anchor: column(|pair| &pair.anchor)?,
        positive: column(|pair| &pair.positive)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_counted() {
        let lengths = ColumnLengths::from_lengths((1..=100).collect(), 90);
        assert_eq!((lengths.p50, lengths.p95, lengths.max, lengths.truncated), (50, 95, 100, 10));
        assert_eq!((lengths.bin_width, lengths.bins.len(), lengths.bins[0], lengths.bins[12]), (8, 13, 7, 5));
        assert!((lengths.mean - 50.5).abs() < 1e-12);
        let one = ColumnLengths::from_lengths(vec![8], 8);
        assert_eq!((one.p50, one.p95, one.truncated, one.bins), (8, 8, 0, vec![0, 1]));
        let none = ColumnLengths::from_lengths(Vec::new(), 8);
        assert_eq!((none.mean, none.max, none.bins.len()), (0.0, 0, 0));
    }

    proptest! {
        #[test]
        fn every_text_is_in_one_of_few_bins(lengths in prop::collection::vec(0_usize..50_000, 1..200)) {
            let count = lengths.len() as u64;
            let found = ColumnLengths::from_lengths(lengths, 256);
            prop_assert_eq!(found.bins.iter().sum::<u64>(), count);
            prop_assert!(found.bins.len() <= MAX_BINS && found.bins.last() > Some(&0));
            prop_assert!(found.p50 <= found.p95 && found.p95 <= found.max);
        }
    }
}
