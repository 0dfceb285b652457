//! Writing a model as a sentence-transformers folder, which Python's `SentenceTransformer(path)` loads.

use std::collections::HashMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::{Map, Value, json};

use super::super::{ModelError, Parameters};
use super::ModelFolder;
use super::transformer_settings::TOKENIZER_ARGUMENTS;
use crate::domain::Pooling;

impl ModelFolder {
    /// Writes a sentence-transformers folder into an existing empty one.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub(in crate::model) fn write(
        &self,
        folder: &Path,
        parameters: &Parameters,
        matryoshka_dims: &[usize],
    ) -> Result<(), ModelError> {
        for (name, bytes) in &self.originals.files {
            write_file(&folder.join(name), bytes)?;
        }
        write_json(&folder.join("config.json"), &self.config_json(matryoshka_dims))?;
        write_json(&folder.join("sentence_bert_config.json"), &self.sentence_bert_config_json())?;
        let path = folder.join("config_sentence_transformers.json");
        match &self.originals.sentence_transformers_config {
            Some(bytes) => write_file(&path, bytes)?,
            None => write_json(
                &path,
                &json!({ "prompts": {}, "default_prompt_name": null, "similarity_fn_name": "cosine" }),
            )?,
        }
        self.write_modules(folder)?;
        self.write_weights(&folder.join("model.safetensors"), parameters)
    }

    fn config_json(&self, matryoshka_dims: &[usize]) -> Value {
        let mut config = self.originals.config.clone();
        config.insert("architectures".into(), json!(["BertModel"]));
        if matryoshka_dims.is_empty() {
            config.remove("matryoshka_dimensions");
        } else {
            config.insert("matryoshka_dimensions".into(), json!(matryoshka_dims));
        }
        // transformers loads weights in the type that config.json names, and these are written as float32.
        for field in ["dtype", "torch_dtype"] {
            if let Some(dtype) = config.get_mut(field) {
                *dtype = json!("float32");
            }
        }
        Value::Object(config)
    }

    fn sentence_bert_config_json(&self) -> Value {
        let mut settings: Map<String, Value> = self.originals.sentence_bert_config.clone();
        for field in TOKENIZER_ARGUMENTS {
            settings.remove(*field);
        }
        settings.insert("max_seq_length".into(), json!(self.summary.max_seq_length));
        settings.entry("do_lower_case").or_insert(json!(false));
        Value::Object(settings)
    }

    /// In the form that versions 2 to 6 read: module types and pooling flags by their old names.
    fn write_modules(&self, folder: &Path) -> Result<(), ModelError> {
        let module = |idx: usize, path: &str, kind: &str| {
            json!({
                "idx": idx,
                "name": idx.to_string(),
                "path": path,
                "type": format!("sentence_transformers.models.{kind}"),
            })
        };
        let mut modules = vec![module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")];
        let pooling = json!({
            "word_embedding_dimension": self.summary.dimension,
            "pooling_mode_cls_token": self.summary.pooling == Pooling::Cls,
            "pooling_mode_mean_tokens": self.summary.pooling == Pooling::Mean,
            "pooling_mode_max_tokens": self.summary.pooling == Pooling::Max,
            "pooling_mode_mean_sqrt_len_tokens": false,
            "pooling_mode_weightedmean_tokens": false,
            "pooling_mode_lasttoken": false,
            "include_prompt": self.originals.include_prompt,
        });
        create_folder(&folder.join("1_Pooling"))?;
        write_json(&folder.join("1_Pooling/config.json"), &pooling)?;
        if self.summary.normalize {
            modules.push(module(2, "2_Normalize", "Normalize"));
            create_folder(&folder.join("2_Normalize"))?;
            // Not read by any version before 6; archives and object stores drop a folder without a file.
            write_json(&folder.join("2_Normalize/config.json"), &json!({ "module_input_name": "sentence_embedding" }))?;
        }
        write_json(&folder.join("modules.json"), &Value::Array(modules))
    }

    /// Tensors in the order of the flat vector, then those that are not trained. Written straight from the vector, so
    /// that a checkpoint needs no second copy of the weights.
    fn write_weights(&self, path: &Path, parameters: &Parameters) -> Result<(), ModelError> {
        let trained = parameters
            .specs
            .iter()
            .map(|spec| (spec.name.as_str(), &spec.shape, &parameters.flat[spec.offset..spec.offset + spec.len]));
        let frozen = self.originals.frozen.iter().map(|tensor| (tensor.name, &tensor.shape, tensor.values.as_slice()));
        let tensors: Vec<(&str, &Vec<usize>, &[f32])> = trained.chain(frozen).collect();
        let mut offset = 0;
        let place = |(name, shape, values): &(&str, &Vec<usize>, &[f32])| {
            let begin = offset;
            offset += size_of_val(*values);
            (
                (*name).to_owned(),
                TensorInfo { dtype: Dtype::F32, shape: (*shape).clone(), data_offsets: (begin, offset) },
            )
        };
        // transformers refuses a file that does not say so.
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let metadata =
            Metadata::new(Some(format), tensors.iter().map(place).collect()).expect("offsets follow from the shapes");
        let mut header = serde_json::to_vec(&metadata).expect("names and shapes are JSON");
        header.resize(header.len().next_multiple_of(8), b' ');

        let write = || -> std::io::Result<()> {
            let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(&header)?;
            for (_, _, values) in &tensors {
                if cfg!(target_endian = "little") {
                    file.write_all(bytemuck::cast_slice(values))?;
                } else {
                    values.iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))?;
                }
            }
            file.flush()
        };
        write().map_err(|source| ModelError::File { path: path.into(), source })
    }
}

fn write_json(path: &Path, value: &Value) -> Result<(), ModelError> {
    let mut text = serde_json::to_string_pretty(value).expect("a value is JSON");
    text.push('\n');
    write_file(path, text.as_bytes())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    fs::write(path, bytes).map_err(|source| ModelError::File { path: path.into(), source })
}

fn create_folder(path: &Path) -> Result<(), ModelError> {
    fs::create_dir(path).map_err(|source| ModelError::File { path: path.into(), source })
}
