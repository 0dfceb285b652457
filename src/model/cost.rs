//! What computing takes, from the model's sizes alone: the memory that training keeps, and the arithmetic.

use super::EncoderConfig;

impl EncoderConfig {
    /// The bytes that a kept forward holds for each token, with the room that backward works in. Attention keeps one
    /// number per token and head, so this does not depend on lengths.
    pub(super) fn kept_bytes_per_token(&self) -> usize {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        // Query, key and value, the sums of their softmax, context, and each norm's input and output.
        let attention = 3 * hidden + self.num_attention_heads + 3 * hidden + 1;
        let feed_forward = inner + 2 * hidden + 1;
        let embedding = 2 * hidden + 1;
        // One layer's gradients: all layers share them.
        let gradients = 7 * hidden + 2 * inner;
        (self.num_hidden_layers * (attention + feed_forward) + embedding + gradients) * size_of::<f32>()
    }

    /// The floating-point operations of the matrix products of a forward over sequences of these lengths, two for each
    /// multiply-add.
    pub(super) fn forward_operations(&self, lengths: impl IntoIterator<Item = usize>) -> u64 {
        let (hidden, inner) = (self.hidden_size as u64, self.intermediate_size as u64);
        // Query, key, value and output; there and back.
        let linear = 4 * hidden * hidden + 2 * hidden * inner;
        // Scores, and the values that they weigh.
        let attention = |length: u64| 2 * length * hidden;
        let of_sequence = |length: usize| length as u64 * (linear + attention(length as u64));
        2 * self.num_hidden_layers as u64 * lengths.into_iter().map(of_sequence).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> EncoderConfig {
        EncoderConfig::from_json(json.as_bytes()).expect("it is sound")
    }

    #[test]
    fn a_token_of_minilm_keeps_137_kilobytes() {
        let minilm = config(
            r#"{"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
                "intermediate_size": 1536}"#,
        );
        // Six layers of 8 × 384 + 1536 + 12 + 2 numbers, the embedding's 769 and 5760 of gradients.
        assert_eq!(minilm.kept_bytes_per_token(), 4 * (6 * 4622 + 769 + 5760));
        let base = config(r#"{"model_type": "bert"}"#);
        assert_eq!(base.kept_bytes_per_token(), 4 * (12 * 9230 + 1537 + 11520));
    }

    #[test]
    fn operations_are_those_counted_by_hand() {
        let tiny = config(
            r#"{"model_type": "bert", "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2,
                "intermediate_size": 8}"#,
        );
        // A token of a layer: 4 × 16 + 2 × 32 = 128 multiply-adds. A sequence of 3, over both heads: 9 scores of 4 and
        // 3 rows of 4 weighed over 3, which is 36 each.
        assert_eq!(tiny.forward_operations([3]), 2 * 2 * (3 * 128 + 36 + 36));
        assert_eq!(tiny.forward_operations([1]), 2 * 2 * (128 + 4 + 4));
        assert_eq!(tiny.forward_operations([3, 1]), tiny.forward_operations([3]) + tiny.forward_operations([1]));
        assert_eq!(tiny.forward_operations([]), 0);
    }
}
