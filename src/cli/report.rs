//! What `matryo train --report` writes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::domain::{EvaluationMetrics, Profile, TrainingArguments};
use crate::records::write_whole;
use crate::training::{StepLog, TrainReport};

/// A run, from what it was given to what came of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The version that ran it.
    pub(super) version: &'static str,
    /// The base model's name.
    pub(super) model: String,
    /// The base model's folder.
    pub(super) model_folder: PathBuf,
    /// Rows trained on.
    pub(super) train_rows: usize,
    /// Rows evaluated on.
    pub(super) eval_rows: usize,
    /// Hyperparameters, every default filled in.
    pub(super) config: TrainingArguments,
    /// Metrics by epoch, the baseline (epoch 0) first.
    pub(super) metrics: Vec<EpochMetrics>,
    /// Loss, gradient norm and learning rate by step.
    pub(super) losses: Vec<StepLog>,
    /// Seconds per phase.
    pub(super) timings: BTreeMap<String, f64>,
    /// Seconds by finer phase, tokens, and the rates of the training steps.
    pub(super) profile: Profile,
    /// Seconds that this process took, reading and loading included.
    pub(super) wall_seconds: f64,
    /// What computed it.
    pub(super) device: String,
    /// The most memory that the process held.
    pub(super) peak_memory_bytes: Option<u64>,
    /// The most memory of the GPU that it held, where one computed it.
    pub(super) peak_gpu_memory_bytes: Option<u64>,
    /// Optimizer steps.
    pub(super) total_steps: u64,
    /// The epoch of the best checkpoint.
    pub(super) best_epoch: u32,
    /// The best checkpoint's folder.
    pub(super) best_checkpoint: PathBuf,
    /// The epoch whose checkpoint the run went on from, where it did.
    pub(super) resumed_from_epoch: Option<u32>,
    /// What its owner should know.
    pub(super) warnings: Vec<String>,
}

/// One epoch's metrics, each under its own key beside `epoch` and `step`, as the Hugging Face trainer logs them.
#[derive(Debug, Serialize)]
pub(super) struct EpochMetrics {
    epoch: u32,
    step: u64,
    #[serde(flatten)]
    values: BTreeMap<String, f64>,
}

impl From<EvaluationMetrics> for EpochMetrics {
    fn from(EvaluationMetrics { epoch, step, values }: EvaluationMetrics) -> Self {
        Self { epoch, step, values }
    }
}

impl Report {
    /// Takes over what the run reports; the rest is for the caller to fill in.
    pub(super) fn new(run: TrainReport, checkpoints: &Path) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            model: String::new(),
            model_folder: PathBuf::new(),
            train_rows: 0,
            eval_rows: 0,
            best_checkpoint: checkpoints.join(format!("epoch-{}", run.best_epoch)),
            config: run.arguments,
            metrics: run.evaluations.into_iter().map(EpochMetrics::from).collect(),
            losses: run.log,
            timings: run.timings,
            profile: run.profile,
            wall_seconds: 0.0,
            device: run.device,
            peak_memory_bytes: None,
            peak_gpu_memory_bytes: None,
            total_steps: run.total_steps,
            best_epoch: run.best_epoch,
            resumed_from_epoch: run.resumed_from_epoch,
            warnings: run.warnings,
        }
    }

    /// Writes it as JSON, whole or not at all.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        write_whole(path, |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            file.write_all(b"\n")
        })
    }
}
