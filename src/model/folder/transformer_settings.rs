//! What sentence_bert_config.json and tokenizer_config.json say: the length limit, and how text is normalised.

use std::path::Path;

use serde_json::{Map, Value};

use super::super::{EncoderConfig, ModelError};
use super::files::{malformed, read_json};
use crate::data::text_normalization::{BertNormalization, TextNormalization};

/// How the transformer module treats text.
#[derive(Debug, Clone)]
pub(super) struct TransformerSettings {
    /// sentence_bert_config.json as it was read, for writing; empty where there is none.
    pub(super) sentence_bert_config: Map<String, Value>,
    pub(super) max_seq_length: usize,
    pub(super) normalization: TextNormalization,
}

impl TransformerSettings {
    /// Reads the transformer's folder. `plain` says that the layout is transformers' own, where sentence-transformers
    /// does not look at sentence_bert_config.json.
    ///
    /// # Errors
    /// Where a file is malformed or asks for something that is not supported.
    pub(super) fn read(folder: &Path, plain: bool, config: &EncoderConfig) -> Result<Self, ModelError> {
        let settings_path = folder.join("sentence_bert_config.json");
        let settings: Map<String, Value> =
            if plain { Map::new() } else { read_json(&settings_path)?.unwrap_or_default() };
        check_task(&settings_path, &settings)?;
        let tokenizer_path = folder.join("tokenizer_config.json");
        let tokenizer: Map<String, Value> = read_json(&tokenizer_path)?.unwrap_or_default();

        let given = match tokenizer_override(&settings_path, &settings)? {
            Some(length) => Some((&settings_path, "model_max_length", length)),
            None => settings.get("max_seq_length").map(|length| (&settings_path, "max_seq_length", length)),
        };
        let given = given.filter(|(_, _, length)| !length.is_null()).or_else(|| {
            let length = tokenizer.get("model_max_length").filter(|length| !length.is_null());
            length.map(|length| (&tokenizer_path, "model_max_length", length))
        });
        let max_seq_length = match given {
            None => config.max_position_embeddings,
            Some((path, field, length)) => {
                // transformers writes 1e30 where there is no limit, which no integer type holds.
                let length = length
                    .as_f64()
                    .filter(|length| *length >= 1.0)
                    .ok_or_else(|| malformed(path, format!("`{field}` is {length}; a number of tokens is expected")))?;
                length.min(config.max_position_embeddings as f64) as usize
            }
        };
        let lower_case = settings.get("do_lower_case").and_then(Value::as_bool).unwrap_or(false);
        Ok(Self {
            sentence_bert_config: settings,
            max_seq_length,
            normalization: normalization(&tokenizer, lower_case),
        })
    }
}

/// `BertTokenizer`, which is also what a folder without the file gets, and the classes that are it by another name make
/// their normaliser from tokenizer_config.json; other classes take tokenizer.json's.
fn normalization(tokenizer: &Map<String, Value>, lower_case_first: bool) -> TextNormalization {
    let class = tokenizer.get("tokenizer_class").and_then(Value::as_str).unwrap_or("BertTokenizer");
    if !matches!(class.trim_end_matches("Fast"), "BertTokenizer" | "DistilBertTokenizer" | "ConvBertTokenizer") {
        return TextNormalization { lower_case_first, bert: None };
    }
    let flag = |name: &str| tokenizer.get(name).and_then(Value::as_bool);
    TextNormalization {
        lower_case_first,
        bert: Some(BertNormalization {
            lowercase: flag("do_lower_case").unwrap_or(true),
            handle_chinese_chars: flag("tokenize_chinese_chars").unwrap_or(true),
            strip_accents: flag("strip_accents"),
        }),
    }
}

/// The settings for other kinds of model than a text encoder must be absent.
fn check_task(path: &Path, settings: &Map<String, Value>) -> Result<(), ModelError> {
    let refuse = |field: &str, found: &Value| {
        Err(ModelError::Unsupported(format!("{}: `{field}` is {found}, which is not supported", path.display())))
    };
    if let Some(task) = settings.get("transformer_task").filter(|task| *task != "feature-extraction") {
        return refuse("transformer_task", task);
    }
    for field in ["query_length", "document_length", "query_expansion"] {
        if let Some(value) = settings.get(field).filter(|value| !value.is_null()) {
            return refuse(field, value);
        }
    }
    for field in ["config_args", "config_kwargs", "processing_kwargs"] {
        if let Some(value) = settings.get(field).filter(|value| value.as_object().is_none_or(|map| !map.is_empty())) {
            return refuse(field, value);
        }
    }
    if let Some(output) = settings
        .get("modality_config")
        .and_then(|config| config.get("text"))
        .filter(|text| text["method"] != "forward" || text["method_output_name"] != "last_hidden_state")
    {
        return refuse("modality_config.text", output);
    }
    if let Some(output) = settings.get("module_output_name").filter(|output| *output != "token_embeddings") {
        return refuse("module_output_name", output);
    }
    Ok(())
}

/// `model_max_length` among the tokenizer's own arguments, which wins over `max_seq_length`.
fn tokenizer_override<'a>(path: &Path, settings: &'a Map<String, Value>) -> Result<Option<&'a Value>, ModelError> {
    let mut length = None;
    for field in TOKENIZER_ARGUMENTS {
        let Some(arguments) = settings.get(*field) else { continue };
        let arguments = arguments.as_object().ok_or_else(|| malformed(path, format!("`{field}` must be an object")))?;
        for (name, value) in arguments {
            if name != "model_max_length" {
                return Err(ModelError::Unsupported(format!(
                    "{}: `{field}.{name}` is {value}, which is not supported",
                    path.display()
                )));
            }
            length = Some(value);
        }
    }
    Ok(length)
}

/// Where sentence_bert_config.json keeps the tokenizer's arguments, before version 6 and since.
pub(super) const TOKENIZER_ARGUMENTS: &[&str] = &["tokenizer_args", "processor_kwargs"];
