//! From packed tokens to sentence embeddings: forward, and an explicit backward.

mod bert;
mod blocks;
mod config;
mod cost;
mod encoder;
mod error;
mod folder;
mod parameters;
mod precision;

pub use config::EncoderConfig;
pub use encoder::{DropoutKey, Purpose, SentenceEncoder, Workspace};
pub use error::ModelError;
pub use folder::load_tokenizer;
pub use parameters::{ParameterSpec, Parameters};
pub use precision::{describe_precision, resolve_precision};
