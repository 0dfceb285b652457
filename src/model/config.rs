//! What config.json says of a BERT encoder, checked before anything is sized by it.

use serde::Deserialize;

/// Bounds that no BERT comes near; they keep a hostile config.json from asking for absurd sizes.
const MOST_TOKENS: usize = 2_000_000;
const MOST_HIDDEN: usize = 16_384;
const MOST_INTERMEDIATE: usize = 65_536;
const MOST_LAYERS: usize = 128;
const MOST_POSITIONS: usize = 65_536;
const MOST_SEGMENTS: usize = 1024;

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

/// config.json's fields as transformers' `BertConfig` reads them, with its defaults.
#[derive(Deserialize)]
#[serde(default)]
struct BertConfig {
    model_type: Option<String>,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    hidden_dropout_prob: f32,
    attention_probs_dropout_prob: f32,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f32,
    position_embedding_type: Option<String>,
    is_decoder: bool,
    add_cross_attention: bool,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            model_type: None,
            vocab_size: 30_522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            position_embedding_type: None,
            is_decoder: false,
            add_cross_attention: false,
        }
    }
}

/// Why a config.json cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConfigProblem {
    /// It is not a BERT configuration at all, or contradicts itself.
    Malformed(String),
    /// It is sound, but asks for something that the encoder does not compute.
    Unsupported(String),
}

impl EncoderConfig {
    /// Reads config.json.
    ///
    /// # Errors
    /// Where a field is malformed or out of bounds, or asks for something that the encoder does not compute.
    pub(super) fn from_json(json: &[u8]) -> Result<Self, ConfigProblem> {
        let malformed = |error: serde_json::Error| ConfigProblem::Malformed(format!("not a model's config: {error}"));
        // The kind of model is looked at first: other kinds have other fields, and their names are the better message.
        let value: serde_json::Value = serde_json::from_slice(json).map_err(malformed)?;
        if !value.is_object() {
            return Err(ConfigProblem::Malformed("an object is expected".into()));
        }
        match value.get("model_type") {
            Some(kind) if kind == "bert" => {}
            Some(serde_json::Value::String(kind)) => {
                return Err(unsupported("model_type", kind, "encoders of model_type `bert`"));
            }
            _ => return Err(ConfigProblem::Malformed("`model_type` is missing; `bert` is expected".into())),
        }
        let raw: BertConfig = serde_json::from_value(value).map_err(malformed)?;
        raw.check_kind()?;
        raw.check_values()?;
        Ok(Self {
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            num_hidden_layers: raw.num_hidden_layers,
            num_attention_heads: raw.num_attention_heads,
            intermediate_size: raw.intermediate_size,
            max_position_embeddings: raw.max_position_embeddings,
            type_vocab_size: raw.type_vocab_size,
            layer_norm_eps: raw.layer_norm_eps,
            hidden_dropout_prob: raw.hidden_dropout_prob,
            attention_probs_dropout_prob: raw.attention_probs_dropout_prob,
        })
    }
}

impl BertConfig {
    fn check_kind(&self) -> Result<(), ConfigProblem> {
        if self.hidden_act != "gelu" {
            return Err(unsupported("hidden_act", &self.hidden_act, "`gelu` (the exact one)"));
        }
        if let Some(kind) = self.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            return Err(unsupported("position_embedding_type", kind, "`absolute`"));
        }
        for (field, set) in [("is_decoder", self.is_decoder), ("add_cross_attention", self.add_cross_attention)] {
            if set {
                return Err(unsupported(field, "true", "encoders"));
            }
        }
        Ok(())
    }

    fn check_values(&self) -> Result<(), ConfigProblem> {
        let sizes = [
            ("vocab_size", self.vocab_size, MOST_TOKENS),
            ("hidden_size", self.hidden_size, MOST_HIDDEN),
            ("num_hidden_layers", self.num_hidden_layers, MOST_LAYERS),
            ("num_attention_heads", self.num_attention_heads, MOST_HIDDEN),
            ("intermediate_size", self.intermediate_size, MOST_INTERMEDIATE),
            ("max_position_embeddings", self.max_position_embeddings, MOST_POSITIONS),
            ("type_vocab_size", self.type_vocab_size, MOST_SEGMENTS),
        ];
        for (field, value, most) in sizes {
            if value == 0 || value > most {
                return Err(ConfigProblem::Malformed(format!("`{field}` is {value}; 1 to {most} is expected")));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(ConfigProblem::Malformed(format!(
                "`hidden_size` {} is not a multiple of `num_attention_heads` {}",
                self.hidden_size, self.num_attention_heads
            )));
        }
        let rates = [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
        ];
        for (field, rate) in rates {
            if !(0.0..1.0).contains(&rate) {
                return Err(ConfigProblem::Malformed(format!("`{field}` is {rate}; 0 to below 1 is expected")));
            }
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return Err(ConfigProblem::Malformed(format!(
                "`layer_norm_eps` is {}; a number between 0 and 1 is expected",
                self.layer_norm_eps
            )));
        }
        Ok(())
    }
}

fn unsupported(field: &str, found: &str, supported: &str) -> ConfigProblem {
    ConfigProblem::Unsupported(format!("config.json: `{field}` is `{found}`, and only {supported} can be used"))
}
