//! Models in memory: loading one before it is asked to embed, and dropping it.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ModelReference;
use crate::http::extract::Path;
use crate::http::openapi::{Conflict, Invalid, ModelFailed, NotFound};
use crate::http::{ApiError, AppState};
use crate::store::StoreError;

/// Whether a model is in memory.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelMemory {
    /// The model, as it was asked for.
    #[schema(example = "sentence-transformers/all-MiniLM-L6-v2")]
    id: String,
    /// Whether it is in memory now.
    loaded: bool,
    /// What this request took, in milliseconds: next to nothing where there was nothing to do.
    duration_ms: u64,
}

/// Loads a model, so that the first request to embed with it need not wait. However many ask at once, it is loaded once;
/// the answer comes when it is. Beyond the memory that `--model-cache` allows, the models that were not used for longest go.
#[utoipa::path(post, path = "/v1/models/{name}/load", tag = "models",
    params(("name" = String, Path, description = "The model, or an alias of it.")),
    responses(
        (status = 200, body = ModelMemory), (status = 404, response = NotFound), (status = 409, response = Conflict),
        (status = 422, response = Invalid), (status = 500, response = ModelFailed),
    ))]
pub(super) async fn load_model(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<ModelMemory>, ApiError> {
    let begun = Instant::now();
    state.embedding.load(&named(&id)?).await?;
    let duration_ms = begun.elapsed().as_millis() as u64;
    Ok(Json(ModelMemory { id, loaded: true, duration_ms }))
}

/// Drops a model from memory, where it is; what it is computing ends well. It is loaded again when it is asked for.
#[utoipa::path(post, path = "/v1/models/{name}/unload", tag = "models",
    params(("name" = String, Path, description = "The model, or an alias of it.")),
    responses(
        (status = 200, body = ModelMemory), (status = 404, response = NotFound), (status = 409, response = Conflict),
    ))]
pub(super) async fn unload_model(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<ModelMemory>, ApiError> {
    let begun = Instant::now();
    state.embedding.unload(&named(&id)?).await?;
    let duration_ms = begun.elapsed().as_millis() as u64;
    Ok(Json(ModelMemory { id, loaded: false, duration_ms }))
}

/// The model that a path names; what is no model's name names none.
fn named(name: &str) -> Result<ModelReference, ApiError> {
    name.parse().map_err(|_| StoreError::not_found("model", name).into())
}
