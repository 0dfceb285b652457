//! What a job's end was told by, and whether it arrived.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{JobId, WebhookDelivery};
use crate::http::extract::Path;
use crate::http::openapi::NotFound;
use crate::http::{ApiError, AppState};

/// Deliveries of a job's end.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookDeliveries {
    /// The deliveries, the oldest first; several where the job was resumed, or where job and server have a webhook each.
    data: Vec<WebhookDelivery>,
}

/// Lists what a job's end was told by: to the job's own webhook and to the server's, with the attempts so far. Receivers
/// get a POST of `{"id", "event", "timestamp", "job"}` with the headers of the Standard Webhooks specification
/// (`webhook-id`, `webhook-timestamp`, and where there is a secret `webhook-signature`); a status of 2xx within 10 seconds
/// takes it, 410 wants no more, and anything else is tried again, eight times over seven and a half hours.
#[utoipa::path(get, path = "/v1/jobs/{id}/webhooks", tag = "jobs",
    params(("id" = JobId, Path, description = "The job.")),
    responses((status = 200, body = WebhookDeliveries), (status = 404, response = NotFound)))]
pub(super) async fn list_webhook_deliveries(
    State(state): State<AppState>,
    Path(id): Path<JobId>,
) -> Result<Json<WebhookDeliveries>, ApiError> {
    state.store.get_job(id).await?;
    Ok(Json(WebhookDeliveries { data: state.store.deliveries(id).await? }))
}
