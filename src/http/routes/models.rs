//! Models: pull from the Hub, register a folder, list, follow a pull, delete.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{JobId, Model, ModelId, ModelReference, ModelSource, ModelStatus};
use crate::http::extract::{self, Path, Query};
use crate::http::model_request::ModelRequest;
use crate::http::openapi::{
    Conflict, DiskFull, Invalid, Malformed, NotFound, Timeout, TooLarge, TooManyRequests, UnsupportedMediaType,
};
use crate::http::page::{PageBody, PageQuery};
use crate::http::pulls::{PullEvent, remove_pulled};
use crate::http::{ApiError, AppState};
use crate::store::{BestCheckpoint, Page};

/// The least time between two progress events of one pull.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

type Created = (StatusCode, [(HeaderName, String); 1], Json<Model>);

fn created(status: StatusCode, model: Model) -> Created {
    (status, [(header::LOCATION, format!("/v1/models/{}", model.id))], Json(model))
}

/// Adds a base model: pulls it from the Hugging Face Hub in the background, or registers a folder that the operator
/// allows.
#[utoipa::path(post, path = "/v1/models", tag = "models", request_body = ModelRequest,
    responses(
        (status = 201, body = Model, description = "The folder is registered and ready.",
            headers(("location" = String, description = "Where the model is."))),
        (status = 202, body = Model, description = "The pull has begun.",
            headers(("location" = String, description = "Where the model is."))),
        (status = 400, response = Malformed), (status = 408, response = Timeout), (status = 409, response = Conflict),
        (status = 413, response = TooLarge), (status = 415, response = UnsupportedMediaType),
        (status = 422, response = Invalid), (status = 429, response = TooManyRequests),
        (status = 507, response = DiskFull),
    ))]
pub(super) async fn create_model(
    State(state): State<AppState>,
    extract::Json(request): extract::Json<ModelRequest>,
) -> Result<Created, ApiError> {
    let model = request.check(&state.model_roots).await?;
    if model.status == ModelStatus::Pulling {
        state.pulls.check_room()?;
    }
    state.store.insert_model(&model).await?;
    if model.status != ModelStatus::Pulling {
        return Ok(created(StatusCode::CREATED, model));
    }
    state.pulls.start(&state, model.clone());
    Ok(created(StatusCode::ACCEPTED, model))
}

/// A model as the list shows it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum ListedModel {
    /// A base model; `name` is what to write as `model`.
    Base(Model),
    /// The best checkpoint of a job.
    FineTuned(FineTunedModel),
}

/// The best checkpoint of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FineTunedModel {
    /// What to write as `model`.
    name: String,
    /// The job that made it.
    job_id: JobId,
    /// What the job's owner calls it.
    job_name: Option<String>,
    /// The model that it started from.
    base_model: String,
    /// The embedding lengths that it was trained for.
    matryoshka_dims: Vec<usize>,
    /// The epoch that it closes.
    epoch: u32,
    /// The metric that makes it the best.
    metric_for_best_model: Option<String>,
    /// That metric's value.
    metric: f64,
    /// Its files' size.
    size_bytes: u64,
    /// When it was written (RFC 3339, UTC).
    created_at: String,
}

impl From<BestCheckpoint> for FineTunedModel {
    fn from(best: BestCheckpoint) -> Self {
        let BestCheckpoint { checkpoint, job_name, base_model, training } = best;
        Self {
            name: ModelReference::JobBest(checkpoint.job_id).to_string(),
            job_id: checkpoint.job_id,
            job_name,
            base_model,
            matryoshka_dims: training.dims().to_vec(),
            epoch: checkpoint.epoch,
            metric_for_best_model: training.metric_for_best_model,
            metric: checkpoint.metric,
            size_bytes: checkpoint.size_bytes,
            created_at: checkpoint.created_at,
        }
    }
}

/// Lists base models and fine-tuned ones, newest first. A fine-tuned one counts from its job's submission.
#[utoipa::path(get, path = "/v1/models", tag = "models", params(PageQuery),
    responses((status = 200, body = PageBody<ListedModel>), (status = 422, response = Invalid)))]
pub(super) async fn list_models(
    State(state): State<AppState>,
    Query(query): Query<PageQuery>,
) -> Result<Json<PageBody<ListedModel>>, ApiError> {
    let (after, limit) = query.read::<ModelId>()?;
    // Ids of both kinds sort by time, so one cursor pages through the two lists as one.
    let after_job = after.map(|id| id.to_string().parse().expect("ids of all kinds are UUIDs"));
    let base = state.store.list_models(after, limit + 1).await?.items;
    let fine_tuned = state.store.list_best_checkpoints(after_job, limit + 1).await?;
    let base = base.into_iter().map(|model| (model.id.to_string(), ListedModel::Base(with_progress(&state, model))));
    let fine_tuned =
        fine_tuned.into_iter().map(|best| (best.checkpoint.job_id.to_string(), ListedModel::FineTuned(best.into())));
    let mut items: Vec<(String, ListedModel)> = base.chain(fine_tuned).collect();
    items.sort_by(|a, b| b.0.cmp(&a.0));
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next_cursor = if more { items.last().map(|(id, _)| id.clone()) } else { None };
    let items = items.into_iter().map(|(_, model)| model).collect();
    Ok(Json(Page { items, next_cursor }.into()))
}

/// The row of a model that is being pulled says how much had come when it began.
fn with_progress(state: &AppState, mut model: Model) -> Model {
    if let Some(done_bytes) = state.pulls.done_bytes(model.id)
        && model.status == ModelStatus::Pulling
    {
        model.size_bytes = done_bytes;
    }
    model
}

/// Shows a base model.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "models",
    params(("id" = ModelId, Path, description = "The model.")),
    responses((status = 200, body = Model), (status = 404, response = NotFound)))]
pub(super) async fn get_model(State(state): State<AppState>, Path(id): Path<ModelId>) -> Result<Json<Model>, ApiError> {
    let model = state.store.get_model(id).await?;
    Ok(Json(with_progress(&state, model)))
}

/// Follows a model's pull as server-sent events, each named by its `type`; the last one is `ready` or `failed`. Where no
/// pull is under way, that one comes at once.
#[utoipa::path(get, path = "/v1/models/{id}/events", tag = "models",
    params(("id" = ModelId, Path, description = "The model.")),
    responses(
        (status = 200, body = PullEvent, content_type = "text/event-stream",
            description = "The data of each event is a `PullEvent`."),
        (status = 404, response = NotFound),
    ))]
pub(super) async fn follow_pull(
    State(state): State<AppState>,
    Path(id): Path<ModelId>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    // Before the row is read: a pull that ends in between is then told by the row.
    let listener = state.pulls.listen(id);
    let model = state.store.get_model(id).await?;
    let stream = async_stream::stream! {
        let Some(mut listener) = listener else {
            yield Ok(sse(&ended(model)));
            return;
        };
        loop {
            let event = listener.borrow_and_update().clone();
            yield Ok(sse(&event));
            // The sender goes when the server stops.
            if event.is_last() || listener.changed().await.is_err() {
                return;
            }
            if !listener.borrow().is_last() {
                tokio::time::sleep(PROGRESS_INTERVAL).await;
            }
        }
    };
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

fn sse(event: &PullEvent) -> Event {
    Event::default().event(event.type_name()).json_data(event).expect("events have string keys and no NaN")
}

fn ended(model: Model) -> PullEvent {
    match model.status {
        ModelStatus::Pulling => PullEvent::Waiting,
        ModelStatus::Ready => PullEvent::Ready { size_bytes: model.size_bytes },
        ModelStatus::Failed => PullEvent::Failed { error: model.error.unwrap_or_default() },
    }
}

/// Pulls a model again whose pull failed; what was fetched is kept.
#[utoipa::path(post, path = "/v1/models/{id}/pull", tag = "models",
    params(("id" = ModelId, Path, description = "The model.")),
    responses(
        (status = 202, body = Model, description = "The pull has begun."), (status = 404, response = NotFound),
        (status = 409, response = Conflict), (status = 429, response = TooManyRequests),
        (status = 507, response = DiskFull),
    ))]
pub(super) async fn retry_pull(
    State(state): State<AppState>,
    Path(id): Path<ModelId>,
) -> Result<(StatusCode, Json<Model>), ApiError> {
    state.pulls.check_room()?;
    state.store.set_model_pulling(id).await?;
    let model = state.store.get_model(id).await?;
    state.pulls.start(&state, model.clone());
    Ok((StatusCode::ACCEPTED, Json(model)))
}

/// Deletes a base model that is not being pulled and that no queued or running job starts from. Of a registered folder
/// only the registration goes.
#[utoipa::path(delete, path = "/v1/models/{id}", tag = "models",
    params(("id" = ModelId, Path, description = "The model.")),
    responses(
        (status = 204, description = "It is gone."), (status = 404, response = NotFound),
        (status = 409, response = Conflict), (status = 507, response = DiskFull),
    ))]
pub(super) async fn delete_model(
    State(state): State<AppState>,
    Path(id): Path<ModelId>,
) -> Result<StatusCode, ApiError> {
    let model = state.store.get_model(id).await?;
    state.store.delete_model(id).await?;
    state.embedding.evict(&ModelReference::Base(model.name)).await;
    match model.source {
        ModelSource::Hub { .. } => remove_pulled(&state.data_dir, id).await,
        ModelSource::Folder { .. } => {}
    }
    Ok(StatusCode::NO_CONTENT)
}
