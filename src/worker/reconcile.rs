//! Before a run: makes the checkpoints' rows agree with the folders on disk, which alone say where a run goes on.

use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::domain::{EvaluationMetrics, JobId, TrainEvent};
use crate::model::sha256_of;
use crate::store::{Store, StoreError};

/// The part of a checkpoint's `trainer_state.json` that its row needs.
#[derive(Debug, Deserialize)]
struct State {
    epoch: u32,
    step: u64,
    arguments: Arguments,
    evaluations: Vec<EvaluationMetrics>,
    best: Option<Best>,
}

#[derive(Debug, Deserialize)]
struct Arguments {
    metric_for_best_model: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Best {
    epoch: u32,
}

/// Brings a job's rows and events to where its next run begins:
///
/// 1. a row whose folder is gone is dropped (somebody deleted it);
/// 2. a folder without a row is announced as its own event would have done (a crash came between the rename and the
///    row, or between dropping the row and deleting the folder), after the evaluations that it holds and the store lacks (the store was full): a run that goes on from it
///    does not tell them again;
/// 3. what was told after the newest checkpoint is taken back, since the run tells it again.
///
/// # Errors
/// The outer error is the store's, the inner one the disk's.
pub(super) async fn reconcile(store: &Store, folder: &Path, job_id: JobId) -> Result<io::Result<()>, StoreError> {
    let on_disk = match epochs(folder) {
        Ok(epochs) => epochs,
        Err(error) => return Ok(Err(error)),
    };
    let rows = store.list_checkpoints(job_id).await?;
    let mut events = Vec::new();
    for row in rows.iter().filter(|row| !on_disk.contains(&row.epoch)) {
        events.push(TrainEvent::CheckpointRemoved { epoch: row.epoch });
    }
    let mut stored: Vec<u32> = store.evaluations(job_id).await?.iter().map(|evaluation| evaluation.epoch).collect();
    for epoch in on_disk.iter().filter(|epoch| rows.iter().all(|row| row.epoch != **epoch)) {
        let (evaluations, checkpoint) = match describe(&folder.join(format!("epoch-{epoch}"))) {
            Ok(described) => described,
            Err(error) => return Ok(Err(error)),
        };
        for metrics in evaluations {
            if !stored.contains(&metrics.epoch) {
                stored.push(metrics.epoch);
                events.push(TrainEvent::Evaluation { metrics });
            }
        }
        events.push(checkpoint);
    }
    if !events.is_empty() {
        store.record_events(job_id, &events).await?;
    }
    store.rewind(job_id, on_disk.last().copied()).await?;
    Ok(Ok(()))
}

/// The epochs that have a folder, ascending. A folder has its name only once it is complete.
fn epochs(folder: &Path) -> io::Result<Vec<u32>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut epochs = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        epochs.extend(name.to_str().and_then(|name| name.strip_prefix("epoch-")?.parse::<u32>().ok()));
    }
    epochs.sort_unstable();
    Ok(epochs)
}

/// A checkpoint's evaluations so far, and the event with which the trainer would have announced it.
fn describe(folder: &Path) -> io::Result<(Vec<EvaluationMetrics>, TrainEvent)> {
    let invalid = |error: String| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: trainer_state.json: {error}", folder.display()))
    };
    let json = std::fs::read(folder.join("trainer_state.json"))?;
    let state: State = serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))?;
    let metric = state.arguments.metric_for_best_model.unwrap_or_default();
    let evaluation = state.evaluations.iter().find(|evaluation| evaluation.epoch == state.epoch);
    let metric = evaluation
        .and_then(|evaluation| evaluation.values.get(&metric).copied())
        .ok_or_else(|| invalid(format!("no `{metric}` of epoch {}", state.epoch)))?;
    let checkpoint = TrainEvent::Checkpoint {
        epoch: state.epoch,
        step: state.step,
        size_bytes: size(folder)?,
        sha256: sha256_of(&folder.join("model.safetensors"))?,
        metric,
        is_best: state.best.is_some_and(|best| best.epoch == state.epoch),
    };
    Ok((state.evaluations, checkpoint))
}

fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
