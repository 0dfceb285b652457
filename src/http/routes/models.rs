//! Models: pull from the Hub, register a folder, show, follow a pull, delete.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Serialize;
use tracing::Instrument;
use utoipa::ToSchema;

use super::model_body::ModelBody;
use crate::domain::{Model, ModelId, ModelReference, ModelSource, ModelStatus};
use crate::http::extract::{self, Path};
use crate::http::model_path::encode;
use crate::http::model_request::ModelRequest;
use crate::http::openapi::{
    Conflict, DiskFull, Invalid, Malformed, NotFound, Timeout, TooLarge, TooManyRequests, UnsupportedMediaType,
};
use crate::http::pulls::{PullEvent, remove_own};
use crate::http::upload::{FormTexts, ModelForm, UploadFolder, UploadKind, receive, unpack};
use crate::http::{ApiError, AppState, ErrorCode};

/// The least time between two progress events of one pull.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

type Created = (StatusCode, [(HeaderName, String); 1], Json<ModelBody>);

fn created(state: &AppState, status: StatusCode, model: Model) -> Result<Created, ApiError> {
    let location = format!("/v1/models/{}", encode(&model.name));
    Ok((status, [(header::LOCATION, location)], Json(ModelBody::base(state, model)?)))
}

/// Adds a base model: pulls it from the Hugging Face Hub in the background, registers a folder that the operator allows, or
/// takes an archive, sent as a form.
#[utoipa::path(post, path = "/v1/models", tag = "models",
    request_body(content((ModelRequest = "application/json"), (ModelForm = "multipart/form-data"))),
    responses(
        (status = 201, body = ModelBody, description = "The folder is registered, or the archive unpacked, and ready.",
            headers(("location" = String, description = "Where the model is."))),
        (status = 202, body = ModelBody, description = "The pull has begun.",
            headers(("location" = String, description = "Where the model is."))),
        (status = 400, response = Malformed), (status = 408, response = Timeout), (status = 409, response = Conflict),
        (status = 413, response = TooLarge), (status = 415, response = UnsupportedMediaType),
        (status = 422, response = Invalid), (status = 429, response = TooManyRequests),
        (status = 507, response = DiskFull),
    ))]
pub(super) async fn create_model(State(state): State<AppState>, request: Request) -> Result<Created, ApiError> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let model = if content_type.is_some_and(|value| value.starts_with("multipart/form-data")) {
        add_archive(&state, request, &mut FormTexts::new()).await?
    } else {
        let extract::Json(wanted) = extract::Json::from_request(request, &state).await?;
        add(&state, wanted).await?
    };
    let status = if model.status == ModelStatus::Pulling { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    created(&state, status, model)
}

/// Adds a base model, and starts its pull where it is one of the Hub's.
pub(in crate::http) async fn add(state: &AppState, request: ModelRequest) -> Result<Model, ApiError> {
    let model = request.check(&state.model_roots).await?;
    if model.status == ModelStatus::Pulling {
        state.pulls.check_room()?;
    }
    state.store.insert_model(&model).await?;
    if model.status == ModelStatus::Pulling {
        state.pulls.start(state, model.clone());
    }
    Ok(model)
}

/// Adds the model of an archive, sent as a form; `texts` takes the form's fields, however that ends.
pub(in crate::http) async fn add_archive(
    state: &AppState,
    mut request: Request,
    texts: &mut FormTexts,
) -> Result<Model, ApiError> {
    // The form's own bound holds.
    DefaultBodyLimit::disable().apply(&mut request);
    let (id, state) = (ModelId::generate(), state.clone());
    let target = state.data_dir.own_model(id);
    let folder = UploadFolder::create(&target).map_err(ApiError::io)?;
    let limit = state.hub.max_model_bytes;
    let upload = receive(request, UploadKind::Model, limit, &folder, texts).await?;
    // As for a dataset: all is here, and what is left to do is not given up in the middle.
    let finish = async move {
        let unpack = move || unpack(&folder, id, &upload, limit).map(|unpacked| (folder, unpacked));
        let unpacked = tokio::task::spawn_blocking(unpack).await.map_err(ApiError::internal)??;
        let (mut folder, (model, part)) = unpacked;
        folder.publish_part(&part, target).map_err(ApiError::io)?;
        state.store.insert_model(&model).await?;
        folder.keep();
        Ok::<_, ApiError>(model)
    };
    tokio::spawn(finish.in_current_span()).await.map_err(ApiError::internal)?
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
    let model = pull_again(&state, &name).await?;
    Ok((StatusCode::ACCEPTED, Json(ModelBody::base(&state, model)?)))
}

/// Starts the pull of a model whose pull failed.
pub(in crate::http) async fn pull_again(state: &AppState, name: &str) -> Result<Model, ApiError> {
    let id = state.store.get_model_by_name(name).await?.id;
    state.pulls.check_room()?;
    state.store.set_model_pulling(id).await?;
    let model = state.store.get_model(id).await?;
    state.pulls.start(state, model.clone());
    Ok(model)
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
    remove(&state, &name).await?;
    Ok(Json(DeletedModel { id: name, object: "model", deleted: true }))
}

/// Deletes a base model, and its files where they were pulled.
pub(in crate::http) async fn remove(state: &AppState, name: &str) -> Result<(), ApiError> {
    let model = match state.store.get_model_by_name(name).await {
        Ok(model) => model,
        Err(error) => return Err(not_deleted_here(state, name).await.unwrap_or_else(|| error.into())),
    };
    state.store.delete_model(model.id).await?;
    state.embedding.evict(&ModelReference::Base(model.name)).await;
    match model.source {
        ModelSource::Hub { .. } | ModelSource::Upload { .. } => remove_own(&state.data_dir, model.id).await,
        ModelSource::Folder { .. } => {}
    }
    Ok(())
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
