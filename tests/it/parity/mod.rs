//! Numbers of sentence-transformers that must come out here too.

mod embeddings;
mod evaluation;
mod training;
