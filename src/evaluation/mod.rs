//! Retrieval metrics over embeddings.

pub mod information_retrieval;
