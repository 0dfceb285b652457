//! Text in, vectors out: models loaded on demand, and the thread that embeds with them.

mod batch;
mod error;
mod metrics;
mod prepare;
mod queue;
mod registry;
mod request;
mod resolve;
mod service;
mod thread;
pub mod vectors;

pub use error::EmbedError;
pub use request::{EmbedInput, EmbedRequest, Embeddings, Timings, TokenEmbeddings};
pub use service::{EmbeddingService, MAX_BATCH_TOKENS, ServingOptions};
