//! Retrieval metrics over embeddings.

#[cfg(feature = "cuda")]
pub(crate) mod device;
mod evaluator;
pub mod information_retrieval;
pub mod metrics;
pub(crate) mod retriever;
pub mod search;

pub use evaluator::{Rankings, RetrievalEvaluator, evaluate_model};
pub use search::Hit;
