//! sentence-transformers' list of modules: which transformer, which pooling, and whether embeddings are normalised.
//!
//! Reads what every version from 2 to 6 writes; `Pooling.load_config` of version 6 is the reference for old flags.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::super::ModelError;
use super::files::{malformed, read_json};
use crate::domain::Pooling;

/// The old names of pooling modes, one flag each, with what version 6 calls them.
const POOLING_FLAGS: [(&str, &str); 6] = [
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_max_tokens", "max"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    ("pooling_mode_weightedmean_tokens", "weightedmean"),
    ("pooling_mode_lasttoken", "lasttoken"),
];

/// What modules.json and the modules' own configurations say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Modules {
    /// The transformer's folder below the model's; empty where it is the model's own.
    pub(super) transformer_path: String,
    pub(super) pooling: Pooling,
    /// False where a prompt's tokens are left out of the pooling.
    pub(super) include_prompt: bool,
    pub(super) normalize: bool,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    class: String,
}

impl Modules {
    /// Reads modules.json; none where the folder has none and so is in plain transformers' layout.
    ///
    /// # Errors
    /// Where a file is malformed or names what the encoder does not compute.
    pub(super) fn read(
        folder: &Path,
        hidden_size: impl Fn(&str) -> Result<usize, ModelError>,
    ) -> Result<Option<Self>, ModelError> {
        let path = folder.join("modules.json");
        let Some(modules) = read_json::<Vec<Module>>(&path)? else { return Ok(None) };
        for module in &modules {
            check_path(&path, &module.path)?;
        }
        let kinds: Vec<&str> = modules.iter().map(|module| kind(&module.class)).collect();
        match kinds.as_slice() {
            ["Transformer", "Pooling"] | ["Transformer", "Pooling", "Normalize"] => {}
            _ => return Err(ModelError::Unsupported(refusal(&kinds))),
        }
        let hidden_size = hidden_size(&modules[0].path)?;
        let (pooling, include_prompt) = read_pooling(&folder.join(&modules[1].path), hidden_size)?;
        if let Some(normalize) = modules.get(2) {
            check_normalize(&folder.join(&normalize.path))?;
        }
        Ok(Some(Self {
            transformer_path: modules[0].path.clone(),
            pooling,
            include_prompt,
            normalize: modules.len() == 3,
        }))
    }
}

/// The class's own name where it is one of sentence-transformers'; custom classes keep their full name.
fn kind(class: &str) -> &str {
    if class.starts_with("sentence_transformers.") { class.rsplit('.').next().unwrap_or(class) } else { class }
}

fn refusal(kinds: &[&str]) -> String {
    let expected = "a Transformer, a Pooling and optionally a Normalize, in this order, can be used";
    match kinds.iter().find(|kind| !matches!(**kind, "Transformer" | "Pooling" | "Normalize")) {
        Some(other) => format!("modules.json names a module `{other}`, and only {expected}"),
        None => format!("modules.json lists [{}], and only {expected}", kinds.join(", ")),
    }
}

/// A module's folder lies in the model's: one plain name, or none.
fn check_path(file: &Path, path: &str) -> Result<(), ModelError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if path.chars().all(plain) && !path.starts_with('.') && path.len() <= 100 {
        return Ok(());
    }
    Err(malformed(file, format!("`{path}` is not the name of a folder in the model's")))
}

fn read_pooling(folder: &Path, hidden_size: usize) -> Result<(Pooling, bool), ModelError> {
    let path = folder.join("config.json");
    let config: Value = read_json(&path)?.ok_or_else(|| malformed(&path, "the pooling's configuration is missing"))?;
    let modes = pooling_modes(&config).ok_or_else(|| malformed(&path, "`pooling_mode` or its flags are expected"))?;
    let pooling = match modes.as_slice() {
        [mode] if mode == "cls" => Pooling::Cls,
        [mode] if mode == "mean" => Pooling::Mean,
        [mode] if mode == "max" => Pooling::Max,
        [mode] => {
            return Err(ModelError::Unsupported(format!(
                "{}: the pooling is `{mode}`, and only `cls`, `mean` and `max` can be used",
                path.display()
            )));
        }
        modes => {
            return Err(ModelError::Unsupported(format!(
                "{}: poolings are combined ({}), and only one of `cls`, `mean` and `max` can be used",
                path.display(),
                modes.join(", ")
            )));
        }
    };
    let size = config.get("embedding_dimension").or_else(|| config.get("word_embedding_dimension"));
    if let Some(size) = size.filter(|size| size.as_u64() != Some(hidden_size as u64)) {
        return Err(malformed(
            &path,
            format!("the embedding's size is {size}, and config.json's `hidden_size` is {hidden_size}"),
        ));
    }
    Ok((pooling, config.get("include_prompt").and_then(Value::as_bool).unwrap_or(true)))
}

/// The modes in effect: version 6's name or names, else the flags that are set, else the mean.
fn pooling_modes(config: &Value) -> Option<Vec<String>> {
    let fields = config.as_object()?;
    match fields.get("pooling_mode") {
        Some(Value::String(mode)) => return Some(vec![mode.clone()]),
        Some(Value::Array(modes)) => return modes.iter().map(|mode| mode.as_str().map(str::to_owned)).collect(),
        Some(_) => return None,
        None => {}
    }
    let set = |flag: &str| fields.get(flag).and_then(Value::as_bool).unwrap_or(false);
    let modes: Vec<String> =
        POOLING_FLAGS.iter().filter(|(flag, _)| set(flag)).map(|(_, mode)| (*mode).to_owned()).collect();
    Some(if modes.is_empty() { vec!["mean".into()] } else { modes })
}

/// Version 6 can normalise other features than the sentence's embedding; here only that one is there.
fn check_normalize(folder: &Path) -> Result<(), ModelError> {
    let path = folder.join("config.json");
    let Some(config) = read_json::<Value>(&path)? else { return Ok(()) };
    for field in ["module_input_name", "module_output_name"] {
        if let Some(name) = config.get(field).and_then(Value::as_str).filter(|name| *name != "sentence_embedding") {
            return Err(ModelError::Unsupported(format!(
                "{}: `{field}` is `{name}`, and only `sentence_embedding` can be used",
                path.display()
            )));
        }
    }
    Ok(())
}
