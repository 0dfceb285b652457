//! From packed tokens to sentence embeddings: forward, and an explicit backward.

mod bert;
mod blocks;
mod config;
mod cost;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod dropout_key;
mod encoder;
mod error;
mod folder;
mod parameters;
mod precision;
mod sha256;

pub use crate::kernels::{GpuDescription, Hardware, KernelCheck, KernelComparison, KernelTime};
pub use config::EncoderConfig;
#[cfg(feature = "cuda")]
pub use cuda::check_model;
pub use dropout_key::{DropoutKey, DropoutPart};
pub use encoder::{Purpose, SentenceEncoder, Workspace};
pub use error::ModelError;
pub use folder::load_tokenizer;
#[cfg(test)]
pub(crate) use folder::tiny_model;
pub use parameters::{ParameterSpec, Parameters};
pub use precision::{describe_precision, resolve_precision};
pub use sha256::sha256_of;
