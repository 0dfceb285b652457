//! One attempt at a job: what it is made from, the run, and how it ended.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::Runtime;

use crate::data::dataset_files::read_stored;
use crate::data::error::DatasetError;
use crate::domain::{DataDir, DatasetId, Job, JobError, Pair};
use crate::model::ModelError;
use crate::records::RecordingSink;
use crate::store::{JobOutcome, PeakBytes, Store, StoreError};
use crate::training::{TrainError, TrainReport, TrainRequest};

use super::reconcile;
use super::shared::{Shared, StopFlag};
use super::store_sink::StoreSink;
use super::trainer::Trainer;

/// How an attempt ended.
pub(super) enum Ending {
    /// The job has ended.
    Final(JobOutcome),
    /// The server stops or the owner pauses the job, which will go on.
    Interrupted,
}

/// Why an attempt ended early.
enum Failure {
    Train(TrainError),
    Store(StoreError),
    Dataset(DatasetError),
    /// The checkpoints' folder could not be read.
    Checkpoints(std::io::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Runs a claimed job to whatever end. A panic of anything below is an end like any other.
pub(super) fn attempt(
    trainer: &mut dyn Trainer,
    runtime: &Runtime,
    store: &Store,
    data_dir: &DataDir,
    shared: &Shared,
    job: &Job,
) -> (Ending, PeakBytes) {
    let stop = shared.begin(job.id);
    let mut sink = StoreSink::new(runtime, store, shared, job.id, std::sync::Arc::clone(&stop));
    // Nothing outlives a panic half-changed: the sink is only asked for its failure and its memory afterwards, the
    // store has transactions, and a trainer keeps nothing between jobs.
    let run = catch_unwind(AssertUnwindSafe(|| {
        let run = train(trainer, runtime, store, data_dir, job, &stop, &mut sink);
        sink.flush();
        run
    }));
    let memory = sink.peak_memory();
    (ending(run, sink.take_failure(), &stop), memory)
}

fn train(
    trainer: &mut dyn Trainer,
    runtime: &Runtime,
    store: &Store,
    data_dir: &DataDir,
    job: &Job,
    stop: &StopFlag,
    sink: &mut StoreSink<'_>,
) -> Result<TrainReport, Failure> {
    // What was asked between the claim and the flag's announcement left its trace in the database alone.
    let now = runtime.block_on(store.get_job(job.id))?;
    if now.cancel_requested {
        stop.cancel();
    } else if now.pause_requested {
        stop.pause();
    }
    if stop.is_set() {
        return Err(Failure::Train(TrainError::Cancelled));
    }
    let model = runtime.block_on(store.get_model_by_name(&job.base_model))?;
    let train = read_stored(&data_dir.train_rows(job.dataset_id)).map_err(Failure::Dataset)?;
    let eval = match job.eval_dataset_id {
        None => read_stored(&data_dir.eval_rows(job.dataset_id)).map_err(Failure::Dataset)?,
        Some(id) => all_rows(data_dir, id).map_err(Failure::Dataset)?,
    };
    let checkpoints = data_dir.checkpoints(job.id);
    runtime.block_on(reconcile::reconcile(store, &checkpoints, job.id))?.map_err(Failure::Checkpoints)?;
    let request = TrainRequest {
        base_model_folder: data_dir.model(&model),
        base_model: job.base_model.clone(),
        train,
        eval,
        arguments: job.training.clone(),
        checkpoints,
    };
    let mut recording = RecordingSink::new(sink, data_dir.run_folder(job.id));
    trainer.train(&request, &mut recording).map_err(Failure::Train)
}

/// Every row of a dataset that evaluates another one, whatever its own split says.
fn all_rows(data_dir: &DataDir, id: DatasetId) -> Result<Vec<Pair>, DatasetError> {
    let mut rows = read_stored(&data_dir.train_rows(id))?;
    rows.extend(read_stored(&data_dir.eval_rows(id))?);
    Ok(rows)
}

fn ending(
    run: std::thread::Result<Result<TrainReport, Failure>>,
    unstored: Option<StoreError>,
    stop: &StopFlag,
) -> Ending {
    let failed =
        |code: &str, message: String| Ending::Final(JobOutcome::Failed(JobError { code: code.to_owned(), message }));
    match (run, unstored) {
        (Err(panic), _) => failed("panic", format!("the trainer panicked: {}", panic_message(&*panic))),
        // The run was told to stop because its events could not be stored, so that is the reason to give.
        (Ok(_), Some(error)) | (Ok(Err(Failure::Store(error))), None) => {
            let (code, message) = store_failure(&error);
            failed(code, message)
        }
        (Ok(Ok(report)), None) => {
            Ending::Final(JobOutcome::Succeeded { timings: report.timings, profile: report.profile })
        }
        (Ok(Err(Failure::Train(TrainError::Cancelled))), None) => {
            if stop.is_cancel() {
                Ending::Final(JobOutcome::Cancelled)
            } else {
                Ending::Interrupted
            }
        }
        (Ok(Err(Failure::Train(error))), None) => {
            let code = if is_disk_full(&error) { "disk_full" } else { error.code() };
            failed(code, error.to_string())
        }
        (Ok(Err(Failure::Dataset(error))), None) => failed("invalid_data", error.to_string()),
        (Ok(Err(Failure::Checkpoints(error))), None) => failed("checkpoint", error.to_string()),
    }
}

fn store_failure(error: &StoreError) -> (&'static str, String) {
    match error {
        StoreError::Full(_) => (
            "disk_full",
            "the disk of the data directory is full; free some space and resume the job, which goes on from its last \
             checkpoint"
                .to_owned(),
        ),
        StoreError::NotFound { .. } | StoreError::Conflict { .. } | StoreError::Changed { .. } => {
            ("missing_input", error.to_string())
        }
        StoreError::Database(source) => ("database", format!("{error}: {source}")),
    }
}

/// Whether a run ended since a file could not grow. Checkpoint errors carry the system's text, not its number.
fn is_disk_full(error: &TrainError) -> bool {
    [libc::ENOSPC, libc::EDQUOT].map(std::io::Error::from_raw_os_error).iter().any(|full| match error {
        TrainError::Model(ModelError::File { source, .. }) => source.kind() == full.kind(),
        TrainError::Checkpoint { message, .. } => message.contains(&full.to_string()),
        _ => false,
    })
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
