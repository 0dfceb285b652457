//! From bytes to rows to tokens to batches; no tensors, no network, no database.

pub mod dataset_files;
pub mod error;
pub mod length_histogram;
pub mod packing;
pub mod reader;
pub mod split;
pub mod tokenization;
