//! What stands before a run's first step: the model, its arguments, and where an earlier part of the run left off.

use crate::domain::{Pair, Precision, TrainingArguments};
use crate::kernels::Hardware;
use crate::model::{Purpose, SentenceEncoder, resolve_precision};

use super::checkpointer::Checkpointer;
#[cfg(feature = "cuda")]
use super::engine::CudaEngine;
use super::engine::{CpuEngine, Engine};
use super::losses::matryoshka::MatryoshkaLoss;
use super::optimizer::{AdamW, AdamWConfig};
use super::trainer_state::{Fingerprint, TrainerState, load_optimizer};
use super::{TrainError, TrainRequest};

/// A run about to start or to go on.
pub(super) struct Setup {
    pub(super) checkpointer: Checkpointer,
    pub(super) engine: Box<dyn Engine>,
    pub(super) state: TrainerState,
    pub(super) resumed_from_epoch: Option<u32>,
    /// What computes it, in words.
    pub(super) device: String,
    /// What its owner should know of that.
    pub(super) warning: Option<String>,
}

impl Setup {
    /// Loads the base model, checks arguments and rows, and goes back to the newest checkpoint where there is one.
    pub(super) fn new(hardware: &Hardware, request: &TrainRequest) -> Result<Self, TrainError> {
        check_rows(&request.train, &request.eval)?;
        let checkpointer = Checkpointer::open(&request.checkpoints)?;
        let purpose = if hardware.is_gpu() { Purpose::Elsewhere } else { Purpose::Training };
        let mut encoder = SentenceEncoder::load_in(&request.base_model_folder, request.arguments.precision, purpose)?;
        let warning = not_there(hardware, &encoder, request.arguments.precision);
        let hardware = if warning.is_some() { &Hardware::cpu() } else { hardware };
        let summary = encoder.summary();
        let arguments =
            request.arguments.resolve(summary.dimension, summary.max_seq_length).map_err(TrainError::Arguments)?;
        let arguments = TrainingArguments { precision: resolve_precision(hardware, arguments.precision), ..arguments };
        let fingerprint = Fingerprint::new(&request.train, &request.eval, encoder.parameters());
        let newest = checkpointer.epochs()?.pop();
        let state = match newest {
            Some(epoch) => {
                let state = read_state(&checkpointer, epoch, |state| {
                    // `auto` goes on as the run began, also on another machine.
                    let precision = match request.arguments.precision {
                        Precision::Auto => state.arguments.precision,
                        asked => asked,
                    };
                    state.mismatch(&TrainingArguments { precision, ..arguments.clone() }, &fingerprint)
                })?;
                encoder = SentenceEncoder::load_in(&checkpointer.folder(epoch), state.arguments.precision, purpose)?;
                state
            }
            None => TrainerState::new(arguments, fingerprint),
        };
        if let Some(length) = state.arguments.max_seq_length {
            encoder.set_max_seq_length(length);
        }
        let config = AdamWConfig {
            beta1: state.arguments.adam_beta1,
            beta2: state.arguments.adam_beta2,
            epsilon: state.arguments.adam_epsilon,
            weight_decay: state.arguments.weight_decay,
            max_grad_norm: state.arguments.max_grad_norm,
        };
        let mut optimizer = AdamW::new(config, &encoder.parameters().specs);
        if let Some(epoch) = newest {
            let path = checkpointer.folder(epoch);
            load_optimizer(&mut optimizer, &path).map_err(|message| TrainError::Checkpoint { path, message })?;
        }
        let loss = MatryoshkaLoss {
            dims: state.arguments.dims().to_vec(),
            weights: state.arguments.matryoshka_weights.clone().unwrap_or_default(),
            scale: state.arguments.scale,
        };
        if warning.is_some() {
            encoder.compute_here(state.arguments.precision);
        }
        let engine = engine(hardware, encoder, optimizer, loss, state.arguments.precision)?;
        Ok(Self { checkpointer, engine, state, resumed_from_epoch: newest, device: hardware.describe(), warning })
    }
}

/// Why the CPU computes a model although there is a GPU, where the GPU does not compute such a model.
#[cfg(feature = "cuda")]
fn not_there(hardware: &Hardware, encoder: &SentenceEncoder, precision: Precision) -> Option<String> {
    hardware.gpu()?;
    let reason = crate::model::cuda::unsupported(encoder.config(), precision)?;
    Some(format!("the CPU computes this model, not the GPU: {reason}"))
}

#[cfg(not(feature = "cuda"))]
fn not_there(_hardware: &Hardware, _encoder: &SentenceEncoder, _precision: Precision) -> Option<String> {
    None
}

/// What computes the run.
#[cfg_attr(not(feature = "cuda"), expect(clippy::unnecessary_wraps, reason = "a GPU may be too small"))]
fn engine(
    hardware: &Hardware,
    encoder: SentenceEncoder,
    optimizer: AdamW,
    loss: MatryoshkaLoss,
    precision: Precision,
) -> Result<Box<dyn Engine>, TrainError> {
    #[cfg(feature = "cuda")]
    if let Some(device) = hardware.gpu() {
        return Ok(Box::new(CudaEngine::new(device, encoder, optimizer, &loss, precision)?));
    }
    let _ = (hardware, precision);
    Ok(Box::new(CpuEngine::new(encoder, optimizer, loss)))
}

fn read_state(
    checkpointer: &Checkpointer,
    epoch: u32,
    mismatch: impl Fn(&TrainerState) -> Option<String>,
) -> Result<TrainerState, TrainError> {
    let path = checkpointer.folder(epoch);
    let state = TrainerState::load(&path).and_then(|state| {
        if let Some(message) = mismatch(&state) {
            Err(message)
        } else if state.epoch != epoch {
            Err(format!("holds the state after epoch {}, not {epoch}", state.epoch))
        } else {
            Ok(state)
        }
    });
    state.map_err(|message| TrainError::Checkpoint { path, message })
}

fn check_rows(train: &[Pair], eval: &[Pair]) -> Result<(), TrainError> {
    let first = train.first().ok_or_else(|| TrainError::Data("there is no row to train on".into()))?;
    if train.iter().all(|pair| (&pair.anchor, &pair.positive) == (&first.anchor, &first.positive)) {
        return Err(TrainError::Data(format!(
            "at least two different pairs are needed to train on, since each one's negatives are the others; {}",
            if train.len() == 1 { "there is one" } else { "all rows are the same pair" }
        )));
    }
    if eval.is_empty() {
        return Err(TrainError::Data(
            "there is no row to evaluate on; upload an evaluation file or split with a test_size above 0".into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(anchor: &str) -> Pair {
        Pair { id: anchor.into(), anchor: anchor.into(), positive: "p".into() }
    }

    #[test]
    fn rows_that_cannot_be_trained_or_evaluated_on_are_refused() {
        let message = |train: &[Pair], eval: &[Pair]| check_rows(train, eval).err().map(|error| error.to_string());
        assert!(message(&[], &[pair("e")]).expect("nothing to train on").contains("no row to train on"));
        assert!(message(&[pair("a")], &[pair("e")]).expect("one row").contains("there is one"));
        assert!(message(&[pair("a"), pair("a")], &[pair("e")]).expect("copies").contains("the same pair"));
        assert!(message(&[pair("a"), pair("b")], &[]).expect("nothing to evaluate on").contains("test_size"));
        assert_eq!(message(&[pair("a"), pair("b")], &[pair("e")]), None);
    }
}
