//! The pulls under way: one task a model, and who listens to its progress.

/// The pulls under way; clones share them.
#[derive(Debug, Clone, Default)]
pub struct ModelPulls {}
