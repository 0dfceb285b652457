//! Matryo fine-tunes text-embedding models over HTTP and serves the result.
//!
//! The modules are layers. A module may name only what stands to its right:
//!
//! ```text
//! cli → http → { worker, serving, hub, webhooks } → { store } and { records → training → evaluation → model → { kernels, data } } → domain
//! ```
//!
//! `store` and the numeric column (`records` … `data`) are siblings: neither sees the other, and `worker` is the
//! only place where they meet. `tests/it/layering.rs` reads every `use crate::` line and fails on an upward one.

pub mod cli;
pub mod config;
pub mod data;
pub mod domain;
pub mod evaluation;
pub mod http;
pub mod hub;
pub mod kernels;
pub mod model;
pub mod records;
pub mod serving;
pub mod store;
pub mod telemetry;
pub mod training;
pub mod webhooks;
pub mod worker;
