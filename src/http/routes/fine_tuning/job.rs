//! A job as OpenAI's clients read it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::hyperparameters::Hyperparameters;
use crate::domain::{
    Job, JobError, JobEvent, JobId, JobStatus, ModelReference, TrainEvent, TrainingArguments, unix_seconds,
};
use crate::http::openai::{FileName, FineTuningJobName};
use crate::http::{ApiError, AppState};

/// Whose jobs these are: a server has one owner.
const ORGANIZATION: &str = "matryo";

/// A fine-tuning job.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http::routes) struct FineTuningJob {
    /// Names it.
    pub(super) id: FineTuningJobName,
    /// Always `fine_tuning.job`.
    #[schema(example = "fine_tuning.job")]
    object: &'static str,
    /// Where it stands. A file is validated while it is uploaded, so a job never is `validating_files`.
    status: JobStatus,
    /// The base model.
    model: String,
    /// The name to embed with the best checkpoint by, once it succeeded.
    #[schema(example = "job:019a3c5e-7d1a-7c3e-9b1f-2f6f0c8e4a11")]
    fine_tuned_model: Option<String>,
    /// The file that it trains on.
    training_file: FileName,
    /// The file that evaluates it, where it is another one.
    validation_file: Option<FileName>,
    /// Always empty: evaluations are among its events and with its checkpoints.
    result_files: Vec<FileName>,
    /// How it trains.
    hyperparameters: Hyperparameters,
    /// How it trains, again.
    method: Method,
    /// Seeds shuffling and dropout.
    seed: u64,
    /// What its owner wishes to find it by.
    metadata: Option<BTreeMap<String, String>>,
    /// What its owner calls it.
    user_provided_suffix: Option<String>,
    /// Why it failed, where it did.
    error: Option<FineTuningError>,
    /// Tokens trained on, over all epochs, once it succeeded.
    trained_tokens: Option<u64>,
    /// When it was created, in seconds since 1970.
    created_at: i64,
    /// When it will have trained to the end at the speed so far, in seconds since 1970; none unless it trains.
    estimated_finish: Option<i64>,
    /// When it ended, in seconds since 1970.
    finished_at: Option<i64>,
    /// Always empty.
    #[schema(max_items = 0)]
    integrations: Vec<String>,
    /// Always `matryo`.
    #[schema(example = "matryo")]
    organization_id: &'static str,
    /// The id under `/v1/jobs`; Matryo's own.
    job_id: JobId,
    /// All hyperparameters; Matryo's own.
    training: TrainingArguments,
}

/// How a job trains.
#[derive(Debug, Serialize, ToSchema)]
struct Method {
    /// Always `supervised`.
    #[serde(rename = "type")]
    #[schema(example = "supervised")]
    kind: &'static str,
    /// The method's hyperparameters.
    supervised: Supervised,
}

/// The method's hyperparameters.
#[derive(Debug, Serialize, ToSchema)]
struct Supervised {
    /// Each decided, `auto` included.
    hyperparameters: Hyperparameters,
}

/// Why a job failed.
#[derive(Debug, Serialize, ToSchema)]
struct FineTuningError {
    /// A word for programs.
    code: String,
    /// A sentence for people.
    message: String,
    /// The field of the request that is to blame, where one is.
    param: Option<&'static str>,
}

impl From<JobError> for FineTuningError {
    fn from(JobError { code, message }: JobError) -> Self {
        let param = (code == "invalid_data").then_some("training_file");
        Self { code, message, param }
    }
}

impl FineTuningJob {
    /// Describes a job, with what the store knows beyond it.
    pub(super) async fn describe(state: &AppState, job: Job) -> Result<Self, ApiError> {
        let estimated_finish = match job.status {
            JobStatus::Running => estimated_finish(state, job.id).await?,
            _ => None,
        };
        let seconds = |timestamp: &str| unix_seconds(timestamp).map_err(ApiError::internal);
        let hyperparameters = Hyperparameters::from(&job.training);
        let succeeded = job.status == JobStatus::Succeeded;
        Ok(Self {
            id: FineTuningJobName(job.id),
            object: "fine_tuning.job",
            status: job.status,
            model: job.base_model,
            fine_tuned_model: succeeded.then(|| ModelReference::JobBest(job.id).to_string()),
            training_file: FileName(job.dataset_id),
            validation_file: job.eval_dataset_id.map(FileName),
            result_files: Vec::new(),
            method: Method { kind: "supervised", supervised: Supervised { hyperparameters: hyperparameters.clone() } },
            hyperparameters,
            seed: job.training.seed,
            metadata: job.metadata,
            user_provided_suffix: job.name,
            error: job.error.map(FineTuningError::from),
            trained_tokens: job.profile.map(|profile| profile.tokens),
            created_at: seconds(&job.created_at)?,
            estimated_finish,
            finished_at: job.finished_at.as_deref().map(seconds).transpose()?,
            integrations: Vec::new(),
            organization_id: ORGANIZATION,
            job_id: job.id,
            training: job.training,
        })
    }
}

/// By the last step that was told: the time then and the training left.
async fn estimated_finish(state: &AppState, id: JobId) -> Result<Option<i64>, ApiError> {
    let Some(record) = state.store.last_event(id, "step").await? else { return Ok(None) };
    let JobEvent::Train(TrainEvent::Step { eta_seconds, .. }) = record.event else { return Ok(None) };
    let told_at = unix_seconds(&record.created_at).map_err(ApiError::internal)?;
    Ok(Some(told_at + eta_seconds.ceil() as i64))
}
