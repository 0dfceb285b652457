//! What names dropout masks, so that they need not be saved.

use crate::kernels::dropout::DropoutPlace;

/// Names the dropout masks of a pack: the same key gives the same masks, so that nothing need be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropoutKey {
    /// The job's seed.
    pub(super) seed: u64,
    /// Where the pack's sequences lie in their micro-batches.
    pub(super) sequences: Vec<DropoutPlace>,
    /// The same of its tokens.
    pub(super) tokens: Vec<DropoutPlace>,
}

/// A stretch of a pack that is of one micro-batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropoutPart {
    /// The micro-batch's number since the start of the run.
    pub micro_batch: u64,
    /// How many sequences of the pack stand before the stretch.
    pub sequence: usize,
    /// How many tokens of the pack stand before it.
    pub token: usize,
    /// How many sequences of the micro-batch do.
    pub first_sequence: usize,
    /// How many tokens of the micro-batch do.
    pub first_token: usize,
}

impl DropoutKey {
    /// The masks of a whole micro-batch.
    #[must_use]
    pub fn new(seed: u64, micro_batch: u64) -> Self {
        Self::of(seed, [DropoutPart { micro_batch, sequence: 0, token: 0, first_sequence: 0, first_token: 0 }])
    }

    /// The masks of a pack that is made of stretches of micro-batches: those that each has in its micro-batch, bit for bit,
    /// however micro-batches are cut and put together.
    #[must_use]
    pub fn of(seed: u64, parts: impl IntoIterator<Item = DropoutPart>) -> Self {
        let place = |micro_batch, start: usize, first: usize| DropoutPlace {
            start: start as u32,
            micro_batch,
            first: first as u32,
        };
        let (sequences, tokens) = parts
            .into_iter()
            .map(|part| {
                (
                    place(part.micro_batch, part.sequence, part.first_sequence),
                    place(part.micro_batch, part.token, part.first_token),
                )
            })
            .unzip();
        Self { seed, sequences, tokens }
    }
}
