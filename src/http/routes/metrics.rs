//! A job's metrics by epoch.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{JobId, MetricsRow, MetricsTable};
use crate::http::accept::negotiate;
use crate::http::extract::Path;
use crate::http::openapi::{NotAcceptable, NotFound};
use crate::http::{ApiError, AppState};

const JSON: &str = "application/json";
const CSV: &str = "text/csv";
const MARKDOWN: &str = "text/markdown";

/// A job's evaluations so far.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobMetrics {
    /// The job.
    job_id: JobId,
    /// The metric that decides which checkpoint is best.
    metric_for_best_model: Option<String>,
    /// The epoch whose checkpoint is the best so far; none before the first.
    best_epoch: Option<u32>,
    /// A row an epoch, the baseline (epoch 0) first.
    rows: Vec<MetricsRow>,
}

/// Reads a job's metrics at every dimension, the baseline as epoch 0: JSON rows, or by `Accept` the table that the recipe
/// prints, as `text/csv` or `text/markdown`.
#[utoipa::path(get, path = "/v1/jobs/{id}/metrics", tag = "jobs",
    params(("id" = JobId, Path, description = "The job.")), responses(
    (status = 200, content((JobMetrics = "application/json"), (String = "text/csv"), (String = "text/markdown"))),
    (status = 404, response = NotFound), (status = 406, response = NotAcceptable)))]
pub(super) async fn get_metrics(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let content_type = negotiate(&headers, &[JSON, CSV, MARKDOWN])?;
    let job = state.store.get_job(id).await?;
    let table = table(&state, id).await?;
    let answer = match content_type {
        CSV => ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], table.to_csv()).into_response(),
        MARKDOWN => ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], table.to_markdown()).into_response(),
        _ => {
            let checkpoints = state.store.list_checkpoints(id).await?;
            let best_epoch = checkpoints.iter().find(|checkpoint| checkpoint.is_best).map(|best| best.epoch);
            let metric_for_best_model = job.training.metric_for_best_model;
            Json(JobMetrics { job_id: id, metric_for_best_model, best_epoch, rows: table.into_rows() }).into_response()
        }
    };
    Ok(([(header::VARY, "accept")], answer).into_response())
}

/// A job's evaluations so far, joined with the losses that it logged.
///
/// # Errors
/// 404 where there is no such job.
pub(in crate::http) async fn table(state: &AppState, id: JobId) -> Result<MetricsTable, ApiError> {
    state.store.get_job(id).await?;
    let losses = state.store.training_losses(id).await?;
    Ok(MetricsTable::new(state.store.evaluations(id).await?, &losses))
}
