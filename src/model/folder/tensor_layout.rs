//! The tensors of a BERT encoder: their names, shapes and order, whatever prefix a file gives them.

use super::super::{EncoderConfig, ParameterSpec};

/// Every trained tensor, sorted by name, with its place in the flat vector. The pooler is not among them: no
/// sentence embedding depends on it.
pub(super) fn parameter_specs(config: &EncoderConfig) -> Vec<ParameterSpec> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let mut tensors: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.word_embeddings.weight".into(), vec![config.vocab_size, hidden]),
        ("embeddings.position_embeddings.weight".into(), vec![config.max_position_embeddings, hidden]),
        ("embeddings.token_type_embeddings.weight".into(), vec![config.type_vocab_size, hidden]),
        ("embeddings.LayerNorm.weight".into(), vec![hidden]),
        ("embeddings.LayerNorm.bias".into(), vec![hidden]),
    ];
    for layer in 0..config.num_hidden_layers {
        let linear = [
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", inner, hidden),
            ("output.dense", hidden, inner),
        ];
        for (name, outputs, inputs) in linear {
            tensors.push((format!("encoder.layer.{layer}.{name}.weight"), vec![outputs, inputs]));
            tensors.push((format!("encoder.layer.{layer}.{name}.bias"), vec![outputs]));
        }
        for norm in ["attention.output.LayerNorm", "output.LayerNorm"] {
            tensors.push((format!("encoder.layer.{layer}.{norm}.weight"), vec![hidden]));
            tensors.push((format!("encoder.layer.{layer}.{norm}.bias"), vec![hidden]));
        }
    }
    tensors.sort();
    let mut offset = 0;
    let place = |(name, shape): (String, Vec<usize>)| {
        let len = shape.iter().product();
        let decay = !name.ends_with(".bias") && !name.contains("LayerNorm");
        let spec = ParameterSpec { name, shape, offset, len, decay };
        offset += len;
        spec
    };
    tensors.into_iter().map(place).collect()
}

/// A stored tensor's name without the prefix that a model with a head has, and with today's names for the two
/// vectors of a layer norm, which files converted from TensorFlow call gamma and beta.
pub(super) fn canonical_name(stored: &str) -> String {
    let name = stored.strip_prefix("bert.").unwrap_or(stored);
    if let Some(norm) = name.strip_suffix("LayerNorm.gamma") {
        format!("{norm}LayerNorm.weight")
    } else if let Some(norm) = name.strip_suffix("LayerNorm.beta") {
        format!("{norm}LayerNorm.bias")
    } else {
        name.to_owned()
    }
}

/// Tensors that are not trained but belong to the model, so that a saved folder has them too.
pub(super) fn frozen_tensors(config: &EncoderConfig) -> [(&'static str, Vec<usize>); 2] {
    let hidden = config.hidden_size;
    [("pooler.dense.weight", vec![hidden, hidden]), ("pooler.dense.bias", vec![hidden])]
}
