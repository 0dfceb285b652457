//! Loss heads: embeddings in, loss and gradient out.

pub mod matryoshka;
