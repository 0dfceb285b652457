//! One run from base model to best checkpoint: what it is asked, what it reports, and its course.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::domain::{EvaluationMetrics, Pair, Profile, TrainingArguments};
use crate::kernels::Hardware;

use super::setup::Setup;
use super::trainer::Trainer;
use super::{TrainError, TrainSink};

/// What to train, with what.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// The base model's folder.
    pub base_model_folder: PathBuf,
    /// The base model's name, for the model card.
    pub base_model: String,
    /// Rows to train on.
    pub train: Vec<Pair>,
    /// Rows to evaluate on.
    pub eval: Vec<Pair>,
    /// Hyperparameters; resolved against the model by the run.
    pub arguments: TrainingArguments,
    /// Where checkpoints go, as `epoch-<n>` folders. A run goes on from the last complete one that stands there.
    pub checkpoints: PathBuf,
}

/// What a run came to; as JSON it is what `matryo train --report` writes.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TrainReport {
    /// The arguments with every default filled in.
    pub arguments: TrainingArguments,
    /// Metrics by epoch, baseline first.
    pub evaluations: Vec<EvaluationMetrics>,
    /// Loss, learning rate and gradient norm by step.
    pub log: Vec<StepLog>,
    /// The epoch of the best checkpoint.
    pub best_epoch: u32,
    /// Optimizer steps of the whole run.
    pub total_steps: u64,
    /// The epoch whose checkpoint the run went on from, where it did.
    pub resumed_from_epoch: Option<u32>,
    /// What computed it, in words.
    pub device: String,
    /// What was told by [`crate::domain::TrainEvent::Warning`], since the start of the run.
    pub warnings: Vec<String>,
    /// Seconds per phase: tokenize, baseline, train, evaluate, save; over all parts of an interrupted run, less what was
    /// done after its last checkpoint.
    pub timings: BTreeMap<String, f64>,
    /// Seconds by finer phase, tokens, and the rates of the training steps; over all parts likewise.
    pub profile: Profile,
}

/// One logged stretch of optimizer steps.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepLog {
    /// Optimizer steps done.
    pub step: u64,
    /// Epochs done, with the fraction of the one under way.
    pub epoch: f64,
    /// Mean loss since the last entry.
    pub loss: f64,
    /// The gradient's norm before clipping.
    pub grad_norm: f64,
    /// The learning rate used.
    pub learning_rate: f64,
}

/// Runs a job on the given hardware: tokenise, baseline, epochs with evaluation and checkpoint, best checkpoint. Goes on from the last
/// complete checkpoint in `request.checkpoints`, and then gives the same weights, bit for bit, as a run that was
/// never interrupted.
///
/// A run that goes on emits no events for what the checkpoint already holds: not its evaluations, log entries, warnings
/// or checkpoints. They all stand in the report. What an interrupted run told after its last checkpoint (steps, the
/// evaluation before a checkpoint that was not written) is told again, with the same values, so a listener should key
/// what it stores by step and epoch.
///
/// # Errors
/// As [`TrainError`] lists; complete checkpoints stay.
pub fn run(hardware: &Hardware, request: &TrainRequest, sink: &mut dyn TrainSink) -> Result<TrainReport, TrainError> {
    let setup = Setup::new(hardware, request)?;
    sink.on_start(&setup.state.start());
    if setup.state.is_finished() {
        return Ok(setup.state.into_report(setup.resumed_from_epoch, setup.device));
    }
    let mut trainer = Trainer::new(request, sink, setup)?;
    let ran = epochs(&mut trainer);
    // A checkpoint may still be on its way to the disk, however the run ends.
    let saved = trainer.finish_saving();
    ran.and(saved)?;
    Ok(trainer.into_report())
}

fn epochs(trainer: &mut Trainer<'_>) -> Result<(), TrainError> {
    trainer.baseline()?;
    while !trainer.is_finished() {
        trainer.train_epoch()?;
        trainer.evaluate_epoch()?;
        trainer.save_epoch()?;
    }
    Ok(())
}
