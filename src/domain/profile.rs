//! Where a run's time went, and how fast it trained.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Seconds spent by phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PhaseSeconds {
    /// Texts into token ids.
    pub tokenize: f64,
    /// Rows into batches, and batches packed.
    pub pack: f64,
    /// Token ids to embeddings, in training steps; twice for what gradient caching computes again.
    pub forward: f64,
    /// The loss and its gradient by the embeddings.
    pub loss: f64,
    /// From there to the weights' gradients.
    pub backward: f64,
    /// Clipping and the weights' update.
    pub optimizer: f64,
    /// All evaluations, the baseline's included.
    pub evaluate: f64,
    /// Checkpoints.
    pub save: f64,
}

/// What a run spent, over all parts of an interrupted run, less what was done after its last checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Profile {
    /// Seconds by phase.
    pub seconds: PhaseSeconds,
    /// Tokens trained on, counted once for each time that they are trained on.
    pub tokens: u64,
    /// Tokens per second of the training steps (pack, forward, loss, backward, optimizer).
    pub tokens_per_second: f64,
    /// Billions of floating-point operations per second of the training steps: two for each multiply-add of the
    /// encoder's matrix products, once for forward and twice for backward.
    pub gflops: f64,
}
