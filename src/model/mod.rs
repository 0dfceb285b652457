//! From packed tokens to sentence embeddings: forward, and an explicit backward.

mod encoder;
mod error;
mod parameters;

pub use encoder::{DropoutKey, SentenceEncoder, Workspace};
pub use error::ModelError;
pub use parameters::{ParameterSpec, Parameters};
