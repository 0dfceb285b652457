//! From bytes to rows to tokens to batches; no tensors, no network, no database.

pub mod packing;
pub mod tokenization;
