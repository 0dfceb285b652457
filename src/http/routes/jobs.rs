//! Jobs: submit, look, pause, cancel, resume, delete.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::new_job::{self, JobRequest};
use crate::domain::{EvaluationMetrics, Job, JobId, JobStatus, ModelReference};
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{
    Conflict, DiskFull, Invalid, Malformed, NotFound, Timeout, TooLarge, TooManyRequests, UnsupportedMediaType,
};
use crate::http::page::{PageBody, PageQuery};
use crate::http::{ApiError, AppState, ErrorCode};
use crate::store::{JobFilter, StoreError};

/// When to try again where the queue is full: jobs take minutes.
const QUEUE_RETRY_SECONDS: u64 = 60;

/// Which jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct JobsQuery {
    /// Only jobs that stand so.
    status: Option<JobStatus>,
}

/// A job, how far it is, and what it has reached.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobDetails {
    /// The job.
    #[serde(flatten)]
    job: Job,
    /// The share of its optimizer steps that are done, from 0 to 1; none before their number is known.
    progress: Option<f64>,
    /// The metric that decides which checkpoint is best, over the epochs so far; none before the baseline.
    best_metric: Option<MetricCourse>,
}

/// One metric over the epochs so far.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(in crate::http) struct MetricCourse {
    /// Its key, such as `dim_128_cosine_ndcg@10`.
    pub(in crate::http) key: String,
    /// Before training.
    pub(in crate::http) baseline: f64,
    /// After the last epoch that was evaluated.
    latest: f64,
    /// That epoch; 0 is the baseline.
    latest_epoch: u32,
    /// The largest after training for an epoch or more.
    pub(in crate::http) best: Option<f64>,
    /// The epoch that it belongs to, the first where several reach it.
    pub(in crate::http) best_epoch: Option<u32>,
}

impl MetricCourse {
    /// None before the baseline.
    pub(in crate::http) fn new(key: &str, evaluations: &[EvaluationMetrics]) -> Option<Self> {
        let value = |evaluation: &EvaluationMetrics| evaluation.values.get(key).copied();
        let baseline = evaluations.iter().find(|evaluation| evaluation.epoch == 0)?;
        let latest = evaluations.last()?;
        let mut best: Option<(u32, f64)> = None;
        for evaluation in evaluations.iter().filter(|evaluation| evaluation.epoch > 0) {
            let value = value(evaluation)?;
            if best.is_none_or(|(_, most)| value > most) {
                best = Some((evaluation.epoch, value));
            }
        }
        Some(Self {
            key: key.to_owned(),
            baseline: value(baseline)?,
            latest: value(latest)?,
            latest_epoch: latest.epoch,
            best: best.map(|(_, value)| value),
            best_epoch: best.map(|(epoch, _)| epoch),
        })
    }
}

/// Submits a job. It waits in the queue until the worker is free; what is left out of it is as the recipe has it.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs", request_body = JobRequest, responses(
    (status = 201, body = Job, headers(("location" = String, description = "The job's path."))),
    (status = 400, response = Malformed), (status = 408, response = Timeout), (status = 409, response = Conflict),
    (status = 413, response = TooLarge), (status = 415, response = UnsupportedMediaType),
    (status = 422, response = Invalid), (status = 429, response = TooManyRequests), (status = 507, response = DiskFull)))]
pub(super) async fn create_job(
    State(state): State<AppState>,
    Json(body): Json<Map<String, Value>>,
) -> Result<impl IntoResponse, ApiError> {
    let job = new_job::read(&state, &body).await?;
    let job = submit(&state, &job).await?;
    let location = HeaderValue::try_from(format!("/v1/jobs/{}", job.id)).expect("an id is printable");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], JsonBody(job)))
}

/// Lists jobs.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(PageQuery, JobsQuery), responses(
    (status = 200, body = PageBody<Job>), (status = 422, response = Invalid)))]
pub(super) async fn list_jobs(
    State(state): State<AppState>,
    Query(page): Query<PageQuery>,
    Query(JobsQuery { status }): Query<JobsQuery>,
) -> Result<JsonBody<PageBody<Job>>, ApiError> {
    let (after, limit) = page.read()?;
    let filter = JobFilter { status, ..JobFilter::default() };
    Ok(JsonBody(state.store.list_jobs(&filter, after, limit).await?.into()))
}

/// Reads a job.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = JobId, Path, description = "The job.")),
    responses((status = 200, body = JobDetails), (status = 404, response = NotFound)))]
pub(super) async fn get_job(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
) -> Result<JsonBody<JobDetails>, ApiError> {
    let job = state.store.get_job(id).await?;
    let evaluations = state.store.evaluations(id).await?;
    let key = job.training.metric_for_best_model.as_deref().unwrap_or_default();
    let best_metric = MetricCourse::new(key, &evaluations);
    Ok(JsonBody(JobDetails { progress: progress(&job), job, best_metric }))
}

/// Cancels a job: at once where it waits or is paused, within one micro-batch where it runs. What it has written stays.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs",
    params(("id" = JobId, Path, description = "The job.")), responses(
    (status = 200, body = Job, description = "It is cancelled."),
    (status = 202, body = Job, description = "It runs, and will stop."),
    (status = 404, response = NotFound), (status = 409, response = Conflict), (status = 507, response = DiskFull)))]
pub(super) async fn cancel_job(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
) -> Result<(StatusCode, JsonBody<Job>), ApiError> {
    let job = state.worker.cancel(id).await?;
    let status = if job.status.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, JsonBody(job)))
}

/// Pauses a job: at once where it waits, within one micro-batch where it runs. It goes on when it is resumed, from its last
/// checkpoint: what it did since then is done again, at most one epoch, and the result is the same to the last bit.
#[utoipa::path(post, path = "/v1/jobs/{id}/pause", tag = "jobs",
    params(("id" = JobId, Path, description = "The job.")), responses(
    (status = 200, body = Job, description = "It is paused."),
    (status = 202, body = Job, description = "It runs, and will stop."),
    (status = 404, response = NotFound), (status = 409, response = Conflict), (status = 507, response = DiskFull)))]
pub(super) async fn pause_job(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
) -> Result<(StatusCode, JsonBody<Job>), ApiError> {
    let job = state.worker.pause(id).await?;
    let status = if job.status == JobStatus::Paused { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, JsonBody(job)))
}

/// Queues a paused, failed or cancelled job again. It goes on from its last checkpoint.
#[utoipa::path(post, path = "/v1/jobs/{id}/resume", tag = "jobs",
    params(("id" = JobId, Path, description = "The job.")), responses(
    (status = 200, body = Job), (status = 404, response = NotFound), (status = 409, response = Conflict),
    (status = 429, response = TooManyRequests), (status = 507, response = DiskFull)))]
pub(super) async fn resume_job(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
) -> Result<JsonBody<Job>, ApiError> {
    state.store.get_job(id).await?;
    Ok(JsonBody(resume(&state, id).await?))
}

/// Deletes a job that has ended, with its events, metrics and checkpoints.
#[utoipa::path(delete, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = JobId, Path, description = "The job.")),
    responses((status = 204, description = "It is gone."), (status = 404, response = NotFound),
    (status = 409, response = Conflict), (status = 507, response = DiskFull)))]
pub(super) async fn delete_job(State(state): State<AppState>, Path(id): Path<JobId>) -> Result<StatusCode, ApiError> {
    remove(&state, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The share of a job's optimizer steps that are done, from 0 to 1; none before their number is known.
pub(in crate::http) fn progress(job: &Job) -> Option<f64> {
    job.total_steps.filter(|total| *total > 0).map(|total| job.step as f64 / total as f64)
}

/// Deletes a job that has ended, and everything that was made of it.
pub(in crate::http) async fn remove(state: &AppState, id: JobId) -> Result<(), ApiError> {
    let checkpoints = state.store.list_checkpoints(id).await?;
    let deleted = state.worker.delete(id).await;
    if state.store.get_job(id).await.is_err() {
        // Even where a file would not go: nobody is to embed with what is no longer listed.
        state.embedding.evict(&ModelReference::JobBest(id)).await;
        for checkpoint in checkpoints {
            state.embedding.evict(&ModelReference::JobEpoch(id, checkpoint.epoch)).await;
        }
    }
    Ok(deleted?)
}

/// Queues a job, where the queue has room.
pub(in crate::http) async fn submit(state: &AppState, job: &Job) -> Result<Job, ApiError> {
    check_queue(state).await?;
    state.worker.submit(job).await.map_err(gone_meanwhile)
}

/// Queues a job again, where the queue has room. The job must be there.
pub(in crate::http) async fn resume(state: &AppState, id: JobId) -> Result<Job, ApiError> {
    check_queue(state).await?;
    state.worker.resume(id).await.map_err(gone_meanwhile)
}

async fn check_queue(state: &AppState) -> Result<(), ApiError> {
    let limit = state.limits.max_queued_jobs;
    if state.store.count_jobs(JobStatus::Queued).await? < limit {
        return Ok(());
    }
    Err(ApiError::too_many(format!("{limit} jobs wait already; try again later"), QUEUE_RETRY_SECONDS))
}

/// The job itself is there: what the store misses is its dataset or model.
fn gone_meanwhile(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound { .. } => ApiError::new(ErrorCode::Conflict, format!("{error} any more")),
        other => other.into(),
    }
}
