//! Fine-tuning jobs: list, look, pause, resume, cancel.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;

use super::job::FineTuningJob;
use super::{MAX_LIMIT, find};
use crate::domain::{FieldError, Job, JobEvent, JobStatus};
use crate::http::extract::{Path, Query};
use crate::http::openai::{CursorQuery, FineTuningJobName, ListBody, unknown_cursor};
use crate::http::openapi::{Conflict, DiskFull, Invalid, NotFound, TooManyRequests};
use crate::http::routes::jobs;
use crate::http::{ApiError, AppState, ErrorCode};
use crate::store::{JobFilter, MetadataFilter, StoreError};
use crate::worker::{LiveError, LiveEvents};

const DEFAULT_LIMIT: u32 = 20;
/// How long a request waits for a run that it told to stop. Runs stop within a micro-batch.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Lists fine-tuning jobs, the newest first; 20 where `limit` says nothing else, at most 1000.
#[utoipa::path(get, path = "/v1/fine_tuning/jobs", operation_id = "list_fine_tuning_jobs", tag = "fine-tuning",
    params(CursorQuery,
        ("metadata" = Option<BTreeMap<String, String>>, Query, style = DeepObject, explode,
            description = "Only jobs whose metadata hold this pair, as `metadata[key]=value`; with several, all of them. \
                `metadata=null`: only jobs without metadata.")),
    responses((status = 200, body = ListBody<FineTuningJob>), (status = 422, response = Invalid)))]
pub(in crate::http::routes) async fn list_jobs(
    State(state): State<AppState>,
    Query(cursor): Query<CursorQuery>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<ListBody<FineTuningJob>>, ApiError> {
    let (after, limit) = cursor.read::<FineTuningJobName>(DEFAULT_LIMIT, MAX_LIMIT)?;
    let filter = JobFilter { metadata: metadata_filter(query)?, ..JobFilter::default() };
    if let Some(after) = after {
        find(&state, after).await.map_err(|error| match error.code() {
            ErrorCode::NotFound => unknown_cursor(after),
            _ => error,
        })?;
    }
    let page = state.store.list_jobs(&filter, after.map(|job| job.0), limit).await?;
    let mut described = Vec::with_capacity(page.items.len());
    for job in page.items {
        described.push(FineTuningJob::describe(&state, job).await?);
    }
    Ok(Json(ListBody::new(described, page.next_cursor.is_some(), |job| job.id.to_string())))
}

fn metadata_filter(query: Vec<(String, String)>) -> Result<Option<MetadataFilter>, ApiError> {
    let mut pairs = BTreeMap::new();
    let mut is_null = false;
    for (name, value) in query {
        if let Some(key) = name.strip_prefix("metadata[").and_then(|rest| rest.strip_suffix(']')) {
            pairs.insert(key.to_owned(), value);
        } else if name == "metadata" && value == "null" {
            is_null = true;
        } else if name == "metadata" {
            let message = "`metadata[key]=value`, or `metadata=null`, is expected";
            return Err(ApiError::invalid_field("metadata", message));
        }
    }
    match (is_null, pairs.is_empty()) {
        (true, true) => Ok(Some(MetadataFilter::None)),
        (false, false) => Ok(Some(MetadataFilter::Pairs(pairs))),
        (false, true) => Ok(None),
        (true, false) => Err(ApiError::invalid(vec![FieldError::new(
            "metadata",
            "`metadata=null` and `metadata[key]=value` exclude each other",
        )])),
    }
}

/// Reads a fine-tuning job.
#[utoipa::path(get, path = "/v1/fine_tuning/jobs/{id}", operation_id = "get_fine_tuning_job", tag = "fine-tuning",
    params(("id" = FineTuningJobName, Path, description = "The job.")),
    responses((status = 200, body = FineTuningJob), (status = 404, response = NotFound)))]
pub(in crate::http::routes) async fn get_job(
    State(state): State<AppState>,
    Path(id): Path<FineTuningJobName>,
) -> Result<Json<FineTuningJob>, ApiError> {
    let job = find(&state, id).await?;
    Ok(Json(FineTuningJob::describe(&state, job).await?))
}

/// Cancels a fine-tuning job. Where it runs, the answer waits up to ten seconds for it to stop.
#[utoipa::path(post, path = "/v1/fine_tuning/jobs/{id}/cancel", operation_id = "cancel_fine_tuning_job", tag = "fine-tuning",
    params(("id" = FineTuningJobName, Path, description = "The job.")),
    responses((status = 200, body = FineTuningJob), (status = 404, response = NotFound),
        (status = 409, response = Conflict), (status = 507, response = DiskFull)))]
pub(in crate::http::routes) async fn cancel_job(
    State(state): State<AppState>,
    Path(id): Path<FineTuningJobName>,
) -> Result<Json<FineTuningJob>, ApiError> {
    find(&state, id).await?;
    stop(&state, id, async || state.worker.cancel(id.0).await).await
}

/// Pauses a fine-tuning job. Where it runs, the answer waits up to ten seconds for it to stop. It goes on when it is
/// resumed, from its last checkpoint, and the result is the same to the last bit.
#[utoipa::path(post, path = "/v1/fine_tuning/jobs/{id}/pause", operation_id = "pause_fine_tuning_job", tag = "fine-tuning",
    params(("id" = FineTuningJobName, Path, description = "The job.")),
    responses((status = 200, body = FineTuningJob), (status = 404, response = NotFound),
        (status = 409, response = Conflict), (status = 507, response = DiskFull)))]
pub(in crate::http::routes) async fn pause_job(
    State(state): State<AppState>,
    Path(id): Path<FineTuningJobName>,
) -> Result<Json<FineTuningJob>, ApiError> {
    find(&state, id).await?;
    stop(&state, id, async || state.worker.pause(id.0).await).await
}

/// Queues a paused, failed or cancelled fine-tuning job again. It goes on from its last checkpoint.
#[utoipa::path(post, path = "/v1/fine_tuning/jobs/{id}/resume", operation_id = "resume_fine_tuning_job", tag = "fine-tuning",
    params(("id" = FineTuningJobName, Path, description = "The job.")),
    responses((status = 200, body = FineTuningJob), (status = 404, response = NotFound),
        (status = 409, response = Conflict), (status = 429, response = TooManyRequests),
        (status = 507, response = DiskFull)))]
pub(in crate::http::routes) async fn resume_job(
    State(state): State<AppState>,
    Path(id): Path<FineTuningJobName>,
) -> Result<Json<FineTuningJob>, ApiError> {
    find(&state, id).await?;
    let job = jobs::resume(&state, id.0).await?;
    Ok(Json(FineTuningJob::describe(&state, job).await?))
}

/// Asks a job to stop, and waits a little where it runs: clients expect it to have stopped.
async fn stop(
    state: &AppState,
    id: FineTuningJobName,
    ask: impl AsyncFnOnce() -> Result<Job, StoreError>,
) -> Result<Json<FineTuningJob>, ApiError> {
    let events = state.worker.subscribe(id.0);
    let mut job = ask().await?;
    if job.status == JobStatus::Running {
        // In time or not, the job is told as it stands then.
        let _ = tokio::time::timeout(STOP_PATIENCE, stopped(events)).await;
        job = find(state, id).await?;
    }
    Ok(Json(FineTuningJob::describe(state, job).await?))
}

/// Returns when a job tells of another status, or nothing more is told.
async fn stopped(mut events: LiveEvents) {
    loop {
        match events.next().await {
            Ok(record) if matches!(record.event, JobEvent::Status { .. }) => return,
            Ok(_) => {}
            // The one that counts may have been missed.
            Err(LiveError::Lagged | LiveError::Closed) => return,
        }
    }
}
