//! What names dropout masks, so that they need not be saved.

/// Names one micro-batch's dropout masks: the same key gives the same masks, so that nothing need be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropoutKey {
    /// The job's seed.
    pub seed: u64,
    /// The micro-batch's number since the start of the run.
    pub micro_batch: u64,
    /// Where in the micro-batch the pack lies that is computed: how many sequences stand before it.
    pub first_sequence: usize,
    /// How many tokens stand before it.
    pub first_token: usize,
}

impl DropoutKey {
    /// The masks of a whole micro-batch.
    #[must_use]
    pub fn new(seed: u64, micro_batch: u64) -> Self {
        Self { seed, micro_batch, first_sequence: 0, first_token: 0 }
    }

    /// The masks of a pack of the micro-batch: the same, bit for bit, however the micro-batch is cut.
    #[must_use]
    pub fn from(self, first_sequence: usize, first_token: usize) -> Self {
        Self { first_sequence, first_token, ..self }
    }
}
