//! Retrieval metrics over embeddings.

mod evaluator;
pub mod information_retrieval;
pub mod metrics;
pub mod search;

pub use evaluator::{Rankings, RetrievalEvaluator, evaluate_model};
pub use search::Hit;
