//! A fine-tuning job's checkpoints, the newest first.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{MAX_LIMIT, find};
use crate::domain::{ModelReference, unix_seconds};
use crate::http::extract::{Path, Query};
use crate::http::openai::{CheckpointName, CursorQuery, FineTuningJobName, ListBody, unknown_cursor};
use crate::http::openapi::{Invalid, NotFound};
use crate::http::{ApiError, AppState};

const DEFAULT_LIMIT: u32 = 10;

/// A checkpoint of a fine-tuning job.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http::routes) struct FineTuningCheckpoint {
    /// Names it.
    id: CheckpointName,
    /// Always `fine_tuning.job.checkpoint`.
    #[schema(example = "fine_tuning.job.checkpoint")]
    object: &'static str,
    /// When it was written, in seconds since 1970.
    created_at: i64,
    /// The name to embed with it by.
    #[schema(example = "job:019a3c5e-7d1a-7c3e-9b1f-2f6f0c8e4a11@epoch-2")]
    fine_tuned_model_checkpoint: String,
    /// The job that made it.
    fine_tuning_job_id: FineTuningJobName,
    /// Optimizer steps done by then.
    step_number: u64,
    /// What was measured by then.
    metrics: CheckpointMetrics,
    /// True for the job's best so far; Matryo's own.
    is_best: bool,
}

/// What was measured by a checkpoint.
#[derive(Debug, Serialize, ToSchema)]
struct CheckpointMetrics {
    /// Optimizer steps done by then.
    step: u64,
    /// The loss last logged by then; none where none was.
    train_loss: Option<f64>,
    /// The evaluation's values by key, such as `dim_128_cosine_ndcg@10`; Matryo's own.
    #[serde(flatten)]
    evaluation: BTreeMap<String, f64>,
}

/// Lists a fine-tuning job's checkpoints that were kept, the newest first; 10 where `limit` says nothing else, at most
/// 1000.
#[utoipa::path(get, path = "/v1/fine_tuning/jobs/{id}/checkpoints", operation_id = "list_fine_tuning_checkpoints", tag = "fine-tuning",
    params(("id" = FineTuningJobName, Path, description = "The job."), CursorQuery),
    responses((status = 200, body = ListBody<FineTuningCheckpoint>), (status = 404, response = NotFound),
        (status = 422, response = Invalid)))]
pub(in crate::http::routes) async fn list_checkpoints(
    State(state): State<AppState>,
    Path(id): Path<FineTuningJobName>,
    Query(cursor): Query<CursorQuery>,
) -> Result<Json<ListBody<FineTuningCheckpoint>>, ApiError> {
    let (after, limit) = cursor.read::<CheckpointName>(DEFAULT_LIMIT, MAX_LIMIT)?;
    find(&state, id).await?;
    let mut checkpoints = state.store.list_checkpoints(id.0).await?;
    checkpoints.reverse();
    if let Some(after) = after {
        let place = checkpoints.iter().position(|one| CheckpointName(one.job_id, one.epoch) == after);
        checkpoints.drain(..=place.ok_or_else(|| unknown_cursor(after))?);
    }
    let has_more = checkpoints.len() > limit as usize;
    checkpoints.truncate(limit as usize);
    let losses = state.store.training_losses(id.0).await?;
    let mut evaluations: BTreeMap<u32, BTreeMap<String, f64>> =
        state.store.evaluations(id.0).await?.into_iter().map(|one| (one.epoch, one.values)).collect();
    let mut page = Vec::with_capacity(checkpoints.len());
    for checkpoint in checkpoints {
        let logged = losses.partition_point(|(step, _)| *step <= checkpoint.step);
        page.push(FineTuningCheckpoint {
            id: CheckpointName(checkpoint.job_id, checkpoint.epoch),
            object: "fine_tuning.job.checkpoint",
            created_at: unix_seconds(&checkpoint.created_at).map_err(ApiError::internal)?,
            fine_tuned_model_checkpoint: ModelReference::JobEpoch(checkpoint.job_id, checkpoint.epoch).to_string(),
            fine_tuning_job_id: id,
            step_number: checkpoint.step,
            metrics: CheckpointMetrics {
                step: checkpoint.step,
                train_loss: logged.checked_sub(1).map(|last| losses[last].1),
                evaluation: evaluations.remove(&checkpoint.epoch).unwrap_or_default(),
            },
            is_best: checkpoint.is_best,
        });
    }
    Ok(Json(ListBody::new(page, has_more, |checkpoint| checkpoint.id.to_string())))
}
