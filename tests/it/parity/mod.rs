//! Numbers of sentence-transformers that must come out here too.

mod embed_route;
mod embeddings;
mod evaluation;
mod training;
