//! Text in, vectors out: models loaded on demand, and the thread that embeds with them.

mod batch;
mod cache;
mod embed;
mod error;
mod metrics;
mod prepare;
mod queue;
mod registry;
mod request;
mod resolve;
mod search;
mod service;
mod thread;
mod tokens;
pub mod vectors;

pub use error::EmbedError;
pub use request::{EmbedInput, EmbedRequest, Embeddings, Timings, TokenEmbeddings};
pub use search::{
    FoundPassage, LeftPassage, ModelProgress, ModelResults, Movement, SearchOutcome, SearchProgress, SearchRequest,
    SearchResults,
};
pub use service::{EmbeddingService, MAX_BATCH_TOKENS, ServingOptions};

/// Work of some milliseconds that must not hold up other requests.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EmbedError> + Send + 'static,
) -> Result<T, EmbedError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(EmbedError::Failed("the tokenizer broke down on the request")))
}
