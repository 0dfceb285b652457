//! What computes a run: it holds the weights, their gradient and the optimizer's moments. The loop, and the arithmetic of
//! micro-batches, packs and gradient caching, are the same above all engines.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(all(test, feature = "cuda"))]
mod cuda_tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::data::packing::PackedBatch;
use crate::evaluation::{Rankings, RetrievalEvaluator};
use crate::model::{DropoutKey, SentenceEncoder};

use super::TrainError;
use super::optimizer::AdamW;

pub use cpu::CpuEngine;
#[cfg(feature = "cuda")]
pub(crate) use cuda::CudaEngine;

/// The most tokens that an engine computes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of a pack, unless it is a single sequence.
    pub pack: usize,
    /// Of micro-batches that are computed as one; a micro-batch of more is computed alone.
    pub group: usize,
}

/// What an optimizer step came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReading {
    /// The mean loss of its micro-batches.
    pub loss: f64,
    /// The gradient's norm before clipping.
    pub grad_norm: f64,
}

/// The present weights and moments.
#[derive(Debug)]
pub enum State<'a> {
    /// Those that the next step will change.
    Here(&'a SentenceEncoder, &'a AdamW),
    /// Copies, which may be written while the run goes on. The next one can be asked for once they are let go.
    Copied(Arc<SentenceEncoder>, Arc<AdamW>),
}

/// How large a group of micro-batches is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupSize {
    /// Sequences of all its packs.
    pub sequences: usize,
    /// Sequences of the pack with most.
    pub pack_sequences: usize,
    /// Tokens of the longest pack.
    pub pack_tokens: usize,
}

/// Computes. What it is asked happens in the order of asking; only [`Engine::read`], [`Engine::check_gradients`],
/// [`Engine::evaluate`] and [`Engine::state`] wait for it.
pub trait Engine {
    /// The model: what it is, its tokenizer. Its weights are the present ones only after [`Engine::state`].
    fn encoder(&self) -> &SentenceEncoder;

    /// How much it computes at once.
    fn limits(&self) -> Limits;

    /// Takes all the memory that a group of micro-batches needs, before anything of it is computed.
    ///
    /// # Errors
    /// [`TrainError::OutOfMemory`] where there is too little: nothing is changed then.
    fn begin(&mut self, size: GroupSize) -> Result<(), TrainError>;

    /// Embeds a pack, whose sequences are the group's sequences `rows`. Where `keep` is set, keeps what
    /// [`Engine::backward`] needs, in place of what an earlier pack kept.
    ///
    /// # Errors
    /// As the engine's device says.
    fn forward(
        &mut self,
        pack: &PackedBatch,
        dropout: Option<&DropoutKey>,
        rows: Range<usize>,
        keep: bool,
    ) -> Result<(), TrainError>;

    /// Takes the loss of each of the group's micro-batches, of so many pairs each, and `share` times its gradient by the
    /// embeddings. A micro-batch's anchors are followed by its positives, and those by the next one's anchors.
    ///
    /// # Errors
    /// [`TrainError::NonFiniteLoss`], unless a later [`Engine::read`] says so, and as the engine's device says.
    fn loss(&mut self, pairs: &[usize], share: f64) -> Result<(), TrainError>;

    /// Adds the gradient that goes back through the pack kept last, whose sequences are the group's sequences `rows`.
    ///
    /// # Errors
    /// As the engine's device says.
    fn backward(&mut self, pack: &PackedBatch, rows: Range<usize>) -> Result<(), TrainError>;

    /// True where every tensor has a finite gradient that is not zero; false where the step has no loss to speak of, so that
    /// its gradient tells nothing.
    ///
    /// # Errors
    /// [`TrainError::DeadGradient`].
    fn check_gradients(&mut self) -> Result<bool, TrainError>;

    /// Changes the weights by the gradient, which is 0 afterwards.
    ///
    /// # Errors
    /// [`TrainError::NonFiniteGradient`], unless a later [`Engine::read`] says so, and as the engine's device says.
    fn step(&mut self, learning_rate: f64) -> Result<(), TrainError>;

    /// What the steps since the last reading came to.
    ///
    /// # Errors
    /// [`TrainError::NonFiniteLoss`] and [`TrainError::NonFiniteGradient`] with the first such step.
    fn read(&mut self) -> Result<Vec<StepReading>, TrainError>;

    /// Evaluates the present weights; as [`RetrievalEvaluator::evaluate`].
    ///
    /// # Errors
    /// As [`RetrievalEvaluator::evaluate`].
    fn evaluate(
        &mut self,
        evaluator: &RetrievalEvaluator,
        sequences: &[Vec<u32>],
        dims: &[usize],
        rankings: Option<&mut Rankings>,
        on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<BTreeMap<String, f64>, TrainError>;

    /// The present weights and moments.
    ///
    /// # Errors
    /// As the engine's device says.
    fn state(&mut self) -> Result<State<'_>, TrainError>;

    /// Lowers the limits, since there was too little memory for a group of this size; false where they are as low as they
    /// can be.
    fn step_down(&mut self, size: GroupSize) -> bool;

    /// The most bytes of its device's own memory that were held at once; none where it works in the host's.
    fn peak_device_memory(&self) -> Option<u64>;
}
