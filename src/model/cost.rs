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
}
