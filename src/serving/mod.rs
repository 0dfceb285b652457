//! Text in, vectors out: models loaded on demand, and the thread that embeds with them.

mod error;
mod service;

pub use error::EmbedError;
pub use service::{EmbedInput, EmbedRequest, EmbeddingService, Embeddings, ServingOptions};
