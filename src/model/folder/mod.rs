//! A model folder in sentence-transformers' layout or plain transformers': what it says, and how it is written.

mod files;
mod modules;
mod prompts;
mod safetensors_file;
mod tensor_layout;
mod torch_file;
mod transformer_settings;
mod weights_file;
mod write;

use std::collections::BTreeMap;
use std::path::Path;

use self::files::{SMALL_FILE, TOKENIZER_FILE, malformed, read_optional, read_required};
use self::modules::Modules;
use self::transformer_settings::TransformerSettings;
use self::weights_file::WeightsFile;
use super::config::ConfigProblem;
use super::{EncoderConfig, ModelError, Parameters};
use crate::data::tokenization::TextTokenizer;
use crate::domain::{ModelSummary, Pooling};

/// Files of the transformer's folder that a saved model gets as they are.
const KEPT_FILES: &[&str] =
    &["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt", "tokenizer.json"];

/// All that a model folder says, weights apart.
#[derive(Debug, Clone)]
pub(super) struct ModelFolder {
    /// The encoder.
    pub(super) config: EncoderConfig,
    /// What the model is.
    pub(super) summary: ModelSummary,
    /// The tokenizer, cut to `summary.max_seq_length`.
    pub(super) tokenizer: TextTokenizer,
    /// Prompts by name, such as `query`.
    pub(super) prompts: BTreeMap<String, String>,
    /// `matryoshka_dimensions` of config.json: the lengths at which the model was trained to be cut.
    pub(super) matryoshka_dims: Option<Vec<usize>>,
    /// What a saved model needs besides, since the folder may be gone by then.
    originals: Originals,
}

/// The files that a saved model repeats, and its tensors that are not trained.
#[derive(Clone)]
struct Originals {
    /// The transformer's folder below the model's; empty where it is the model's own.
    transformer_path: String,
    include_prompt: bool,
    config: serde_json::Map<String, serde_json::Value>,
    sentence_bert_config: serde_json::Map<String, serde_json::Value>,
    sentence_transformers_config: Option<Vec<u8>>,
    files: BTreeMap<&'static str, Vec<u8>>,
    frozen: Vec<FrozenTensor>,
}

/// A tensor that is saved as it was read.
#[derive(Debug, Clone)]
struct FrozenTensor {
    name: &'static str,
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl ModelFolder {
    /// Reads a folder's configuration, tokenizer, and tensor names and shapes (not their values), and refuses what the
    /// encoder does not compute.
    ///
    /// # Errors
    /// Where a file is missing, malformed, or asks for something that is not supported.
    pub(super) fn read(folder: &Path) -> Result<Self, ModelError> {
        let hidden_size = |path: &str| Ok(read_config(&folder.join(path))?.1.hidden_size);
        let modules = Modules::read(folder, hidden_size)?;
        let plain = modules.is_none();
        // What sentence-transformers makes of a model that it did not save.
        let modules = modules.unwrap_or_else(|| Modules {
            transformer_path: String::new(),
            pooling: Pooling::Mean,
            include_prompt: true,
            normalize: false,
        });
        let transformer = folder.join(&modules.transformer_path);
        let (config_fields, config) = read_config(&transformer)?;
        let settings = TransformerSettings::read(&transformer, plain, &config)?;
        let (prompts, sentence_transformers_config) = if plain {
            (BTreeMap::new(), None)
        } else {
            let path = folder.join("config_sentence_transformers.json");
            (prompts::read_prompts(folder, config.hidden_size)?, read_optional(&path, SMALL_FILE)?)
        };
        if !modules.include_prompt && prompts.values().any(|prompt| !prompt.is_empty()) {
            return Err(ModelError::Unsupported(
                "the pooling leaves out a prompt's tokens (`include_prompt` is false), and the model has prompts"
                    .into(),
            ));
        }
        let files = read_kept_files(&transformer)?;
        let tokenizer = read_tokenizer(&transformer, &files, &settings, &config)?;
        let frozen = read_frozen(&transformer, &config)?;

        let matryoshka_dims = matryoshka_dims(&config_fields);
        let specs = tensor_layout::parameter_specs(&config);
        let summary = ModelSummary {
            architecture: "bert".into(),
            dimension: config.hidden_size,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            max_seq_length: settings.max_seq_length,
            pooling: modules.pooling,
            normalize: modules.normalize,
            parameters: specs.iter().map(|spec| spec.len as u64).sum(),
        };
        let originals = Originals {
            transformer_path: modules.transformer_path,
            include_prompt: modules.include_prompt,
            config: config_fields,
            sentence_bert_config: settings.sentence_bert_config,
            sentence_transformers_config,
            files,
            frozen,
        };
        Ok(Self { config, summary, tokenizer, prompts, matryoshka_dims, originals })
    }

    /// Reads the weights of the folder that `self` was read from.
    ///
    /// # Errors
    /// Where a tensor is missing, of another shape, or not finite.
    pub(super) fn read_weights(&self, folder: &Path) -> Result<Parameters, ModelError> {
        let mut file = WeightsFile::open(&folder.join(&self.originals.transformer_path))?;
        let specs = tensor_layout::parameter_specs(&self.config);
        // All shapes before any number: they bound what is allocated by what the file holds.
        for spec in &specs {
            file.check_shape(&spec.name, &spec.shape)?;
        }
        let mut flat = vec![0.0; specs.iter().map(|spec| spec.len).sum()];
        for spec in &specs {
            file.read_into(&spec.name, &mut flat[spec.offset..spec.offset + spec.len])?;
        }
        Ok(Parameters { flat, specs })
    }

    /// Cuts texts to at most `max_seq_length` tokens from now on, and says so in what is written; never more than the
    /// encoder has positions for.
    pub(super) fn set_max_seq_length(&mut self, max_seq_length: usize) {
        self.summary.max_seq_length = max_seq_length.clamp(1, self.config.max_position_embeddings);
        self.tokenizer = self.tokenizer.with_max_seq_length(self.summary.max_seq_length);
    }
}

/// A model folder's tokenizer alone, for counting tokens without loading the model.
///
/// # Errors
/// Where a file is missing, malformed, or asks for something that is not supported.
pub fn load_tokenizer(folder: &Path) -> Result<TextTokenizer, ModelError> {
    Ok(ModelFolder::read(folder)?.tokenizer)
}

impl std::fmt::Debug for Originals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the files' bytes, which are megabytes.
        f.debug_struct("Originals").field("files", &self.files.keys()).finish_non_exhaustive()
    }
}

fn read_config(folder: &Path) -> Result<(serde_json::Map<String, serde_json::Value>, EncoderConfig), ModelError> {
    let path = folder.join("config.json");
    let bytes = read_required(&path, SMALL_FILE)?;
    let config = EncoderConfig::from_json(&bytes).map_err(|problem| match problem {
        ConfigProblem::Malformed(message) => malformed(&path, message),
        ConfigProblem::Unsupported(message) => ModelError::Unsupported(message),
    })?;
    let fields = serde_json::from_slice(&bytes).map_err(|error| malformed(&path, error.to_string()))?;
    Ok((fields, config))
}

/// Only a hint, which others write in their own ways: what is not a list of lengths is as if it were not there.
fn matryoshka_dims(config: &serde_json::Map<String, serde_json::Value>) -> Option<Vec<usize>> {
    serde_json::from_value(config.get("matryoshka_dimensions")?.clone())
        .ok()
        .filter(|dims: &Vec<usize>| !dims.is_empty())
}

fn read_kept_files(folder: &Path) -> Result<BTreeMap<&'static str, Vec<u8>>, ModelError> {
    let mut files = BTreeMap::new();
    for name in KEPT_FILES {
        if let Some(bytes) = read_optional(&folder.join(name), TOKENIZER_FILE)? {
            files.insert(*name, bytes);
        }
    }
    Ok(files)
}

fn read_tokenizer(
    folder: &Path,
    files: &BTreeMap<&'static str, Vec<u8>>,
    settings: &TransformerSettings,
    config: &EncoderConfig,
) -> Result<TextTokenizer, ModelError> {
    let path = folder.join("tokenizer.json");
    let Some(json) = files.get("tokenizer.json") else {
        return Err(malformed(
            &path,
            "the model folder lacks this file; transformers makes it: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
        ));
    };
    let tokenizer = TextTokenizer::from_json(json, settings.max_seq_length, settings.normalization)
        .map_err(|error| malformed(&path, error.to_string()))?;
    if tokenizer.vocab_size() > config.vocab_size {
        return Err(malformed(
            &path,
            format!(
                "the tokenizer gives token ids up to {}, and config.json's `vocab_size` is {}",
                tokenizer.vocab_size() - 1,
                config.vocab_size
            ),
        ));
    }
    Ok(tokenizer)
}

/// Checks the trained tensors' shapes, and reads those that are kept as they are.
fn read_frozen(folder: &Path, config: &EncoderConfig) -> Result<Vec<FrozenTensor>, ModelError> {
    let mut file = WeightsFile::open(folder)?;
    for spec in tensor_layout::parameter_specs(config) {
        file.check_shape(&spec.name, &spec.shape)?;
    }
    let mut frozen = Vec::new();
    for (name, shape) in tensor_layout::frozen_tensors(config) {
        if file.tensor(name).is_some() {
            file.check_shape(name, &shape)?;
            let mut values = vec![0.0; shape.iter().product()];
            file.read_into(name, &mut values)?;
            frozen.push(FrozenTensor { name, shape, values });
        }
    }
    Ok(frozen)
}

#[cfg(test)]
#[path = "../../../tests/it/helpers/tiny_model.rs"]
pub(crate) mod tiny_model;

#[cfg(test)]
mod tests;
