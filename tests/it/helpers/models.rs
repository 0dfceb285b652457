//! Models in a running service, without a pull or a job: rows, and files where the service looks for them.

use std::path::{Path, PathBuf};

use matryo::domain::{Checkpoint, Job, JobId, Model, ModelId, ModelSource, ModelStatus, TrainingArguments, utc_now};
use matryo::model::SentenceEncoder;

use super::rows::{dataset, job, ready_model};
use super::test_app::TestApp;
use super::tiny_model::TinyModel;

/// Adds a base model that is ready; returns its folder.
pub(crate) async fn add_base_model(app: &TestApp, name: &str, tiny: &TinyModel) -> PathBuf {
    let folder = app.model_root().join(name);
    tiny.write(&folder);
    add_model_folder(app, name, &folder).await;
    folder
}

/// Adds a folder as a base model that is ready.
pub(crate) async fn add_model_folder(app: &TestApp, name: &str, folder: &Path) {
    let model = Model {
        source: ModelSource::Folder { path: folder.display().to_string() },
        summary: Some(SentenceEncoder::inspect(folder).expect("the model is sound")),
        ..base_model(app, name, ModelStatus::Ready)
    };
    app.state.store.insert_model(&model).await.expect("the name is free");
}

/// Adds a base model's row alone.
pub(crate) async fn add_model_row(app: &TestApp, name: &str, status: ModelStatus) {
    app.state.store.insert_model(&base_model(app, name, status)).await.expect("the name is free");
}

fn base_model(app: &TestApp, name: &str, status: ModelStatus) -> Model {
    Model {
        id: ModelId::generate(),
        name: name.into(),
        source: ModelSource::Folder { path: app.model_root().join(name).display().to_string() },
        status,
        error: (status == ModelStatus::Failed).then(|| "the Hub burned down".into()),
        summary: None,
        size_bytes: 1,
        created_at: utc_now(),
    }
}

/// Adds a job that is over, so that the worker leaves it alone. The base model must be there.
pub(crate) async fn add_ended_job(app: &TestApp, base_model: &str) -> JobId {
    let dataset = dataset();
    app.state.store.insert_dataset(&dataset).await.expect("the id is new");
    let submitted = job(&dataset, &ready_model(base_model));
    let job = Job { name: None, training: TrainingArguments::default(), ..submitted };
    app.state.store.insert_job(&job).await.expect("dataset and model are there");
    app.state.store.request_cancel(job.id).await.expect("it waits");
    job.id
}

/// Adds a checkpoint to a job, or replaces it.
pub(crate) async fn add_checkpoint(app: &TestApp, job_id: JobId, epoch: u32, tiny: &TinyModel, is_best: bool) {
    let checkpoint = Checkpoint {
        job_id,
        epoch,
        step: u64::from(epoch),
        path: format!("jobs/{job_id}/checkpoints/epoch-{epoch}"),
        size_bytes: 1,
        // The seed decides the weights.
        sha256: format!("{:064x}", tiny.seed),
        metric: 0.5,
        is_best,
        created_at: utc_now(),
    };
    tiny.write(&app.state.data_dir.checkpoint(&checkpoint));
    app.state.store.upsert_checkpoint(&checkpoint).await.expect("the job is there");
}
