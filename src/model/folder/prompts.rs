//! What config_sentence_transformers.json says: prompts, and settings that must not be there.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::super::ModelError;
use super::files::{malformed, read_json};

/// More prompts than any model has.
const MOST_PROMPTS: usize = 1000;

#[derive(Deserialize, Default)]
#[serde(default)]
struct SentenceTransformersConfig {
    model_type: Option<String>,
    prompts: BTreeMap<String, Option<String>>,
    default_prompt_name: Option<String>,
    truncate_dim: Option<usize>,
}

/// Reads the prompts by name; none where the file is absent.
///
/// # Errors
/// Where the file is malformed, or has every text prefixed or every embedding cut.
pub(super) fn read_prompts(folder: &Path, hidden_size: usize) -> Result<BTreeMap<String, String>, ModelError> {
    let path = folder.join("config_sentence_transformers.json");
    let config: SentenceTransformersConfig = read_json(&path)?.unwrap_or_default();
    if let Some(kind) = config.model_type.filter(|kind| kind != "SentenceTransformer") {
        return Err(unsupported(
            &path,
            format!("`model_type` is `{kind}`, and only `SentenceTransformer` can be used"),
        ));
    }
    if let Some(dim) = config.truncate_dim.filter(|dim| *dim != hidden_size) {
        return Err(unsupported(
            &path,
            format!("`truncate_dim` is {dim}, which cuts every embedding; remove it and ask for dimensions instead"),
        ));
    }
    if config.prompts.len() > MOST_PROMPTS {
        return Err(malformed(&path, format!("at most {MOST_PROMPTS} prompts are expected")));
    }
    let prompts: BTreeMap<String, String> =
        config.prompts.into_iter().map(|(name, text)| (name, text.unwrap_or_default())).collect();
    if let Some(name) = config.default_prompt_name {
        match prompts.get(&name) {
            Some(text) if text.is_empty() => {}
            Some(_) => {
                return Err(unsupported(
                    &path,
                    format!("`default_prompt_name` is `{name}`, which puts a prompt before every text"),
                ));
            }
            // sentence-transformers itself knows two prompts that are empty unless the file fills them.
            None if matches!(name.as_str(), "query" | "document") => {}
            None => return Err(malformed(&path, format!("`default_prompt_name` is `{name}`, which is no prompt"))),
        }
    }
    Ok(prompts)
}

fn unsupported(path: &Path, message: String) -> ModelError {
    ModelError::Unsupported(format!("{}: {message}", path.display()))
}
