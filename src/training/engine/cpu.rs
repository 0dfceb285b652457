//! The engine on the CPU: it computes when it is asked.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::data::packing::PackedBatch;
use crate::evaluation::{Rankings, RetrievalEvaluator};
use crate::model::{DropoutKey, SentenceEncoder, Workspace};
use crate::training::losses::matryoshka::MatryoshkaLoss;
use crate::training::optimizer::AdamW;
use crate::training::{TrainError, gradients};

use super::{Engine, GroupSize, Limits, State, StepReading};

/// What the activations kept at once may take. The recipe's micro-batches of 32 pairs need about a seventh of it for
/// MiniLM and half of it for a BERT-base model.
const KEPT_BYTES: usize = 2 << 30;

/// Weights, gradient and moments in the host's memory.
#[derive(Debug)]
pub struct CpuEngine {
    encoder: SentenceEncoder,
    loss: MatryoshkaLoss,
    optimizer: AdamW,
    limits: Limits,
    /// The gradient so far, `[parameters]`.
    gradients: Vec<f32>,
    /// The group's embeddings, `[sequences, dimension]`, and the loss's gradient by them.
    embeddings: Vec<f32>,
    d_embeddings: Vec<f32>,
    workspace: Workspace,
    /// The mean loss of the step under way, so far.
    step_loss: f64,
    readings: Vec<StepReading>,
}

impl CpuEngine {
    /// Starts with a gradient of zero. Each micro-batch is computed alone: together they would only need more memory.
    #[must_use]
    pub fn new(encoder: SentenceEncoder, optimizer: AdamW, loss: MatryoshkaLoss) -> Self {
        let limits = Limits { pack: KEPT_BYTES / encoder.kept_bytes_per_token(), group: 0 };
        Self {
            gradients: vec![0.0; encoder.parameters().flat.len()],
            encoder,
            loss,
            optimizer,
            limits,
            embeddings: Vec::new(),
            d_embeddings: Vec::new(),
            workspace: Workspace::default(),
            step_loss: 0.0,
            readings: Vec::new(),
        }
    }

    /// The gradient since the last step, `[parameters]`.
    #[must_use]
    pub fn gradients(&self) -> &[f32] {
        &self.gradients
    }

    /// The loss since the last step: the sum of micro-batches' losses by their shares.
    #[must_use]
    pub fn step_loss(&self) -> f64 {
        self.step_loss
    }

    fn numbers(&self, rows: &Range<usize>) -> Range<usize> {
        let dimension = self.encoder.summary().dimension;
        rows.start * dimension..rows.end * dimension
    }
}

impl Engine for CpuEngine {
    fn encoder(&self) -> &SentenceEncoder {
        &self.encoder
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn begin(&mut self, size: GroupSize) -> Result<(), TrainError> {
        self.embeddings.resize(size.sequences * self.encoder.summary().dimension, 0.0);
        self.d_embeddings.resize(self.embeddings.len(), 0.0);
        Ok(())
    }

    fn forward(
        &mut self,
        pack: &PackedBatch,
        dropout: Option<&DropoutKey>,
        rows: Range<usize>,
        keep: bool,
    ) -> Result<(), TrainError> {
        let place = self.numbers(&rows);
        let embeddings = if keep {
            self.encoder.forward(pack, dropout, &mut self.workspace)
        } else {
            self.encoder.forward_unkept(pack, dropout, &mut self.workspace)
        };
        self.embeddings[place].copy_from_slice(embeddings);
        Ok(())
    }

    fn loss(&mut self, pairs: &[usize], share: f64) -> Result<(), TrainError> {
        let dimension = self.encoder.summary().dimension;
        let mut row = 0;
        for pairs in pairs {
            let place = self.numbers(&(row..row + 2 * pairs));
            let (anchors, positives) = self.embeddings[place.clone()].split_at(pairs * dimension);
            let (d_anchors, d_positives) = self.d_embeddings[place].split_at_mut(pairs * dimension);
            let output =
                self.loss.forward_backward(anchors, positives, dimension, share as f32, d_anchors, d_positives);
            if !output.total.is_finite() {
                return Err(TrainError::NonFiniteLoss { step: self.optimizer.step + 1 });
            }
            self.step_loss += share * output.total;
            row += 2 * pairs;
        }
        Ok(())
    }

    fn backward(&mut self, pack: &PackedBatch, rows: Range<usize>) -> Result<(), TrainError> {
        let d_embeddings = &self.d_embeddings[self.numbers(&rows)];
        self.encoder.backward(pack, d_embeddings, &mut self.workspace, &mut self.gradients);
        Ok(())
    }

    fn check_gradients(&mut self) -> Result<bool, TrainError> {
        gradients::check(&self.encoder.parameters().specs, &self.gradients, self.step_loss)
    }

    fn step(&mut self, learning_rate: f64) -> Result<(), TrainError> {
        let Self { encoder, optimizer, gradients, .. } = self;
        let grad_norm = encoder.update(|parameters| optimizer.step(parameters, gradients, learning_rate));
        if !grad_norm.is_finite() {
            return Err(TrainError::NonFiniteGradient { step: self.optimizer.step + 1 });
        }
        self.gradients.fill(0.0);
        self.readings.push(StepReading { loss: std::mem::take(&mut self.step_loss), grad_norm });
        Ok(())
    }

    fn read(&mut self) -> Result<Vec<StepReading>, TrainError> {
        Ok(std::mem::take(&mut self.readings))
    }

    fn evaluate(
        &mut self,
        evaluator: &RetrievalEvaluator,
        sequences: &[Vec<u32>],
        dims: &[usize],
        rankings: Option<&mut Rankings>,
        on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<BTreeMap<String, f64>, TrainError> {
        Ok(evaluator.evaluate(&self.encoder, sequences, dims, &mut self.workspace, rankings, on_progress)?)
    }

    fn state(&mut self) -> Result<State<'_>, TrainError> {
        Ok(State::Here(&self.encoder, &self.optimizer))
    }

    fn step_down(&mut self, _size: GroupSize) -> bool {
        false
    }

    fn peak_device_memory(&self) -> Option<u64> {
        None
    }
}
