//! Fine-tuning jobs in OpenAI's shape: jobs, under ids of the form `ftjob-<the job's id without dashes>`.

pub(super) mod checkpoints;
pub(super) mod create;
pub(super) mod events;
mod hyperparameters;
mod job;
pub(super) mod jobs;

use crate::domain::Job;
use crate::http::openai::FineTuningJobName;
use crate::http::{ApiError, AppState, ErrorCode};
use crate::store::StoreError;

/// Items on a page at most.
const MAX_LIMIT: u32 = 1000;

/// The job that an id names.
///
/// # Errors
/// 404 where there is none.
async fn find(state: &AppState, id: FineTuningJobName) -> Result<Job, ApiError> {
    state.store.get_job(id.0).await.map_err(|error| match error {
        StoreError::NotFound { .. } => {
            ApiError::new(ErrorCode::NotFound, format!("there is no fine-tuning job `{id}`"))
        }
        other => other.into(),
    })
}
