//! Models: pull from the Hub, register a folder, show, follow a pull, delete.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Serialize;
use utoipa::ToSchema;

use super::model_body::ModelBody;
use crate::domain::{Model, ModelReference, ModelSource, ModelStatus};
use crate::http::extract::{self, Path};
use crate::http::model_path::encode;
use crate::http::model_request::ModelRequest;
use crate::http::openapi::{
    Conflict, DiskFull, Invalid, Malformed, NotFound, Timeout, TooLarge, TooManyRequests, UnsupportedMediaType,
};
use crate::http::pulls::{PullEvent, remove_pulled};
use crate::http::{ApiError, AppState, ErrorCode};

/// The least time between two progress events of one pull.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

type Created = (StatusCode, [(HeaderName, String); 1], Json<ModelBody>);

fn created(state: &AppState, status: StatusCode, model: Model) -> Result<Created, ApiError> {
    let location = format!("/v1/models/{}", encode(&model.name));
    Ok((status, [(header::LOCATION, location)], Json(ModelBody::base(state, model)?)))
}

/// Adds a base model: pulls it from the Hugging Face Hub in the background, or registers a folder that the operator
/// allows.
#[utoipa::path(post, path = "/v1/models", tag = "models", request_body = ModelRequest,
    responses(
        (status = 201, body = ModelBody, description = "The folder is registered and ready.",
            headers(("location" = String, description = "Where the model is."))),
        (status = 202, body = ModelBody, description = "The pull has begun.",
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
        return created(&state, StatusCode::CREATED, model);
    }
    state.pulls.start(&state, model.clone());
    created(&state, StatusCode::ACCEPTED, model)
}

/// Shows a model: a base model, `job:<id>`, `job:<id>@epoch-<n>` or an alias.
#[utoipa::path(get, path = "/v1/models/{name}", tag = "models",
    params(("name" = String, Path, description = "What is written as `model`; slashes may stand as they are.")),
    responses((status = 200, body = ModelBody), (status = 404, response = NotFound)))]
pub(super) async fn get_model(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Json<ModelBody>, ApiError> {
    Ok(Json(ModelBody::find(&state, &name).await?))
}

/// Follows a model's pull as server-sent events, each named by its `type`; the last one is `ready` or `failed`. Where no
/// pull is under way, that one comes at once.
#[utoipa::path(get, path = "/v1/models/{name}/events", tag = "models",
    params(("name" = String, Path, description = "The base model.")),
    responses(
        (status = 200, body = PullEvent, content_type = "text/event-stream",
            description = "The data of each event is a `PullEvent`."),
        (status = 404, response = NotFound),
    ))]
pub(super) async fn follow_pull(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let id = state.store.get_model_by_name(&name).await?.id;
    // Before the row is read again: a pull that ends in between is then told by the row.
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
#[utoipa::path(post, path = "/v1/models/{name}/pull", tag = "models",
    params(("name" = String, Path, description = "The base model.")),
    responses(
        (status = 202, body = ModelBody, description = "The pull has begun."), (status = 404, response = NotFound),
        (status = 409, response = Conflict), (status = 429, response = TooManyRequests),
        (status = 507, response = DiskFull),
    ))]
pub(super) async fn retry_pull(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<(StatusCode, Json<ModelBody>), ApiError> {
    let id = state.store.get_model_by_name(&name).await?.id;
    state.pulls.check_room()?;
    state.store.set_model_pulling(id).await?;
    let model = state.store.get_model(id).await?;
    state.pulls.start(&state, model.clone());
    Ok((StatusCode::ACCEPTED, Json(ModelBody::base(&state, model)?)))
}

/// A model that is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeletedModel {
    /// Its name.
    id: String,
    /// Always `model`.
    #[schema(example = "model")]
    object: &'static str,
    /// Always true.
    deleted: bool,
}

/// Deletes a base model that is not being pulled, that no alias means and that no job starts from which has not ended. Of a
/// registered folder only the registration goes. Fine-tuned models go with their jobs.
#[utoipa::path(delete, path = "/v1/models/{name}", tag = "models",
    params(("name" = String, Path, description = "The base model.")),
    responses(
        (status = 200, body = DeletedModel), (status = 404, response = NotFound),
        (status = 409, response = Conflict), (status = 507, response = DiskFull),
    ))]
pub(super) async fn delete_model(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Json<DeletedModel>, ApiError> {
    let model = match state.store.get_model_by_name(&name).await {
        Ok(model) => model,
        Err(error) => return Err(not_deleted_here(&state, &name).await.unwrap_or_else(|| error.into())),
    };
    state.store.delete_model(model.id).await?;
    state.embedding.evict(&ModelReference::Base(model.name)).await;
    match model.source {
        ModelSource::Hub { .. } => remove_pulled(&state.data_dir, model.id).await,
        ModelSource::Folder { .. } => {}
    }
    Ok(Json(DeletedModel { id: name, object: "model", deleted: true }))
}

/// Where to delete what is shown as a model but is none of its own.
async fn not_deleted_here(state: &AppState, name: &str) -> Option<ApiError> {
    ModelBody::find(state, name).await.ok()?;
    let message = match name.parse() {
        Ok(ModelReference::JobBest(id) | ModelReference::JobEpoch(id, _)) => {
            format!("a fine-tuned model goes with its job: DELETE /v1/jobs/{id}")
        }
        _ => format!("`{name}` is an alias: DELETE /v1/aliases/{}", encode(name)),
    };
    Some(ApiError::new(ErrorCode::Conflict, message))
}
