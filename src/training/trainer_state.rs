//! What a checkpoint holds beside the model, so that a run goes on from it as if it had never stopped: where the run
//! stood (`trainer_state.json`) and the optimizer's moments (`optimizer.safetensors`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::{EvaluationMetrics, Pair, TrainingArguments};
use crate::model::Parameters;

use super::optimizer::AdamW;
use super::profile::Spent;
use super::run::{StepLog, TrainReport};
use super::sink::RunStart;

const STATE_FILE: &str = "trainer_state.json";
const OPTIMIZER_FILE: &str = "optimizer.safetensors";
const MOMENTS: [&str; 2] = ["first_moments", "second_moments"];

/// What a run was given. A checkpoint of another run is refused instead of silently mixed with this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    /// SHA-256 over every row (hex).
    pub(super) data: String,
    /// SHA-256 over the base model's tensors (hex).
    pub(super) base_model: String,
}

impl Fingerprint {
    /// Hashes rows and weights.
    #[must_use]
    pub(super) fn new(train: &[Pair], eval: &[Pair], base_model: &Parameters) -> Self {
        let mut data = Sha256::new();
        for rows in [train, eval] {
            data.update((rows.len() as u64).to_le_bytes());
            for text in rows.iter().flat_map(|pair| [&pair.id, &pair.anchor, &pair.positive]) {
                // The length before each text: otherwise moving a word between columns would not show.
                data.update((text.len() as u64).to_le_bytes());
                data.update(text);
            }
        }
        let mut weights = Sha256::new();
        for spec in &base_model.specs {
            weights.update(format!("{} {:?};", spec.name, spec.shape));
        }
        weights.update(bytemuck::cast_slice::<f32, u8>(&base_model.flat));
        Self { data: hex::encode(data.finalize()), base_model: hex::encode(weights.finalize()) }
    }
}

/// The best checkpoint so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Best {
    /// The epoch it closes.
    pub(super) epoch: u32,
    /// The value of `metric_for_best_model`.
    pub(super) metric: f64,
}

/// Where a run stands after an epoch. The sampler's place is `epoch` alone, and the dropout generator's is
/// `micro_batches`, since both are pure functions of these and the seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TrainerState {
    /// The arguments with every default filled in.
    pub(super) arguments: TrainingArguments,
    /// What the run was given.
    pub(super) fingerprint: Fingerprint,
    /// Epochs done.
    pub(super) epoch: u32,
    /// Optimizer steps done.
    pub(super) step: u64,
    /// Optimizer steps of the whole run.
    pub(super) total_steps: u64,
    /// Micro-batches done.
    pub(super) micro_batches: u64,
    /// The sum of the losses of the steps since the last log entry.
    pub(super) unlogged_loss: f64,
    /// The number of these steps.
    pub(super) unlogged_steps: u64,
    /// What was logged.
    pub(super) log: Vec<StepLog>,
    /// Metrics by epoch, baseline first.
    pub(super) evaluations: Vec<EvaluationMetrics>,
    /// The best checkpoint so far.
    pub(super) best: Option<Best>,
    /// What was warned of.
    pub(super) warnings: Vec<String>,
    /// Seconds per phase so far, over all the run's parts.
    pub(super) timings: BTreeMap<String, f64>,
    /// The same by finer phase, and what is counted in them; absent in checkpoints of earlier versions.
    #[serde(default)]
    pub(super) spent: Spent,
}

impl TrainerState {
    /// Where a run begins that goes on from here.
    #[must_use]
    pub(super) fn start(&self) -> RunStart<'_> {
        let Self { epoch, step, log, evaluations, arguments, .. } = self;
        RunStart { epoch: *epoch, step: *step, log, evaluations, dims: arguments.dims() }
    }

    /// The state before anything is done.
    #[must_use]
    pub(super) fn new(arguments: TrainingArguments, fingerprint: Fingerprint) -> Self {
        Self {
            arguments,
            fingerprint,
            epoch: 0,
            step: 0,
            total_steps: 0,
            micro_batches: 0,
            unlogged_loss: 0.0,
            unlogged_steps: 0,
            log: Vec::new(),
            evaluations: Vec::new(),
            best: None,
            warnings: Vec::new(),
            timings: BTreeMap::new(),
            spent: Spent::default(),
        }
    }

    /// True once all epochs are done.
    #[must_use]
    pub(super) fn is_finished(&self) -> bool {
        self.epoch >= self.arguments.epochs
    }

    /// What the run came to so far.
    #[must_use]
    pub(super) fn into_report(self, resumed_from_epoch: Option<u32>, device: String) -> TrainReport {
        TrainReport {
            arguments: self.arguments,
            evaluations: self.evaluations,
            log: self.log,
            best_epoch: self.best.map_or(0, |best| best.epoch),
            total_steps: self.total_steps,
            resumed_from_epoch,
            device,
            warnings: self.warnings,
            timings: self.timings,
            profile: self.spent.profile(),
        }
    }

    /// Writes `trainer_state.json` into `folder`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn save(&self, folder: &Path) -> Result<(), String> {
        let json = serde_json::to_vec_pretty(self).map_err(|error| format!("{STATE_FILE}: {error}"))?;
        fs::write(folder.join(STATE_FILE), json).map_err(|error| format!("{STATE_FILE}: {error}"))
    }

    /// Reads `trainer_state.json` from `folder`.
    ///
    /// # Errors
    /// Where it is missing or malformed.
    pub(super) fn load(folder: &Path) -> Result<Self, String> {
        let json = fs::read(folder.join(STATE_FILE)).map_err(|error| format!("{STATE_FILE}: {error}"))?;
        serde_json::from_slice(&json).map_err(|error| format!("{STATE_FILE}: {error}"))
    }

    /// Tells why a run with these arguments on this input cannot go on from here, where it cannot.
    #[must_use]
    pub(super) fn mismatch(&self, arguments: &TrainingArguments, fingerprint: &Fingerprint) -> Option<String> {
        let mut other = Vec::new();
        if self.fingerprint.data != fingerprint.data {
            other.push("rows".to_owned());
        }
        if self.fingerprint.base_model != fingerprint.base_model {
            other.push("base model weights".to_owned());
        }
        let fields = |arguments: &TrainingArguments| serde_json::to_value(arguments).unwrap_or_default();
        let (then, now) = (fields(&self.arguments), fields(arguments));
        if let (Some(then), Some(now)) = (then.as_object(), now.as_object()) {
            let changed = now.iter().filter(|(field, value)| then.get(*field) != Some(value));
            other.extend(changed.map(|(field, _)| format!("`{field}`")));
        }
        (!other.is_empty()).then(|| {
            format!(
                "was written by a run with other {}, so this run cannot go on from it; use another folder",
                other.join(", ")
            )
        })
    }
}

/// Writes `optimizer.safetensors` into `folder`.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn save_optimizer(optimizer: &AdamW, folder: &Path) -> Result<(), String> {
    let error = |error: safetensors::SafeTensorError| format!("{OPTIMIZER_FILE}: {error}");
    let moments = [&optimizer.first_moments, &optimizer.second_moments];
    let mut tensors = Vec::new();
    for (name, values) in MOMENTS.into_iter().zip(moments) {
        let view = TensorView::new(Dtype::F32, vec![values.len()], bytemuck::cast_slice(values)).map_err(error)?;
        tensors.push((name, view));
    }
    let metadata = [("step".to_owned(), optimizer.step.to_string())].into();
    safetensors::serialize_to_file(tensors, Some(metadata), &folder.join(OPTIMIZER_FILE)).map_err(error)
}

/// Fills `optimizer` from `optimizer.safetensors` in `folder`.
///
/// # Errors
/// Where the file is missing, malformed, or of other parameters.
pub(super) fn load_optimizer(optimizer: &mut AdamW, folder: &Path) -> Result<(), String> {
    let bytes = fs::read(folder.join(OPTIMIZER_FILE)).map_err(|error| format!("{OPTIMIZER_FILE}: {error}"))?;
    let error = |error: safetensors::SafeTensorError| format!("{OPTIMIZER_FILE}: {error}");
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(error)?;
    let step = header.metadata().as_ref().and_then(|metadata| metadata.get("step")?.parse().ok());
    optimizer.step = step.ok_or_else(|| format!("{OPTIMIZER_FILE}: a number `step` is expected in its metadata"))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(error)?;
    for (name, moments) in MOMENTS.into_iter().zip([&mut optimizer.first_moments, &mut optimizer.second_moments]) {
        let tensor = tensors.tensor(name).map_err(error)?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != [moments.len()] {
            return Err(format!(
                "{OPTIMIZER_FILE}: `{name}` is {:?} {:?}, F32 [{}] expected",
                tensor.dtype(),
                tensor.shape(),
                moments.len()
            ));
        }
        // The file's bytes may lie at any address, so they are copied bytewise.
        bytemuck::cast_slice_mut::<f32, u8>(moments).copy_from_slice(tensor.data());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::optimizer::AdamWConfig;
    use super::*;

    fn state() -> TrainerState {
        TrainerState {
            arguments: TrainingArguments::default(),
            fingerprint: Fingerprint { data: "d".into(), base_model: "b".into() },
            epoch: 2,
            step: 26,
            total_steps: 52,
            micro_batches: 394,
            unlogged_loss: 0.1 + 0.2,
            unlogged_steps: 6,
            log: vec![StepLog { step: 10, epoch: 0.81, loss: 0.7, grad_norm: 7.1, learning_rate: 1e-5 }],
            evaluations: vec![EvaluationMetrics {
                epoch: 0,
                step: 0,
                values: [("dim_64_cosine_ndcg@10".to_owned(), 1.0 / 3.0)].into(),
            }],
            best: Some(Best { epoch: 1, metric: 0.8 }),
            warnings: vec!["look".into()],
            timings: [("train".to_owned(), 12.5)].into(),
            spent: Spent { tokens: 1 << 60, operations: u64::MAX - 1, ..Spent::default() },
        }
    }

    #[test]
    fn the_state_reads_back_to_the_last_bit() {
        let folder = tempfile::tempdir().expect("a folder");
        state().save(folder.path()).expect("it is written");
        assert_eq!(TrainerState::load(folder.path()), Ok(state()));
    }

    #[test]
    fn a_checkpoint_of_another_run_is_refused_with_the_reason() {
        let state = state();
        assert_eq!(state.mismatch(&state.arguments, &state.fingerprint), None);
        let arguments = TrainingArguments { seed: 7, learning_rate: 1e-4, ..state.arguments.clone() };
        let fingerprint = Fingerprint { data: "other".into(), ..state.fingerprint.clone() };
        let message = state.mismatch(&arguments, &fingerprint).expect("three things differ");
        assert!(message.contains("other rows, `learning_rate`, `seed`,"), "{message}");
    }

    #[test]
    fn moving_a_word_between_columns_changes_the_fingerprint() {
        let pair =
            |anchor: &str, positive: &str| Pair { id: "1".into(), anchor: anchor.into(), positive: positive.into() };
        let parameters = Parameters { flat: vec![1.0], specs: Vec::new() };
        let of = |train: &[Pair], eval: &[Pair]| Fingerprint::new(train, eval, &parameters);
        let (row, moved) = ([pair("a b", "c")], [pair("a ", "bc")]);
        assert_ne!(of(&row, &[]).data, of(&moved, &[]).data);
        assert_ne!(of(&row, &[]).data, of(&[], &row).data);
        let other = Parameters { flat: vec![1.5], specs: Vec::new() };
        assert_ne!(of(&row, &[]).base_model, Fingerprint::new(&row, &[], &other).base_model);
    }

    fn optimizer(step: u64, moments: [Vec<f32>; 2]) -> AdamW {
        let config = AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, max_grad_norm: 1.0 };
        let [first_moments, second_moments] = moments;
        let mut optimizer = AdamW::new(config, &[]);
        optimizer.step = step;
        optimizer.first_moments = first_moments;
        optimizer.second_moments = second_moments;
        optimizer
    }

    #[test]
    fn moments_read_back_to_the_last_bit() {
        let folder = tempfile::tempdir().expect("a folder");
        let moments = [vec![0.1, -1e-30, 3.0], vec![f32::MIN_POSITIVE, 0.0, 7.0]];
        save_optimizer(&optimizer(12, moments.clone()), folder.path()).expect("it is written");
        let mut read = optimizer(0, [vec![0.0; 3], vec![0.0; 3]]);
        load_optimizer(&mut read, folder.path()).expect("it is read");
        assert_eq!((read.step, [read.first_moments, read.second_moments]), (12, moments));

        let mut other = optimizer(0, [vec![0.0; 4], vec![0.0; 4]]);
        let message = load_optimizer(&mut other, folder.path()).expect_err("four are expected");
        assert!(message.contains("F32 [4] expected"), "{message}");
    }
}
