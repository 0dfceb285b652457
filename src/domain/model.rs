//! Base models, and the names under which any model is asked for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{JobId, ModelId};

/// How token embeddings become one sentence embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The first token's.
    Cls,
    /// The mean over tokens.
    Mean,
    /// The maximum over tokens, per dimension.
    Max,
}

/// What a model folder holds, read and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelSummary {
    /// `model_type` of config.json.
    pub architecture: String,
    /// The embedding's full size.
    pub dimension: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Texts are cut to this many tokens.
    pub max_seq_length: usize,
    /// The pooling.
    pub pooling: Pooling,
    /// True where embeddings leave the model with length 1.
    pub normalize: bool,
    /// Trainable numbers.
    pub parameters: u64,
}

/// Where a base model came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ModelSource {
    /// The Hugging Face Hub.
    Hub {
        /// `organisation/name`.
        repo: String,
        /// Branch, tag or commit.
        revision: String,
    },
    /// A folder below one that the operator allows.
    Folder {
        /// Absolute path.
        path: String,
    },
    /// An archive that was uploaded.
    Upload {
        /// The archive's name as it came.
        file_name: Option<String>,
        /// SHA-256 of the archive (hex).
        sha256: String,
    },
}

/// How far a base model has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModelStatus {
    /// Its files are being fetched.
    Pulling,
    /// It can be trained and embedded with.
    Ready,
    /// It could not be fetched or is not supported; the error says why.
    Failed,
}

/// A base model as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// Names it.
    pub id: ModelId,
    /// The name it is asked for by; unique.
    pub name: String,
    /// Where it came from.
    pub source: ModelSource,
    /// How far it has come.
    pub status: ModelStatus,
    /// Why it failed, where it did.
    pub error: Option<String>,
    /// What it is, once ready.
    pub summary: Option<ModelSummary>,
    /// Its files' size, as far as fetched.
    pub size_bytes: u64,
    /// When it was asked for (RFC 3339, UTC).
    pub created_at: String,
}

/// Any model that can embed, by the name a client writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ModelReference {
    /// A base model's name.
    Base(String),
    /// `job:<id>`: the job's best checkpoint.
    JobBest(JobId),
    /// `job:<id>@epoch-<n>`: one checkpoint.
    JobEpoch(JobId, u32),
}

impl FromStr for ModelReference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(job) = text.strip_prefix("job:") else {
            return if text.is_empty() {
                Err("a model's name is expected".into())
            } else {
                Ok(Self::Base(text.into()))
            };
        };
        let (id, epoch) = job.split_once('@').map_or((job, None), |(id, epoch)| (id, Some(epoch)));
        let id: JobId = id.parse().map_err(|error| format!("{error}"))?;
        match epoch {
            None | Some("best") => Ok(Self::JobBest(id)),
            Some(epoch) => epoch
                .strip_prefix("epoch-")
                .and_then(|number| number.parse().ok())
                .map(|number| Self::JobEpoch(id, number))
                .ok_or_else(|| format!("`@{epoch}` is not a checkpoint (`@epoch-2` or `@best` is expected)")),
        }
    }
}

impl fmt::Display for ModelReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(name) => f.write_str(name),
            Self::JobBest(id) => write!(f, "job:{id}"),
            Self::JobEpoch(id, epoch) => write!(f, "job:{id}@epoch-{epoch}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_read_back() {
        let id = JobId::generate();
        for text in ["BAAI/bge-base-en-v1.5".to_owned(), format!("job:{id}"), format!("job:{id}@epoch-2")] {
            assert_eq!(text.parse::<ModelReference>().expect("it is a reference").to_string(), text);
        }
        for text in ["", "job:", "job:7", &format!("job:{id}@last"), &format!("job:{id}@epoch-x")] {
            assert!(text.parse::<ModelReference>().is_err(), "{text}");
        }
    }
}
