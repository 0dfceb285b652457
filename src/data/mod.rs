//! From bytes to rows to tokens to batches; no tensors, no network, no database.

pub mod columns;
pub mod dataset_files;
pub mod error;
pub mod length_histogram;
pub mod packing;
pub mod reader;
pub mod sampler;
pub mod shuffle;
pub mod split;
pub mod text_normalization;
pub mod text_table;
pub mod tokenization;
