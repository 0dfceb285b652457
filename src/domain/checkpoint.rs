//! A checkpoint: one epoch's weights as a sentence-transformers folder.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::JobId;

/// What is known of a checkpoint; its files lie at `path`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Checkpoint {
    /// The job that made it.
    pub job_id: JobId,
    /// The epoch it closes, from 1.
    pub epoch: u32,
    /// Optimizer steps done by then.
    pub step: u64,
    /// Its folder, relative to the data directory.
    pub path: String,
    /// Its files' size.
    pub size_bytes: u64,
    /// SHA-256 of model.safetensors (hex).
    pub sha256: String,
    /// The value of the job's `metric_for_best_model`.
    pub metric: f64,
    /// True for the job's best so far.
    pub is_best: bool,
    /// When it was written (RFC 3339, UTC).
    pub created_at: String,
}
