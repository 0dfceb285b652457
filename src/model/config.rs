//! What config.json says of a BERT encoder.

/// A BERT encoder's sizes and rates.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// Tokens known.
    pub vocab_size: usize,
    /// The embedding's size.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of each attention; they divide `hidden_size`.
    pub num_attention_heads: usize,
    /// The feed-forward's inner size.
    pub intermediate_size: usize,
    /// The longest sequence.
    pub max_position_embeddings: usize,
    /// Kinds of segment.
    pub type_vocab_size: usize,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f32,
    /// Dropout after embeddings, attention output and feed-forward.
    pub hidden_dropout_prob: f32,
    /// Dropout of attention probabilities.
    pub attention_probs_dropout_prob: f32,
}
