//! Text in, vectors out: models loaded on demand, and the thread that embeds with them.

mod error;
mod request;
mod service;

pub use error::EmbedError;
pub use request::{EmbedInput, EmbedRequest, Embeddings};
pub use service::{EmbeddingService, ServingOptions};
